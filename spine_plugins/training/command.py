"""train_spine: the options of train, plus the classifier's loss, its judge, and presets with reasons."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from spine_plugins.classifier import gate, load_classifier
from spine_plugins.losses.spine import SpineGANLoss
from spine_plugins.training import judge
from spine_plugins.training.presets import PRESETS
from stylegan2ada import options as flags
from stylegan2ada import processes, train
from stylegan2ada.config import TrainOptions
from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.data.fingerprint import fingerprint
from stylegan2ada.errors import UserError
from stylegan2ada.losses.objectives import OBJECTIVES
from stylegan2ada.training import run_dir as folders
from stylegan2ada.training.hooks import Hook

_OWN = ("classifier", "cls_weight", "cls_reduction", "cls_warmup", "spine_aug", "spine_compat")
_EXPECTED_CLASSES = {"paper-ada": 2, "paper-spine": 2, "paper-multi": 8}

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
preset_options = flags.group(
    "Preset",
    flags.opt("--preset", type=click.Choice(list(PRESETS)),
              help="paper-ada, paper-spine, paper-multi: the paper's settings; radiograph: small data. "
              "Flags that are given win; the expansion is printed"),
)  # fmt: skip


@flags.command("train_spine")
@preset_options
@spine_options
@flags.train_options
def main(**values: Any) -> None:
    """Train a conditional StyleGAN2-ADA on radiographs, with or without a classifier in the loss.

    \b
    train_spine.py --outdir=runs --data=spine-train.zip --preset=paper-spine --classifier=s.safetensors
    train_spine.py --outdir=runs --data=spine-train.zip --preset=radiograph --kimg=2000
    """
    own = {name: values.pop(name) for name in (*_OWN, "judge", "test_data", "accept_classifier", "preset")}
    options, own = expand(TrainOptions(**values), own)
    options, record, hooks = prepare(options, own)
    train.run(options, hooks=hooks, record=record)


def expand(options: TrainOptions, own: dict[str, Any]) -> tuple[TrainOptions, dict[str, Any]]:
    """Both sets of options with the preset filled in where nothing was given; prints each choice."""
    if own["preset"] is None:
        return options, own
    changes: dict[str, Any] = {}
    for name, (value, reason) in PRESETS[own["preset"]].items():
        is_own = name in own
        given = own[name] if is_own else getattr(options, name)
        flag = f"--{name.replace('_', '-')}"
        if name == "sampler" and options.cond is False:
            continue  # there are no classes to balance
        if given is not None:
            processes.print0(f"Preset {own['preset']}: {flag} stays {given}, as given")
            continue
        processes.print0(f"Preset {own['preset']}: {flag}={_shown(value)} ({reason})")
        if is_own:
            own = own | {name: value}
        else:
            changes[name] = value
    return dataclasses.replace(options, **changes), own


def prepare(options: TrainOptions, own: Mapping[str, Any]) -> tuple[TrainOptions, dict[str, Any], list[Hook]]:
    """The engine's options with the spine loss in them, facts for the run's record, the judge as a hook."""
    going_on = _run_to_continue(options)
    says_nothing_new = options.loss is None and all(own[name] is None for name in _OWN)
    if going_on is not None and says_nothing_new:  # a bare --continue=DIR: the run's own settings hold
        _, _, ours = folders.read_options(going_on)
        path = own["judge"] or (ours.get("spine") or {}).get("judge")
        return options, {}, [judge.Judge(path)] if path else []

    options = _with_term_as_loss(options, own)
    given = {name: own[name] for name in _OWN if own[name] is not None}
    if options.loss != "spine":
        if given:
            flag = next(iter(given)).replace("_", "-")
            raise UserError(f"--{flag} belongs to the spine loss; add --loss=spine, or leave it out")
        record: dict[str, Any] = {}
    else:
        record = _check_classifier(options, own)
        if "classifier" in given:
            given["classifier"] = str(Path(given["classifier"]).resolve())
        pairs = [*(options.loss_opt or ()), *((name, str(value)) for name, value in given.items())]
        options = dataclasses.replace(options, loss_opt=tuple(pairs))
    _check_classes(options, own)
    hooks: list[Hook] = []
    if own["judge"]:
        record["judge"] = str(Path(own["judge"]).resolve())
        record["judge_doubts"] = _check_judge(options, own, record)
        hooks.append(judge.Judge(record["judge"]))
    if own["preset"]:
        record["preset"] = own["preset"]
    return options, {"spine": record} if record else {}, hooks


def _with_term_as_loss(options: TrainOptions, own: Mapping[str, Any]) -> TrainOptions:
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


def _check_classifier(options: TrainOptions, own: Mapping[str, Any]) -> dict[str, Any]:
    """Facts about the classifier for the run's record; UserError if it may not be used."""
    path = own["classifier"] or dict(options.loss_opt or ()).get("classifier")
    if not path:
        raise UserError(
            "--loss=spine needs a classifier; give --classifier=FILE, made by `spinegan classify train`"
        )
    if not options.cond:
        raise UserError("--loss=spine asks fakes for their class, so the network needs labels; add --cond=1")
    card = load_classifier(path).card
    if options.data is not None:
        dataset = ImageFolderDataset(options.data, use_labels=True)
        if not dataset.has_labels:
            raise UserError(f"--loss=spine needs labels, and {options.data} has none; pack it with labels")
        gate.check_fit(card, dataset.info(), path)
        dataset.close()
    test = None if own["test_data"] is None else fingerprint(ImageFolderDataset(own["test_data"]))
    accepted = gate.require_trust(card, path, accept=bool(own["accept_classifier"]), test_fingerprint=test)
    for doubt in accepted:
        processes.print0(f"Warning: the classifier was accepted although {doubt}")
    auc = ((card.get("metrics") or {}).get("val") or {}).get("auc")
    return {"classifier_sha256": card.get("sha256"), "classifier_auc": auc, "classifier_doubts": accepted}


def _check_judge(options: TrainOptions, own: Mapping[str, Any], record: Mapping[str, Any]) -> list[str]:
    found = load_classifier(own["judge"])
    if options.data is not None:
        dataset = ImageFolderDataset(options.data, use_labels=True)
        gate.check_fit(found.card, dataset.info(), own["judge"])
        dataset.close()
    path = own["classifier"]
    reasons = judge.same_judge(found.card, load_classifier(path).card) if path else []
    for reason in reasons:
        processes.print0(f"Warning: --judge is not independent: {reason}")
    return reasons


def _check_classes(options: TrainOptions, own: Mapping[str, Any]) -> None:
    expected = _EXPECTED_CLASSES.get(own["preset"])
    if expected is None or options.data is None:
        return
    dataset = ImageFolderDataset(options.data, use_labels=True)
    found = dataset.label_dim if dataset.has_labels else 0
    dataset.close()
    if found != expected:
        raise UserError(
            f"--preset={own['preset']} is for {expected} classes, but {options.data} has {found}; "
            f"make it with dataset_tool_dicom.py --labels={'spine8' if expected == 8 else 'binary'}"
        )


def _run_to_continue(options: TrainOptions) -> Path | None:
    if options.continue_run is None:
        return None
    if options.continue_run != "latest":
        return Path(options.continue_run)
    return None if options.outdir is None else folders.latest(options.outdir)


def _shown(value: Any) -> Any:
    return int(value) if isinstance(value, bool) else value


assert set(_OWN) <= set(inspect.signature(SpineGANLoss).parameters), "each flag is an argument of the loss"
