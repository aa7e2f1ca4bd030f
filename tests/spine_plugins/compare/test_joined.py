"""Runs of both programs joined: what differs, what may share axes, who was there first."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from spine_plugins.compare import joined
from spine_plugins.compare.command import compare
from spine_plugins.compare.joined import Yardstick
from spine_plugins.runs.reading import Run, read_run
from stylegan2ada.training import run_files
from tests.golden_data import golden_json
from tests.spine_plugins.runs.making import append, change_options, grid_png, mean


@pytest.fixture
def official(place: Path) -> Path:
    """A run folder as the official program leaves it, from recorded names; values without a record."""
    recorded = golden_json("training/training.json")[0]
    folder = place / "runs" / "00001-official-auto1"
    folder.mkdir(parents=True)
    (folder / run_files.OPTIONS).write_text(json.dumps(recorded["training_loop_kwargs"], indent=2))
    for tick, kimg in enumerate((0.0, 67.0, 133.0, 200.0)):
        row = dict.fromkeys(recorded["stats_jsonl_keys"], None) | {
            name: mean(0.5) for name in recorded["stats_jsonl_keys"] if "/" in name
        }
        row |= {"Progress/kimg": mean(kimg, 1), "Timing/sec_per_kimg": mean(40 + tick, 1), "timestamp": 1.6e9}
        append(folder / run_files.STATS, row)
        grid_png(folder / run_files.fakes(int(kimg)), 4, 2, 3)
        record = {"results": {"fid50k_full": 200.0 / (tick + 1)}, "metric": "fid50k_full", "total_time": 1.5,
                  "total_time_str": "1s", "num_gpus": 1, "snapshot_pkl": run_files.snapshot(int(kimg)),
                  "timestamp": 1.6e9}  # fmt: skip
        append(folder / run_files.metric("fid50k_full"), record)
    (folder / run_files.LOG).write_text("Loading training set...\n")
    return folder


def test_the_official_names_say_what_its_records_do_not(run_dir: Path, official: Path) -> None:
    for line in (run_dir / run_files.metric("fid50k_full")).read_text().splitlines():
        assert "num_fake" not in json.loads(line)  # of an older version of ours: the name says it, too
    runs = [read_run(run_dir), read_run(official)]
    found = joined.measurements(runs)
    assert list(found) == [Yardstick("fid50k_full", "inception", 50_000)]
    outcome = joined.outcome(*next(iter(found.items())))
    assert outcome.last == [(200.0, pytest.approx(123.4 / 4)), (200.0, 50.0)]
    # The worst run's best value is 50; the other has passed it at its second third (41.1 at 133 kimg).
    assert outcome.threshold == 50.0
    assert outcome.reached == [133.0, 200.0]
    assert joined.trained_by(runs[0]).startswith("spinegan")
    assert joined.trained_by(runs[1]) == "the official program"


def test_values_of_other_detectors_or_other_n_are_never_joined(run_dir: Path, official: Path) -> None:
    base = {"metric": "fid50k_full", "snapshot_pkl": run_files.snapshot(200)}
    for extra in (
        {"detector": "tiny", "is_comparable": False, "detector_sha256": "aa", "num_fake": 50_000},
        {"detector": "tiny", "is_comparable": False, "detector_sha256": "bb", "num_fake": 50_000},
        {"detector": "inception", "num_fake": 2000},
    ):
        append(run_dir / "metric-other.jsonl", base | extra | {"results": {"fid50k_full": 1.0}})
        found = joined.measurements([read_run(run_dir), read_run(official)])
        (series,) = (s for y, s in found.items() if y == Yardstick("fid50k_full", "inception", 50_000))
        assert len(series[1]) == 4
        (run_dir / "metric-other.jsonl").unlink()
        assert len(found) == 2


def test_settings_that_differ_and_only_those(run_dir: Path, place: Path) -> None:
    other = place / "runs" / "00002-other"
    shutil.copytree(run_dir, other)
    change_options(other, random_seed=7, loss_kwargs__r1_gamma=3, run_dir=str(other))
    rows = joined.settings_that_differ([read_run(run_dir), read_run(other)])
    assert {row.name: row.values for row in rows} == {
        "random_seed": ["0", "7"], "loss_kwargs.r1_gamma": ["0.05", "3"],
    }  # fmt: skip


def made_arms(run_dir: Path, place: Path, deltas: list[float]) -> list[Run]:
    """Two arms of runs, seed by seed `deltas` apart."""
    runs = []
    for arm, gamma in enumerate((1.0, 2.0)):
        for seed, delta in enumerate(deltas):
            folder = place / "arms" / f"{arm}{seed}"
            shutil.copytree(run_dir, folder)
            change_options(folder, random_seed=seed, loss_kwargs__r1_gamma=gamma)
            (folder / run_files.metric("fid50k_full")).unlink()
            record = {"results": {"fid50k_full": 10 + seed + arm * delta},
                      "snapshot_pkl": run_files.snapshot(200)}  # fmt: skip
            append(folder / run_files.metric("fid50k_full"), record)
            runs.append(read_run(folder))
    return runs


def test_arms_are_paired_by_seed(run_dir: Path, place: Path) -> None:
    deltas = [-3.0, -2.0, -4.0, -3.5]
    runs = made_arms(run_dir, place, deltas)
    assert joined.arms(runs) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    outcome = joined.outcome(*next(iter(joined.measurements(runs).items())))
    (difference,) = joined.differences_of_arms(runs, outcome)
    assert difference.pairs == 4
    assert difference.interval.value == pytest.approx(np.mean(deltas))
    # All resamples of four pairs, counted out: the quantiles of the bootstrap are those of this table.
    every = np.array(np.meshgrid(*[deltas] * 4)).reshape(4, -1).mean(axis=0)
    low, high = np.quantile(every, [0.025, 0.975])
    assert difference.interval.low == pytest.approx(low, abs=0.13)
    assert difference.interval.high == pytest.approx(high, abs=0.13)
    assert joined.differences_of_arms(runs[:2] + runs[4:6], joined.outcome(
        *next(iter(joined.measurements(runs[:2] + runs[4:6]).items())))) == []  # fmt: skip


def test_the_command_writes_page_table_and_numbers(run_dir: Path, official: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    asked = [str(run_dir), str(official), f"--out={out / 'c.html'}", f"--csv={out / 'c.csv'}", "--json=-"]
    result = CliRunner().invoke(compare, asked)
    assert result.exit_code == 0, result.output
    numbers = json.loads(result.stdout)
    assert [run["trained_by"] for run in numbers["runs"]] == ["spinegan 0.1.0", "the official program"]
    assert numbers["runs"][1]["sec_per_kimg"] == 42  # the median of 41, 42, 43; the first tick warms up
    assert numbers["metrics"][0]["reached"] == [133.0, 200.0]
    page = (out / "c.html").read_text()
    assert "fid50k_full (inception, n = 50,000)" in page
    assert "the official program" in page
    assert str(tmp_path) not in page  # no folders of this computer
    rows = csv.DictReader((out / "c.csv").read_text().splitlines())
    mine = [row for row in rows if row["name"] == "fid50k_full" and row["run"].startswith("B")]
    fids = [float(row["value"]) for row in mine]
    assert fids == [200.0, 100.0, pytest.approx(200 / 3), 50.0]
    again = CliRunner().invoke(compare, asked)
    assert again.exit_code == 2
    assert "--overwrite" in again.output
    assert CliRunner().invoke(compare, [*asked, "--overwrite"]).exit_code == 0


def test_runs_with_missing_files_still_compare(run_dir: Path, official: Path, tmp_path: Path) -> None:
    for name in (run_files.STATS, run_files.metric("fid50k_full"), run_files.LOG):
        (official / name).unlink()
    (run_dir / run_files.OPTIONS).unlink()
    result = CliRunner().invoke(compare, [str(run_dir), str(official), f"--out={tmp_path / 'c.html'}"])
    assert result.exit_code == 0, result.output
    alone = CliRunner().invoke(compare, [str(run_dir), str(run_dir)])
    assert alone.exit_code == 2
    assert "two run folders" in alone.output
