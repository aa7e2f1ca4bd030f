"""Pre-registration: only before the test set was opened, and only what was written down counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spine_plugins.experiments import folder, freezing
from stylegan2ada.errors import UserError
from tests.spine_plugins.experiments.plans import SMALL, opened, started


def frozen(tmp_path: Path) -> None:
    experiment = opened(tmp_path)
    experiment.out.mkdir(exist_ok=True)
    freezing.freeze(experiment.out, experiment.plan, folder.data_prints(experiment))


def said(tmp_path: Path, text: str = SMALL) -> dict[str, object] | None:
    experiment = opened(tmp_path, text)
    found = folder.resolved(experiment)["frozen"]
    assert found is None or isinstance(found, dict)
    return found


def test_frozen_holds_while_nothing_changes(tmp_path: Path) -> None:
    assert said(tmp_path) is None
    frozen(tmp_path)
    record = json.loads((tmp_path / "out/frozen.json").read_bytes())
    assert set(record) == {"time", "plan_sha256", "data", "analysis", "commit"}
    assert record["analysis"]["resamples"] == 2000 and len(record["plan_sha256"]) == 64
    started(opened(tmp_path))
    assert said(tmp_path) == {"time": record["time"], "valid": True, "why": None}
    written = json.loads((tmp_path / "out/plan.json").read_bytes())
    assert written["frozen"]["valid"] is True


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("draws", "draws"), None),
        (('title = "Small"', 'title = "Other"'), "the plan was changed after it was frozen"),
        (("n = 10, seed = 3", "n = 11, seed = 3"), "the plan was changed after it was frozen"),
    ],
)
def test_a_changed_plan_is_not_what_was_frozen(
    tmp_path: Path, change: tuple[str, str], why: str | None
) -> None:
    frozen(tmp_path)
    found = said(tmp_path, SMALL.replace(*change))
    assert found is not None and found["valid"] is (why is None) and found["why"] == why


def test_changed_data_are_not_what_was_frozen(tmp_path: Path) -> None:
    experiment = opened(tmp_path)
    prints = folder.data_prints(experiment)
    experiment.out.mkdir()
    freezing.freeze(experiment.out, experiment.plan, prints)
    found = freezing.verdict(experiment.out, experiment.plan, prints | {"test": "another"})
    assert found is not None and found["why"] == "the data were changed after they were frozen: test"


def test_too_late_and_twice(tmp_path: Path) -> None:
    started(opened(tmp_path))
    with pytest.raises(
        UserError, match=r"test set has been opened: tasks/predict-.*, and 1 more. Freezing comes"
    ):
        frozen(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    frozen(other)
    with pytest.raises(UserError, match="was frozen at .*; what is written down stays"):
        frozen(other)
