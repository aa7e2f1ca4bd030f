"""Names of a run's files in one place, and events that survive damage, kills and --continue."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stylegan2ada.errors import UserError
from stylegan2ada.training import run_files as files
from stylegan2ada.training.run_files import Event, add_event, effective, read_events, state_of


def test_every_file_of_the_table_is_found_by_its_name() -> None:
    for name in ("stats.jsonl", "metric-fid50k_full.jsonl", "network-snapshot-000200.pkl", "fakes_init.png",
                 "classes/fakes000004-class1-abnormal.png", "training-state.pt.previous"):  # fmt: skip
        assert files.find_row(name) is not None, name
    assert files.find_row("holiday.png") is None


def test_what_shows_training_images_is_not_public() -> None:
    for name in (
        "reals.png",
        "training-state.pt",
        "report.html",
        "judge.jsonl",
        "privacy/private/audit.json",
        "x",
    ):
        assert not files.is_public(name), name
    for name in ("network-snapshot-000200.pkl", "stats.jsonl", "privacy/ledger.jsonl"):
        assert files.is_public(name), name


def test_the_ledger_and_the_events_are_never_cut_back(tmp_path: Path) -> None:
    (tmp_path / "privacy").mkdir()
    logs = ("stats.jsonl", "log.txt", "metric-a.jsonl", "judge.jsonl")
    for name in (*logs, "events.jsonl", "privacy/ledger.jsonl"):
        (tmp_path / name).write_text("x\n")
    assert {path.name for path in files.cut_back_files(tmp_path)} == set(logs)


def test_names_with_numbers() -> None:
    assert files.snapshot(200) == "network-snapshot-000200.pkl"
    assert files.kimg_of(files.snapshot(200)) == files.kimg_of(files.fakes(200)) == 200
    assert files.kimg_of(files.fakes(None)) is None
    assert (
        files.class_fakes(4, 1, "Disc space/narrowing")
        == "classes/fakes000004-class1-Disc_space_narrowing.png"
    )
    assert files.class_fakes(None, 0) == "classes/fakes_init-class0.png"


def test_pictures_and_measurements_are_found_by_the_names_they_were_given(tmp_path: Path) -> None:
    (tmp_path / files.CLASSES).mkdir()
    given = [
        files.fakes(4),
        files.fakes(None),
        files.class_fakes(4, 1, "Disc space"),
        files.class_fakes(4, 0),
    ]
    others = ["fakes1-class0.png", "classes/fakes000004.png", "fakesX.png", files.REALS]  # in no such place
    for name in (*given, *others, files.metric("kid50k"), files.metric("fid50k_full"), files.STATS):
        (tmp_path / name).touch()
    assert files.grids_in(tmp_path) == [
        files.Grid(tmp_path / files.fakes(4), 4),
        files.Grid(tmp_path / files.fakes(None), None),
        files.Grid(tmp_path / files.class_fakes(4, 0), 4, 0),
        files.Grid(tmp_path / files.class_fakes(4, 1, "Disc space"), 4, 1, "Disc space"),
    ]
    assert files.metric_files(tmp_path) == {
        name: tmp_path / files.metric(name) for name in ("fid50k_full", "kid50k")
    }


def test_events_come_back_as_they_were_written(tmp_path: Path) -> None:
    assert read_events(tmp_path) == []
    written = [
        add_event(tmp_path, "started", kimg=0),
        add_event(tmp_path, "warning", kimg=1.5, code="leak", text="p = 0.9"),
    ]
    assert read_events(tmp_path) == written
    assert json.loads((tmp_path / "events.jsonl").read_text().splitlines()[1])["code"] == "leak"


@pytest.mark.parametrize(
    "junk",
    [
        "{",
        "[]",
        '{"event": "party", "kimg": 1}',
        '{"event": "saved", "kimg": "a"}',
        '{"event": "saved", "kimg": NaN}',
        '{"event": "saved", "kimg": 1e999}',
        '{"event": ["saved"], "kimg": 1}',
        "[" * 100_000,
    ],
)
def test_damaged_lines_are_left_out(tmp_path: Path, junk: str) -> None:
    good = add_event(tmp_path, "saved", kimg=4)
    with open(tmp_path / "events.jsonl", "a") as file:
        file.write(junk + "\n")
    assert read_events(tmp_path) == [good]


def test_what_continue_took_back_is_not_effective() -> None:
    events = [
        *(Event("started", 0), Event("warning", 2, "leak"), Event("saved", 4)),
        *(Event("warning", 6, "collapse"), Event("diverged", 6), Event("continued", 4), Event("saved", 8)),
    ]
    assert [(e.event, e.kimg) for e in effective(events)] == [
        ("started", 0), ("warning", 2), ("saved", 4), ("continued", 4), ("saved", 8),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kinds", "state"),
    [
        ([], "unknown"),
        (["started", "saved"], "running"),
        (["started", "saved", "stopped"], "stopped"),
        (["started", "stopped", "continued"], "running"),
        (["started", "continued", "saved", "finished"], "finished"),
        (["started", "diverged"], "diverged"),
    ],
)
def test_the_state_is_that_of_the_last_event(kinds: list[str], state: str) -> None:
    assert state_of(Event(kind, 0) for kind in kinds) == state


def run_with_networks(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for kimg in (4, 200, 12):
        (folder / files.snapshot(kimg)).write_bytes(b"")
    rows = [(4, 30.0), (12, 10.0), (200, 20.0), (400, 1.0)]  # the last one was deleted since
    for name in ("fid50k_full", "pr50k3_full"):
        lines = [{"results": {name: value}, "snapshot_pkl": files.snapshot(kimg)} for kimg, value in rows]
        (folder / files.metric(name)).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.mark.parametrize(
    ("which", "kimg"), [("", 200), ("/latest", 200), ("/best:fid50k_full", 12), ("/best:pr50k3_full", 4)]
)
def test_a_run_stands_for_one_of_its_networks(tmp_path: Path, which: str, kimg: int) -> None:
    run = run_with_networks(tmp_path / "runs" / "00000-x")
    assert files.network_in(f"{run}{which}") == str(run / files.snapshot(kimg))


def test_what_names_no_run_stays_as_it_is_and_a_run_without_networks_is_told(tmp_path: Path) -> None:
    run = run_with_networks(tmp_path / "run")
    for place in (str(run / files.snapshot(4)), "https://x.org/net.pkl", "none/latest", "net.pkl"):
        assert files.network_in(place) == place
    (tmp_path / "latest").symlink_to(run)  # a folder of that name is the run
    assert files.network_in(str(tmp_path / "latest")) == str(tmp_path / "latest" / files.snapshot(200))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty holds no network yet"):
        files.network_in(str(tmp_path / "empty"))
    with pytest.raises(UserError, match=r"best:kid50k: the run has no metric-kid50k\.jsonl"):
        files.network_in(f"{run}/best:kid50k")
