"""Pre-registration: plan, data and analysis are written down before anything has looked at the test set."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

from spine_plugins.experiments import records
from spine_plugins.experiments.plan import Plan
from spine_plugins.experiments.tasks import PREDICTIONS, TASKS
from stylegan2ada import files, provenance
from stylegan2ada.errors import UserError
from stylegan2ada.protocols import JsonObject

FROZEN = "frozen.json"


def freeze(out: Path, plan: Plan, data: Mapping[str, str]) -> JsonObject:
    """Write it down, once; UserError if it is too late or was done before."""
    path = out / FROZEN
    if path.exists():
        raise UserError(
            f"{out} was frozen at {_read(path).get('time')}; what is written down stays. "
            "For another plan take another folder"
        )
    missing = [name for name in plan.data if name not in data]
    if missing:
        raise UserError(f"the data set {missing[0]} is not there yet, and cannot be frozen; make it first")
    if opened := _opened(out):
        raise UserError(
            f"the test set has been opened: {opened[0]} is there"
            f"{f', and {len(opened) - 1} more' if len(opened) > 1 else ''}. Freezing comes before; "
            "take a new folder and a test set that nobody has looked at"
        )
    frozen: JsonObject = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "plan_sha256": records.sha256_of(plan.file.text),
        "data": dict(data),
        "analysis": dict(plan.analysis),
        "commit": provenance.source_sha256(),
    }
    files.write_json(path, frozen)
    return frozen


def verdict(out: Path, plan: Plan, data: Mapping[str, str]) -> JsonObject | None:
    """{time, valid, why} if it was frozen: valid while plan, data and analysis are what was written down."""
    path = out / FROZEN
    if not path.exists():
        return None
    frozen = _read(path)
    why = None
    if not frozen:
        why = f"{FROZEN} is damaged"
    elif frozen.get("plan_sha256") != records.sha256_of(plan.file.text):
        why = "the plan was changed after it was frozen"
    elif frozen.get("analysis") != dict(plan.analysis):
        why = "the analysis was changed after it was frozen"
    elif frozen.get("data") != dict(data):
        was = frozen.get("data")
        known = was if isinstance(was, dict) else {}
        differing = sorted(name for name in {*known, *data} if known.get(name) != data.get(name))
        why = f"the data were changed after they were frozen: {', '.join(differing)}"
    return {"time": frozen.get("time"), "valid": why is None, "why": why}


def _opened(out: Path) -> list[str]:
    """Predictions on the test set that are there already."""
    return sorted(str(path.relative_to(out)) for path in out.glob(f"{TASKS}/predict-*/{PREDICTIONS}"))


def _read(path: Path) -> JsonObject:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
