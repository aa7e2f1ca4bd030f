"""From the flags of --dp-mode to what a training is given: options, hooks, makers, facts for the record."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from spine_plugins.privacy import flags, refusals
from spine_plugins.privacy.accountant import Adjacency, Query, account_queries, calibrate
from spine_plugins.privacy.canaries import Canaries
from spine_plugins.privacy.flags import DpOptions, clip_norm
from spine_plugins.privacy.noise import SystemChance
from spine_plugins.privacy.paper import PaperDP, expanded
from spine_plugins.privacy.private_data import Door, declared_classes
from spine_plugins.privacy.private_loss import Pace
from spine_plugins.privacy.private_run import PrivateRun, RunSettings
from spine_plugins.privacy.private_step import StepSettings
from spine_plugins.privacy.sampling import Unit
from stylegan2ada import processes
from stylegan2ada.config import TrainOptions
from stylegan2ada.data.dataset import Dataset, ImageFolderDataset
from stylegan2ada.errors import UserError
from stylegan2ada.protocols import JsonObject
from stylegan2ada.training.hooks import Hook
from stylegan2ada.training.seams import Seams

_START_P = 0.01  # of an augmentation that is steered; at 0 there would be none to steer


@dataclass(frozen=True)
class Mode:
    """What differential privacy adds to a training."""

    options: TrainOptions
    hooks: Sequence[Hook] = ()
    record: JsonObject = field(default_factory=dict)  # the flags, so that --continue finds them
    seams: Seams | None = None
    dataset: Dataset | None = None  # what the engine may see of the data


@dataclass(frozen=True)
class Before:
    """The run that goes on."""

    run_dir: Path
    data: str  # its images
    cond: bool
    record: JsonObject  # our part of its options


def assemble(
    asked: DpOptions,
    options: TrainOptions,
    before: Before | None,  # None: a new run
    *,
    classifier: bool = False,  # whether one was given
    judge: bool = False,
) -> Mode:
    """The mode that the flags, or the record of the run that goes on, ask for."""
    if before is not None:
        asked = _as_before(asked, before.record)
    if asked.dp_mode in (None, "off"):
        flags.refuse(asked, ("dp_clip", *flags.OF_PAPER, *flags.OF_SGD), "off")
        if options.loss == "dp-sgd":
            raise UserError("--loss=dp-sgd is the loss of --dp-mode=sgd; give that, and leave --loss out")
        return Mode(options)
    if asked.dp_mode == "paper":
        flags.refuse(asked, flags.OF_SGD, "paper")
        settings, options = expanded(asked, options)
        return Mode(options, [PaperDP(settings)], {"dp": asked.of_dp()})
    flags.refuse(asked, flags.OF_PAPER, "sgd")
    refusals.check(asked, options, classifier=classifier, judge=judge)
    return _sgd(asked, options, before)


def _as_before(asked: DpOptions, record: JsonObject) -> DpOptions:
    """The flags that the run began with; others now would change what was promised."""
    recorded = record.get("dp")
    if not recorded:
        if asked.dp_mode not in (None, "off"):
            raise UserError(
                f"--dp-mode={asked.dp_mode} cannot begin on --continue: what came before was not private; "
                "start a new run"
            )
        return asked
    before = DpOptions.from_record(recorded)
    for name, value in asked.of_dp().items():
        if getattr(before, name) != value:
            raise UserError(
                f"--{name.replace('_', '-')} cannot change on --continue: what is promised of a run holds "
                "for all of it"
            )
    return before


def _sgd(asked: DpOptions, options: TrainOptions, before: Before | None) -> Mode:
    path = options.data or (before.data if before else None)
    if path is None:
        raise UserError("--data is missing; say where the images are")
    cond = before.cond if before else bool(options.cond)
    unit: Unit = asked.dp_unit or "image"  # type: ignore[assignment]  # one of the flag's choices
    dataset = ImageFolderDataset(path, use_labels=cond)
    names = declared_classes(dataset, cond=cond)
    canaries = _canaries(asked, before)
    if asked.dp_n_public is None:
        planted = () if canaries is None else canaries.planted(dataset.image_shape, max(len(names), 1))
        # Replacing a unit leaves their number as it is, so it may be known.
        n, adjacency = Door(dataset, len(names), unit, canaries=planted).num_units, "replace-one"
    else:
        n, adjacency = asked.dp_n_public, "add-remove"
    settings = _settings(asked, options, n, adjacency, unit, cond, before)  # type: ignore[arg-type]
    run = PrivateRun(settings, canaries)
    face = run.open(path)
    record = {"dp": asked.of_dp(), "dp_resolved": _resolved(settings)}
    if options.kimg is not None:
        processes.print0(f"Note: --kimg={options.kimg} is ignored; --dp-steps={settings.steps} ends the run")
    if before is None:
        options = _for_engine(asked, options, settings)
    return Mode(options, [run], record, run.seams, face)


def _settings(
    asked: DpOptions,
    options: TrainOptions,
    n: int,
    adjacency: Adjacency,
    unit: Unit,
    cond: bool,
    before: Before | None,
) -> RunSettings:
    batch, steps = int(asked.dp_batch or 0), int(asked.dp_steps or 0)
    if batch > n:
        raise UserError(f"--dp-batch={batch} is more than the {n} units; each is drawn with batch/n")
    delta = min(1e-5, 1 / (10 * n)) if asked.dp_delta is None else asked.dp_delta
    if not 0 < delta < 1 / n:
        raise UserError(
            f"--dp-delta={delta:g} must lie below 1/n = {1 / n:.3g}: above it, publishing a whole record at "
            "random would count as private"
        )
    ada, strength = _ada(asked.dp_ada)
    prior = asked.dp_label_prior or "uniform"
    found = before.record.get("dp_resolved", {}) if before else {}
    gamma = found.get("r1_gamma", 10.0 if options.gamma is None else options.gamma)
    settings = RunSettings(
        cond=cond,
        unit=unit,
        adjacency=adjacency,
        n=n,
        n_public=asked.dp_n_public,
        step=StepSettings(
            clip=clip_norm(asked.dp_clip, 1.0) or 1.0,
            noise_multiplier=asked.dp_noise_multiplier or 1.0,
            batch=batch,
            r1=asked.dp_r1 or "off",  # type: ignore[arg-type]  # one of the flag's choices
            r1_gamma=gamma,
            method=asked.dp_method or "vmap",  # type: ignore[arg-type]
            chunk=asked.dp_chunk or 8,
            aug_mult=asked.dp_aug_mult or 1,
            clips_fakes=asked.dp_clip_fakes is not False,
        ),
        pace=Pace(_d_steps(asked.dp_d_steps), ada, strength if ada == "noisy" else 0.0, batch),
        steps=steps,
        delta=delta,
        budget=math.inf,
        prior=prior,
        trainable=asked.dp_trainable,
        public_init=None if asked.dp_init in (None, "none") else asked.dp_init,
        insecure_seed=asked.dp_insecure_seed,
        sign_key=asked.sign_key,
    )
    noise, budget = (
        (found["noise_multiplier"], found["budget"]) if found else _noise_and_budget(asked, settings)
    )
    step = dataclasses.replace(settings.step, noise_multiplier=noise)
    return dataclasses.replace(settings, step=step, budget=budget)


def _noise_and_budget(asked: DpOptions, settings: RunSettings) -> tuple[float, float]:
    """The noise multiplier, and the epsilon that the whole plan takes with it."""
    prior = _prior_noise(settings)
    others = [] if prior is None else [Query(1.0, prior)]
    noise = asked.dp_noise_multiplier
    if noise is None:
        assert asked.dp_target_epsilon is not None
        joint = calibrate(
            settings.n, settings.step.batch, settings.steps, asked.dp_target_epsilon, settings.delta,
            adjacency=settings.adjacency, others=others,
        )  # fmt: skip
        noise = joint
        if settings.pace.ada == "noisy":
            rest = joint**-2 - settings.pace.ada_noise**-2
            if rest <= 0:
                raise UserError(
                    f"--dp-ada={asked.dp_ada} alone takes more than --dp-target-epsilon; give it more noise "
                    f"than {joint:.3g}"
                )
            noise = rest**-0.5
        return noise, asked.dp_target_epsilon
    step = dataclasses.replace(settings.step, noise_multiplier=noise)
    query = dataclasses.replace(dataclasses.replace(settings, step=step).query, count=settings.steps)
    found = account_queries([*others, query], settings.delta, adjacency=settings.adjacency)
    return noise, found["epsilon"]


def _prior_noise(settings: RunSettings) -> float | None:
    try:
        noise = settings.prior_noise
    except ValueError:
        noise = 0.0
    if noise is not None and not 0 < noise < math.inf:
        raise UserError(f"--dp-label-prior={settings.prior} needs the noise of the histogram, such as dp:20")
    return noise if settings.cond else None


def _ada(text: str | None) -> tuple[Literal["fixed", "fake", "noisy"], float]:
    """How the augmentation's strength is set; a fixed strength, or the noise of the sum of signs."""
    kind, _, value = (text or "fixed:0").partition(":")
    try:
        number = float(value) if value else 0.0
    except ValueError:
        number = math.nan
    if kind == "fixed" and value and 0 <= number <= 1:
        return "fixed", number
    if kind == "fake" and not value:
        return "fake", _START_P
    if kind == "noisy" and 0 < number < math.inf:
        return "noisy", number
    raise UserError(f"--dp-ada={text} must be fixed:P with P from 0 to 1, fake, or noisy:S with noise S > 0")


