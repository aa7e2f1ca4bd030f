"""What a plan asks for: data sets, classifiers, arms (sources of fakes), rows; checked as a whole."""

from __future__ import annotations

import dataclasses
import graphlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from spine_plugins.experiments.plan_file import Keys, PlanFile, Table

REAL = "real"  # in rows: the images of the data set `train`
REQUIRED = ("train", "val", "test")
CLASSES = {"binary": 2, "spine8": 8}
AUGMENT = ("standard", "none", "flip", "flip-rotate", "flip-rotate-zoom")
Sifted = Literal["relabelled", "filtered"]
_SOURCE = re.compile(r"(?P<name>[A-Za-z0-9_-]+)(:(?P<images>\d+))?( (?P<sifted>relabelled|filtered))?")
_NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class DataSet:
    """Real images: a file of the user, or phantoms that are drawn."""

    name: str
    zip: str | None
    phantom: Mapping[str, str]  # flags of `spinegan phantom`
    classes: int | None  # None: the file says


@dataclass(frozen=True)
class Fit:
    """How a classifier is trained."""

    arch: str
    epochs: int
    steps: int | None  # equal for all arms; None: by epochs, as the paper prints them
    batch: int
    lr: float | None
    augment: str
    select_on: str
    weights: str | None
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Helper:
    """A classifier that is no row: in a loss, or a judge of what is drawn."""

    name: str
    role: str  # loss | judge
    data: str
    val: str | None
    images: int  # of a judge: so many fakes of each network are judged
    fit: Fit


@dataclass(frozen=True)
class Arm:
    """Where fakes come from."""

    name: str
    title: str
    maker: str  # stylegan | dcgan | images
    data: str
    seeds: tuple[int, ...]
    kimg: int  # of stylegan
    steps: int  # of dcgan
    flags: Mapping[str, str]
    preset: str | None
    private: str | None  # an arm of Figure 3
    classifier: str | None
    resume: str | None  # another arm, whose networks it starts from
    per_class: bool  # of dcgan: a network for each class
    images: str | None  # of images: a labelled zip, whoever drew it
    measured: bool
    tags: Mapping[str, str]  # for tables: what it varies


@dataclass(frozen=True)
class Source:
    """One word of a row: `real`, `real:500`, `spine:1600`, `spine:1600 filtered`, `oracle`."""

    name: str
    images: int | None
    sifted: Sifted | None

    @property
    def text(self) -> str:
        count = "" if self.images is None else f":{self.images}"
        return f"{self.name}{count}{f' {self.sifted}' if self.sifted else ''}"


@dataclass(frozen=True)
class Row:
    """One row of a table: what a classifier learns from, and how."""

    name: str
    title: str
    group: str
    paper: float | None
    against: str | None
    train: tuple[Source, ...]  # of nothing: a value that is only quoted
    pretrain: tuple[Source, ...]
    length: float  # times the steps or epochs of the others
    pretrain_length: float
    shuffled: bool
    full: bool  # every seed with every network and draw; else they go in step
    fit: Fit

    @property
    def sources(self) -> tuple[Source, ...]:
        return (*self.pretrain, *self.train)


@dataclass(frozen=True)
class Plan:
    """All of it."""

    file: PlanFile
    name: str
    title: str
    resolution: int
    device: str
    draws: int
    data: Mapping[str, DataSet]
    helpers: Mapping[str, Helper]
    arms: Mapping[str, Arm]
    rows: Mapping[str, Row]
    metrics: tuple[str, ...]
    detectors: Mapping[str, str]
    analysis: Mapping[str, object]
    tables: tuple[str, ...]
    figures: tuple[str, ...]
    speed: Mapping[str, float]  # measured by the user, instead of ours

    def set_of(self, name: str) -> str:
        """The data set that a row's word means."""
        return "train" if name == REAL else name


