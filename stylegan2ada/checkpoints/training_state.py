"""The state of a run on disk: complete or not at all, the previous one kept, damage noticed before use.

A state is nested dicts, lists and tuples of tensors, numpy arrays, numbers, texts, bytes and None.
"""

from __future__ import annotations

import hashlib
import io
import random
import zipfile
from pathlib import Path

import numpy as np
import torch

from stylegan2ada import files, untrusted
from stylegan2ada.checkpoints.pickle_machine import MAX_INT_BITS, MAX_KEY, Unreadable
from stylegan2ada.checkpoints.state_read import BYTES, MAX_STRUCTURE, NUMPY, read_state
from stylegan2ada.errors import MissingError, UserError
from stylegan2ada.protocols import State

# The checksum is the comment of torch's zip file, so that torch.load still opens the file itself.
_COMMENT = b"sha256:"
_COMMENT_SIZE = len(_COMMENT) + 64
_MAX_FILE = 16 << 30  # bytes; ten times the state of the largest official configuration


def save_state(path: str | Path, state: State) -> None:
    """Write atomically; the file that stood there stays as `<name>.previous`."""
    # In memory first: the checksum covers what was meant, not what a failing disk made of it.
    buffer = io.BytesIO()
    torch.save(_to_tensors("state", state), buffer)
    # Before the last good state is touched: what could not be read back is not written.
    with zipfile.ZipFile(buffer) as archive:
        size = archive.getinfo("archive/data.pkl").file_size
        if size > MAX_STRUCTURE:
            raise TypeError(f"{size} bytes of single numbers and texts; a state holds long lists as arrays")
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
        return read_state(data, path)
    except (Unreadable, UserError) as reason:
        # The checksum fits: someone else's file, or one of a newer version.
        raise UserError(f"{path} cannot be read as a training state: {reason}{_way_on(path)}") from reason
    except MemoryError as error:
        raise UserError(f"{path} needs more memory than this computer has") from error


def is_complete(path: str | Path) -> bool:
    """Does the file hold what its checksum says?"""
    return Path(path).is_file() and _checked(Path(path)) is not None


def _checked(path: Path) -> bytearray | None:
    """The bytes that torch wrote, or None if they are not the ones that the checksum was made of."""
    data = bytearray(untrusted.read_file(path, _MAX_FILE))
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
    if value is None or type(value) in (bool, float, str):
        return value
    if type(value) is int and value.bit_length() <= MAX_INT_BITS:
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, bytes):
        # torch.frombuffer refuses an empty buffer.
        return {BYTES: torch.frombuffer(bytearray(value), dtype=torch.uint8) if value else torch.empty(0)}
    if isinstance(value, np.ndarray) and not value.dtype.hasobject and value.dtype.names is None:
        return {NUMPY: [value.dtype.str, list(value.shape), _to_tensors(path, value.tobytes())]}
    if type(value) is list or type(value) is tuple:
        return type(value)([_to_tensors(f"{path}[{i}]", item) for i, item in enumerate(value)])
    if isinstance(value, dict) and all(map(_is_key, value)):
        return {key: _to_tensors(f"{path}.{key}", item) for key, item in value.items()}
    raise TypeError(
        f"{path} is a {type(value).__name__}; a training state holds tensors, arrays and plain data"
    )


def _is_key(key: object) -> bool:
    return type(key) is str or (type(key) is int and abs(key) < MAX_KEY)


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
