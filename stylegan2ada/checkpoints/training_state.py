"""The state of a run on disk: complete or not at all, the previous one kept, damage noticed before use.

A state is nested dicts, lists and tuples of tensors, numpy arrays, numbers, texts, bytes and None.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stylegan2ada import files
from stylegan2ada.errors import MissingError, UserError
from stylegan2ada.protocols import State

# The checksum is the comment of torch's zip file, so that torch.load still opens the file itself.
_COMMENT = b"sha256:"
_COMMENT_SIZE = len(_COMMENT) + 64
_BYTES, _NUMPY = "<bytes>", "<numpy>"  # keys of stand-ins: torch's safe loader knows neither type


def save_state(path: str | Path, state: State) -> None:
    """Write atomically; the file that stood there stays as `<name>.previous`."""
    # In memory first: the checksum covers what was meant, not what a failing disk made of it.
    buffer = io.BytesIO()
    torch.save(_to_tensors("state", state), buffer)
    data = buffer.getbuffer()
    assert data[-2:] == b"\0\0", "torch's zip file ends with the length of an empty comment"
    digest = hashlib.sha256(data).hexdigest().encode()
    with files.atomic_write(path, keep_previous=True, private=True) as file:
        file.write(data[:-2])
        # As the zip format wants it: length in two bytes, low one first, then the comment.
        file.write(_COMMENT_SIZE.to_bytes(2, "little") + _COMMENT + digest)


def load_state(path: str | Path) -> State:
    """The saved state, on the CPU; a damaged file is refused with the name of one that still continues."""
    path = Path(path)
    if not path.is_file():
        raise MissingError(f"{path} does not exist{_way_on(path)}")
    data = _checked(path)
    if data is None:
        raise UserError(f"{path} is damaged or incomplete (its checksum does not fit){_way_on(path)}")
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, ValueError, EOFError, KeyError) as error:
        # The checksum fits: someone else's file, or one of a newer torch.
        raise UserError(
            f"{path} cannot be read as a training state ({type(error).__name__}){_way_on(path)}"
        ) from error
    return _from_tensors(state)


def is_complete(path: str | Path) -> bool:
    """Does the file hold what its checksum says?"""
    return Path(path).is_file() and _checked(Path(path)) is not None


def _checked(path: Path) -> bytearray | None:
    """The bytes that torch wrote, or None if they are not the ones that the checksum was made of."""
    data = bytearray(path.read_bytes())
    end = len(data) - _COMMENT_SIZE
    # A file shorter than a comment is damaged, too: its slices are empty, no index fails.
    size, comment = bytes(data[max(end - 2, 0) : end]), bytes(data[max(end, 0) :])
    if size != _COMMENT_SIZE.to_bytes(2, "little"):
        return None
    data[end - 2 :] = b"\0\0"  # as it was without a comment; a state may be large, so in place
    return data if comment == _COMMENT + hashlib.sha256(data).hexdigest().encode() else None


def _way_on(path: Path) -> str:
    previous = path.with_name(path.name + ".previous")
    if is_complete(previous):
        return f"; {previous} is complete: rename it to {path.name} to continue from there"
    return "; there is no earlier state beside it, so start the run again or from a network snapshot"


def _to_tensors(path: str, value: object) -> object:
    """The same nesting with torch's and plain types only."""
    if isinstance(value, torch.Tensor):
        is_view = value.untyped_storage().nbytes() != value.nbytes  # torch would save all of what it views
        return value.detach().clone() if is_view else value.detach()
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, bytes):
        # torch.frombuffer refuses an empty buffer.
        return {_BYTES: torch.frombuffer(bytearray(value), dtype=torch.uint8) if value else torch.empty(0)}
    if isinstance(value, np.ndarray) and not value.dtype.hasobject and value.dtype.names is None:
        return {_NUMPY: [value.dtype.str, list(value.shape), _to_tensors(path, value.tobytes())]}
    if type(value) is list or type(value) is tuple:
        return type(value)([_to_tensors(f"{path}[{i}]", item) for i, item in enumerate(value)])
    if isinstance(value, dict) and all(type(key) in (str, int) for key in value):
        return {key: _to_tensors(f"{path}.{key}", item) for key, item in value.items()}
    raise TypeError(
        f"{path} is a {type(value).__name__}; a training state holds tensors, arrays and plain data"
    )


def _from_tensors(value: Any) -> Any:
    if type(value) in (list, tuple):
        return type(value)([_from_tensors(item) for item in value])
    if not isinstance(value, dict):
        return value
    if value.keys() == {_BYTES}:
        return value[_BYTES].to(torch.uint8).numpy().tobytes()
    if value.keys() == {_NUMPY}:
        dtype, shape, data = value[_NUMPY]
        # Over a bytearray, as arrays over bytes cannot be written to.
        return np.frombuffer(bytearray(_from_tensors(data)), np.dtype(dtype)).reshape(shape)
    return {key: _from_tensors(item) for key, item in value.items()}


# Random generators


def capture_rng() -> State:
    """The state of the global generators of Python, numpy and torch (of this process's GPU, too).

    One process has one GPU: asking the others would make a context, and cost memory, on each of them.
    """
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        # The Mersenne twister has 625 words: one array instead of 625 pickled numbers.
        "python": [version, np.array(words, dtype=np.uint64), gauss],
        "numpy": [name, np.array(keys), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": [torch.cuda.get_rng_state()] if torch.cuda.is_available() else [],
    }


def restore_rng(captured: State) -> None:
    """The inverse of `capture_rng`; a GPU that was not there keeps its own state."""
    version, words, gauss = captured["python"]
    random.setstate((version, tuple(int(word) for word in words), gauss))
    np.random.set_state(tuple(captured["numpy"]))
    torch.set_rng_state(captured["torch"])
    if torch.cuda.is_available() and captured["cuda"]:
        torch.cuda.set_rng_state(captured["cuda"][0])
