"""Official network pickles -> inert records -> descriptions of networks; embedded source is never run."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from stylegan2ada.checkpoints import official_names as names
from stylegan2ada.checkpoints import pickle_tensors
from stylegan2ada.checkpoints.pickle_machine import Budget, Unreadable, Vocabulary, read_pickle, shown
from stylegan2ada.checkpoints.rebuild import Description

T = TypeVar("T")
Plain = Any  # numbers, texts, booleans, None, and lists, tuples and dicts of them
_MAX_MODULES = 1500  # per network; 1024x1024 has about 150
_MAX_NESTING = 32
_MAX_ENTRIES = 1000  # tensors, or modules, that one module holds itself
_MAX_NAME = 100  # letters of a tensor or module: longer ones would be joined into paths many times over


@dataclass(eq=False)
class Record:
    """One pickled module as it stands in the file: nothing in it has been run."""

    fields: dict[str, object]

    @property
    def class_name(self) -> str:
        return self._field("class_name", str)

    @property
    def module_src(self) -> str:
        return self._field("module_src", str)

    @property
    def state(self) -> dict[str, object]:
        return self._field("state", dict)

    def check(self) -> None:
        """Upstream's own conditions on a record."""
        version, kind = self.fields.get("version"), self.fields.get("type")
        if type(version) is not int or version != names.RECORD_VERSION:
            raise Unreadable(
                f"a network in it has record version {shown(version)} instead of {names.RECORD_VERSION}"
            )
        if kind != names.RECORD_TYPE:
            raise Unreadable(f"a network in it is recorded as {shown(kind)} instead of a class")

    def children(self) -> dict[str, object]:
        return self._part("_modules")

    def tensors(self) -> Iterator[tuple[str, object]]:
        """(name, tensor) of its own parameters and buffers that belong to the state dict."""
        # Buffers outside the state dict are the constructor's, so files need not agree about them.
        hidden = self.state.get("_non_persistent_buffers_set", set())
        for part in ("_parameters", "_buffers"):
            for name, value in self._part(part).items():
                if value is not None and not (
                    part == "_buffers" and isinstance(hidden, set) and name in hidden
                ):
                    yield name, value

    def _field(self, name: str, kind: type[T]) -> T:
        value = self.fields.get(name)
        # Nor a subclass; isinstance is there for the type checker.
        if not isinstance(value, kind) or type(value) is not kind:
            raise Unreadable(f"a network in it has {shown(value)} as its {name}")
        return value

    def _part(self, name: str) -> dict[str, object]:
        part = self.state.get(name)
        if type(part) is not dict:
            raise Unreadable(f"a {self.class_name} in it has {shown(part)} as its {name}")
        # One such dictionary can stand in every module.
        if len(part) > _MAX_ENTRIES:
            raise Unreadable(f"a {self.class_name} in it has {len(part)} {name}, more than any network")
        for key in part:
            # A dot could pose as another module's tensor once paths are joined.
            if type(key) is not str or not 0 < len(key) <= _MAX_NAME or "." in key:
                raise Unreadable(f"a {self.class_name} in it has an entry named {shown(key)}")
        return part


@dataclass(eq=False)
class TFNetwork:
    """A network of the TensorFlow era as it stands in the file."""

    fields: dict[str, object] = field(default_factory=dict)

    def set_state(self, state: object) -> None:
        # A second BUILD would mix two states.
        if type(state) is not dict or self.fields:
            raise Unreadable("a TensorFlow network in it has no plain state")
        self.fields = state


def _record(*arguments: object) -> Record:
    if len(arguments) != 1 or type(arguments[0]) is not dict:
        raise Unreadable("a network in it is recorded without its fields")
    return Record(arguments[0])


def _set(*arguments: object) -> set[str]:
    items = arguments[0] if len(arguments) == 1 else None
    if type(items) is not list or any(type(v) is not str for v in items):
        raise Unreadable("it creates a set of something else than names")
    return set(items)


