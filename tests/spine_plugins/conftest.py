"""The run folder that the rooms runs and report are tested with; runs/making.py writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.spine_plugins.runs.making import write_classifier, write_data_set, write_run


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The folder of the data set, the classifier and the runs."""
    write_data_set(tmp_path)
    write_classifier(tmp_path)
    return tmp_path


@pytest.fixture
def run_dir(place: Path) -> Path:
    return write_run(
        place / "runs" / "00000-spine", place / "spine-train.zip", place / "classifier.safetensors"
    )
