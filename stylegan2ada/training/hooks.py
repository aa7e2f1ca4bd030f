"""The seams of the training step: objects whose methods the loop calls in order; all no-ops by default."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from stylegan2ada.errors import UserError
from stylegan2ada.protocols import State
from stylegan2ada.training.phases import Phase
from stylegan2ada.training.run import Run

if TYPE_CHECKING:
    import torch

    from stylegan2ada.networks.stylegan2 import Generator


class AtSnapshot(Protocol):
    """As much of a run as those look at who measure its networks."""

    @property
    def run_dir(self) -> Path: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def G_ema(self) -> Generator: ...

    @property
    def cur_nimg(self) -> int: ...


class Hook:
    """Derive from this and override what you need; a run takes any number of hooks, in a plain list.

    >>> class Count(sg.Hook):
    ...     steps = 0
    ...     def after_step(self, phase):
    ...         self.steps += phase.name == "Gmain"
    >>> count = Count()
    >>> run = sg.train_network("images.zip", "counted", hooks=[count], aug="noaug", kimg=1, batch=512,
    ...                        cbase=64, cmax=4, metrics=(), quiet=True)
    >>> count.steps  # of 512 images each
    2
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

    def state_dict(self) -> State | None:
        """What is saved with the run; None: this hook need not be there when the run goes on."""
        return None

    def load_state_dict(self, state: State) -> None:
        """The inverse."""


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

    def named(self) -> dict[str, Hook]:
        """Hooks by class name; of several of one class the later ones are numbered in their order."""
        found: dict[str, Hook] = {}
        for hook in self:
            name = base = type(hook).__name__
            count = 1
            # Numbered by order: the same list of hooks finds its states again.
            while name in found:
                count += 1
                name = f"{base} {count}"
            found[name] = hook
        return found

    def state_dict(self) -> State:
        """States by name, of the hooks that have one."""
        states = {name: hook.state_dict() for name, hook in self.named().items()}
        return {name: state for name, state in states.items() if state is not None}

    def load_state_dict(self, states: Mapping[str, State]) -> None:
        """A hook that was there must be there again: its count of steps, say, may be a promise."""
        here = self.named()
        for name, state in states.items():
            if name not in here:
                raise UserError(f"this run was started with hook {name}; continue it with the same command")
            here[name].load_state_dict(state)
