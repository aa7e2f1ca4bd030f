"""What must fit together in a plan; a refusal says the line and the reason."""

from __future__ import annotations

import graphlib
from collections.abc import Mapping

from spine_plugins.experiments.plan import REAL, Plan, Row, Source
from spine_plugins.experiments.plan_file import Keys


def check(plan: Plan) -> None:
    """UserError, with the line, for a name that nothing has, a circle, classes that do not fit, or a leak."""
    _check_names(plan)
    _check_circles(plan)
    _check_classes(plan)
    _check_seeds_of_phantoms(plan)


def _check_names(plan: Plan) -> None:
    refuse = plan.file.refuse
    known = [REAL, *plan.data, *plan.arms]
    twice = next((name for name in plan.arms if name in (REAL, *plan.data)), None)
    if twice:
        refuse(("arms", twice), f"{twice} is a data set already; give the arm another name")
    for helper in plan.helpers.values():
        for key, name in (("data", helper.data), ("val", helper.val)):
            if name is not None and name not in plan.data:
                refuse(("classifiers", helper.name, key), f"there is no data set {name!r} ({_or(plan.data)})")
    for arm in plan.arms.values():
        where: Keys = ("arms", arm.name)
        if arm.data not in plan.data:
            refuse((*where, "data"), f"there is no data set {arm.data!r}; known are {_or(plan.data)}")
        if arm.classifier is not None and arm.classifier not in plan.helpers:
            refuse((*where, "classifier"), f"there is no classifier {arm.classifier!r} ({_or(plan.helpers)})")
        if arm.resume is not None and arm.resume not in plan.arms:
            refuse((*where, "resume"), f"there is no arm {arm.resume!r}; known are {_or(plan.arms)}")
    for row in plan.rows.values():
        if row.against is not None and row.against not in plan.rows:
            refuse(("rows", row.name, "against"), f"there is no row {row.against!r} to compare with")
        for key, sources in (("train", row.train), ("pretrain", row.pretrain)):
            for source in sources:
                if source.name not in known:
                    refuse(
                        ("rows", row.name, key), f"there is no arm {source.name!r}; known are {_or(known)}"
                    )
                _check_source(plan, row, key, source)


def _check_source(plan: Plan, row: Row, key: str, source: Source) -> None:
    """A network draws any number, so it must be told one; a classifier that sifts must be there."""
    refuse, where = plan.file.refuse, ("rows", row.name, key)
    arm = plan.arms.get(source.name)
    if arm is not None and arm.maker != "images" and source.images is None:
        refuse(where, f"{source.name!r}: how many images? Write {source.name}:500")
    if source.sifted and plan.sifter is None:
        refuse(where, f"{source.text!r} needs a classifier: write [classifiers.loss] with role = 'loss'")


def _check_circles(plan: Plan) -> None:
    """Arms that start from each other would all wait for ever."""
    graph = {arm.name: {arm.resume} if arm.resume else set() for arm in plan.arms.values()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        circle = error.args[1]
        plan.file.refuse(
            ("arms", circle[0], "resume"),
            f"the arms {' -> '.join(circle)} start from each other; let one of them start at random",
        )
    graph = {row.name: {row.against} if row.against else set() for row in plan.rows.values()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        circle = error.args[1]
        plan.file.refuse(
            ("rows", circle[0], "against"), f"the rows {' -> '.join(circle)} compare in a circle"
        )


def _check_classes(plan: Plan) -> None:
    """By what the plan says; what files say is compared once they are there (leaks.py)."""
    refuse = plan.file.refuse

    def classes(name: str) -> int | None:
        arm = plan.arms.get(name)
        return plan.data[plan.set_of(arm.data if arm else name)].classes

    for helper in plan.helpers.values():
        if helper.val is not None and _differ(classes(helper.data), classes(helper.val)):
            refuse(("classifiers", helper.name, "val"), f"{helper.val} has other classes than {helper.data}")
    for arm in plan.arms.values():
        if arm.classifier is not None:
            learned = plan.helpers[arm.classifier].data
            if _differ(classes(arm.name), classes(learned)):
                refuse(
                    ("arms", arm.name, "classifier"),
                    f"{arm.classifier} knows the {classes(learned)} classes of {learned}, the arm draws the "
                    f"{classes(arm.name)} of {arm.data}; give it a classifier of the same classes",
                )
        if arm.resume is not None and _differ(classes(arm.name), classes(arm.resume)):
            refuse(("arms", arm.name, "resume"), f"{arm.resume} has other classes than {arm.name}")
    for row in plan.rows.values():
        for key, sources in (("train", row.train), ("pretrain", row.pretrain)):
            for source in sources:
                if _differ(classes(source.name), classes("test")):
                    refuse(
                        ("rows", row.name, key),
                        f"{source.name} has {classes(source.name)} classes, the test set {classes('test')}; "
                        "rows are measured on the test set",
                    )


def _differ(first: int | None, second: int | None) -> bool:
    return first is not None and second is not None and first != second


def _check_seeds_of_phantoms(plan: Plan) -> None:
    """One seed draws the same patients again: the test set's may be in no other set, nor validation's."""
    for held, what in (("test", "test"), ("val", "validation")):
        mine = plan.data[held].phantom.get("seed")
        for name, other in plan.data.items():
            if name != held and mine is not None and other.phantom.get("seed") == mine:
                plan.file.refuse(
                    ("data", name, "phantom"),
                    f"leakage: seed {mine} draws the {what} patients into {name}; give it a seed of its own",
                )


def _or(names: Mapping[str, object] | list[str]) -> str:
    return ", ".join(names) or "none"
