"""Public names of a package, imported when they are first used: `import stylegan2ada` loads no torch."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from types import ModuleType


def exports(
    package: str,
    homes: Mapping[str, str],  # name: the module it lives in; "" for a name that is itself a module
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package; what was found stays in it: the next look costs nothing."""

    def find(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(homes[name] or f"{package}.{name}")
        found = getattr(module, name) if homes[name] else module
        setattr(sys.modules[package], name, found)
        return found

    return find, lambda: sorted({*vars(sys.modules[package]), *homes})


class _Command(ModuleType):
    """A module that is a command: to call it is a guess, and the answer names the function."""

    def __call__(self, *_: object, **__: object) -> object:
        raise TypeError(f"{self.__name__} is the module of a command; {vars(self)['_advice']}")


def is_command(
    module: str,  # its __name__
    advice: str,  # what to call instead
) -> None:
    """Let the module, called as if it were a function, say what to call instead."""
    found = sys.modules[module]
    found.__class__ = _Command
    vars(found)["_advice"] = advice
