"""What is said of a plan and of an experiment: tasks, costs, what is missing, how far it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from spine_plugins.experiments import records
from spine_plugins.experiments.estimate import Cost, Estimator, total
from spine_plugins.experiments.folder import Experiment
from spine_plugins.experiments.missing import Lack
from spine_plugins.experiments.records import Record
from stylegan2ada.protocols import JsonObject

_FEW = 80  # tasks: so many are shown one by one
_KINDS = ("data", "classifier", "gan", "metrics", "quality", "draw", "consistency", "predict")


def plan_lines(
    experiment: Experiment,
    estimator: Estimator,
    costs: Mapping[str, Cost],
    lacks: list[Lack],
    *,
    everything: bool,
    workers: int = 1,
) -> Iterator[str]:
    """The plan for people."""
    tasks, plan = experiment.tasks, experiment.plan
    yield f"{plan.name}: {plan.title}"
    yield f"{'':4}{'tasks':>7}{'hours':>10}{'disk':>11}"
    for kind in _KINDS:
        mine = [task for task in tasks if task.kind == kind]
        if mine:
            cost = total(costs[task.id] for task in mine)
            yield f"{'':4}{len(mine):>7}{cost.seconds / 3600:>10.2f}{_size(cost.bytes):>11}  {kind}"
    cost = total(costs.values())
    yield f"{'':4}{len(tasks):>7}{cost.seconds / 3600:>10.2f}{_size(cost.bytes):>11}  in all"
    if workers > 1:
        yield f"with {workers} workers about {cost.seconds / 3600 / workers:.2f} hours"
    yield f"by constants {estimator.basis}" + (f"; yours: {_pairs(estimator.own)}" if estimator.own else "")
    if everything or len(tasks) <= _FEW:
        for task in tasks:
            needs = f"  needs {', '.join(task.needs)}" if task.needs else ""
            yield f"{task.id}  {costs[task.id].seconds:.0f} s{needs}"
    else:
        yield "--all shows every task and what it needs"
    for lack in lacks:
        yield f"MISSING, for {len(lack.tasks)} tasks: {lack.what}"


def plan_numbers(
    experiment: Experiment, estimator: Estimator, costs: Mapping[str, Cost], lacks: list[Lack]
) -> JsonObject:
    """The same for programs."""
    cost = total(costs.values())
    return {
        "name": experiment.plan.name,
        "tasks": [
            {
                "id": task.id,
                "kind": task.kind,
                "needs": list(task.needs),
                "command": list(task.command),
                "facts": task.facts,
                "seconds": round(costs[task.id].seconds, 3),
                "bytes": round(costs[task.id].bytes),
            }
            for task in experiment.tasks
        ],
        "kinds": dict(Counter(task.kind for task in experiment.tasks)),
        "hours": cost.seconds / 3600,
        "bytes": round(cost.bytes),
        "constants": estimator.basis,
        "missing": [{"what": lack.what, "tasks": list(lack.tasks)} for lack in lacks],
    }


def state_of(experiment: Experiment) -> dict[str, Record]:
    """What the records say of every task of the plan; a record of another command is of no use."""
    found = {}
    for task in experiment.tasks:
        record = records.read(experiment.out, task.id)
        same = record is not None and record.command == list(task.command)
        found[task.id] = record if record is not None and same else records.of_task(task)
    return found


def status_lines(experiment: Experiment, costs: Mapping[str, Cost], is_running: bool) -> Iterator[str]:
    """How far it is."""
    found = state_of(experiment)
    states = Counter(record.state for record in found.values())
    yield f"{experiment.out}: {experiment.plan.name}, {states['done']} of {len(found)} tasks done" + (
        "" if is_running else "; nothing works on it now"
    )
    left = sum(
        costs[name].seconds for name, record in found.items() if record.state in ("waiting", "running")
    )
    if left:
        yield f"about {left / 3600:.2f} hours of one worker are left"
    for state in ("running", "failed", "skipped"):
        for record in found.values():
            if record.state == state:
                yield f"{state}: {record.id}" + (f": {record.why}" if record.why else "")


def status_numbers(experiment: Experiment, is_running: bool) -> JsonObject:
    found = state_of(experiment)
    return {
        "name": experiment.plan.name,
        "running": is_running,
        "states": dict(Counter(record.state for record in found.values())),
        "tasks": [
            {"id": record.id, "kind": record.kind, "state": record.state, "seconds": record.seconds,
             "why": record.why}
            for record in found.values()
        ],
    }  # fmt: skip


def log_of(out: Path, task_id: str) -> Path:
    return out / "tasks" / task_id / records.LOG


def _pairs(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in values.items())


def _size(amount: float) -> str:
    return f"{amount / 1e9:.1f} GB" if amount >= 1e8 else f"{amount / 1e6:.1f} MB"
