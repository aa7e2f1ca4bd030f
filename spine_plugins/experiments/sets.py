"""What a data set says of itself, read from its dataset.json alone: images, classes, patients; and leaks."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from spine_plugins.experiments.plan import Plan
from spine_plugins.experiments.tasks import IMAGES, TASKS
from stylegan2ada.data.decode import is_image_name
from stylegan2ada.data.labels import description_limit, parse_description
from stylegan2ada.data.writer import LABELS_FILE
from stylegan2ada.untrusted import open_zip, read_file, read_member

_HELD_OUT = ("test", "val")  # whose patients may be in no set that something is learned from


@dataclass(frozen=True)
class SetFacts:
    """Of one data set."""

    images: int
    classes: tuple[str, ...] | None
    people: frozenset[str] | None  # hashes of patients, or of studies where those are not known


def read_set(path: Path) -> SetFacts:
    """The facts about a zip or a folder."""
    if path.is_dir():
        names = [str(one.relative_to(path)) for one in path.rglob("*") if is_image_name(one.name)]
        file = path / LABELS_FILE
        content = read_file(file, description_limit(len(names))) if file.is_file() else b"{}"
    else:
        with open_zip(path) as archive:
            names = [name for name in archive.namelist() if is_image_name(name)]
            content = b"{}"
            if LABELS_FILE in archive.namelist():
                content = read_member(archive, LABELS_FILE, description_limit(len(names)))
    described = parse_description(content, str(path))
    labels, groups = described.get("label_names"), described.get("groups")
    people = None
    if isinstance(groups, dict) and groups:
        people = frozenset(str(one.get("patient") or one.get("study")) for one in groups.values())
    return SetFacts(len(names), tuple(map(str, labels)) if isinstance(labels, list) else None, people)


def place_of(plan: Plan, name: str, base: Path, out: Path) -> Path:
    """Where a data set is, or will be."""
    one = plan.data[name]
    return out / TASKS / f"data-{name}" / IMAGES if one.zip is None else base / one.zip


def read_sets(plan: Plan, base: Path, out: Path, without: Set[str] = frozenset()) -> dict[str, SetFacts]:
    """Of those that are there, and not among `without`."""
    places = {name: place_of(plan, name, base, out) for name in plan.data if name not in without}
    return {name: read_set(path) for name, path in places.items() if path.exists()}


def check_sets(plan: Plan, facts: Mapping[str, SetFacts]) -> None:
    """UserError, with the line, if classes do not fit or held-out patients are in another set."""
    for name, mine in facts.items():
        declared = plan.data[name].classes
        if declared and mine.classes and len(mine.classes) != declared:
            plan.file.refuse(
                ("data", name),
                f"the data set {name} is to have {declared} classes, and its file has {len(mine.classes)} "
                f"({', '.join(mine.classes)}); give another file, or correct the plan",
            )
    test = facts.get("test")
    for name in ("train", "val"):
        found = facts.get(name)
        if test and found and test.classes and found.classes and test.classes != found.classes:
            plan.file.refuse(
                ("data", name),
                f"the data set {name} has the classes {', '.join(found.classes)}, test has "
                f"{', '.join(test.classes)}; label both in the same way",
            )
    for held in _HELD_OUT:
        for name, other in facts.items():
            holder = facts.get(held)
            if name == held or holder is None or not holder.people or not other.people:
                continue
            shared = holder.people & other.people
            if shared and not (held == "val" and name == "test"):
                plan.file.refuse(
                    ("data", name),
                    f"leakage: {len(shared)} of the {len(holder.people)} patients of the {held} set are also "
                    f"in {name}; split by patient (spinegan dataset --split, convert --split)",
                )
