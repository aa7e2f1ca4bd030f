"""Networks -> pickles that the original's own loader runs, copies, re-saves and resumes from.

The encoder is our own: Python's pickler would import the original's packages to name them, and would let
object identities leak into the file. Here equal networks give equal bytes.
"""

from __future__ import annotations

import functools
import inspect
import math
import pickle
import struct
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import nn

from stylegan2ada.checkpoints import official_names as names
from stylegan2ada.checkpoints.pickle_machine import Global, Unreadable
from stylegan2ada.checkpoints.pickle_tensors import write_storage

# Set on modules by the machine that runs them; no part of the network.
_LEFT_OUT = frozenset({"precision", "layout", "_compiled_call_impl"})


def write_official(networks: Mapping[str, object], file: BinaryIO) -> None:
    """Write the dict as upstream lays it out; a card is an extra key, which upstream ignores."""
    content: dict[str, object] = {key: networks.get(key) for key in names.TOP_LEVEL_KEYS}
    if networks.get("card"):
        content["card"] = networks["card"]
    encoder = _Encoder(file)
    # Protocol 4 is the first with MEMOIZE, STACK_GLOBAL and short texts.
    file.write(b"\x80\x04")
    encoder.put("", content)
    file.write(pickle.STOP)


class _Encoder:
    """Protocol 4 without frames. Texts and globals are stored once; nothing else is shared."""

    def __init__(self, file: BinaryIO) -> None:
        self.write = file.write
        self.known: dict[object, int] = {}
        self.writers: dict[type, Callable[[str, Any], None]] = {  # Any: of the type that is its key
            type(None): lambda _, value: self._raw(pickle.NONE),
            bool: lambda _, value: self._raw(pickle.NEWTRUE if value else pickle.NEWFALSE),
            int: lambda _, value: self._raw(_int(value)),
            float: lambda _, value: self._raw(pickle.BINFLOAT + struct.pack(">d", value)),
            str: lambda _, value: self._once(value, lambda: self._raw(_text(value))),
            bytes: lambda _, value: self._raw(_bytes(value)),
            list: self._list,
            tuple: self._tuple,
            set: self._set,
            dict: self._dict,
            OrderedDict: self._ordered_dict,
            Global: self._global,
            torch.Tensor: self._tensor,
            nn.Parameter: self._parameter,
        }

    def put(self, path: str, value: object) -> None:
        """Write one value; `path` names it if it cannot be written."""
        if isinstance(value, nn.Module):
            return self._module(path, value)
        if isinstance(value, np.generic):
            value = value.item()  # upstream stores numpy scalars; numpy 1 and 2 cannot read each other's
        # The nearest known base: a bool is also an int, a Parameter also a Tensor.
        kind = next((kind for kind in type(value).__mro__ if kind in self.writers), None)
        if kind is None:
            raise Unreadable(f"{path} is a {type(value).__name__}, which a network file cannot hold")
        return self.writers[kind](path, value)

    def _raw(self, data: bytes) -> None:
        self.write(data)

    def _once(self, value: object, write: Callable[[], None]) -> None:
        # By value, not by identity: whether two equal texts are one object depends on how a run came about.
        index = self.known.get(value)
        if index is None:
            write()
            # A reader numbers its memo by order, and so do we.
            self.write(pickle.MEMOIZE)
            self.known[value] = len(self.known)
        else:
            self.write(pickle.LONG_BINGET + struct.pack("<I", index))

    def _list(self, path: str, value: list[object]) -> None:
        self.write(pickle.EMPTY_LIST + pickle.MARK)
        for item in value:
            self.put(path, item)
        self.write(pickle.APPENDS)

    def _tuple(self, path: str, value: tuple[object, ...]) -> None:
        self.write(pickle.MARK)
        for item in value:
            self.put(path, item)
        self.write(pickle.TUPLE)

    def _set(self, path: str, value: set[str]) -> None:
        self.write(pickle.EMPTY_SET + pickle.MARK)
        for item in sorted(value):  # sets of texts have another order in every process
            self.put(path, item)
        self.write(pickle.ADDITEMS)

    def _dict(self, path: str, value: dict[str, object]) -> None:
        self.write(pickle.EMPTY_DICT)
        self._items(path, value)

    def _ordered_dict(self, path: str, value: OrderedDict[str, object]) -> None:
        self._call(path, names.ORDERED_DICT, ())
        self._items(path, value)

    def _items(self, path: str, value: dict[str, object]) -> None:
        self.write(pickle.MARK)
        for key, item in value.items():
            self.put(path, key)
            self.put(f"{path}.{key}" if path else str(key), item)
        self.write(pickle.SETITEMS)

    def _global(self, path: str, token: Global) -> None:
        def write() -> None:
            for part in token.name:
                self.put(path, part)
            self.write(pickle.STACK_GLOBAL)

        self._once(token, write)

    def _call(self, path: str, name: names.Name, arguments: tuple[object, ...]) -> None:
        self.put(path, Global(name))
        self.put(path, arguments)
        self.write(pickle.REDUCE)

    def _tensor(self, path: str, value: torch.Tensor) -> None:
        value = value.detach().cpu()
        order = list(range(value.ndim))
        if not value.is_contiguous():  # axes as they lie in memory: keeps channels-last
            step = value.stride()
            # Slowest axis first.
            order.sort(key=lambda axis: -step[axis])
        in_memory = value.permute(order).contiguous()
        elements = in_memory.reshape(-1)
        # In elements: the product of all axes that vary faster in the copy.
        stride = tuple(math.prod(in_memory.shape[order.index(axis) + 1 :]) for axis in range(value.ndim))
        self.put(path, Global(names.TENSOR))
        self.write(pickle.MARK)
        # A storage of its own for each tensor: a view would drag along all that it looks into.
        self._call(path, names.STORAGE, (write_storage(elements),))
        # Offset, size, stride, requires_grad, hooks: the arguments of torch's rebuild function.
        rest: tuple[object, ...] = (0, tuple(value.shape), stride, False, OrderedDict())
        for part in rest:
            self.put(path, part)
        self.write(pickle.TUPLE + pickle.REDUCE)

    def _parameter(self, path: str, value: nn.Parameter) -> None:
        self.put(path, Global(names.PARAMETER))
        self.write(pickle.MARK)
        self._tensor(path, value.data)
        # requires_grad and hooks, as torch's rebuild function takes them.
        self.put(path, False)
        self.put(path, OrderedDict())
        self.write(pickle.TUPLE + pickle.REDUCE)

    def _module(self, path: str, module: nn.Module) -> None:
        # The original's loader runs `module_src`, makes a `class_name` without its constructor and
        # gives it `state`: that must be complete, and hold nothing that only our classes know.
        record = {
            "type": names.RECORD_TYPE,
            "version": names.RECORD_VERSION,
            "module_src": source_text(path, type(module)),
            "class_name": type(module).__name__,
            "state": exported_state(module),
        }
        self._call(path, names.RECONSTRUCT, (record,))


