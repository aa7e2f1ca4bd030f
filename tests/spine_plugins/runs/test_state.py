"""The state of a run: by its events; without them, by numbers and files, never by prose."""

from __future__ import annotations

from pathlib import Path

import pytest

from spine_plugins.runs.reading import read_run
from spine_plugins.runs.state import State, state_of
from stylegan2ada.training import run_files
from tests.spine_plugins.runs.making import change_options, forget_end


def test_every_state_has_words() -> None:
    assert [state.text for state in State] == [
        "no tick finished yet",
        "in progress or interrupted",
        "stopped on request, can go on",
        "finished",
        "diverged",
    ]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (["started"], State.RUNNING),
        (["started", "saved", "warning"], State.RUNNING),
        (["started", "stopped"], State.STOPPED),
        (["started", "stopped", "continued"], State.RUNNING),
        (["started", "diverged", "continued", "finished"], State.FINISHED),
        (["started", "saved", "diverged"], State.DIVERGED),
        (["continued"], State.RUNNING),  # an older version began it
    ],
)
def test_events_say_it(run_dir: Path, events: list[str], expected: State) -> None:
    """Also against the numbers: after the last tick come snapshots and metrics, which take long."""
    (run_dir / run_files.EVENTS).unlink()
    for event in events:
        run_files.add_event(run_dir, event, kimg=200)
    run = read_run(run_dir)
    assert run.kimg == run.total_kimg == 200
    assert run.state == expected


@pytest.mark.parametrize(
    ("is_waiting", "has_ticks", "kimg", "total_kimg", "expected"),
    [
        (False, False, None, 200, State.NEW),
        (False, True, 199.9, 200, State.RUNNING),
        (False, True, 200, 200, State.FINISHED),
        (False, True, 200, None, State.RUNNING),
        (False, True, None, 200, State.RUNNING),
        (True, True, 100, 200, State.STOPPED),
        (True, False, None, 200, State.STOPPED),
    ],
)
def test_without_events(
    is_waiting: bool, has_ticks: bool, kimg: float | None, total_kimg: float | None, expected: State
) -> None:
    found = state_of([], is_waiting=is_waiting, has_ticks=has_ticks, kimg=kimg, total_kimg=total_kimg)
    assert found == expected


def test_a_folder_of_an_older_version(run_dir: Path) -> None:
    """Its log may say what it likes."""
    (run_dir / run_files.EVENTS).unlink()
    assert read_run(run_dir).state == State.FINISHED
    change_options(run_dir, total_kimg=400)
    (run_dir / "log.txt").write_text("Finished\n")
    assert read_run(run_dir).state == State.RUNNING
    (run_dir / run_files.REQUEUE).touch()
    assert read_run(run_dir).state == State.STOPPED
    (run_dir / run_files.REQUEUE).unlink()
    (run_dir / run_files.STATS).unlink()
    assert read_run(run_dir).state == State.NEW


def test_a_run_that_has_just_begun(run_dir: Path) -> None:
    forget_end(run_dir)
    (run_dir / run_files.STATS).unlink()
    assert read_run(run_dir).state == State.NEW
