"""`spinegan experiments plan|run|status|freeze|tables`: a study by one command, which can be stopped."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import click

from spine_plugins.experiments import folder, freezing, missing, plan_file, runner, telling, work
from spine_plugins.experiments.estimate import Cost, Estimator
from spine_plugins.experiments.folder import Experiment, Given
from spine_plugins.experiments.missing import Lack
from spine_plugins.experiments.quality_command import quality
from spine_plugins.experiments.tables_command import tables
from stylegan2ada import locks, options
from stylegan2ada.errors import MissingError, TooManyFailuresError, UserError
from stylegan2ada.flag_types import NamedValue

_STDERR = 2  # file descriptor


@click.group()
def experiments() -> None:
    """The paper's experiments, the blog's, and yours: plans, run as one resumable command."""


experiments.add_command(tables)
experiments.add_command(quality)


@dataclass(frozen=True, kw_only=True)
class Places:
    """What stands in the places that a plan leaves open."""

    data: tuple[tuple[str, str], ...]
    weights: str | None
    detector: tuple[tuple[str, str], ...]
    device: str | None
    speed: tuple[tuple[str, str], ...]

    def given(self, name: str) -> Given:
        """With absolute paths: the experiment's folder is another place."""
        return Given(
            name=Path(name).stem,
            base=str(folder.base_of(name)),
            data={key: str(Path(path).absolute()) for key, path in self.data},
            weights=_absolute(self.weights),
            detectors={key: path if path == "tiny" else str(Path(path).absolute())
                       for key, path in self.detector},
            device=self.device,
        )  # fmt: skip

    def speeds(self) -> dict[str, float]:
        try:
            return {name: float(value) for name, value in self.speed}
        except ValueError:
            raise UserError("--speed takes NAME=SECONDS, such as --speed gan@256=8.1") from None


def _absolute(weights: str | None) -> str | None:
    return weights if weights in (None, "none", "imagenet") else str(Path(str(weights)).absolute())


_places = options.group(
    "What stands in its places",
    options.opt("--data", type=NamedValue(), multiple=True, metavar="NAME=ZIP",
                help="Use this file as that data set of the plan: train, val, test, ... (repeatable)"),
    options.opt("--weights", metavar="FILE|NAME",
                help="ImageNet weights of densenet121, for all classifiers; imagenet (download), or none"),
    options.opt("--detector", type=NamedValue(), multiple=True, metavar="NAME=PATH",
                help="File of a feature network for the metrics (repeatable)"),
    options.opt("--device", metavar="NAME", help="auto, cpu, cuda, mps [default: as the plan says]"),
    options.opt("--speed", type=NamedValue(), multiple=True, metavar="NAME=SECONDS",
                help="A measured constant for the estimate, such as gan@256=8.1 (repeatable)"),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PlanAsked(Places):
    """What `experiments plan` was asked."""

    plan: str | None
    everything: bool
    json_file: str | None


@options.command("plan", parent=experiments, record=PlanAsked)
@options.group(
    "Which plan",
    options.opt("--plan", metavar="FILE|NAME", help="A .toml file, or one of ours [default: list ours]"),
    options.opt("--all", "everything", is_flag=True, help="Show every task, however many they are"),
)
@_places
@options.json_option
def plan_(asked: PlanAsked) -> None:
    """What a plan would do: tasks, what each needs, hours, disk, and what is missing for it."""
    voice = options.Voice(asked.json_file)
    if asked.plan is None:
        plans = {name: plan_file.read(path).top().text("title") for name, path in plan_file.shipped().items()}
        for name, title in plans.items():
            voice.say(f"{name:12} {title}")
        voice.numbers({"plans": plans})
        return
    experiment = folder.open_plan(asked.plan, asked.given(asked.plan), Path("experiment"))
    _show(voice, experiment, asked.speeds(), everything=asked.everything)


def _show(
    voice: options.Voice,
    experiment: Experiment,
    speeds: dict[str, float],
    *,
    everything: bool,
    workers: int = 1,
) -> None:
    estimator, costs = _costs(experiment, speeds)
    lacks = missing.lacks(experiment.plan, experiment.tasks, experiment.base)
    for line in telling.plan_lines(
        experiment, estimator, costs, lacks, everything=everything, workers=workers
    ):
        voice.say(line)
    voice.numbers(telling.plan_numbers(experiment, estimator, costs, lacks))


def _costs(experiment: Experiment, speeds: dict[str, float]) -> tuple[Estimator, dict[str, Cost]]:
    device = experiment.plan.device
    on_gpu = device.startswith("cuda") or (device == "auto" and bool(work.cards()))
    estimator = Estimator(experiment.plan, speeds, on_gpu=on_gpu)
    return estimator, {task.id: estimator.cost(task) for task in experiment.tasks}


@dataclass(frozen=True, kw_only=True)
class RunAsked(Places):
    """What `experiments run` was asked."""

    plan: str | None
    out: str
    executor: str
    workers: int
    per_card: int
    redo: tuple[str, ...]
    without_missing: bool
    no_tables: bool
    dry_run: bool
    json_file: str | None


@options.command("run", parent=experiments, record=RunAsked)
@options.group(
    "What, and where to",
    options.opt("--plan", metavar="FILE|NAME",
                help="A .toml file, or one of `experiments plan` [default: the one in --out]"),
    options.opt("--out", required=True, metavar="DIR", help="Folder of the experiment; run again to go on"),
    options.opt("-n", "--dry-run", is_flag=True, help="Say what would be done, create nothing"),
)  # fmt: skip
@options.group(
    "Who does the work",
    options.opt("--executor", default="local", metavar="NAME",
                help="serial, local, or dask:ADDRESS of a scheduler [default: local]"),
    options.opt("--workers", type=click.IntRange(min=1), default=1, metavar="INT",
                help="Commands at once, with local [default: 1]"),
    options.opt("--per-card", type=click.IntRange(min=1), default=1, metavar="INT",
                help="Commands that share one graphics card [default: 1, none does]"),
    options.opt("--redo", multiple=True, metavar="TASK", help="Make this task again (repeatable)"),
    options.opt("--without-missing", is_flag=True, help="Leave out what needs something that is missing"),
    options.opt("--no-tables", is_flag=True, help="No tables and figures at the end"),
)  # fmt: skip
@_places
@options.json_option
def run_(asked: RunAsked) -> None:
    """Run a plan; what is done stays done, so the same command goes on after any interruption.

    \b
    spinegan experiments run --plan smoke --out smoke --workers 2
    """
    voice, out = options.Voice(asked.json_file), Path(asked.out)
    experiment = _experiment(asked, out)
    if asked.dry_run:
        _show(voice, experiment, asked.speeds(), everything=True, workers=asked.workers)
        return
    lacks = missing.lacks(experiment.plan, experiment.tasks, experiment.base)
    if lacks and not asked.without_missing:
        raise MissingError(f"{_listed(lacks)}. Or go on without it: --without-missing")
    folder.write(experiment)
    _, costs = _costs(experiment, asked.speeds())
    means = runner.Means(
        asked.executor,
        asked.workers,
        asked.per_card,
        asked.redo,
        {name: lack.what for lack in lacks for name in lack.tasks},
    )
    ended = runner.run(experiment, means, costs, voice.say)
    folder.write(experiment)  # once more: what was drawn meanwhile names its classes
    if not asked.no_tables:
        _make_tables(out, voice)
    voice.numbers({
        "out": asked.out,
        "states": ended.states,
        "seconds": ended.seconds,
        "failed": {record.id: record.why for record in ended.failed},
        "skipped": {record.id: record.why for record in ended.skipped},
    })  # fmt: skip
    if ended.failed:
        first = ended.failed[0]
        raise TooManyFailuresError(
            f"{len(ended.failed)} of {len(experiment.tasks)} tasks failed, {len(ended.skipped)} could not "
            f"follow. First {first.id}: {first.why} ({telling.log_of(out, first.id)}). The rest is done; the "
            "same command tries these again"
        )


def _experiment(asked: RunAsked, out: Path) -> Experiment:
    if asked.plan is not None:
        return folder.open_plan(asked.plan, asked.given(asked.plan), out)
    experiment = folder.reopen(out)
    if asked.data or asked.weights or asked.detector or asked.device:
        raise UserError("--data, --weights, --detector and --device change a plan; give --plan as well")
    return experiment


def _listed(lacks: list[Lack]) -> str:
    return "; ".join(lack.what for lack in lacks)


def _make_tables(out: Path, voice: options.Voice) -> None:
    """The tables as a command of their own: they read what is there, also where something is missing."""
    home = str(Path(__file__).resolve().parent.parent.parent)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([home, os.environ.get("PYTHONPATH", "")])}
    code = subprocess.run(
        [sys.executable, "-m", "spine_plugins", "experiments", "tables", str(out)],
        env=environment, stdout=_STDERR if voice.is_for_programs else None, check=False,
    ).returncode  # fmt: skip
    if code:
        voice.say(f"the tables ended with exit code {code}; `spinegan experiments tables {out}` tries again")


