"""What an audit refuses, and what it warns of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spine_plugins.audit.inputs import count_audits, open_inputs
from stylegan2ada.errors import UserError
from tests.spine_plugins.audit.making import images, write_zip

RECIPE = {"tool": "t", "resize_filter": "area", "flags": {"window": "auto"}, "key_id": "one"}


def people(prefix: str, n: int) -> list[str]:
    return [f"{prefix}{i}" for i in range(n)]


@pytest.fixture
def sets(tmp_path: Path) -> dict[str, str]:
    made = {
        "train": write_zip(tmp_path / "train.zip", images(6, 1), people("a", 6), recipe=RECIPE),
        "holdout": write_zip(tmp_path / "holdout.zip", images(5, 2), people("b", 5), recipe=RECIPE),
        "fakes": write_zip(tmp_path / "fakes.zip", images(4, 3)),
    }
    return {name: str(path) for name, path in made.items()}


def test_three_sets_are_opened_by_patient(sets: dict[str, str]) -> None:
    found = open_inputs(**sets)
    assert found.unit == "patient"
    assert found.train.units[0] == "patient a0"
    assert found.warnings == ("only 5 held-out images; an audit needs at least 200",)


def test_the_training_set_is_no_fake(sets: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="training set itself"):
        open_inputs(**sets | {"fakes": sets["train"]})
    some = write_zip(tmp_path / "some.zip", images(6, 1)[[4, 2, 0]])
    with pytest.raises(UserError, match="every image of --fakes"):
        open_inputs(**sets | {"fakes": str(some)})


def test_shared_images_and_patients_are_refused(sets: dict[str, str], tmp_path: Path) -> None:
    mixed = np.concatenate([images(4, 9), images(6, 1)[:1]])
    other = write_zip(tmp_path / "mixed.zip", mixed, people("c", 5), recipe=RECIPE)
    with pytest.raises(UserError, match=r"share 1 image\(s\)"):
        open_inputs(**sets | {"holdout": str(other)})
    same = write_zip(tmp_path / "same.zip", images(5, 9), [*people("c", 4), "a3"], recipe=RECIPE)
    with pytest.raises(UserError, match=r"share 1 patient"):
        open_inputs(**sets | {"holdout": str(same)})


def test_a_holdout_of_another_size_is_refused(sets: dict[str, str], tmp_path: Path) -> None:
    other = write_zip(tmp_path / "small.zip", images(5, 9, side=16), people("c", 5))
    with pytest.raises(UserError, match="16x16"):
        open_inputs(**sets | {"holdout": str(other)})


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"resize_filter": "lanczos"}, "different filters"),
        ({"flags": {"window": "wide"}}, "different window"),
        ({"key_id": "two"}, "different key files"),
    ],
)
def test_differences_are_warned_of(
    sets: dict[str, str], tmp_path: Path, changes: dict[str, object], word: str
) -> None:
    other = write_zip(tmp_path / "other.zip", images(5, 9), people("c", 5), recipe=RECIPE | changes)
    found = open_inputs(**sets | {"holdout": str(other)})
    assert any(word in text for text in found.warnings)


def test_unknown_recipes_groups_and_geometry_are_warned_of(sets: dict[str, str], tmp_path: Path) -> None:
    bare = write_zip(tmp_path / "bare.zip", images(5, 9))
    small = write_zip(tmp_path / "small.zip", images(4, 3, side=16))
    said = " ".join(open_inputs(sets["train"], str(bare), str(small)).warnings)
    for word in ("no recipe", "without patient groups", "the fakes are 16x16"):
        assert word in said


def test_audits_of_the_same_fakes_are_counted_beside_them(tmp_path: Path) -> None:
    fakes = str(tmp_path / "fakes.zip")
    assert [count_audits(fakes, "mark", add=True) for _ in range(3)] == [1, 2, 3]
    assert count_audits(fakes, "other", add=True) == 1
    assert (tmp_path / "fakes_audits.json").is_file()
