"""torch's zip file of a training state -> plain data and tensors, by our own pickle reader.

torch's safe loader runs no code, but a small file can make it take all memory: packed members, functions
called again and again on one large text, containers that contain each other.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stylegan2ada import untrusted
from stylegan2ada.checkpoints import official_names as names
from stylegan2ada.checkpoints.pickle_machine import Budget, Global, Unreadable, Vocabulary, read_pickle, shown
from stylegan2ada.checkpoints.pickle_tensors import empty_dict, is_sane_size, rebuild_tensor
from stylegan2ada.official_names import Name

MAX_STRUCTURE = (
    8 << 20
)  # bytes of the pickle: single numbers and texts; the elements of tensors lie beside it
BYTES, NUMPY = "<bytes>", "<numpy>"  # keys of stand-ins: torch's safe loader knows neither type
_MAX_DEPTH = 100
_UNTYPED: Name = ("torch.storage", "UntypedStorage")
_STORAGES: dict[Name, torch.dtype] = {
    **{("torch", name): dtype for name, dtype in names.STORAGE_DTYPES.items()},
    ("torch", "BoolStorage"): torch.bool,
    ("torch", "ComplexFloatStorage"): torch.complex64,
    ("torch", "ComplexDoubleStorage"): torch.complex128,
    _UNTYPED: torch.uint8,
}
# Types without a storage class of their own: their tensors name them.
_NEWER: dict[Name, torch.dtype] = {
    ("torch", name): getattr(torch, name)
    for name in ("uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2")
}
_TENSOR_OF_TYPE: Name = ("torch._utils", "_rebuild_tensor_v3")


def read_state(data: bytes | bytearray, path: Path) -> dict[str, Any]:
    """What was saved; Unreadable or UserError for anything that our own writer does not write."""
    with untrusted.zip_of(io.BytesIO(data), path) as archive:
        members = archive.infolist()
        # torch stores members as they are: packed ones, or one content under many names, could be bombs.
        if any(m.compress_type != zipfile.ZIP_STORED for m in members) or (
            sum(m.file_size for m in members) > len(data)
        ):
            raise Unreadable("its members claim more than the file holds")
        structures = [m.filename for m in members if m.filename.endswith("/data.pkl")]
        if len(structures) != 1:
            raise Unreadable("it does not hold one structure")
        root = structures[0].removesuffix("data.pkl")
        if (root + "byteorder") in archive.namelist():
            if untrusted.read_member(archive, root + "byteorder", 16) != b"little":
                raise Unreadable("it was written on a big-endian machine")
        pickled = untrusted.read_member(archive, structures[0], MAX_STRUCTURE)
        budget = Budget(len(data), steps=len(pickled))  # an operation takes a byte at least
        stream = io.BytesIO(pickled)
        value = read_pickle(stream, _vocabulary(_Storages(archive, root)), budget)
    if type(value) is not dict:
        raise Unreadable(f"it holds {shown(value)} instead of a state")
    # As many values as there were operations: what is more is the same container over and over.
    return _Copy(len(pickled)).of(value)


class _Storages:
    """The elements of tensors, by their key; each is read once."""

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        self.archive, self.root = archive, root
        self.read: dict[str, torch.Tensor] = {}

    def __call__(self, identity: object) -> torch.Tensor:
        # ("storage", class, key, place, number of elements); the last two are not believed.
        if type(identity) is not tuple or len(identity) != 5 or identity[0] != "storage":
            raise Unreadable("a tensor storage in it is not described as one")
        token, key = identity[1], identity[2]
        dtype = _STORAGES.get(token.name) if isinstance(token, Global) else None
        if dtype is None or type(key) is not str:
            raise Unreadable("a tensor storage in it has no element type")
        if key not in self.read:
            # Members are no larger than the file, all in all.
            content = untrusted.read_member(self.archive, f"{self.root}data/{key}", 1 << 60)
            buffer = bytearray(content) or bytearray(dtype.itemsize)
            elements = torch.frombuffer(buffer, dtype=torch.uint8)
            self.read[key] = elements[: len(content)]
        found = self.read[key]
        if len(found) % dtype.itemsize:
            raise Unreadable(f"a tensor storage in it of {len(found)} bytes has no whole number of {dtype}")
        return found.view(dtype)


def _vocabulary(storages: _Storages) -> Vocabulary:
    return Vocabulary(
        calls={
            names.TENSOR: rebuild_tensor,
            _TENSOR_OF_TYPE: _rebuild_tensor_of_type,
            names.ORDERED_DICT: empty_dict,
        },
        instances={},
        tokens=frozenset({*_STORAGES, *_NEWER}),
        persistent=storages,
    )


def _rebuild_tensor_of_type(*arguments: object) -> torch.Tensor:
    # Storage, offset, size, stride, requires_grad, hooks, type: as for all others, with the type at the end.
    if len(arguments) not in (7, 8):
        raise Unreadable("a tensor in it is not described as one")
    storage, token = arguments[0], arguments[6]
    dtype = _NEWER.get(token.name) if isinstance(token, Global) else None
    if dtype is None or not isinstance(storage, torch.Tensor) or storage.ndim != 1:
        raise Unreadable("a tensor in it has no element type")
    if storage.nbytes % dtype.itemsize:
        raise Unreadable(f"a tensor storage in it of {storage.nbytes} bytes has no whole number of {dtype}")
    return rebuild_tensor(storage.view(torch.uint8).view(dtype), *arguments[1:6])


class _Copy:
    """A copy of nested plain data, with arrays and bytes in place of their stand-ins."""

    def __init__(self, items: int) -> None:
        self.items_left = items

    def of(self, value: Any, depth: int = 0) -> Any:
        self.items_left -= 1
        if value is None or type(value) in (bool, int, float, str) or isinstance(value, torch.Tensor):
            return value
        if depth > _MAX_DEPTH or self.items_left < 0:
            raise Unreadable("its values are nested too deeply, or contain each other")
        if type(value) in (list, tuple):
            return type(value)([self.of(item, depth + 1) for item in value])
        if type(value) is not dict:
            raise Unreadable(f"it holds {shown(value)}")
        if value.keys() == {BYTES}:
            return _bytes(value[BYTES])
        if value.keys() == {NUMPY}:
            return _array(value[NUMPY])
        return {key: self.of(item, depth + 1) for key, item in value.items()}


def _bytes(value: object) -> bytes:
    # An empty one is of another type: torch.frombuffer refuses an empty buffer.
    if not isinstance(value, torch.Tensor) or value.ndim != 1 or (len(value) and value.dtype != torch.uint8):
        raise Unreadable(f"it holds {shown(value)} where bytes belong")
    return value.to(torch.uint8).numpy().tobytes()


def _array(value: object) -> np.ndarray:
    if type(value) is not list or len(value) != 3 or type(value[0]) is not str or type(value[2]) is not dict:
        raise Unreadable("an array in it is not described as one")
    code, shape, data = value[0], value[1], _bytes(value[2].get(BYTES))
    if len(code) > 12 or type(shape) is not list or not all(type(n) is int and n >= 0 for n in shape):
        raise Unreadable("an array in it has no type or no size")
    try:
        dtype = np.dtype(code)
        if dtype.hasobject or dtype.names is not None or not is_sane_size(shape):
            raise Unreadable(f"an array in it is of type {shown(code)}, size {shape[:8]}")
        # Over a bytearray, as arrays over bytes cannot be written to.
        return np.frombuffer(bytearray(data), dtype).reshape(shape)
    except (TypeError, ValueError, SyntaxError) as error:
        raise Unreadable(f"an array in it of type {shown(code)} does not fit its content") from error
