"""Memory that does not grow with the number of files: duplicates, labels and order live on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.dicom import scale


@pytest.mark.slow
def test_memory_is_flat_between_300_and_3000_files():
    few, many = scale(300, 2), scale(3000, 2)
    assert (few["kept"], many["kept"]) == (300, 3000)
    assert many["parent_mb"] - few["parent_mb"] <= 15
    assert many["worker_mb"] - few["worker_mb"] <= 15
    assert many["worker_mb"] <= 400


@pytest.mark.proof
def test_memory_is_flat_between_1000_and_20000_files():
    import torch

    from benchmarks import timing

    few, many = scale(1000, 2), scale(20_000, 2)
    folder = Path(__file__).parents[3] / "benchmarks" / "proofs"
    record = {"machine": timing.machine(torch.device("cpu")), "runs": [few, many]}
    timing.save("dicom-scale", json.loads(json.dumps(record)), folder)
    assert (few["kept"], many["kept"]) == (1000, 20_000)
    assert abs(many["parent_mb"] - few["parent_mb"]) <= 50
