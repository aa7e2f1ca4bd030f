"""What pickles of tensors and numpy values spell, both ways, without torch's or numpy's unpickling."""

from __future__ import annotations

import io
import math
import pickle
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np
import torch

from stylegan2ada.checkpoints import official_names as names
from stylegan2ada.checkpoints.pickle_machine import Budget, Global, Unreadable, Vocabulary, read_pickle, shown

# torch's older file layout: magic number, layout version, system facts, the object, its storage keys (five
# pickles), then per storage a 64-bit count and the raw elements.
_MAGIC = 0x1950A86A20F9469CFC6C
_LAYOUT = 1001
_SYSTEM = {
    "protocol_version": _LAYOUT,
    "little_endian": True,
    "type_sizes": {"short": 2, "int": 4, "long": 4},
}
_STORAGE_NAMES = {dtype: name for name, dtype in names.STORAGE_DTYPES.items()}
_NUMPY_CODES = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"}
_MAX_DIMENSIONS = 8
_MAX_BESIDE_0 = 2**24  # product of the other sides of a tensor without elements: nothing in a file backs them


@dataclass(frozen=True)
class _StorageClass:
    """What a persistent id says about the one storage of a file."""

    dtype: torch.dtype
    key: str


def _storage_class(identity: object) -> _StorageClass:
    # ("storage", class, key, place, number of elements, ...); the last ones are not believed.
    if type(identity) is not tuple or len(identity) < 5 or identity[0] != "storage":
        raise Unreadable("a tensor storage in it is not described as one")
    token, key = identity[1], identity[2]
    if not isinstance(token, Global) or type(key) is not str:
        raise Unreadable("a tensor storage in it has no element type")
    return _StorageClass(names.STORAGE_DTYPES[token.name[1]], key)


_STORAGE_VOCABULARY = Vocabulary(
    calls={},
    instances={},
    tokens=frozenset(("torch", name) for name in names.STORAGE_DTYPES),
    persistent=_storage_class,
)


def read_storage(data: object, budget: Budget | None = None) -> torch.Tensor:
    """The elements of one pickled storage, 1-D; any place (cuda:0, ...) becomes the CPU."""
    if type(data) is not bytes:
        raise Unreadable(f"a tensor storage in it is given as {shown(data)}")
    stream, budget = io.BytesIO(data), budget or Budget(len(data))
    magic, layout, system, storage, keys = (
        read_pickle(stream, _STORAGE_VOCABULARY, budget) for _ in range(5)
    )
    if magic != _MAGIC or layout != _LAYOUT or type(system) is not dict:
        raise Unreadable("a tensor storage in it is not in torch's layout 1001")
    if not isinstance(storage, _StorageClass) or type(keys) is not list or keys != [storage.key]:
        raise Unreadable("a tensor storage in it holds something else than one storage")
    if system.get("little_endian") is not True:
        raise Unreadable("its tensors were written on a big-endian machine")
    header = stream.read(8)
    count = struct.unpack("<q", header)[0] if len(header) == 8 else -1
    # Compared with the bytes that are there, before any memory is taken.
    if count < 0 or count * storage.dtype.itemsize != len(data) - stream.tell():
        raise Unreadable(f"a tensor storage in it claims {count} elements of {storage.dtype} and has others")
    return _from_bytes(data[stream.tell() :], storage.dtype)


def write_storage(elements: torch.Tensor) -> bytes:
    """The bytes that `read_storage` and torch itself read back: equal elements give equal bytes."""
    assert elements.ndim == 1 and elements.is_contiguous() and elements.device.type == "cpu", elements
    # torch.save would put the memory address here as the key, so that no two files were alike.
    identity = b"(X\x07\x00\x00\x00storagectorch\n%s\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu%sNtQ." % (
        _STORAGE_NAMES[elements.dtype].encode(),
        pickle.dumps(len(elements), protocol=2)[2:-1],
    )
    plain = [pickle.dumps(value, protocol=2) for value in (_MAGIC, _LAYOUT, _SYSTEM)]
    # As bytes, for numpy knows no bfloat16.
    raw = elements.view(torch.uint8).numpy().tobytes() if len(elements) else b""
    keys = pickle.dumps(["0"], protocol=2)
    return b"".join([*plain, b"\x80\x02", identity, keys, struct.pack("<q", len(elements)), raw])


def _from_bytes(data: bytes, dtype: torch.dtype) -> torch.Tensor:
    # A copy, as tensors over immutable bytes would be a trap for whoever writes to them.
    return torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0, dtype=dtype)


def _whole_numbers(values: object) -> TypeGuard[tuple[int, ...]]:
    return type(values) is tuple and all(type(v) is int and 0 <= v < 2**31 for v in values)


