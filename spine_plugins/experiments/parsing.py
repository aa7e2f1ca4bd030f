"""From the tables of a plan's file to the plan, every key understood; what fits together is `checks`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from spine_plugins.experiments.checks import check
from spine_plugins.experiments.plan import REAL, Arm, DataSet, Fit, Helper, Plan, Row, Sifted, Source
from spine_plugins.experiments.plan_file import PlanFile, Table

REQUIRED = ("train", "val", "test")
CLASSES = {"binary": 2, "spine8": 8}
AUGMENT = ("standard", "none", "flip", "flip-rotate", "flip-rotate-zoom")
_SOURCE = re.compile(r"(?P<name>[A-Za-z0-9_-]+)(:(?P<images>\d+))?( (?P<sifted>relabelled|filtered))?")
_NAME = re.compile(r"[A-Za-z0-9_-]+")


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
    private, common_flags = table.text_or_none("private"), dict(common.flags)
    if private is not None:
        # Of an arm of Figure 3 the batch is what it is about; the others' is not meant for it.
        common_flags.pop("batch", None)
    arm = Arm(
        name=name,
        title=table.text("title", name),
        maker=maker,
        data=table.text("data", "train"),
        seeds=table.wholes("seeds", common.seeds) if maker != "images" else (0,),
        kimg=table.whole("kimg", common.kimg, least=1) if maker == "stylegan" else 0,
        steps=table.whole("steps", 2000, least=1) if maker == "dcgan" else 0,
        flags={**(common_flags if maker == "stylegan" else {}), **table.flags("flags")},
        preset=table.text_or_none("preset"),
        private=private,
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
    train = _sources("train", table, table.texts("train", ()))
    row = Row(
        name=name,
        title=table.text("title", name),
        group=table.text("group", "paper", of=("paper", "lacking", "control", "blog", "sweep")),
        paper=table.number_or_none("paper"),
        against=table.text("against", "" if name == REAL or not train else REAL) or None,
        train=train,
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


def with_data(plan: Plan, given: Mapping[str, str]) -> Plan:
    """The plan on other files: {data set: zip}, as given on the command line."""
    unknown = next((name for name in given if name not in plan.data), None)
    if unknown is not None:
        known = ", ".join(plan.data)
        plan.file.refuse((), f"--data {unknown}: the plan has no such data set; it has {known}")
    replaced = {
        # Of as many classes as the plan's own: rows and arms were made for those.
        name: dataclasses.replace(one, zip=given[name], phantom={}) if name in given else one
        for name, one in plan.data.items()
    }
    changed = dataclasses.replace(plan, data=replaced)
    check(changed)
    return changed


def with_classes(plan: Plan, found: Mapping[str, int]) -> Plan:
    """The plan with the number of classes of the files that are there, where it says none."""
    known = {
        name: dataclasses.replace(one, classes=one.classes or found.get(name))
        for name, one in plan.data.items()
    }
    changed = dataclasses.replace(plan, data=known)
    check(changed)
    return changed
