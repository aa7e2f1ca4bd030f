"""Log files: what they hold, and how they are cut back to a saved state."""

from __future__ import annotations

import builtins
import json
import sys
from pathlib import Path

import pytest

from stylegan2ada.training.log import RunLog, console_copy, cut_back

LINE = {
    "Loss/D/loss": {"num": 3, "mean": 1.5, "std": 0.5},
    "Progress/kimg": {"num": 1, "mean": 4.0, "std": 0.0},
}


def test_statistics_and_curves(tmp_path: Path) -> None:
    tensorboard = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log = RunLog(tmp_path)
    log.write(LINE, step_kimg=4, wall_sec=12.5)
    log.scalar("Metrics/fid", 30.0, step_kimg=4, wall_sec=12.5)
    log.close()
    (line,) = (tmp_path / "stats.jsonl").read_text().splitlines()
    record = json.loads(line)
    assert list(record) == [*LINE, "timestamp"]
    assert {name: record[name] for name in LINE} == LINE
    events = tensorboard.EventAccumulator(str(tmp_path))
    events.Reload()
    for name, value in (("Loss/D/loss", 1.5), ("Metrics/fid", 30.0)):
        (point,) = events.Scalars(name)
        assert (point.step, point.value, point.wall_time) == (4, value, 12.5)


def test_a_continued_run_hides_the_points_that_come_again(tmp_path: Path) -> None:
    tensorboard = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log = RunLog(tmp_path)
    for step in (1, 2, 3):
        log.write(LINE, step_kimg=step, wall_sec=step)
    log.close()
    log = RunLog(tmp_path, continues_at=1)
    log.write(LINE, step_kimg=2, wall_sec=2)
    log.close()
    events = tensorboard.EventAccumulator(str(tmp_path))
    events.Reload()
    assert [point.step for point in events.Scalars("Loss/D/loss")] == [1, 2]
    assert len((tmp_path / "stats.jsonl").read_text().splitlines()) == 4  # cutting back is another's task


def test_without_tensorboard_everything_else_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = builtins.__import__

    def refuse(name: str, *args, **kwargs):
        if name.startswith("torch.utils.tensorboard"):
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    log = RunLog(tmp_path)
    log.write(LINE, step_kimg=4, wall_sec=1)
    log.scalar("x", 1, step_kimg=4, wall_sec=1)
    log.close()
    assert [path.name for path in tmp_path.iterdir()] == ["stats.jsonl"]
    assert "pip install tensorboard" in capsys.readouterr().out


def test_files_are_cut_back_to_their_saved_sizes(tmp_path: Path) -> None:
    for name in ("stats.jsonl", "log.txt", "metric-fid.jsonl", "metric-later.jsonl"):
        (tmp_path / name).write_text("kept\nagain\n")
    sizes = {"stats.jsonl": 5, "log.txt": 5, "metric-fid.jsonl": 5, "metric-gone.jsonl": 7}
    (gap,) = cut_back(tmp_path, sizes)
    assert gap.startswith("metric-gone.jsonl is 7 bytes shorter")
    found = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert found == {
        "stats.jsonl": "kept\n", "log.txt": "kept\n", "metric-fid.jsonl": "kept\n", "metric-later.jsonl": "",
    }  # fmt: skip


def test_sizes_cover_all_growing_files(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    (tmp_path / "metric-fid.jsonl").write_text("12345")
    (tmp_path / "other.txt").write_text("1")
    assert log.offsets() == {"stats.jsonl": 0, "metric-fid.jsonl": 5}
    log.close()


def test_the_console_is_copied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout
    with console_copy(tmp_path / "log.txt"):
        print("one")
        print("two", file=sys.stderr)
        assert sys.stdout.isatty() == before.isatty()
    with console_copy(tmp_path / "log.txt"):
        print("three")
    with console_copy(None):
        print("four")
    assert sys.stdout is before
    assert (tmp_path / "log.txt").read_text() == "one\ntwo\nthree\n"
    assert capsys.readouterr().out == "one\nthree\nfour\n"
