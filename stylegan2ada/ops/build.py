"""The library of compiled operations: where it is, and how it is made."""

from __future__ import annotations

from collections.abc import Callable


class Unavailable(Exception):
    """Why there is no library, in one sentence without a full stop."""


def ensure(device: str, *, may_build: bool = False, say: Callable[[str], None] = lambda line: None) -> None:
    """Load the library for a device, building it first if that is allowed; Unavailable with the reason."""
    raise Unavailable("there is no compiled library in this version")