def _d_steps(text: str | None) -> int | Literal["adaptive"]:
    if text == "adaptive":
        return "adaptive"
    if text is None or (text.isascii() and text.isdigit() and int(text) >= 1):
        return int(text or 1)
    raise UserError(f"--dp-d-steps={text} must be a whole number from 1, or adaptive")


def _canaries(asked: DpOptions, before: Before | None) -> Canaries | None:
    if asked.dp_canaries is None:
        return None
    stored = Canaries.load(before.run_dir) if before else None
    return stored or Canaries.toss(asked.dp_canaries, SystemChance())


def _resolved(settings: RunSettings) -> JsonObject:
    return {
        "noise_multiplier": settings.step.noise_multiplier,
        "r1_gamma": settings.step.r1_gamma,
        "budget": settings.budget,
        "delta": settings.delta,
        "adjacency": settings.adjacency,
        "n": settings.n,
        "q": settings.q,
    }


def _for_engine(asked: DpOptions, options: TrainOptions, settings: RunSettings) -> TrainOptions:
    """What the engine is told: a length and a batch of public numbers, the private loss, no metric."""
    kind, strength = _ada(asked.dp_ada)
    p = _START_P if kind != "fixed" else strength
    batch = int(settings.step.batch)
    return dataclasses.replace(
        options,
        loss="dp-sgd",
        batch=batch,
        kimg=math.ceil(settings.steps * batch / 1000),
        metrics=(),
        gamma=settings.step.r1_gamma if settings.step.r1 != "off" else 0.0,
        aug="fixed" if p else "noaug",
        p=p or None,
        fp32=True,
        ops="plain",  # per-sample gradients and their norms are proven with these
        graphs="off",
    )
