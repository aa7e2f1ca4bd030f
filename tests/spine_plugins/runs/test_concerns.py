"""Every doubt is raised when there is reason for it, and none is raised about a run in order."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spine_plugins.report.page import page
from spine_plugins.runs.concerns import concerns, differences
from spine_plugins.runs.reading import read_run
from stylegan2ada.training import run_files
from tests.spine_plugins.runs.making import (
    append,
    change_options,
    mean,
    stats_row,
    warn,
    write_classifier,
    write_data_set,
    write_run,
)

EVERY = 7
METRIC = {"metric": "m", "snapshot_pkl": "network-snapshot-000200.pkl", "is_comparable": True}


def titles(run: Path) -> set[str]:
    return {concern.title for concern in concerns(read_run(run))}


@pytest.fixture
def clean(run_dir: Path, place: Path) -> Path:
    """A run about which there is nothing to say."""
    (place / "spine_summary.json").write_text("{}")
    assert concerns(read_run(run_dir)) == []
    return run_dir


def test_numbers(clean: Path) -> None:
    row = {"Progress/augment": mean(0.81), "Loss/x": mean(float("nan")), "Loss/signs/real": mean(0.97)}
    append(clean / "stats.jsonl", stats_row(210, 1) | row)
    found = {c.title: c for c in concerns(read_run(clean))}
    assert set(found) == {"Augmentations can leak", "Not finite", "Overfitting"}
    assert found["Not finite"].level == "serious" and "210 kimg" in found["Augmentations can leak"].text
    assert concerns(read_run(clean))[0].title == "Not finite"  # the most serious comes first


def test_a_statistic_without_values_in_a_tick_is_no_nan(clean: Path) -> None:
    """Lazy regularisation reports nothing in some ticks: count 0, and NaN."""
    append(clean / "stats.jsonl", stats_row(210, 1) | {"Loss/r1_penalty": mean(float("nan"), num=0)})
    assert titles(clean) == set()


@pytest.mark.parametrize(
    ("record", "title"),
    [
        ({"is_comparable": False, "detector": "tiny"}, "Not comparable"),
        ({"resize_filter": "unknown"}, "Unknown resize filter"),
        ({"results": {"pr50k3_full_recall": 0.001}}, "Little variety"),
        ({}, None),
    ],
)
def test_metrics(clean: Path, record: dict[str, Any], title: str | None) -> None:
    append(clean / "metric-m.jsonl", {"results": {"m": 1}, **METRIC, **record})
    assert titles(clean) == ({title} if title else set())


@pytest.mark.parametrize("key", ["detector_sha256", "real_fingerprint"])
def test_a_metric_that_changed_its_meaning(clean: Path, key: str) -> None:
    first = {"results": {"m": 1}, **METRIC, "snapshot_pkl": "n-000100.pkl", key: "a"}
    append(clean / "metric-m.jsonl", first, {"results": {"m": 1}, **METRIC, key: "b"})
    assert titles(clean) == {"Curve of unlike values"}


def test_a_second_measurement_replaces_the_first(clean: Path) -> None:
    append(clean / "metric-m.jsonl", *({"results": {"m": value}, **METRIC} for value in (1, 2)))
    lines = read_run(clean).metrics["m"]
    assert [(line.kimg, line.results) for line in lines] == [(200, {"m": 2})]


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({"spinegan__card__starts_from": [{"origin": "a/ffhq.pkl", "sha256": "1234"}]}, "Foreign weights"),
        ({"resume_pkl": "https://example.org/n.pkl"}, "Started from other networks"),
        ({"spinegan__earlier": [{"source_sha256": "other"}]}, "Two versions"),
        ({"spinegan__spine__classifier_doubts": ["its AUC is 0.51"]}, "Doubtful classifier"),
        ({"spinegan__spine__judge_doubts": ["the judge is the classifier"]}, "Judge not independent"),
        ({"spinegan__spine__classifier_sha256": "9"}, "Another classifier"),
        ({"loss_kwargs__classifier": "/none/x.safetensors"}, "Card not here"),
        ({"training_set_kwargs__path": "/none/x.zip"}, "Data set not here"),
    ],
)
def test_origins(clean: Path, changes: dict[str, Any], title: str) -> None:
    change_options(clean, **changes)
    assert titles(clean) == {title}


def test_data_without_groups(clean: Path, place: Path) -> None:
    (place / "folder").mkdir()
    (place / "folder" / "dataset.json").write_text('{"labels": null}')
    change_options(clean, training_set_kwargs__path=str(place / "folder"))
    assert titles(clean) == {"No patient groups"}


def test_what_the_run_said(clean: Path) -> None:
    warn(clean, "disk", "more than is free")
    warn(clean, "collapse", "alike")
    warn(clean, "disk", "more than is free", kimg=20)
    run_files.add_event(clean, "diverged", kimg=30, text="Loss/G/loss is nan")
    assert [(c.level, c.title, c.text) for c in concerns(read_run(clean))] == [
        ("serious", "Mode collapse", "alike"),
        ("serious", "Diverged", "Loss/G/loss is nan"),
        ("caution", "Said by the run", "more than is free (said 2 times)"),
    ]


@pytest.mark.parametrize("code", ["metric_skipped", "disk", "memory", "classifier", "judge", "ranks", "new"])
def test_every_warning_is_shown(clean: Path, code: str) -> None:
    warn(clean, code, "a")
    assert [(c.level, c.title, c.text) for c in concerns(read_run(clean))] == [
        ("caution", "Said by the run", "a")
    ]


def test_what_was_taken_back_is_not_said(clean: Path) -> None:
    """Continued from 100 kimg: what came after happens again, and the run no longer ends there."""
    warn(clean, "disk", "stays", kimg=90)
    warn(clean, "collapse", "goes", kimg=150)
    run_files.add_event(clean, "diverged", kimg=160, text="goes, too")
    run_files.add_event(clean, "continued", kimg=100)
    assert [c.text for c in concerns(read_run(clean))] == ["stays"]


def test_leaking_augmentations_are_said_once(clean: Path) -> None:
    warn(clean, "leak", "p = 0.81 is above 0.8")
    assert titles(clean) == {"Said by the run"}  # the statistics do not show it
    append(clean / "stats.jsonl", stats_row(210, 1) | {"Progress/augment": mean(0.81)})
    assert titles(clean) == {"Augmentations can leak"}


@pytest.mark.parametrize(("code", "title"), [("classifier", "Doubtful classifier"),
                                             ("judge", "Judge not independent")])  # fmt: skip
def test_doubts_are_said_once(clean: Path, code: str, title: str) -> None:
    warn(clean, code, "the same in other words")
    change_options(clean, **{f"spinegan__spine__{code}_doubts": ["x"]})
    assert titles(clean) == {title}


def test_the_log_is_prose_and_not_read(clean: Path) -> None:
    (clean / "log.txt").write_text("Warning: mode collapse: alike\nError: full\n")
    assert titles(clean) == set()


def test_a_run_that_keeps_no_events_may_have_warned(clean: Path) -> None:
    (clean / run_files.EVENTS).unlink()
    assert titles(clean) == {"Warnings not recorded"}


def test_damaged_events_are_told(clean: Path) -> None:
    with open(clean / run_files.EVENTS, "a") as file:
        file.write("{\n")
    warn(clean, "disk", "a")
    found = {c.title: c.text for c in concerns(read_run(clean))}
    assert found["Damaged file"] == "events.jsonl: 1 unreadable line(s) are left out here."
    assert found["Said by the run"] == "a"


def test_the_same_run_moved_elsewhere_finds_its_parts(clean: Path, place: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("spine-train.zip", "classifier.json", "runs"):
        (place / name).rename(moved / name)
    assert titles(moved / "runs" / clean.name) == set()


def test_runs_that_do_not_compare(clean: Path, place: Path) -> None:
    other = write_run(place / "runs" / "1", place / "spine-train.zip", place / "classifier.safetensors")
    assert differences([read_run(clean), read_run(other)]) == []
    append(clean / "metric-m.jsonl", {"results": {"m": 1}, **METRIC, "real_fingerprint": "a"})
    append(other / "metric-m.jsonl", {"results": {"m": 1}, **METRIC, "real_fingerprint": "b"})
    said = [c.text for c in differences([read_run(clean), read_run(other)])]
    assert said == ["m was measured with different real images."]


def _spoiled(value: Any) -> Iterator[Any]:
    """Copies of a document, each with one value replaced by something of another kind."""
    junk = [None, -3, 10**400, float("nan"), float("inf"), "x", [], [1, "a"], {}, {"a": None}]
    yield from (copy.deepcopy(other) for other in junk)
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            for other in _spoiled(value[key]):
                made = copy.copy(value)
                made[key] = other
                yield made


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["training_options", "classifier", "spine_summary", "stats", "metric", "judge", "events", "x_card"],
)
def test_no_value_of_another_kind_stops_the_page(tmp_path: Path, name: str) -> None:
    data, classifier = write_data_set(tmp_path), write_classifier(tmp_path)
    run = write_run(tmp_path / "run", data, classifier, ticks=3, snapshots=0)
    change_options(run, spinegan__card__starts_from=[{"origin": "a", "sha256": "b"}],
                   spinegan__earlier=[{"source_sha256": "c", "command": ["a"]}],
                   spinegan__spine__judge_doubts=["d"])  # fmt: skip
    (run / "x_card.json").write_text('{"is_synthetic": true, "network": "n", "classes": [0]}')
    append(run / "metric-m.jsonl", {"results": {"m": 1}, **METRIC, "detector_sha256": "a"})
    append(run / "judge.jsonl", {"kimg": 1, "accuracy": 0.5, "classes": {"a": {"accuracy": 1, "ks": 0.1}}})
    for picture in tmp_path.rglob("*.png"):
        picture.unlink()
    warn(run, "disk", "b")
    lines = (run / run_files.EVENTS).read_text().splitlines()
    (run / run_files.EVENTS).write_text(lines[-1] + "\n")
    files = {"stats": "stats.jsonl", "metric": "metric-m.jsonl", "judge": "judge.jsonl",
             "events": run_files.EVENTS}  # fmt: skip
    path = next(tmp_path.rglob(files.get(name, f"{name}.json")))
    whole = path.read_text().splitlines()[0] if name in files else path.read_text()
    tried = 0
    # Every seventh of ten kinds of junk: each place meets one or two of them, all kinds come up everywhere.
    for document in itertools.islice(_spoiled(json.loads(whole)), 0, None, EVERY):
        path.write_text(json.dumps(document) + "\n")
        assert "</html>" in page([read_run(run)], tmp_path / "page.html")
        tried += 1
    assert tried > 5


def test_toy_metrics_are_one_caution_and_toy_runs_a_note(clean: Path) -> None:
    for name, results in (
        ("fid1k_tiny", {"fid1k_tiny": 0.01}),
        ("pr1k3_tiny", {"pr1k3_tiny_precision": 0.83, "pr1k3_tiny_recall": 0.23}),
    ):
        line = {"results": results, "is_comparable": False, "detector": "tiny",
                "snapshot_pkl": "network-snapshot-000200.pkl"}  # fmt: skip
        append(clean / f"metric-{name}.jsonl", line)
    found = [c for c in concerns(read_run(clean)) if c.title == "Not comparable"]
    assert [c.text.partition(" use ")[0] for c in found] == ["fid1k_tiny and pr1k3_tiny"]
    assert "Low diversity" in titles(clean) and "Toy run" not in titles(clean)
    append(
        clean / "metric-pr1k3_tiny.jsonl", line | {"results": line["results"] | {"pr1k3_tiny_recall": 0.6}}
    )
    assert "Low diversity" not in titles(clean)
    change_options(clean, total_kimg=12)
    assert "Toy run" in titles(clean)


def test_a_judge_that_is_not_independent_is_called_a_second_classifier(run_dir: Path) -> None:
    assert "Independent judge" in page([read_run(run_dir)], run_dir / "report.html")
    change_options(run_dir, spinegan__spine={"judge_doubts": ["it is the classifier of the loss"]})
    text = page([read_run(run_dir)], run_dir / "report.html")
    assert "Independent judge" not in text and "Second classifier accepts" in text
