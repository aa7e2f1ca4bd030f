"""What a proof leaves behind: a dated JSON with the machine, its load, and CPU time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from benchmarks import timing

PROOFS = Path(__file__).parents[3] / "benchmarks" / "proofs"


def leave(name: str, numbers: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Write the numbers, and hand them back. CPU time is of this whole process so far."""
    plain = _without_places(numbers)
    record = {"machine": timing.machine(torch.device("cpu")), "cpu_sec": round(time.process_time(), 1)}
    timing.save(name, {**record, "numbers": plain, **more}, PROOFS)
    return numbers


def _without_places(numbers: dict[str, Any]) -> dict[str, Any]:
    """All but where a model and a picture were written, also of several trainings."""
    return {
        key: _without_places(value) if isinstance(value, dict) else value
        for key, value in numbers.items()
        if key not in ("out", "picture")
    }
