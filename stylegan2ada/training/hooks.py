"""The seams of the training step: objects whose methods the loop calls in order; all no-ops by default."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

    def state_dict(self) -> list[Any]:
        """One entry per hook, None for hooks without a state."""
        return [hook.state_dict() if hasattr(hook, "state_dict") else None for hook in self]

    def load_state_dict(self, states: Iterable[Any]) -> None:
        for hook, state in zip(self, states, strict=True):
            if state is not None:
                hook.load_state_dict(state)  # type: ignore[attr-defined]
