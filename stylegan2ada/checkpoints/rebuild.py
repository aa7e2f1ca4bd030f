"""Descriptions of networks (class name, arguments, tensors) -> our modules, and back."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from stylegan2ada.checkpoints import official_names as names
from stylegan2ada.checkpoints.pickle_machine import Unreadable, shown
from stylegan2ada.protocols import Networks, Options

_MAX_INT = 2**24
_MAX_OF = {"img_resolution": 2**14, "num_layers": 256}
_MAX_LIST = 64  # e.g. taps of a filter
_KINDS: dict[str, tuple[type, ...]] = {  # annotation in a constructor -> what a file may hold there
    "int": (int,), "float": (int, float), "bool": (bool, int), "str": (str,), "None": (type(None),),
    "Sequence[float]": (list, tuple), "_Options": (dict,),
}  # fmt: skip


@dataclass(frozen=True)
class Description:
    """All there is to know about a network, without code."""

    class_name: str
    init_args: tuple[Any, ...]
    init_kwargs: Options
    tensors: dict[str, torch.Tensor]  # by state-dict key
    class_names: dict[str, str] = field(default_factory=dict)  # by module path, where the file says so


def find_class(class_name: str) -> type[nn.Module]:
    """Our class of that name."""
    home = names.CLASS_HOMES.get(class_name)
    if home is None:
        raise Unreadable(f"it holds a network of class {shown(class_name)}, which this program does not have")
    return getattr(importlib.import_module(home), class_name)


def assemble(described: Iterable[tuple[str, Description]]) -> Networks:
    """Networks by entry (G, D, G_ema, augment_pipe), None where not described; no facts beside them."""
    built = {entry: build(entry, description) for entry, description in described}
    modules = {entry: built.get(entry) for entry in names.ENTRY_CLASSES}
    # `build` has checked that each is of its entry's class.
    return cast(Networks, {**modules, "training_set_kwargs": None, "card": None})


def build(entry: str, description: Description) -> nn.Module:
    """The module `entry` (G, D, ...): eval mode, CPU, no gradients, values and memory layout as described."""
    expected = names.ENTRY_CLASSES[entry]
    if description.class_name != expected:
        raise Unreadable(f"its {entry} is of class {shown(description.class_name)} instead of {expected}")
    # Before construction: a constructor believes any size it is given.
    check_arguments(entry, description)
    module = construct(entry, description)
    # The arguments alone decide the structure here; a file whose own modules differ would compute otherwise.
    for path, child in module.named_modules():
        recorded = description.class_names.get(path, type(child).__name__)
        if recorded != type(child).__name__:
            raise Unreadable(
                f"{entry}.{path} in it is a {shown(recorded)} instead of a {type(child).__name__}"
            )
    fill(entry, module, description.tensors)
    return module.eval().requires_grad_(False)


def describe_module(module: nn.Module) -> Description:
    """The inverse of `build`; tensors are the module's own, on the CPU."""
    if type(module).__name__ not in names.CLASS_HOMES or not hasattr(module, "_init_kwargs"):
        raise Unreadable(f"a {type(module).__name__} is not a network that files can hold")
    tensors = {key: value.detach().cpu() for key, value in module.state_dict().items()}
    recorded: Any = module  # by persistent_class
    return Description(type(module).__name__, recorded._init_args, recorded._init_kwargs, tensors)


# Constructor arguments


def check_arguments(entry: str, description: Description) -> None:
    """Every argument, nested ones included, is one of our constructors' and of a sane size."""
    cls = find_class(description.class_name)
    known = argument_names(cls)
    if len(description.init_args) > len(known):
        raise Unreadable(
            f"its {entry} was built with {len(description.init_args)} arguments; known are {known}"
        )
    # Positional ones by name, too: limits and nested options go by names.
    given = {**dict(zip(known, description.init_args, strict=False)), **description.init_kwargs}
    check_keywords(entry, cls.__name__, given)


def check_keywords(path: str, class_name: str, given: Options) -> None:
    """The same for keyword arguments alone, e.g. of an options file."""
    _check_each(path, given, _arguments_of(class_name))
    for name, value in given.items():
        # Options are handed down through several constructors: each name must be known to one of them.
        inner: dict[str, str] = {}
        for inner_class in names.NESTED_ARGUMENTS.get(name, ()):
            inner |= _arguments_of(inner_class)
        if name in names.NESTED_ARGUMENTS:
            _check_each(f"{path}.{name}", value, inner)


def argument_names(cls: type[nn.Module]) -> list[str]:
    """The constructor's arguments in order, without self and without collected keywords."""
    return list(_arguments_of(cls.__name__))


