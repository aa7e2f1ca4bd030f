"""CIFAR-10 and MNIST as they are published -> uint8 images and their classes; nothing in them is executed."""

from __future__ import annotations

import gzip
import io
import math
import pickle
import pickletools
import struct
import tarfile
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from stylegan2ada.errors import UserError
from stylegan2ada.untrusted import MIB, Readable, open_regular, read_bounded, read_gzip

_CLASSES = 256  # a byte's; both sets have ten
_CIFAR_BATCHES = tuple(f"cifar-10-batches-py/data_batch_{number}" for number in range(1, 6))
_CIFAR_MIB, _BATCH_MIB, _MNIST_MIB = 256, 64, 64  # unpacked; the published ones have 178, 30 and 45
_MOST_OPERATIONS = 400_000  # of a batch's pickle, which needs 120,000
# Data, and calls of the inert functions below; no sets, no dictionaries but those that check their keys,
# no long integers: their hashing can be made slow.
_OPERATIONS = set(
    "PROTO STOP FRAME MARK NONE BININT BININT1 BININT2 BINFLOAT NEWTRUE NEWFALSE EMPTY_DICT EMPTY_LIST "
    "EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 APPEND APPENDS SETITEM SETITEMS LIST BINPUT LONG_BINPUT BINGET "
    "LONG_BINGET MEMOIZE GLOBAL STACK_GLOBAL REDUCE BUILD STRING BINSTRING SHORT_BINSTRING BINUNICODE "
    "SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8".split()
)


class DamagedError(Exception):
    """Why the download cannot be used, for a sentence."""


# CIFAR-10.


def read_cifar(path: str) -> tuple[np.ndarray, list[int]]:
    """uint8 [N, 32, 32, 3] and classes of the five training batches; the test batch is left for testing."""
    pixels, labels = [], []
    try:
        found = _members(path)
        for name in _CIFAR_BATCHES:
            if name not in found:
                raise DamagedError(f"it lacks {name}")
            batch = _read_batch(found.pop(name))
            pixels.append(batch["data"].read().reshape(-1, 3, 32, 32))
            classes = [_as_class(label) for label in batch["labels"]]
            if len(classes) != len(pixels[-1]):
                raise DamagedError(f"{name} has {len(pixels[-1])} images but {len(classes)} labels")
            labels += classes
    except (DamagedError, UserError) as error:
        raise DamagedError(f"not the CIFAR-10 archive ({error})") from error
    except Exception as damage:  # tarfile and pickle fail in whatever way the bytes lead them
        raise DamagedError(f"not the CIFAR-10 archive ({type(damage).__name__}: {damage})") from damage
    # Stored plane by plane, [N, 3, 32, 32]; images here have channels last.
    return np.concatenate(pixels).transpose(0, 2, 3, 1), labels


def _members(path: str) -> dict[str, bytes]:
    """The batches, in one pass: what an archive unpacks to is limited as a whole, too."""
    found = {}
    with open_regular(path) as file, gzip.open(file) as unpacked:
        limited: Any = _Limited(unpacked, _CIFAR_MIB * MIB)
        with tarfile.open(fileobj=limited, mode="r|") as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.name in _CIFAR_BATCHES else None
                if stream is not None:
                    found[member.name] = read_bounded(stream, _BATCH_MIB * MIB, member.name)
    return found


class _Limited:
    """A stream that fails beyond so many bytes."""

    def __init__(self, stream: Readable, limit: int) -> None:
        self._stream, self._left = stream, limit

    def read(self, size: int) -> bytes:
        content = self._stream.read(min(size, self._left + 1))
        self._left -= len(content)
        if self._left < 0:
            raise DamagedError(f"it unpacks to more than {_CIFAR_MIB} MiB")
        return content


def _read_batch(content: bytes) -> dict[str, Any]:
    """The dictionary of one batch, once its pickle is known to be made of plain data."""
    for count, (operation, _, _) in enumerate(pickletools.genops(content)):
        if operation.name not in _OPERATIONS or count >= _MOST_OPERATIONS:
            raise DamagedError(f"its pickle uses {operation.name} as CIFAR-10 does not")
    # Written by Python 2, whose byte strings survive only as latin1.
    batch = _PlainData(io.BytesIO(content), encoding="latin1").load()
    if not isinstance(batch, dict) or not isinstance(batch.get("data"), _Array):
        raise DamagedError("a batch without pixels")
    return batch


