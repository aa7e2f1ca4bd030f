"""State that survives a kill, for every training that is not the GAN's: saved whole, then continued exactly.

Exactness costs little if a step's random numbers follow from the seed and the step alone: then the state
holds no generators, and a training that was killed anywhere repeats at most what followed the last save.

    with keeper.listening():
        state = keeper.restore() or {"step": 0, ...}
        for step in range(state["step"], steps):
            with seeded(step_seed(seed, step), device):
                ...
            keeper.save_if_asked_to_stop(lambda: {"step": step + 1, ...}, f"in step {step + 1}")
    ...                                             # write the result
    keeper.remove()
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch

from stylegan2ada.checkpoints import state_checks
from stylegan2ada.checkpoints.training_state import load_state, save_state
from stylegan2ada.errors import StoppedOnRequest, UserError
from stylegan2ada.processes import StopRequest
from stylegan2ada.protocols import State

_FORMAT = 1
_OURS = ("format", "identity")  # what we add to a state


class Resumable:
    """The state file of one training, and the wish to stop it (SIGTERM or SIGINT)."""

    def __init__(
        self,
        path: str | Path,
        identity: Mapping[str, object],  # all that must be the same to continue, plain JSON values
        what: str = "training",  # for the sentences
        *,
        stop: StopRequest | None = None,
    ) -> None:
        self.path, self.identity, self.what = Path(path), dict(identity), what
        self.stop = stop or StopRequest()

    def listening(self) -> contextlib.AbstractContextManager[StopRequest]:
        """Inside, a signal is noted instead of ending the program."""
        return self.stop.listening()

    def restore(self) -> State | None:
        """What was saved last; None at the very start. UserError if the file is damaged or another's."""
        if not self.path.exists() and not self._previous.exists():
            return None
        # Killed between the two renames of a save: the file before is complete.
        state = load_state(self.path if self.path.exists() else self._previous)
        # Taken out, so that the caller gets back exactly what it saved.
        was = state.pop("identity", None)
        if state.pop("format", None) != _FORMAT or not isinstance(was, dict):
            raise UserError(f"{self.path} is not the state of such a {self.what}; move it away")
        now = self.identity
        # Keys of both: a setting that only one version of the program knows is a difference, too.
        differing = sorted(key for key in was.keys() | now.keys() if was.get(key) != now.get(key))
        if differing:
            raise UserError(
                f"{self.path} is of a {self.what} with other settings ({', '.join(differing)}); "
                "give that command again to finish it, or delete the file to start anew"
            )
        return state

    def fitting(self) -> contextlib.AbstractContextManager[None]:
        """Inside, whoever cannot take its part of what `restore` gave says so in a sentence."""
        return state_checks.explained(self.path, "delete it to start anew")

    def save(self, state: State) -> None:
        """Complete or not at all; the state before stays beside it."""
        assert not state.keys() & set(_OURS), f"{_OURS} are this file's own"
        try:
            save_state(self.path, {"format": _FORMAT, "identity": self.identity, **state})
        except OSError as error:
            raise UserError(f"the state {self.path} cannot be written ({error.strerror})") from error

    def save_if_asked_to_stop(self, state: Callable[[], State], where: str) -> None:
        """Call it where a training can be left; StoppedOnRequest once the state is on disk."""
        # Read once: a second signal must not change the sentence below.
        by = self.stop.signal
        if by is None:
            return
        self.save(state())
        raise StoppedOnRequest(
            f"stopped by {by} {where}; the state is in {self.path}: give the same command again to continue"
        )

    def remove(self) -> None:
        """The result is on disk: nothing is left to continue."""
        for leftover in (self.path, self._previous):
            leftover.unlink(missing_ok=True)

    @property
    def _previous(self) -> Path:
        return self.path.with_name(self.path.name + ".previous")


def step_seed(seed: int, *place: int) -> int:
    """A 32-bit seed for a place of a training, e.g. (epoch, step); neighbours share nothing.

    Within one training all places have the same length: numpy fills up with zeros, so (1,) is (1, 0).
    """
    # Hashed: a plain sum of seed, epoch and step would come by the same value again and again.
    return int(np.random.SeedSequence([seed, *place]).generate_state(1)[0])


@contextlib.contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """torch's global generator (dropout draws from it) starts at `seed` inside, and is as before after."""
    device = torch.device(device)
    # Left to itself, fork_rng would put aside the generators of every GPU that it sees.
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