def source_text(path: str, cls: type) -> str:
    """The complete text of the file that defines one of our portable classes."""
    # A subclass, or a namesake elsewhere, would travel with a text that does not define it.
    if names.CLASS_HOMES.get(cls.__name__) != cls.__module__:
        raise Unreadable(
            f"{path} is a {cls.__module__}.{cls.__name__}; "
            f"only classes of {' and '.join(_homes())} travel in files"
        )
    return _text_of(cls.__module__)


@functools.cache  # a long run whose source is edited meanwhile keeps writing the text that it started with
def _text_of(module: str) -> str:
    return inspect.getsource(sys.modules[module])


def _homes() -> list[str]:
    return sorted(set(names.CLASS_HOMES.values()))


def exported_state(module: nn.Module) -> dict[str, object]:
    """The instance's attributes as they travel: eval mode, no hooks, nothing that belongs to this machine."""
    state: dict[str, object] = {}
    for name, value in vars(module).items():
        if name in _LEFT_OUT:
            continue
        # Whatever kinds of hooks this torch has: they are functions of this process.
        state[name] = OrderedDict() if "_hooks" in name and isinstance(value, dict) else value
    return state | {"training": False, "_is_full_backward_hook": None}


def _int(value: int) -> bytes:
    # Less the two bytes of the header and the final STOP.
    return pickle.dumps(value, protocol=2)[2:-1]


def _text(value: str) -> bytes:
    # As Python's own pickler: a lone surrogate must not end in an error.
    data = value.encode("utf-8", "surrogatepass")
    if len(data) < 256:
        return pickle.SHORT_BINUNICODE + struct.pack("<B", len(data)) + data
    return pickle.BINUNICODE + struct.pack("<I", len(data)) + data


def _bytes(value: bytes) -> bytes:
    if len(value) < 2**32:
        return pickle.BINBYTES + struct.pack("<I", len(value)) + value
    return pickle.BINBYTES8 + struct.pack("<Q", len(value)) + value
