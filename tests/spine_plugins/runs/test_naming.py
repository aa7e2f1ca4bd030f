"""A run is called what a person would call it, and, beside others, by what is different."""

from __future__ import annotations

from pathlib import Path

from spine_plugins.pages.tables import run_label
from spine_plugins.runs.naming import by_difference, title
from spine_plugins.runs.reading import read_run
from tests.spine_plugins.runs.making import change_options, write_run


def test_a_title_has_data_settings_and_length(run_dir: Path) -> None:
    assert title(read_run(run_dir)) == "spine, spine loss, 200 kimg"
    change_options(run_dir, spinegan__spine={"preset": "radiograph"})
    assert title(read_run(run_dir)) == "spine, preset radiograph, 200 kimg"
    change_options(run_dir, training_set_kwargs={})
    assert title(read_run(run_dir)) == run_dir.name  # nothing is known of its data


def test_runs_are_told_apart_by_what_differs(run_dir: Path, place: Path) -> None:
    again = [place / name for name in ("00007-b", "00008-c")]
    for folder in again:
        write_run(folder, place / "spine-train.zip", place / "classifier.safetensors")
    change_options(again[0], loss_kwargs__r1_gamma=7.5)
    change_options(again[1], random_seed=3)
    labels = [
        run_label(run, i) for i, run in enumerate(by_difference([read_run(run_dir), *map(read_run, again)]))
    ]
    assert labels == ["A gamma 0.05, seed 0", "B gamma 7.5, seed 0", "C gamma 0.05, seed 3"]
    # Equal settings cannot tell runs apart: then the folder's number does.
    change_options(again[1], random_seed=0)
    runs = by_difference([read_run(run_dir), read_run(again[1])])
    assert [run_label(run, i) for i, run in enumerate(runs)][1] == "B 00008"