class _PlainData(pickle._Unpickler):
    """Arrays and byte strings, as records of our own; numpy's own unpickling trusts what it reads.

    In Python and not in C, where a number in the file says how much memory is taken.
    """

    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, file: io.BytesIO, *, encoding: str) -> None:
        super().__init__(file, encoding=encoding)
        self._left = len(file.getbuffer())  # bytes that may come out of `encode`

    def load_setitems(self) -> None:
        self._set(self.pop_mark())

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def _set(self, items: list[object]) -> None:
        # Texts only: hashing nested tuples can take exponential time.
        if not all(type(key) is str for key in items[::2]) or type(self.stack[-1]) is not dict:
            raise pickle.UnpicklingError("a key that is no text")
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    dispatch[pickle.SETITEMS[0]] = load_setitems
    dispatch[pickle.SETITEM[0]] = load_setitem

    def find_class(self, module: str, name: str) -> object:
        # numpy's private module is called otherwise since 2.0.
        known = {
            ("numpy.core.multiarray", "_reconstruct"): lambda *_: _Array(),
            ("numpy._core.multiarray", "_reconstruct"): lambda *_: _Array(),
            ("numpy", "ndarray"): "ndarray",  # only an argument
            ("numpy", "dtype"): lambda code, *_: _Type(code),
            ("_codecs", "encode"): self._encode,  # Python 3 spells bytes so in protocol 2
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in it")
        return known[module, name]

    def _encode(self, text: str, encoding: str) -> bytes:
        self._left -= len(text)  # said again and again of one text it would fill the memory
        if encoding != "latin1" or self._left < 0:
            raise pickle.UnpicklingError("text is encoded as CIFAR-10 does not")
        return text.encode("latin1")


class _Type:
    """An element type by its code; its state says nothing more that matters for bytes."""

    def __init__(self, code: object) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        pass


class _Array:
    """(version, shape, type, Fortran order?, bytes), believed once they fit together."""

    def __init__(self) -> None:
        self._state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._state = state

    def read(self) -> np.ndarray:
        _, shape, kind, is_fortran, content = self._state
        if not isinstance(kind, _Type) or kind.code not in ("u1", "|u1") or len(shape) > 4:
            raise DamagedError("pixels that are not bytes")
        content = content.encode("latin1") if isinstance(content, str) else content
        return np.frombuffer(content, np.uint8).reshape(shape, order="F" if is_fortran else "C")


# MNIST.


def read_mnist(path: str, label_path: str) -> tuple[np.ndarray, list[int]]:
    """uint8 [N, 32, 32], the digits of 28x28 with black around, and their classes."""
    digits, labels = _read_idx(path), _read_idx(label_path)
    if digits.ndim != 3 or digits.shape[1:] != (28, 28) or labels.shape != digits.shape[:1]:
        raise DamagedError(f"it holds {digits.shape} pixels and {labels.shape} labels, not MNIST")
    return np.pad(digits, [(0, 0), (2, 2), (2, 2)]), labels.tolist()


def _read_idx(path: str) -> np.ndarray:
    """uint8 array of an IDX file: 0, 0, 8 for bytes, number of axes, big-endian lengths, then the data."""
    try:
        content = read_gzip(path, _MNIST_MIB * MIB)
    except UserError as error:
        raise DamagedError(str(error)) from error
    axes = content[3] if content[:3] == b"\0\0\x08" and len(content) > 3 else 0
    shape = struct.unpack(f">{axes}I", content[4 : 4 + 4 * axes]) if len(content) >= 4 + 4 * axes else ()
    # The file claims its lengths: believed only if they add up exactly to its size.
    if not 0 < axes == len(shape) <= 4 or len(content) != 4 + 4 * axes + math.prod(shape):
        raise DamagedError(f"{path} is not a complete IDX file of bytes")
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * axes).reshape(shape)


def _as_class(label: object) -> int:
    if not isinstance(label, int) or not 0 <= label < _CLASSES:
        raise DamagedError(f"the class {str(label)[:40]}")
    return int(label)
