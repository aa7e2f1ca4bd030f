"""The folder of an experiment: the plan as it was given, and as it is understood, for all who read it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass, field
from pathlib import Path

from spine_plugins import vindr
from spine_plugins.experiments import freezing, plan_file, sets
from spine_plugins.experiments.making import tasks_of
from spine_plugins.experiments.parsing import parse, with_classes, with_data
from spine_plugins.experiments.plan import Arm, Plan, Row
from spine_plugins.experiments.tasks import Task, in_order
from stylegan2ada import files
from stylegan2ada.errors import UserError
from stylegan2ada.protocols import JsonObject

PLAN = "plan.toml"
RESOLVED = "plan.json"
LOCK = ".lock"


@dataclass(frozen=True)
class Given:
    """What the command line said beside the plan; kept, so that the same folder goes on without it."""

    name: str
    base: str  # folder that the plan's paths start from
    data: Mapping[str, str] = field(default_factory=dict)
    weights: str | None = None
    detectors: Mapping[str, str] = field(default_factory=dict)
    device: str | None = None


@dataclass(frozen=True)
class Experiment:
    """A plan with its tasks, and the folder for them."""

    plan: Plan
    given: Given
    out: Path
    tasks: list[Task]

    @property
    def base(self) -> Path:
        return Path(self.given.base)

    def facts_of_sets(self, without: Set[str] = frozenset()) -> dict[str, sets.SetFacts]:
        return sets.read_sets(self.plan, self.base, self.out, without)


def open_plan(name: str, given: Given, out: Path) -> Experiment:
    """The plan of a file or of the package, with what the command line puts in its places."""
    return _experiment(plan_file.read(plan_file.find(name)), given, out)


def base_of(name: str) -> Path:
    """Where the paths of a plan start: beside it; those of our own plans in the current folder."""
    path = plan_file.find(name)
    return Path.cwd() if path in plan_file.shipped().values() else path.absolute().parent


def reopen(out: Path) -> Experiment:
    """The experiment that is in a folder."""
    try:
        given = Given(**json.loads((out / RESOLVED).read_bytes())["given"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{out} holds no experiment ({RESOLVED} is missing or damaged); start one with "
            "`spinegan experiments run --plan P --out DIR`"
        ) from error
    return _experiment(plan_file.read(out / PLAN), given, out)


def _experiment(file: plan_file.PlanFile, given: Given, out: Path) -> Experiment:
    plan = parse(file, given.name)
    if given.data:
        plan = with_data(plan, given.data)
    plan = dataclasses.replace(
        plan, device=given.device or plan.device, detectors={**plan.detectors, **given.detectors}
    )
    if given.weights:
        plan = _with_weights(plan, given.weights)
    base = Path(given.base)
    facts = sets.read_sets(plan, base, out)
    sets.check_sets(plan, facts)
    plan = with_classes(plan, {name: len(one.classes) for name, one in facts.items() if one.classes})
    counts = {name: one.images for name, one in facts.items()}
    return Experiment(plan, given, out, list(in_order(tasks_of(plan, base, counts))))


def _with_weights(plan: Plan, weights: str) -> Plan:
    """The weights that every classifier starts from which takes any."""
    return dataclasses.replace(
        plan,
        helpers={
            name: dataclasses.replace(one, fit=dataclasses.replace(one.fit, weights=weights))
            for name, one in plan.helpers.items()
        },
        rows={
            name: dataclasses.replace(one, fit=dataclasses.replace(one.fit, weights=weights))
            for name, one in plan.rows.items()
        },
    )


def write(experiment: Experiment) -> None:
    """Both files of the plan."""
    out = experiment.out
    out.mkdir(parents=True, exist_ok=True)
    with files.atomic_write(out / PLAN) as file:
        file.write(experiment.plan.file.text.encode())
    files.write_json(out / RESOLVED, resolved(experiment))


def resolved(experiment: Experiment) -> JsonObject:
    """plan.json: for the tables, which read nothing else of the plan."""
    plan = experiment.plan
    facts = experiment.facts_of_sets()
    return {
        "name": plan.name,
        "title": plan.title,
        "data": {name: _place(experiment, name) for name in plan.data},
        "resolution": plan.resolution,
        "classes": _classes(plan, facts),
        "gans": [_gan(plan, arm) for arm in plan.arms.values()],
        "rows": [_row(plan, row) for row in plan.rows.values()],
        "analysis": dict(plan.analysis),
        "tables": list(plan.tables),
        "figures": list(plan.figures),
        "frozen": freezing.verdict(experiment.out, plan, data_prints(experiment)),
        "given": asdict(experiment.given),
    }


def _place(experiment: Experiment, name: str) -> str:
    path = sets.place_of(experiment.plan, name, experiment.base, experiment.out)
    is_ours = path.is_relative_to(experiment.out)
    return str(path.relative_to(experiment.out) if is_ours else path.absolute())


def _classes(plan: Plan, facts: Mapping[str, sets.SetFacts]) -> list[str]:
    """Of the rows: as the test set names them."""
    test = facts.get("test")
    if test is not None and test.classes:
        return list(test.classes)
    of_phantom = plan.data["test"].phantom.get("classes", "binary")
    return list(vindr.CLASSES[of_phantom if plan.data["test"].phantom else "binary"])


def _gan(plan: Plan, arm: Arm) -> JsonObject:
    private = arm.private
    if private is None and (arm.preset or "").startswith("paper-dp-"):
        private = str(arm.preset).removeprefix("paper-dp-")
    return {
        "arm": arm.name,
        "title": arm.title,
        "maker": arm.maker,
        "seeds": list(arm.seeds),
        "kimg": arm.kimg,
        "classes": plan.data[arm.data].classes or 2,
        "data": arm.data,
        "private": private,
        "tags": dict(arm.tags),
    }


def _row(plan: Plan, row: Row) -> JsonObject:
    fakes = next((source for source in row.sources if source.name in plan.arms), None)
    return {
        "row": row.name,
        "title": row.title,
        "group": row.group,
        "paper": row.paper,
        "against": row.against,
        "arm": fakes and fakes.name,
        "images": fakes and fakes.images,
        "train": [source.text for source in row.train],
        "pretrain": [source.text for source in row.pretrain],
        "by": "steps" if row.fit.steps else "epochs",
    }


def data_prints(experiment: Experiment) -> dict[str, str]:
    """What identifies each data set: the bytes of a file, or how phantoms are drawn."""
    found = {}
    for name, one in experiment.plan.data.items():
        place = experiment.base / (one.zip or "")
        if one.zip is None:
            words = " ".join(f"{key}={value}" for key, value in sorted(one.phantom.items()))
            found[name] = f"phantom {experiment.plan.resolution} {words}"
        elif place.is_file():
            found[name] = files.sha256_file(place)
    return found