@dataclass(frozen=True)
class StatusAsked:
    """What `experiments status` was asked."""

    out: str
    json_file: str | None


@options.command("status", parent=experiments, record=StatusAsked)
@click.argument("out", cls=options.Argument, metavar="DIR")
@options.json_option
def status_(asked: StatusAsked) -> None:
    """How far an experiment is, what failed and why."""
    voice, out = options.Voice(asked.json_file), Path(asked.out)
    experiment = folder.reopen(out)
    is_running = _is_running(out)
    _, costs = _costs(experiment, {})
    for line in telling.status_lines(experiment, costs, is_running):
        voice.say(line)
    voice.numbers(telling.status_numbers(experiment, is_running))


def _is_running(out: Path) -> bool:
    """Whether somebody holds the folder; the file alone may be of one that was killed."""
    if not (out / folder.LOCK).exists():
        return False
    try:
        with locks.hold(out / folder.LOCK, str(out)):
            return False
    except UserError:
        return True


@dataclass(frozen=True, kw_only=True)
class FreezeAsked(Places):
    """What `experiments freeze` was asked."""

    plan: str
    out: str
    json_file: str | None


@options.command("freeze", parent=experiments, record=FreezeAsked)
@options.group(
    "What, and where to",
    options.opt("--plan", required=True, metavar="FILE|NAME", help="A .toml file, or one of ours"),
    options.opt("--out", required=True, metavar="DIR", help="Folder of the experiment that will be run"),
)
@_places
@options.json_option
def freeze_(asked: FreezeAsked) -> None:
    """Write plan, data and analysis down before the test set is opened; tables say whether it still holds."""
    voice, out = options.Voice(asked.json_file), Path(asked.out)
    experiment = folder.open_plan(asked.plan, asked.given(asked.plan), out)
    out.mkdir(parents=True, exist_ok=True)
    frozen = freezing.freeze(out, experiment.plan, folder.data_prints(experiment))
    folder.write(experiment)
    voice.say(f"{out / freezing.FROZEN}: plan {str(frozen['plan_sha256'])[:12]}, frozen at {frozen['time']}")
    voice.numbers(frozen)