@functools.cache
def _arguments_of(class_name: str) -> dict[str, str]:
    """{name: annotation}"""
    parameters = inspect.signature(find_class(class_name)).parameters.values()
    return {p.name: str(p.annotation) for p in parameters if p.kind is not p.VAR_KEYWORD}


def _check_each(path: str, given: Options, known: Mapping[str, str]) -> None:
    for name, value in given.items():
        if name not in known:
            raise Unreadable(
                f"its network was built with the argument {shown(f'{path}.{name}')}, "
                "which the original does not have"
            )
        kinds = tuple(kind for part in known[name].split(" | ") for kind in _KINDS[part])
        limit = _MAX_OF.get(name, _MAX_INT)
        is_stray = isinstance(value, bool) and bool not in kinds  # True is an int to Python, and no size
        if (
            is_stray
            or not isinstance(value, kinds)
            or not _is_sane(value, limit, is_count="int" in known[name])
        ):
            raise Unreadable(
                f"its network was built with {shown(f'{path}.{name}')} = {shown(value)}, which no network has"
            )


def _is_sane(value: object, limit: int, *, is_count: bool, depth: int = 0) -> bool:
    if isinstance(value, int | float):
        # Spelt so that NaN fails, too.
        return (0 if is_count else -limit) <= value <= limit
    if isinstance(value, list | tuple):  # a filter: taps, or rows of them
        return len(value) <= _MAX_LIST and all(
            isinstance(item, int | float | list | tuple)
            and depth < 2
            and _is_sane(item, limit, is_count=False, depth=depth + 1)
            for item in value
        )
    return not isinstance(value, str) or len(value) <= _MAX_LIST


# Construction without memory


class _OnMeta(TorchFunctionMode):
    """New weights get a shape but no memory, so that claimed sizes cost nothing until tensors back them."""

    # Arithmetic and most factories on "meta" would import sympy, which takes a second: neither is needed.
    _factories = frozenset({torch.randn, torch.zeros, torch.ones, torch.full, torch.empty})
    _in_place = frozenset({torch.Tensor.div_, torch.Tensor.mul_, torch.Tensor.fill_})

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: tuple[type, ...],
        args: tuple[Any, ...] = (),
        kwargs: Options | None = None,
    ) -> Any:
        if func in self._factories and args and isinstance(args[0], list | tuple):
            return torch.empty(args[0], device="meta")
        # Initial values do not matter: the file's tensors take their place.
        if func in self._in_place and args[0].is_meta:
            return args[0]
        return func(*args, **(kwargs or {}))


def construct(entry: str, description: Description) -> nn.Module:
    """The module with shapes but no values; filters, which follow from the arguments, are real."""
    cls = find_class(description.class_name)
    try:
        if description.class_name == "AugmentPipe":  # of fixed size, and its filters are computed on the way
            return cls(*description.init_args, **description.init_kwargs)
        with _OnMeta():
            return cls(*description.init_args, **description.init_kwargs)
    except Exception as error:  # the arguments come from a file: any complaint means that they do not fit
        raise Unreadable(
            f"its {entry} cannot be built from its recorded arguments "
            f"({type(error).__name__}: {shown(str(error))})"
        ) from error


def fill(entry: str, module: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Give a module exactly these tensors (copied); one missing, left over or misshapen is an error."""
    wanted = set(module.state_dict())
    # Neither may differ: a lacking tensor would stay noise, a stray one belongs to another network.
    for kind, keys in (("lacks", wanted - tensors.keys()), ("has the unknown", tensors.keys() - wanted)):
        if keys:
            raise Unreadable(f"its {entry} {kind} tensor {shown(min(keys))} (and {len(keys) - 1} others)")
    # Not load_state_dict: on "meta" there is nothing to copy into, and the file decides about the types.
    for path, child in module.named_modules():
        for part in (child._parameters, child._buffers):
            for name, place in part.items():
                key = f"{path}.{name}" if path else name
                # Buffers that no file holds keep what the constructor computed.
                if place is not None and key in wanted:
                    part[name] = _placed(f"{entry}.{key}", place, tensors[key])


def _placed(path: str, place: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    if place.shape != value.shape:
        raise Unreadable(
            f"the tensor {path} in it is of size {list(value.shape)} instead of {list(place.shape)}"
        )
    # Width may differ (half for single), kind may not.
    if place.is_floating_point() != value.is_floating_point():
        raise Unreadable(f"the tensor {path} in it holds {value.dtype} instead of {place.dtype}")
    # The layout is the constructor's (channels-last for some half-precision blocks), the type the file's.
    copy = torch.empty_strided(place.shape, place.stride(), dtype=value.dtype).copy_(value.detach())
    return nn.Parameter(copy, requires_grad=False) if isinstance(place, nn.Parameter) else copy
