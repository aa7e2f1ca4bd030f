"""The seams of the training step: objects whose methods the loop calls in order; all no-ops by default."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylegan2ada.errors import UserError

if TYPE_CHECKING:
    from stylegan2ada.training.loop import Run
    from stylegan2ada.training.phases import Phase


class Hook:
    """Derive from this and override what you need; a run takes any number of hooks, in a plain list.

    A hook with `state_dict` and `load_state_dict` is saved with the run and continued with it.
    """

    def on_start(self, run: Run) -> None:
        """Networks, optimisers and data are built (or continued); the first iteration comes next."""

    def after_part(self, phase: Phase) -> None:
        """One round of gradient accumulation has added its gradients."""

    def after_backward(self, phase: Phase) -> None:
        """All rounds are done on this rank; gradients of other ranks come next."""

    def after_step(self, phase: Phase) -> None:
        """The optimiser has stepped."""

    def on_snapshot(self, run: Run, path: Path) -> None:
        """A network snapshot was written (called on every rank)."""


class Hooks(list[Hook]):
    """A list of hooks that is called like one."""

    def on_start(self, run: Run) -> None:
        for hook in self:
            hook.on_start(run)

    def after_part(self, phase: Phase) -> None:
        for hook in self:
            hook.after_part(phase)

    def after_backward(self, phase: Phase) -> None:
        for hook in self:
            hook.after_backward(phase)

    def after_step(self, phase: Phase) -> None:
        for hook in self:
            hook.after_step(phase)

    def on_snapshot(self, run: Run, path: Path) -> None:
        for hook in self:
            hook.on_snapshot(run, path)

    def state_dict(self) -> dict[str, Any]:
        """States by class name, of the hooks that have one."""
        return {type(hook).__name__: hook.state_dict() for hook in self if hasattr(hook, "state_dict")}

    def load_state_dict(self, states: Mapping[str, Any]) -> None:
        """A hook that was there must be there again: its count of steps, say, may be a promise."""
        here = {type(hook).__name__: hook for hook in self if hasattr(hook, "load_state_dict")}
        for name, state in states.items():
            if name not in here:
                raise UserError(f"this run was started with hook {name}; continue it with the same command")
            here[name].load_state_dict(state)
