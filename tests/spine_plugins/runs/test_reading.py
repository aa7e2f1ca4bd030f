"""A run folder as plain data: what is where, and that reading it needs nothing that trains."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

from spine_plugins.runs.reading import Snapshot, read_run
from stylegan2ada.errors import NothingToDoError
from stylegan2ada.training import run_files
from tests.spine_plugins.runs.making import append, mean, stats_row

ROOT = Path(__file__).parents[3]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for room in ("runs", "pages", "report", "compare")
    for path in (ROOT / "spine_plugins" / room).glob("*.py")
    if path.stem != "__init__"
)


def test_no_reader_loads_torch() -> None:
    assert len(MODULES) > 12
    code = f"import sys, {', '.join(MODULES)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, timeout=60).returncode == 0


def test_snapshots_stand_in_order_with_their_classes(run_dir: Path) -> None:
    (run_dir / run_files.fakes(67)).unlink()
    (run_dir / run_files.class_fakes(133, 0, "normal")).unlink()
    run = read_run(run_dir)
    assert [snapshot.label for snapshot in run.snapshots] == ["before training", "67 kimg", "133 kimg",
                                                              "200 kimg"]  # fmt: skip
    assert run.snapshots[1].fakes is None and list(run.snapshots[1].classes) == [0, 1]
    assert run.snapshots[2] == Snapshot(
        133, run.folder / "fakes000133.png", {1: run.folder / "classes" / "fakes000133-class1-abnormal.png"}
    )
    assert run.class_names == {0: "normal", 1: "abnormal"}


def test_classes_without_a_name_are_numbered(run_dir: Path) -> None:
    path = run_dir / run_files.class_fakes(None, 0, "normal")
    for old in (run_dir / "classes").iterdir():
        if old != path:
            old.unlink()
    path.rename(run_dir / run_files.class_fakes(None, 7))
    assert read_run(run_dir).class_names == {7: "class 7"}


def test_series_leave_out_what_was_not_reported(run_dir: Path) -> None:
    (run_dir / run_files.STATS).unlink()
    append(
        run_dir / run_files.STATS,
        stats_row(1, 0),
        stats_row(2, 0) | {"Loss/G/loss": mean(math.nan, num=0)},  # nothing reported: no value
        stats_row(3, 0) | {"Loss/G/loss": mean(math.nan)},  # reported, and not a number
        stats_row(4, 0) | {"Loss/G/loss": "x"},
        stats_row(5, 0) | {"Progress/kimg": mean(math.inf)},  # nowhere on an axis
    )
    (x0, y0), (x1, y1) = read_run(run_dir).series("Loss/G/loss")
    assert (x0, y0, x1) == (1, 1.2, 3) and math.isnan(y1)
    assert read_run(run_dir).kimg == 4


def test_a_metric_counts_once_per_network(run_dir: Path) -> None:
    path = run_dir / run_files.metric("m")
    append(path, *({"results": {"m": m}, "snapshot_pkl": run_files.snapshot(k)} for k, m in ((8, 1), (4, 2))))
    append(path, {"results": {"m": 3, "bad": "x"}, "snapshot_pkl": run_files.snapshot(8)})
    append(path, {"results": {"m": 4}, "snapshot_pkl": None})
    found = [(line.kimg, line.results) for line in read_run(run_dir).metrics["m"]]
    assert found == [(None, {"m": 4}), (4, {"m": 2}), (8, {"m": 3})]


def test_options_that_are_no_object_are_damage(run_dir: Path) -> None:
    for text in ("{", "[" * 100_000, "[]"):
        (run_dir / run_files.OPTIONS).write_text(text)
        run = read_run(run_dir)
        assert run.options == {} and run.damaged == {run_files.OPTIONS: 1}


def test_no_run_at_all(tmp_path: Path) -> None:
    with pytest.raises(NothingToDoError, match="is no run"):
        read_run(tmp_path)
