"""Plain or compiled operations, captured steps or not: settled once per process, behind `impl='auto'`.

Nothing here imports torch. What a command was asked (`auto` may stay open) becomes a settled word that a
run records: 'plain' or 'compiled', and 'on' or 'off' for captured steps.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from stylegan2ada import ops
from stylegan2ada.errors import MissingError, UserError
from stylegan2ada.ops import build

ENVIRONMENT = "SPINEGAN_OPS"  # plain or compiled: what --ops=auto means, for programs without that flag
OPS = ("auto", "plain", "compiled")
GRAPHS = ("auto", "off")


def settle(
    asked: str,  # one of OPS
    device: str,  # its type: cpu, cuda, ...
    *,
    may_build: bool = False,  # compile them now if they are not built
    say: Callable[[str], None] = lambda line: None,  # told once why 'auto' is plain, or what was built
) -> str:
    """'plain' or 'compiled'; MissingError if compiled ones were asked for and cannot be had."""
    if asked not in OPS:
        raise UserError(f"--ops={asked} is not known; use {', '.join(OPS)}")
    wanted = os.environ.get(ENVIRONMENT, "auto") if asked == "auto" else asked
    if wanted not in OPS:
        raise UserError(f"{ENVIRONMENT}={wanted} is not known; use {', '.join(OPS)}")
    if wanted == "plain":
        return "plain"
    try:
        build.ensure(device, may_build=may_build, say=say)
    except build.Unavailable as reason:
        if asked == "compiled":
            raise MissingError(f"--ops=compiled: {reason}; or give --ops=plain") from reason
        if may_build:
            say(f"Operations are plain: {reason}")
        return "plain"
    return "compiled"


def settle_graphs(asked: str, device: str) -> str:
    """'on' or 'off': steps are captured on CUDA only."""
    if asked not in (*GRAPHS, "on"):  # 'on' is what a run has recorded
        raise UserError(f"--graphs={asked} is not known; use {', '.join(GRAPHS)}")
    return "on" if asked != "off" and device == "cuda" else "off"


def use(settled: str) -> None:
    """From now on `impl='auto'` means these operations, in this process; 'auto' changes nothing."""
    if settled == "auto":
        return
    ops.set_default("compiled" if settled == "compiled" else "fast")


_records_drawings = False


def use_for_command(asked: str | None, graphs: str | None, device: str) -> None:
    """What a command that only draws does: take what is built, never compile; record where that works."""
    global _records_drawings
    use(settle(asked or "auto", device))
    _records_drawings = settle_graphs(graphs or "auto", device) == "on"


def records_drawings() -> bool:
    """Whether images are drawn by recordings; in programs of one's own they are not."""
    return _records_drawings


def in_use() -> str:
    """What `impl='auto'` means now: 'plain' or 'compiled'."""
    return "compiled" if ops.pick_impl("auto") == "compiled" else "plain"
