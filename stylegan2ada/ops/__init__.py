"""Low-level operations of the networks: one public function each, several ways to compute it.

`impl='ref'` is the plainest composition of torch operations (the truth in tests), `'fast'` the tuned one,
`'compiled'` our kernels, where they are built and know the input, else `'fast'`. `use_impl` decides what
`'auto'` means in a block, `choice.use` for the rest of the process.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from stylegan2ada.errors import UserError

_KNOWN = ("auto", "ref", "fast", "compiled")
Context = Any  # of an autograd function: what setup_context puts on it, backward finds there


class VmapInfo(Protocol):
    """What torch tells the vmap rule of an autograd function."""

    batch_size: int


_auto = "fast"


def pick_impl(impl: str) -> str:
    """'ref', 'fast' or 'compiled', for what the caller asked."""
    if impl == "cuda":  # what scripts written for upstream say: the best there is
        impl = "auto"
    if impl not in _KNOWN:
        raise UserError(
            f"impl={impl!r} is not an implementation of this operation; use one of {', '.join(_KNOWN)}"
        )
    return _auto if impl == "auto" else impl


@contextmanager
def use_impl(impl: str) -> Iterator[None]:
    """Within the block, `impl='auto'` means `impl`. Backward passes keep what their forward pass chose."""
    global _auto
    before, _auto = _auto, pick_impl(impl)
    try:
        yield
    finally:
        _auto = before


def set_default(impl: str) -> None:
    """From now on `impl='auto'` means `impl`."""
    global _auto
    _auto = pick_impl(impl)
