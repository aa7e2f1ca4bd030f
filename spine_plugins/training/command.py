"""train_spine: the options of train, plus the classifier's loss, its judge, and presets with reasons."""

from __future__ import annotations

import dataclasses
import inspect
from dataclasses import dataclass, field
from pathlib import Path

import click

from spine_plugins.losses.spine import SpineGANLoss
from spine_plugins.official import program
from spine_plugins.official.checkout import look_at
from spine_plugins.official.request import refuse_what_is_ours, request
from spine_plugins.privacy.flags import DpOptions, dp_options
from spine_plugins.privacy.mode import Before, assemble
from spine_plugins.privacy.paper import WHY_NOT, PaperDP, why_not
from spine_plugins.privacy.report import no_claim
from spine_plugins.training import checks
from spine_plugins.training.judge import Judge, SnapshotJudge
from spine_plugins.training.presets import PRESETS, length_for
from stylegan2ada import options as flags
from stylegan2ada import processes, train
from stylegan2ada.config import TrainConfig, TrainOptions
from stylegan2ada.data.dataset import Dataset
from stylegan2ada.errors import UserError
from stylegan2ada.losses.objectives import OBJECTIVES
from stylegan2ada.protocols import JsonObject, Options
from stylegan2ada.training import run_dir as folders
from stylegan2ada.training.hooks import Hook
from stylegan2ada.training.seams import Seams, open_dataset

# Flags that are arguments of the loss.
_OF_LOSS = ("classifier", "cls_weight", "cls_reduction", "cls_warmup", "spine_aug", "spine_compat")


@dataclass(frozen=True)
class TrainSpine(DpOptions, TrainOptions):
    """What `train_spine` was asked: what `train` knows, and ours; None where nothing was given."""

    preset: str | None = None
    engine: str | None = None
    classifier: str | None = None
    cls_weight: float | None = None
    cls_reduction: str | None = None
    cls_warmup: float | None = None
    spine_aug: bool | None = None
    spine_compat: str | None = None
    judge: str | None = None
    test_data: str | None = None
    accept_classifier: bool | None = None
    audit_every: int | None = None
    holdout: str | None = None

    def of_loss(self) -> Options:
        """The arguments of the loss that were given."""
        return {name: value for name in _OF_LOSS if (value := getattr(self, name)) is not None}

    def for_engine(self) -> TrainOptions:
        """The part that the engine knows."""
        names = [option.name for option in dataclasses.fields(TrainOptions)]
        return TrainOptions(**{name: getattr(self, name) for name in names})


@dataclass(frozen=True)
class Prepared:
    """What `train.run` is given."""

    options: TrainOptions
    hooks: list[Hook] = field(default_factory=list)
    record: JsonObject = field(default_factory=dict)
    warnings: list[tuple[str, str]] = field(default_factory=list)
    dataset: Dataset | None = None
    seams: Seams | None = None


spine_options = flags.group(
    "SpineGAN: a classifier in the generator's loss (--loss=spine)",
    flags.opt("--classifier", metavar="FILE", help="Weights from `spinegan classify train` (.safetensors)"),
    flags.opt("--cls-weight", type=float, metavar="FLOAT", help="Gamma, weight of the term [default: 0.01]"),
    flags.opt("--cls-reduction", type=click.Choice(["sum", "mean"]),
              help="Over the whole batch, whatever its split [default: sum]"),
    flags.opt("--cls-warmup", type=float, metavar="KIMG", help="Gamma rises from 0 within [default: 0 kimg]"),
    flags.opt("--spine-aug", type=bool, metavar="BOOL", help="Classify augmented fakes [default: false]"),
    flags.opt("--spine-compat", type=click.Choice(["authors"]),
              help="authors: gamma 0.1, mean, and their mapping of images to the classifier's input"),
    flags.opt("--judge", metavar="FILE", help="A second, independent classifier that scores the fakes"),
    flags.opt("--test-data", metavar="ZIP", help="Images kept for testing; no classifier may know them"),
    flags.opt("--accept-classifier", type=bool, metavar="BOOL",
              help="Use a classifier that the quality gate refuses; it is recorded [default: false]"),
)  # fmt: skip
audit_options = flags.group(
    "Audit while training",
    flags.opt("--audit-every", type=click.IntRange(min=1), metavar="INT",
              help="Test for copies at every so many-th snapshot, against --holdout [default: off]"),
    flags.opt("--holdout", metavar="ZIP", help="Images of other patients, which nothing else may use"),
)  # fmt: skip
preset_options = flags.group(
    "Preset",
    flags.opt("--preset", type=click.Choice(list(PRESETS)), metavar="NAME",
              help="paper-ada, paper-spine, paper-multi, paper-dp-b to paper-dp-e: the paper's settings; "
              "radiograph: small data. "
              "Flags that are given win; the expansion is printed"),
)  # fmt: skip
engine_options = flags.group(
    "The program that trains",
    flags.opt("--engine", metavar="PATH",
              help="Your own checkout of stylegan2-ada-pytorch; it trains, with our loss [default: ours]"),
)  # fmt: skip