_CALLS: dict[names.Name, Callable[..., object]] = {
    names.RECONSTRUCT: _record,
    names.ORDERED_DICT: pickle_tensors.empty_dict,
    names.EASY_DICT: pickle_tensors.empty_dict,
    names.PARAMETER: pickle_tensors.rebuild_parameter,
    names.TENSOR: pickle_tensors.rebuild_tensor,
    names.NUMPY_DTYPE: pickle_tensors.NumpyType,
    names.ENCODE: pickle_tensors.encode_text,
    **dict.fromkeys(names.SETS, _set),
    **dict.fromkeys(names.NUMPY_SCALARS, pickle_tensors.numpy_scalar),
    **dict.fromkeys(names.NUMPY_ARRAYS, pickle_tensors.NumpyArray),
}


def _vocabulary(budget: Budget) -> Vocabulary:
    # Storages are pickles inside the pickle: they spend from the same budget.
    read_storage = functools.partial(pickle_tensors.read_storage, budget=budget)
    return Vocabulary(
        calls={**_CALLS, names.STORAGE: read_storage},
        instances={names.EASY_DICT: dict, names.ORDERED_DICT: dict, names.TF_NETWORK: TFNetwork},
        tokens=frozenset({names.NUMPY_NDARRAY}),
    )


def read_records(data: bytes) -> dict[str, object] | tuple[object, ...]:
    """The file's dict, modules being Records; or, for TensorFlow-era files, a tuple of TFNetworks."""
    stream, budget = io.BytesIO(data), Budget(len(data))
    content = read_pickle(stream, _vocabulary(budget), budget)
    # Whatever hides behind the end would travel on unseen.
    if stream.tell() != len(data):
        raise Unreadable("it goes on after its end")
    if type(content) is dict or type(content) is tuple:
        return content
    raise Unreadable(f"it holds {shown(content)} instead of networks")


def describe(record: object, *, max_bytes: int) -> Description:
    """What our constructors need of a record: class name, arguments, tensors by state-dict key."""
    if not isinstance(record, Record):
        raise Unreadable(f"it holds {shown(record)} where a network belongs")
    tensors: dict[str, torch.Tensor] = {}
    class_names: dict[str, str] = {}
    used_bytes = 0
    pending: list[tuple[str, object, int]] = [("", record, 0)]
    while pending:  # a stack of our own: nesting in a file must not exhaust Python's
        path, module, depth = pending.pop()
        if module is None:
            continue  # an optional sub-module that is switched off
        if not isinstance(module, Record):
            raise Unreadable(f"it holds {shown(module)} where the module {path} belongs")
        # A memo lets a module contain itself: without limits this loop would not end.
        if depth > _MAX_NESTING or len(class_names) >= _MAX_MODULES:
            raise Unreadable("its modules contain each other, or are far more than any network has")
        module.check()
        class_names[path] = module.class_name
        prefix = path + "." if path else ""
        for name, value in module.tensors():
            if not isinstance(value, torch.Tensor):
                raise Unreadable(f"it holds {shown(value)} where the tensor {prefix}{name} belongs")
            used_bytes += value.numel() * value.element_size()
            if used_bytes > max_bytes:  # the same storage used over and over
                raise Unreadable("its tensors claim more than the file holds")
            tensors[prefix + name] = value
        pending.extend((prefix + name, child, depth + 1) for name, child in module.children().items())
    state = record.state
    arguments, keywords = state.get("_init_args", ()), state.get("_init_kwargs", {})
    if type(arguments) is not tuple or type(keywords) is not dict:
        raise Unreadable(f"a {record.class_name} in it does not say how it was constructed")
    return Description(record.class_name, plain(arguments), plain(keywords), tensors, class_names)


def plain(value: object) -> Plain:
    """A copy of nested plain data; anything else is refused."""
    return _Plain().copy(value)


class _Plain:
    """Bounds a copy: a small file can refer to one list so often that the copy would fill the memory."""

    def __init__(self) -> None:
        self.items_left = 100_000

    def copy(self, value: object, depth: int = 0) -> Plain:
        self.items_left -= 1
        if value is None or type(value) in (bool, int, float, str):
            return value
        if depth < 16 and self.items_left > 0:
            if type(value) is tuple or type(value) is list:
                return type(value)([self.copy(item, depth + 1) for item in value])
            # Text keys only: options become keyword arguments.
            if type(value) is dict and all(type(key) is str for key in value):
                return {key: self.copy(item, depth + 1) for key, item in value.items()}
        raise Unreadable(f"it holds {shown(value)} among its options")
