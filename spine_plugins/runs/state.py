"""How a run stands: by its events, or, for a folder without them, by what can be known without prose."""

from __future__ import annotations

import enum
from collections.abc import Sequence

from stylegan2ada.training import run_files
from stylegan2ada.training.run_files import Event


class State(enum.StrEnum):
    """The values are for programs, `text` is for people."""

    NEW = "new"
    RUNNING = "running"
    STOPPED = "stopped"
    FINISHED = "finished"
    DIVERGED = "diverged"

    @property
    def text(self) -> str:
        return _TEXTS[self]


_TEXTS = {
    State.NEW: "no tick finished yet",
    State.RUNNING: "in progress or interrupted",  # a kill leaves no trace that tells them apart
    State.STOPPED: "stopped on request, can go on",
    State.FINISHED: "finished",
    State.DIVERGED: "diverged",
}
_ENDS = {State.STOPPED, State.FINISHED, State.DIVERGED}


def state_of(
    events: Sequence[Event],
    *,
    is_waiting: bool,  # the folder says that the run was stopped on request and can go on
    has_ticks: bool,
    kimg: float | None,  # of the latest tick
    total_kimg: float | None,  # that were asked for
) -> State:
    """The state; runs of older versions of ours and of the official program have no events."""
    said = run_files.state_of(events)
    if said in _ENDS:
        return State(said)
    if is_waiting:
        return State.STOPPED
    if not has_ticks:
        return State.NEW
    # With events, only the event says so: after the last tick come snapshots and metrics, which take long.
    is_silent = said == "unknown"
    if is_silent and kimg is not None and total_kimg is not None and kimg >= total_kimg:
        return State.FINISHED
    return State.RUNNING
