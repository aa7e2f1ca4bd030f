"""What a plan needs that is not here: weights, detectors, packages, data; asked before anything starts."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from spine_plugins.experiments.plan import Plan
from spine_plugins.experiments.tasks import Task
from stylegan2ada.errors import MissingError

_BUILT_IN = "tiny"


@dataclass(frozen=True)
class Lack:
    """One thing that is not there, and the tasks that cannot run without it."""

    what: str  # a sentence with the remedy
    tasks: tuple[str, ...]


def lacks(plan: Plan, tasks: list[Task], base: Path) -> list[Lack]:
    """Everything that is missing, each thing once."""
    found: dict[str, list[str]] = {}
    for task in tasks:
        for sentence in _lacks_of(task, plan, base):
            found.setdefault(sentence, []).append(task.id)
    return [Lack(sentence, tuple(ids)) for sentence, ids in found.items()]


def _lacks_of(task: Task, plan: Plan, base: Path) -> list[str]:
    found = [
        f"{path} does not exist: {_where_from(plan, path, base)}"
        for path in task.reads
        if Path(path).is_absolute() and not Path(path).exists()
    ]
    weights = task.wants.get("weights")
    if weights not in (None, "none", "imagenet") and not Path(weights).is_file():
        found.append(
            f"the ImageNet weights {weights} are not there: give torchvision's densenet121 with --weights "
            "FILE, or --weights imagenet to download them, or --weights none to start at random"
        )
    module = task.wants.get("module")
    if module is not None and importlib.util.find_spec(module) is None:
        found.append(f"densenet121 needs {module}: pip install 'spinegan[classifier]'")
    if names := task.wants.get("metrics"):
        found += _detectors_missing(tuple(names.split(",")), dict(plan.detectors))
    return found


def _where_from(plan: Plan, path: str, base: Path) -> str:
    for name, one in plan.data.items():
        if one.zip is not None and str((base / one.zip).absolute()) == path:
            return f"make the data set {name}, or say where it is with --data {name}=ZIP"
    return "check the path in the plan"


_asked: dict[tuple[tuple[str, ...], tuple[tuple[str, str], ...]], list[str]] = {}


def _detectors_missing(metrics: tuple[str, ...], given: Mapping[str, str]) -> list[str]:
    key = (metrics, tuple(sorted(given.items())))
    if key not in _asked:
        _asked[key] = _look_for_detectors(metrics, given)
    return _asked[key]


def _look_for_detectors(metrics: tuple[str, ...], given: Mapping[str, str]) -> list[str]:
    from stylegan2ada.metrics import registry  # with torch: only plans that measure wait for it
    from stylegan2ada.metrics.detectors import Detectors

    finder, found = Detectors(given), []
    for name in sorted({registry.find_metric(metric).detector for metric in metrics}):
        try:
            is_there = name == _BUILT_IN or given.get(name) == _BUILT_IN or finder.find(name) is not None
        except MissingError as error:
            found.append(str(error))
            continue
        if not is_there:
            found.append(
                f"the detector {name} is nowhere: `spinegan detectors fetch {name}` on a connected computer, "
                f"or --detector {name}=FILE"
            )
    return found