def parse(file: PlanFile, name: str) -> Plan:
    """The plan, every key understood and every name known."""
    top = file.top()
    data = {key: _data_set(key, table) for key, table in top.tables("data").items()}
    for role in REQUIRED:
        if role not in data:
            file.refuse(("data",), f"data.{role} is missing; write [data.{role}] with zip or phantom")
    fit = _fit(top.table("classifier"), None)
    arm_defaults = top.table("gan")
    common = _Common(
        arm_defaults.wholes("seeds", (0,)), arm_defaults.whole_or_none("kimg"), arm_defaults.flags("flags")
    )
    arm_defaults.done()
    analysis, measured = top.table("analysis"), top.table("metrics")
    plan = Plan(
        file=file,
        name=name,
        title=top.text("title"),
        resolution=top.whole("resolution", least=16),
        device=top.text("device", "auto"),
        draws=top.whole("draws", 1, least=1),
        data=data,
        helpers={key: _helper(key, table, fit) for key, table in top.tables("classifiers").items()},
        arms={key: _arm(key, table, common) for key, table in top.tables("arms").items()},
        rows={key: _row(key, table, fit) for key, table in top.tables("rows").items()},
        metrics=measured.texts("names", ()),
        detectors=measured.flags("detectors"),
        analysis=_analysis(analysis),
        tables=top.texts("tables", ("table1", "table2")),
        figures=top.texts("figures", ()),
        speed=_speeds(top.table("speed")),
    )
    measured.done()
    top.done()
    check(plan)
    return plan


@dataclass(frozen=True)
class _Common:
    """What all arms share that say nothing else."""

    seeds: tuple[int, ...]
    kimg: int | None
    flags: Mapping[str, str]


def _data_set(name: str, table: Table) -> DataSet:
    _check_name(name, table)
    path, phantom = table.text_or_none("zip"), table.flags("phantom")
    classes = table.whole_or_none("classes", least=2)
    if (path is None) == (not phantom):
        table.refuse("", f"data.{name} needs either zip or phantom")
    if phantom:
        for key in ("n", "seed"):
            if key not in phantom:
                table.refuse("phantom", f"phantom.{key} is missing; write phantom = {{ n = 600, seed = 1 }}")
        classes = CLASSES.get(phantom.get("classes", "binary"))
    table.done()
    return DataSet(name, path, phantom, classes)


def _fit(table: Table, base: Fit | None) -> Fit:
    """A table of a classifier; what it does not say is as in the base."""
    of = base or Fit("densenet121", 30, None, 32, None, "standard", "val", None, (0, 1, 2))
    fit = Fit(
        arch=table.text("arch", of.arch, of=("densenet121", "cnn13k")),
        epochs=table.whole("epochs", of.epochs, least=1),
        steps=table.whole_or_none("steps") or of.steps,
        batch=table.whole("batch", of.batch, least=2),
        lr=table.number_or_none("lr") or of.lr,
        augment=table.text("augment", of.augment, of=AUGMENT),
        select_on=table.text("select_on", of.select_on, of=("val", "last")),
        weights=table.text_or_none("weights") or of.weights,
        seeds=table.wholes("seeds", of.seeds),
    )
    if base is None:
        table.done()
    if fit.steps is not None and fit.steps < fit.epochs:
        table.refuse("steps", f"steps = {fit.steps} are fewer than the {fit.epochs} epochs they are cut into")
    if not fit.seeds:
        table.refuse("seeds", "seeds = [] trains nothing; give one at least")
    return fit


def _helper(name: str, table: Table, base: Fit) -> Helper:
    _check_name(name, table)
    helper = Helper(
        name,
        table.text("role", of=("loss", "judge")),
        table.text("data", "train"),
        table.text_or_none("val"),
        table.whole("images", 800, least=1),
        _fit(table, base),
    )
    table.done()
    return helper


def _arm(name: str, table: Table, common: _Common) -> Arm:
    _check_name(name, table)
    maker = table.text("maker", "stylegan", of=("stylegan", "dcgan", "images"))
    arm = Arm(
        name=name,
        title=table.text("title", name),
        maker=maker,
        data=table.text("data", "train"),
        seeds=table.wholes("seeds", common.seeds) if maker != "images" else (0,),
        kimg=table.whole("kimg", common.kimg, least=1) if maker == "stylegan" else 0,
        steps=table.whole("steps", 2000, least=1) if maker == "dcgan" else 0,
        flags={**(common.flags if maker == "stylegan" else {}), **table.flags("flags")},
        preset=table.text_or_none("preset"),
        private=table.text_or_none("private"),
        classifier=table.text_or_none("classifier"),
        resume=table.text_or_none("resume"),
        per_class=maker == "dcgan" and table.text("networks", "one", of=("one", "per-class")) == "per-class",
        images=table.text("images") if maker == "images" else None,
        measured=table.text("measure", "yes", of=("yes", "no")) == "yes" and maker == "stylegan",
        tags=table.flags("tags"),
    )
    if arm.private is not None and arm.private not in ("b", "c", "d", "e"):
        table.refuse("private", f"private = {arm.private!r} is no arm of Figure 3; choose b, c, d or e")
    table.done()
    return arm