@flags.command("train_spine", record=TrainSpine, epilog=flags.cfg_epilog())
@preset_options
@spine_options
@engine_options
@audit_options
@dp_options
@flags.train_options
def main(asked: TrainSpine) -> None:
    """Train a conditional StyleGAN2-ADA on radiographs, with or without a classifier in the loss.

    \b
    train_spine.py --outdir=runs --data=spine-train.zip --preset=paper-spine \\
        --classifier=s.safetensors
    train_spine.py --outdir=runs --data=spine-train.zip --preset=radiograph
    """
    asked = expand(asked)
    if asked.engine is not None:
        train_there(asked, asked.engine)
        return
    made = prepare(asked)
    train.run(
        made.options,
        hooks=made.hooks,
        seams=made.seams,
        record=made.record,
        warnings=made.warnings,
        dataset=made.dataset,
        settings=asked.given(),
    )


def train_there(asked: TrainSpine, engine: str) -> Path | None:
    """Train in the user's checkout of the official program; our judge looks at its snapshots."""
    checkout = look_at(engine)
    refuse_what_is_ours(asked.for_engine())
    if asked.dp_mode == "sgd":
        raise UserError(
            "--dp-mode=sgd cannot run in the official program: its loop reads the data without counting, and "
            "its batches are not drawn by chance; leave --engine out, or promise nothing with --dp-mode=paper"
        )
    if asked.audit_every is not None:
        raise UserError(
            "--audit-every works in our engine; with --engine run `spinegan audit` on what it draws"
        )
    made = prepare(asked)
    paper_dp = next((hook.settings for hook in made.hooks if isinstance(hook, PaperDP)), None)
    config = train.fresh_job(made.options, made.dataset).config
    told = request(made.options, config, paper_dp)
    doubts = [f"--engine: {concern}" for concern in checkout.concerns]
    if paper_dp is not None:
        statement = no_claim([*why_not(paper_dp, config.batch_size), *WHY_NOT], mode="paper")
        processes.print0(f"Privacy: {statement['statement']}")
        made.record["privacy"] = statement
    for line in (*(f"Warning: {doubt}" for doubt in doubts), *(f"Note: {note}" for note in config.notes)):
        processes.print0(line)
    facts = {
        "loss": config.loss,
        "flags": list(told.flags),
        "changes": told.changes,
        "resume": config.resume_pkl,
        "warnings": doubts + [text for _, text in made.warnings],
        **made.record,
    }
    judge = None if asked.judge is None else SnapshotJudge(Judge(asked.judge), open_dataset(config))
    return program.run(checkout, told, outdir=Path(str(made.options.outdir)), record=facts, on_snapshot=judge)


def expand(asked: TrainSpine) -> TrainSpine:
    """The request with the preset filled in where nothing was given; prints each choice."""
    if asked.engine is None and train.run_to_continue(asked) is None:
        # --continue=latest, on the first start of a job that is written to be requeued, is a new run.
        asked = dataclasses.replace(asked, continue_run=None)
    if asked.preset is None:
        return asked
    changes: Options = {}
    choices = dict(PRESETS[asked.preset])
    # In sgd mode the number of images is private, and --dp-steps ends the run.
    is_counted = asked.dp_mode != "sgd" and asked.continue_run is None
    if asked.preset == "radiograph" and asked.data is not None and is_counted:
        choices["kimg"] = length_for(len(train.open_data(asked.data)))
    for name, (value, reason) in choices.items():
        given = getattr(asked, name)
        flag = f"--{name.replace('_', '-')}"
        if name == "sampler" and asked.cond is False:
            continue  # there are no classes to balance
        if given is not None:
            processes.print0(f"Preset {asked.preset}: {flag} stays {given}, as given")
            continue
        processes.print0(f"Preset {asked.preset}: {flag}={_shown(value)} ({reason})")
        changes[name] = value
    return dataclasses.replace(asked, **changes)


