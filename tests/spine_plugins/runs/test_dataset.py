"""What is known of a data set: from itself and from the files beside it, wherever it went."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from spine_plugins.runs.dataset import Dataset, read_dataset
from tests.spine_plugins.runs.making import write_data_set


def test_all_that_lies_beside_it(tmp_path: Path) -> None:
    data = read_dataset(str(write_data_set(tmp_path)), tmp_path / "runs" / "00000-x")
    assert (data.name, data.is_there, data.has_groups) == ("spine-train.zip", True, True)
    assert data.label_names == ("normal", "abnormal") and data.recipe["resize_filter"] == "area"
    assert data.summary["kept"] == 470  # of spine_summary.json: the whole, of which this is the train part
    assert data.contact == tmp_path / "spine_contact.png" and data.histogram == tmp_path / "spine_hist.png"


def test_its_own_summary_comes_first(tmp_path: Path) -> None:
    path = write_data_set(tmp_path)
    (tmp_path / "spine-train_summary.json").write_text('{"kept": 1}')
    assert read_dataset(str(path), tmp_path).summary == {"kept": 1}


def test_moved_together_with_the_run(tmp_path: Path) -> None:
    write_data_set(tmp_path)
    data = read_dataset("/none/spine-train.zip", tmp_path / "runs" / "00000-x")
    assert data.is_there and data.has_groups


def test_gone(tmp_path: Path) -> None:
    assert read_dataset("/none/x.zip", tmp_path) == Dataset("x.zip")
    assert read_dataset(None, tmp_path) == read_dataset(3, tmp_path) == Dataset(None)


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06", b"x" * 100])
def test_no_zip(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    assert read_dataset(str(tmp_path / "a.zip"), tmp_path) == Dataset("a.zip", is_there=True)


def test_without_a_description_groups_are_unknown(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("img.png", b"")
    assert read_dataset(str(tmp_path / "a.zip"), tmp_path).has_groups is None
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "dataset.json").write_text(json.dumps({"labels": None}))
    assert read_dataset(str(tmp_path / "folder"), tmp_path).has_groups is False