def _row(name: str, table: Table, base: Fit) -> Row:
    _check_name(name, table)
    row = Row(
        name=name,
        title=table.text("title", name),
        group=table.text("group", "paper", of=("paper", "lacking", "control", "blog", "sweep")),
        paper=table.number_or_none("paper"),
        against=table.text("against", "" if name == REAL else REAL) or None,
        train=_sources("train", table, table.texts("train", ())),
        pretrain=_sources("pretrain", table, table.texts("pretrain", ())),
        length=table.number("length", 1.0),
        pretrain_length=table.number("pretrain_length", 1.0),
        shuffled=table.text("labels", "true", of=("true", "shuffled")) == "shuffled",
        full=table.text("cross", "in-step", of=("in-step", "full")) == "full",
        fit=_fit(table, base),
    )
    if not row.train and row.paper is None:
        table.refuse("train", f'the row {name} learns from nothing; write train = ["real"], or quote a paper')
    for key in ("length", "pretrain_length"):
        if getattr(row, key) <= 0:
            table.refuse(key, f"{key} must be above 0; 2.0 is twice as long as the other rows")
    table.done()
    return row


def _sources(key: str, table: Table, words: tuple[str, ...]) -> tuple[Source, ...]:
    found = []
    for word in words:
        match = _SOURCE.fullmatch(word)
        if match is None:
            table.refuse(key, f'{word!r} is no source; write "real", "spine:1600" or "spine:1600 filtered"')
        images = None if match["images"] is None else int(match["images"])
        sifted: Sifted | None = next((way for way in get_args(Sifted) if way == match["sifted"]), None)
        found.append(Source(match["name"], images, sifted))
    return tuple(found)


def _analysis(table: Table) -> dict[str, object]:
    found: dict[str, object] = {
        "level": table.number("level", 0.95),
        "resamples": table.whole("resamples", 2000, least=100),
        "margin": table.number("margin", 0.03),
        "primary": table.text("primary", "auc", of=("auc", "accuracy")),
        "clusters": table.text("clusters", "patient", of=("patient", "study", "image")),
    }
    table.done()
    return found


def _speeds(table: Table) -> dict[str, float]:
    return {key: table.number(key) for key in list(table.left)}


def _check_name(name: str, table: Table) -> None:
    # Names become folders.
    if not _NAME.fullmatch(name):
        table.refuse("", f"{name!r} cannot be a name here; use letters, digits, - and _")


# What must fit together.


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
    if source.sifted and _sifter(plan) is None:
        refuse(where, f"{source.text!r} needs a classifier: write [classifiers.loss] with role = 'loss'")


def sifter(plan: Plan) -> Helper:
    """The classifier that relabels and filters: the first one of a loss."""
    found = _sifter(plan)
    assert found is not None, "checked with the plan"
    return found


def _sifter(plan: Plan) -> Helper | None:
    return next((one for one in plan.helpers.values() if one.role == "loss"), None)


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


def with_data(plan: Plan, given: Mapping[str, str]) -> Plan:
    """The plan on other files: {data set: zip}, as given on the command line."""
    unknown = next((name for name in given if name not in plan.data), None)
    if unknown is not None:
        plan.file.refuse((), f"--data {unknown}: the plan has no such data set; it has {_or(plan.data)}")
    replaced = {
        name: dataclasses.replace(one, zip=given[name], phantom={}, classes=None) if name in given else one
        for name, one in plan.data.items()
    }
    changed = dataclasses.replace(plan, data=replaced)
    check(changed)
    return changed