def prepare(asked: TrainSpine) -> Prepared:
    """The engine's options with the spine loss in them, facts for the run's record, the judge as a hook."""
    going_on = train.run_to_continue(asked)
    before, ours = (None, {}) if going_on is None else folders.read_options(going_on)[::2]
    facts: JsonObject = dict(ours.get("spine") or {})  # what the run was told before stays true
    # A bare --continue=DIR: the run's own settings hold.
    says_nothing_new = going_on is not None and asked.loss is None and not asked.of_loss()
    options = asked.for_engine() if says_nothing_new else _with_term_as_loss(asked.for_engine())
    dataset = None if asked.data is None else train.open_data(asked.data)
    warnings: list[tuple[str, str]] = []
    classifier = asked.classifier or dict(options.loss_opt or ()).get("classifier")
    if options.loss == "spine":
        found = checks.classifier(
            classifier, dataset, cond=bool(options.cond), test_data=asked.test_data,
            accept=bool(asked.accept_classifier),
        )  # fmt: skip
        facts |= found
        warnings += [("classifier", f"the classifier was accepted although {doubt}")
                     for doubt in found["classifier_doubts"]]  # fmt: skip
        options = _with_loss_options(options, asked.of_loss())
    elif asked.of_loss():
        flag = next(iter(asked.of_loss())).replace("_", "-")
        raise UserError(f"--{flag} belongs to the spine loss; add --loss=spine, or leave it out")
    if asked.preset:
        checks.classes(asked.preset, dataset)
        facts["preset"] = asked.preset
    if asked.judge:
        has_classes = options.cond if before is None else before.training_set_kwargs["use_labels"]
        if not has_classes:
            raise UserError("--judge asks fakes for their class, so the network needs labels; add --cond=1")
        classifier = classifier or (None if before is None else before.loss_kwargs.get("classifier"))
        facts["judge"] = str(Path(asked.judge).resolve())
        facts["judge_doubts"] = checks.judge(asked.judge, classifier, dataset)
        warnings += [("judge", f"--judge is not independent: {doubt}") for doubt in facts["judge_doubts"]]
    for _, text in warnings:
        processes.print0(f"Warning: {text}")
    hooks: list[Hook] = [Judge(facts["judge"])] if facts.get("judge") else []
    hooks += _watch(asked, facts, None if before is None else before.training_set_kwargs["path"])
    private = assemble(
        asked, options, _before(going_on, before, ours),
        classifier=classifier is not None, judge=asked.judge is not None,
    )  # fmt: skip
    record = ({"spine": facts} if facts else {}) | private.record
    return Prepared(
        private.options, [*hooks, *private.hooks], record, warnings, private.dataset or dataset, private.seams
    )


def _before(run_dir: Path | None, config: TrainConfig | None, ours: JsonObject) -> Before | None:
    if run_dir is None or config is None:
        return None
    images = config.training_set_kwargs
    return Before(run_dir, images["path"], bool(images["use_labels"]), ours)


def _watch(asked: TrainSpine, facts: JsonObject, data_before: str | None) -> list[Hook]:
    """The hook that looks for copies, if it was asked for now or when the run was started."""
    if (asked.audit_every is None) != (asked.holdout is None):
        raise UserError(
            "--audit-every and --holdout belong together: copies are measured against unseen images"
        )
    if asked.audit_every is not None and asked.holdout is not None:
        facts["audit"] = {"every": asked.audit_every, "holdout": str(Path(asked.holdout).resolve())}
    data = asked.data or data_before
    if "audit" not in facts or data is None:
        return []
    from spine_plugins.audit.hook import CopyWatch  # opens both sets: only who asks for it pays

    return [CopyWatch(data, facts["audit"]["holdout"], facts["audit"]["every"])]


def _with_term_as_loss(options: TrainOptions) -> TrainOptions:
    """`--loss=wgan-gp --term=spine:0.02` is the spine loss with another objective."""
    terms = list(options.term or ())
    mine = next((term for term in terms if term.partition(":")[0] == "spine"), None)
    if mine is None or options.loss == "spine":
        return options
    objective = options.loss or "stylegan2"
    if objective not in OBJECTIVES:
        raise UserError(f"--term={mine} joins the objectives {', '.join(OBJECTIVES)}, not --loss={objective}")
    terms.remove(mine)
    pairs = [*(options.loss_opt or ()), ("objective", objective)]
    weight = mine.partition(":")[2]
    if weight:
        pairs.append(("cls_weight", weight))
    return dataclasses.replace(options, loss="spine", term=tuple(terms) or None, loss_opt=tuple(pairs))


def _with_loss_options(options: TrainOptions, given: Options) -> TrainOptions:
    """Flags of the loss as its options; the classifier is found from wherever the run goes on."""
    if "classifier" in given:
        given["classifier"] = str(Path(given["classifier"]).resolve())
    pairs = [*(options.loss_opt or ()), *((name, str(value)) for name, value in given.items())]
    return dataclasses.replace(options, loss_opt=tuple(pairs))


def _shown(value: object) -> object:
    return int(value) if isinstance(value, bool) else value


assert set(_OF_LOSS) <= set(inspect.signature(SpineGANLoss).parameters), (
    "each flag is an argument of the loss"
)
