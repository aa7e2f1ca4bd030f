"""Names for what plugs in (losses, terms, samplers); what a name stands for is imported when chosen."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from stylegan2ada.errors import UserError


class Registry:
    """A table of names; anything with a dot is an import path and needs no entry."""

    def __init__(self, kind: str) -> None:
        self.kind = kind  # for sentences: "loss 'x' is not known"
        self.table: dict[str, str] = {}

    def register(self, name: str, target: str) -> None:
        """Let `name` mean the class or function at "package.module:Name"; the same name again replaces it.

        >>> sg.register_loss("mine", "stylegan2ada.losses.stylegan2:StyleGAN2Loss")  # for --loss=mine
        >>> sg.register_term("exposure", "my_term:factory")  # for --term=exposure:0.1; imported when chosen
        """
        assert ":" in target, f"{target!r}: write package.module:Class"
        assert "." not in name and ":" not in name, (
            f"{name!r}: dots and colons are kept for import paths and weights"
        )
        self.table[name] = target

    def names(self) -> list[str]:
        return sorted(self.table)

    def is_import_path(self, name: str) -> bool:
        """Whether `find` would import what the name itself says, and not what was registered for it."""
        return name not in self.table and ("." in name or ":" in name)

    def find(self, name: str) -> Callable[..., Any]:
        """What a registered name or an import path such as "package.module.Class" stands for.

        >>> sg.find_loss("wgan-gp") is sg.StyleGAN2Loss
        True
        """
        target = self.table.get(name, name)
        if "." not in target and ":" not in target:
            known = ", ".join(self.names()) or "none"
            raise UserError(
                f"{self.kind} {name!r} is not known; use one of: {known}, "
                "or an import path such as my_package.Name"
            )
        module_name, _, attribute = target.rpartition(":" if ":" in target else ".")
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
                raise  # the module is there; something that it imports is missing
            raise UserError(
                f"{self.kind} {name!r}: module {module_name} cannot be found; is its folder on PYTHONPATH?"
            ) from error
        if not callable(found := getattr(module, attribute, None)):
            raise UserError(
                f"{self.kind} {name!r}: module {module_name} has no class or function {attribute}"
            )
        return found


def accepts(make: Callable[..., Any], *values: object, **named: object) -> bool:
    """Whether it can be called like this, as far as its signature tells; nothing is called."""
    try:
        inspect.signature(make).bind(*values, **named)
    except (TypeError, ValueError):  # ValueError: a builtin that shows no signature
        return False
    return True
