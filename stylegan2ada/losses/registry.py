"""Names for losses and generator terms; what a name stands for is imported only when it is chosen."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from stylegan2ada.errors import UserError

_losses: dict[str, str] = {}
_terms: dict[str, str] = {}


def register_loss(name: str, target: str) -> None:
    """Let `--loss=NAME` mean the class at "package.module:Class"; the same name again replaces it."""
    _register(_losses, name, target)


def find_loss(name: str) -> Callable[..., Any]:
    """The class of a registered name, or of an import path such as "package.module.Class"."""
    return _find(_losses, "loss", name)


def register_term(name: str, target: str) -> None:
    """Let `--term=NAME[:WEIGHT]` mean the factory at "package.module:factory"."""
    _register(_terms, name, target)


def find_term(name: str) -> Callable[..., Any]:
    """The factory of a registered term, or of an import path."""
    return _find(_terms, "term", name)


def loss_names() -> list[str]:
    return sorted(_losses)


def term_names() -> list[str]:
    return sorted(_terms)


def _register(table: dict[str, str], name: str, target: str) -> None:
    assert ":" in target, f"{target!r}: write package.module:Class"
    assert "." not in name and ":" not in name, (
        f"{name!r}: dots and colons are kept for import paths and weights"
    )
    table[name] = target


def _find(table: dict[str, str], kind: str, name: str) -> Callable[..., Any]:
    target = table.get(name, name)
    if "." not in target and ":" not in target:
        known = ", ".join(sorted(table)) or "none"
        raise UserError(
            f"{kind} {name!r} is not known; use one of: {known}, or an import path such as my_package.Name"
        )
    module_name, _, attribute = target.rpartition(":" if ":" in target else ".")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module is there; something that it imports is missing
        raise UserError(
            f"{kind} {name!r}: module {module_name} cannot be found; is its folder on PYTHONPATH?"
        ) from error
    if not callable(found := getattr(module, attribute, None)):
        raise UserError(f"{kind} {name!r}: module {module_name} has no class or function {attribute}")
    return found


for _name in ("stylegan2", "ns", "minimax", "lsgan", "wgan", "wgan-gp"):
    register_loss(_name, "stylegan2ada.losses.stylegan2:StyleGAN2Loss")
