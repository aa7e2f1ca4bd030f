"""Which task labels state, who belongs together, and splits that keep them together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spine_plugins.classifier.labelled import Pixels, open_images, open_labelled, shared_groups, split
from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.data.fingerprint import fingerprint
from stylegan2ada.data.writer import DatasetWriter
from stylegan2ada.errors import UserError
from tests.spine_plugins.classifier.making import write_spots


def write(path: Path, labels: list, **extra: object) -> Path:
    with DatasetWriter(path, overwrite=True) as writer:
        for i, label in enumerate(labels):
            writer.add(np.full((8, 8), i, dtype=np.uint8), label)
        writer.extra.update(extra)
    return path


def test_tasks_by_labels(tmp_path: Path) -> None:
    path = tmp_path / "d.zip"

    def found(labels: list, **extra: object) -> tuple:
        data = open_labelled(str(write(path, labels, **extra)))
        return data.task, data.class_names, data.targets.tolist()

    assert found([0, 1, 1], label_names=["n", "a"]) == ("binary", ["n", "a"], [[0], [1], [1]])
    assert found([[1, 0], [0, 1]]) == ("binary", ["0", "1"], [[0], [1]])
    assert found([[1], [0]]) == ("binary", ["0", "1"], [[1], [0]])
    assert found([0, 2])[::2] == ("multiclass", [[1, 0, 0], [0, 0, 1]])
    assert found([0, 1], label_names=["a", "b", "c"])[::2] == ("multiclass", [[1, 0, 0], [0, 1, 0]])
    assert found([[1, 0, 1], [0, 0, 0]])[::2] == ("multilabel", [[1, 0, 1], [0, 0, 0]])
    assert open_labelled(str(write(path, [[1, 0, 0], [0, 0, 1]])), "multilabel").task == "multilabel"


@pytest.mark.parametrize(
    ("labels", "task", "sentence"),
    [
        ([None, None], "auto", "has no labels"),
        ([[0.5, 1], [0, 1]], "auto", "are not 0 or 1"),
        ([0, 1, 2], "binary", "needs two classes, but .* has 3"),
        ([[1, 1, 0], [0, 1, 0]], "multiclass", "needs one class per image"),
    ],
)
def test_labels_that_do_not_serve(tmp_path: Path, labels: list, task: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        open_labelled(str(write(tmp_path / "d.zip", labels)), task)
    assert caught.value.exit_code == 2


def test_labels_of_another_kind_than_the_classifiers(tmp_path: Path) -> None:
    path = write(tmp_path / "d.zip", [0, 1], label_names=["cat", "dog"])
    with pytest.raises(UserError, match="cat, dog, the classifier knows normal, abnormal"):
        open_labelled(str(path), "binary", ["normal", "abnormal"])
    # Without names the classifier's hold; a class that does not occur stays a class.
    path = write(tmp_path / "e.zip", [0, 1])
    assert open_labelled(str(path), "multiclass", ["a", "b", "c"]).targets.shape == (2, 3)


def test_groups_are_patients_or_studies(tmp_path: Path) -> None:
    names = [f"00000/img0000000{i}.png" for i in range(5)]
    entries = [("s1", "p1"), ("s1", None), ("s2", "p1"), ("s3", None), (None, None)]
    table = {n: {"study": s, "patient": p} for n, (s, p) in zip(names, entries, strict=True)}
    data = open_images(str(write(tmp_path / "d.zip", [0, 1, 0, 1, 1], groups=table)))
    assert data.groups == ["p1", "p1", "p1", "s3", f"alone: {names[4]}"]
    assert data.unit == "patient"
    only_studies = {n: {"study": s, "patient": None} for n, (s, _) in zip(names, entries, strict=True)}
    data = open_images(str(write(tmp_path / "d.zip", [0, 1, 0, 1, 1], groups=only_studies)))
    assert (data.groups[:2], data.unit) == (["s1", "s1"], "study")
    data = open_images(str(write(tmp_path / "d.zip", [0, 1, 0, 1, 1])))
    assert (data.groups, data.unit) == (None, "image")


@pytest.mark.parametrize("kind", ["binary", "findings"])
def test_split_keeps_groups_together_and_classes_alike(tmp_path: Path, kind: str) -> None:
    labels = "binary" if kind == "binary" else (np.random.default_rng(1).random((240, 3)) < 0.3).astype(int)
    path = write_spots(tmp_path / "d.zip", 240, size=8, labels=labels, groups="g")
    data = open_labelled(str(path))
    rest, held_out = split(data, 0.2, seed=3)
    assert sorted([*rest, *held_out]) == list(range(240))
    first, second = data.part(rest), data.part(held_out)
    assert not shared_groups(first, second)
    assert len(set(first.groups)) + len(set(second.groups)) == 80
    share = second.targets.sum(axis=0) / data.targets.sum(axis=0)
    assert ((share > 0.15) & (share < 0.25)).all(), share
    assert 0.15 < len(second) / 240 < 0.25
    assert (split(data, 0.2, seed=3)[1] == held_out).all()
    assert (
        len(split(data, 0.2, seed=4)[1]) != len(held_out) or (split(data, 0.2, seed=4)[1] != held_out).any()
    )


def test_a_part_reads_its_own_images(tmp_path: Path) -> None:
    path = write(tmp_path / "d.zip", [0, 1, 0, 1])
    data = open_labelled(str(path))
    part = data.part(np.array([3, 1]))
    assert Pixels(part)([0, 1])[:, 0, 0, 0].tolist() == [3, 1]
    assert part.names == ["00000/img00000003.png", "00000/img00000001.png"]
    assert part.targets.tolist() == [[1], [1]]
    assert data.facts()["fingerprint"] == fingerprint(ImageFolderDataset(path, use_labels=True))
    assert part.facts()["fingerprint"] not in (
        data.facts()["fingerprint"],
        data.part(np.array([1, 3])).facts()["fingerprint"],
    )
    assert part.facts() | {"fingerprint": 0} == {
        "fingerprint": 0,
        "source_fingerprint": data.facts()["fingerprint"],
        "path_name": "d.zip",
        "n": 2,
        "of": 4,
        "groups_hashed": False,
        "unit": "image",
        "n_groups": None,
        "class_counts": {"0": 0, "1": 2},
    }