def is_sane_size(size: Sequence[int]) -> bool:
    """Few sides; and where one is 0, the others are those of some network."""
    return len(size) <= _MAX_DIMENSIONS and (
        0 not in size or math.prod(n or 1 for n in size) <= _MAX_BESIDE_0
    )


def rebuild_tensor(
    storage: object,
    offset: object,
    size: object,
    stride: object,
    requires_grad: object,  # noqa: ARG001 - the reader decides about gradients
    hooks: object,  # noqa: ARG001
    metadata: object = None,  # noqa: ARG001
) -> torch.Tensor:
    """A view into a storage, after a check that it lies inside and does not repeat elements."""
    if not isinstance(storage, torch.Tensor) or storage.ndim != 1:
        raise Unreadable("a tensor in it has no storage")
    start = (offset,)
    if not (_whole_numbers(size) and _whole_numbers(stride) and _whole_numbers(start)):
        raise Unreadable("a tensor in it has a size, stride or offset that is no whole number")
    if len(size) != len(stride) or len(size) > _MAX_DIMENSIONS:
        raise Unreadable("a tensor in it has a size that does not match its stride")
    if not is_sane_size(size):
        raise Unreadable(f"a tensor in it of size {list(size)} has no elements, but huge sides")
    # With a size of 0 the sum below would count backwards.
    if 0 in size:
        return torch.empty(size, dtype=storage.dtype)
    # torch would hand out memory beyond the storage, or a huge tensor whose elements are all the same few.
    last = start[0] + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if last >= len(storage) or math.prod(size) > len(storage):
        raise Unreadable(
            f"a tensor in it of size {list(size)[:8]} reaches outside its {len(storage)} elements"
        )
    return storage.as_strided(size, stride, start[0])


def rebuild_parameter(data: object, requires_grad: object, hooks: object) -> torch.Tensor:  # noqa: ARG001
    """Parameters stay plain tensors until a module takes them in."""
    if not isinstance(data, torch.Tensor):
        raise Unreadable(f"a parameter in it is {shown(data)}")
    return data


class NumpyType:
    """A numeric numpy dtype, named by its code."""

    def __init__(self, code: object, align: object = False, copy: object = True) -> None:  # noqa: ARG002
        if type(code) is not str or code.lstrip("<|=") not in _NUMPY_CODES:
            raise Unreadable(f"it uses the numpy type {shown(code)}")
        # The file's byte order, whatever this machine's is.
        self.dtype = np.dtype(code.lstrip("<|=")).newbyteorder("<")

    def set_state(self, state: object) -> None:
        """(version, byte order, ...); no other entry matters for plain numbers."""
        if type(state) is not tuple or len(state) < 2 or state[1] not in ("<", "|", "=", ">"):
            raise Unreadable("it describes a numpy type that is no plain number")
        if state[1] == ">":
            raise Unreadable("its arrays were written on a big-endian machine")


class NumpyArray:
    """An array that is created empty and then filled, as numpy pickles them."""

    def __init__(self, kind: object, shape: object, code: object) -> None:  # noqa: ARG002
        if not isinstance(kind, Global) or kind.name != names.NUMPY_NDARRAY:
            raise Unreadable("it builds a numpy array of an unknown kind")
        self.array: np.ndarray | None = None

    def set_state(self, state: object) -> None:
        """(version, shape, dtype, Fortran order?, bytes)."""
        if type(state) is not tuple or len(state) != 5:
            raise Unreadable("it fills a numpy array with something else than an array's content")
        _, shape, dtype, is_fortran, data = state
        if not isinstance(dtype, NumpyType) or not _whole_numbers(shape) or type(data) is not bytes:
            raise Unreadable("it fills a numpy array with something else than plain numbers")
        if not is_sane_size(shape) or math.prod(shape) * dtype.dtype.itemsize != len(data):
            raise Unreadable("a numpy array in it has a shape that does not match its content")
        flat = np.frombuffer(data, dtype.dtype)
        # A view of the file's bytes that nobody can write to; users copy.
        self.array = flat.reshape(shape, order="F" if is_fortran else "C")


def numpy_scalar(dtype: object, data: object = None) -> float | int | bool:
    """A numpy scalar as the Python number of the same value."""
    if not isinstance(dtype, NumpyType) or type(data) is not bytes or len(data) != dtype.dtype.itemsize:
        raise Unreadable("it holds a numpy scalar that is no plain number")
    return np.frombuffer(data, dtype.dtype)[0].item()


def encode_text(text: object, encoding: object) -> bytes:
    """bytes, as protocols below 3 spell them."""
    if type(text) is not str or encoding != "latin1":
        raise Unreadable("it encodes text in a way that pickles of networks do not")
    return text.encode("latin1")


def empty_dict(*arguments: object) -> dict[object, object]:
    """A dictionary whose items follow by opcodes of their own, which check the keys."""
    if arguments:
        raise Unreadable("it creates a dictionary from something else than its items")
    return {}
