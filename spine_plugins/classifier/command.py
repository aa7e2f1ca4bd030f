"""`spinegan classify train|eval|predict|sift`: the SpineClassifier on the command line."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

import click
import numpy as np

from spine_plugins.classifier import evaluation, fitting, gate, plots, sifting, training
from spine_plugins.classifier.answers import TASKS
from spine_plugins.classifier.cards import DataFacts, Metrics, write_card
from spine_plugins.classifier.defaults import ARCHITECTURES, Augment
from spine_plugins.classifier.labelled import LabelledImages, open_images, open_labelled
from spine_plugins.classifier.model import Mapping, SpineClassifier, load_classifier
from spine_plugins.classifier.recipe import Recipe
from spine_plugins.statistics import IntervalJson, interval_text
from stylegan2ada import files, options, processes
from stylegan2ada.errors import UserError
from stylegan2ada.flag_types import SEED
from stylegan2ada.options import OVERWRITE, Voice, group, json_option, opt
from stylegan2ada.training import config_file

_CLASSIFIER = opt("--classifier", required=True, metavar="FILE", help="Made by `spinegan classify train`")
_DEVICE = opt("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, mps [default: auto]")
_MAPPING = opt(
    "--mapping",
    type=click.Choice(get_args(Mapping)),
    default="card",
    help="authors: the input mapping of the paper's program [default: card]",
)
_BATCH = opt("--batch", type=click.IntRange(min=1), default=64, metavar="INT", help="[default: 64]")


@click.group()
def classify() -> None:
    """Train, evaluate and apply the SpineClassifier, which the spine loss and the reports need."""


@dataclass(frozen=True, kw_only=True)
class Train(Recipe):
    """What `classify train` was asked: a recipe, and what to say of it."""

    dry_run: bool
    json_file: str | None

    def settings(self) -> dict[str, object]:
        """What makes another like it; the rest says how to run, not what."""
        how = ("dry_run", "json_file", "overwrite")
        return {name: value for name, value in asdict(self).items() if name not in how}


@options.command("train", parent=classify, record=Train)
@options.settings_options
@group(
    "Data",
    opt("--data", required=True, metavar="PATH", help="Labelled images to train on (zip or folder)"),
    opt(
        "--add",
        multiple=True,
        metavar="PATH",
        help="Further images to learn from beside --data, such as fakes; none is held out (repeatable)",
    ),
    opt("--out", required=True, metavar="FILE", help="X.safetensors; its card goes beside it as X.json"),
    opt("--val", metavar="PATH", help="Validation images [default: a part of --data]"),
    opt("--test", metavar="PATH", help="Test images, measured once at the end"),
    opt("--val-share", type=float, default=0.15, metavar="FLOAT", help="Part held out [default: 0.15]"),
    opt("--split-seed", type=SEED, default=0, metavar="INT", help="Which part [default: 0]"),
    opt(
        "--task",
        type=click.Choice(["auto", *TASKS]),
        default="auto",
        help="[default: auto, by the labels]",
    ),
)
@group(
    "Network",
    opt(
        "--arch",
        type=click.Choice(list(ARCHITECTURES)),
        default="densenet121",
        help="cnn13k: small, 64x64, seconds on a CPU [default: densenet121]",
    ),
    opt(
        "--weights",
        metavar="FILE|URL|NAME",
        help="ImageNet weights of torchvision's densenet121: a file, imagenet (download), or none",
    ),
    opt("--init", metavar="FILE", help="Go on from this classifier instead (warm start)"),
    opt(
        "--size",
        type=click.IntRange(max=4096),
        metavar="INT",
        help="Input side in pixels [default: 224; 64 for cnn13k]",
    ),
    opt("--dropout", type=click.FloatRange(0, 1, max_open=True), metavar="FLOAT", help="[default: 0.1]"),
)
@group(
    "Training",
    opt(
        "--epochs",
        type=click.IntRange(min=1),
        metavar="INT",
        help="[default: 30; 20 for cnn13k] The paper's loss network: 19, with --select-on=last",
    ),
    opt(
        "--steps",
        type=click.IntRange(min=1),
        metavar="INT",
        help="Optimiser steps in all, in --epochs equal stretches, however many images there are "
        "[default: --epochs passes over them]",
    ),
    opt(
        "--lr",
        type=click.FloatRange(min=0, min_open=True),
        metavar="FLOAT",
        help="Of Adam [default: 1e-4; 1e-3 for cnn13k]",
    ),
    opt("--batch", type=click.IntRange(min=2), default=32, metavar="INT", help="[default: 32]"),
    opt(
        "--class-weights",
        type=click.Choice(["ratio", "none"]),
        default="ratio",
        help="ratio: positives weigh n_neg/n_pos [default: ratio]",
    ),
    opt(
        "--augment",
        type=click.Choice(get_args(Augment)),
        default="standard",
        help="standard: flip 0.3, rotation 5 degrees, resized crop 0.8-1; flip-...: as tutorials for "
        "photographs, flip 0.5, rotation 36 degrees, zoom 20 % [default: standard]",
    ),
    opt(
        "--select-on",
        type=click.Choice(["val", "test", "last"]),
        default="val",
        help="Keep the epoch best on this; test only to replicate, and stamped [default: val]",
    ),
    opt("--shuffle-labels", is_flag=True, help="Learn nothing: a negative control, stamped on the card"),
    opt("--seed", type=SEED, default=0, metavar="INT", help="Start of all random numbers [default: 0]"),
    opt("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32", help="[default: fp32]"),
    _DEVICE,
)
@group(
    "General",
    opt("--overwrite", is_flag=True, help="Replace an existing --out"),
    opt("-n", "--dry-run", is_flag=True, help="Print the card so far, train nothing"),
)
@json_option
def train_(asked: Train) -> None:
    """Train a classifier; give the same command again to continue an interrupted one (exit code 75).

    \b
    spinegan classify train --data=spine-train.zip --val=spine-val.zip \\
        --out=spine.safetensors --weights=densenet121-a639ec97.pth
    """
    voice = Voice(asked.json_file)
    card = fitting.run(asked, log=voice.say, dry_run=asked.dry_run)
    if asked.dry_run:
        voice.say(json.dumps(card, indent=1))
        voice.numbers(card)
        return
    config_file.write(config_file.beside(asked.out), asked.settings())
    for role, metrics in card["metrics"].items():
        if metrics is not None:
            _say_metrics(voice, role, metrics)
    if card["selected_on"] == "test":
        click.echo("Note: the epoch was chosen on the test data; this is stamped on the card", err=True)
    voice.say(f"epoch {card['chosen_epoch']} of {card['epochs']} is saved in {asked.out}")
    shown = ("chosen_epoch", "epochs", "selected_on", "history", "metrics", "sha256")
    voice.numbers({"out": asked.out} | {name: value for name, value in card.items() if name in shown})


@dataclass(frozen=True)
class Evaluate:
    """What `classify eval` was asked."""

    classifier: str
    data: str
    outdir: str
    mapping: Mapping
    resamples: int
    seed: int
    record: bool
    no_plots: bool
    overwrite: bool
    batch: int
    device: str
    json_file: str | None


@options.command("eval", parent=classify, record=Evaluate)
@group(
    "What to measure",
    _CLASSIFIER,
    opt("--data", required=True, metavar="PATH", help="Labelled images (zip or folder)"),
    opt(
        "--outdir",
        required=True,
        metavar="DIR",
        help="For metrics.json, predictions.csv, per_class.csv, roc.png, calibration.png",
    ),
)
@group(
    "How",
    _MAPPING,
    opt(
        "--resamples",
        type=click.IntRange(min=100),
        default=evaluation.RESAMPLES,
        metavar="INT",
        help="Of the bootstrap [default: 2000]",
    ),
    opt("--seed", type=SEED, default=0, metavar="INT", help="Of the bootstrap [default: 0]"),
    opt("--record", is_flag=True, help="Write the result into the classifier's card as its test result"),
    opt("--no-plots", is_flag=True, help="No PNG files"),
    OVERWRITE,
    _BATCH,
    _DEVICE,
)
@json_option
def eval_(asked: Evaluate) -> None:
    """Measure a classifier: AUC with intervals, AUPRC, sensitivity at 90 % specificity, calibration.

    Intervals resample whole patients or studies where the data set knows them.
    """
    folder = Path(asked.outdir)
    if (folder / "metrics.json").exists() and not asked.overwrite:
        raise UserError(f"--outdir={folder} holds a result already; choose another, or give --overwrite")
    voice = Voice(asked.json_file)
    model = load_classifier(asked.classifier).to(processes.pick_device(asked.device))
    images = open_labelled(asked.data, model.task, model.class_names)
    logits = _logits(model, images, asked)
    metrics = evaluation.evaluate(images, logits, resamples=asked.resamples, seed=asked.seed)
    facts = images.facts()
    result = {
        "classifier": {"name": Path(asked.classifier).name, "sha256": model.card["sha256"]},
        "selected_on": model.card.get("selected_on"),
        "mapping": asked.mapping,
        "data": facts,
        "warning": gate.overlap(model.card, facts),
        "metrics": metrics,
        "versions": fitting.of_numbers(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    _write_predictions(model, images, logits, folder / "predictions.csv")
    files.write_csv(folder / "per_class.csv", *evaluation.per_class_rows(metrics))
    files.write_json(folder / "metrics.json", result)
    if not asked.no_plots:
        _draw_plots(images, logits, metrics, folder)
    if result["warning"]:
        click.echo(f"Note: {result['warning']}", err=True)
    if asked.record:
        _record(model, facts, metrics, asked.classifier)
    _say_metrics(voice, facts["path_name"], metrics)
    voice.numbers(result)


@dataclass(frozen=True)
class Predict:
    """What `classify predict` was asked."""

    classifier: str
    data: str
    out: str
    overwrite: bool
    mapping: Mapping
    batch: int
    device: str
    json_file: str | None


@options.command("predict", parent=classify, record=Predict)
@group(
    "What to classify",
    _CLASSIFIER,
    opt("--data", required=True, metavar="PATH", help="Images, labelled or not (zip or folder)"),
    opt("--out", required=True, metavar="FILE.csv", help="Table of names, labels, groups, probabilities"),
    OVERWRITE,
)
@group(
    "How",
    _MAPPING,
    _BATCH,
    _DEVICE,
)
@json_option
def predict_(asked: Predict) -> None:
    """Write the probability of every class for every image; no labels are needed."""
    voice = Voice(asked.json_file)
    options.check_writable("--out", asked.out, overwrite=asked.overwrite)
    model = load_classifier(asked.classifier).to(processes.pick_device(asked.device))
    try:
        images = open_labelled(asked.data, model.task, model.class_names)
    except UserError:  # without labels, or with some that say something else
        images = open_images(asked.data)
    _write_predictions(model, images, _logits(model, images, asked), Path(asked.out))
    voice.say(f"{len(images)} predictions in {asked.out}")
    voice.numbers({"n": len(images), "out": asked.out, "classifier": {"sha256": model.card["sha256"]}})


@dataclass(frozen=True, kw_only=True)
class SiftAsked(sifting.Sieve):
    """What `classify sift` was asked."""

    json_file: str | None


@options.command("sift", parent=classify, record=SiftAsked)
@group(
    "What to sift",
    opt("--data", required=True, metavar="PATH", help="Labelled images (zip or folder)"),
    opt("--out", required=True, metavar="PATH", help="Data set to write: a folder, or a name with .zip"),
    OVERWRITE,
)
@group(
    "How",
    opt("--classifier", metavar="FILE", help="Made by `spinegan classify train`; asked by the next two"),
    opt(
        "--labels",
        type=click.Choice(get_args(sifting.Labels)),
        default="own",
        help="classifier: every image gets the class that it sees [default: own]",
    ),
    opt(
        "--only",
        type=click.Choice(get_args(sifting.Only)),
        default="all",
        help="agreeing: images whose label it confirms [default: all]",
    ),
    opt("--images", type=click.IntRange(min=1), metavar="INT", help="At most so many, by lot"),
    opt("--seed", type=SEED, default=0, metavar="INT", help="Of the lot [default: 0]"),
    _DEVICE,
)
@json_option
def sift_(asked: SiftAsked) -> None:
    """Write a part of a data set, chosen by lot or by a classifier, or labelled by it.

    \b
    spinegan classify sift --data=fakes.zip --classifier=s.safetensors \\
        --only=agreeing --out=believed.zip
    """
    voice = Voice(asked.json_file)
    found = sifting.sift(asked)
    agreed = "" if found.agreeing is None else f", the classifier agrees on {found.agreeing}"
    voice.say(f"{found.written} of {found.of} images in {asked.out}{agreed}")
    voice.numbers({"out": asked.out, **asdict(found)})


def _logits(model: SpineClassifier, images: LabelledImages, asked: Evaluate | Predict) -> np.ndarray:
    return training.predict(model, images, batch=asked.batch, mapping=asked.mapping, label="classifying")


def _write_predictions(
    model: SpineClassifier, images: LabelledImages, logits: np.ndarray, path: Path
) -> None:
    files.write_csv(path, *evaluation.prediction_rows(images, logits, model.task, model.class_names))


def _draw_plots(images: LabelledImages, logits: np.ndarray, metrics: Metrics, folder: Path) -> None:
    if not plots.is_available():
        click.echo("Note: no plots without matplotlib; run: pip install 'spinegan[report]'", err=True)
        return
    plots.draw_roc(images, logits, metrics, folder / "roc.png")
    plots.draw_calibration(images, logits, metrics, folder / "calibration.png")


def _record(model: SpineClassifier, facts: DataFacts, metrics: Metrics, path: str) -> None:
    """Make these the test result on the classifier's card."""
    model.card["data"] = (model.card.get("data") or {}) | {"test": facts}
    model.card["metrics"] = (model.card.get("metrics") or {}) | {"test": metrics}
    write_card(model.card, path)


def _say_metrics(voice: Voice, title: str, metrics: Metrics) -> None:
    clusters = f", {metrics['n_groups']} groups" if metrics["n_groups"] else ""
    voice.say(f"{title}: {metrics['n']} images{clusters}")
    voice.say(f"  AUC {_shown(metrics['auc'])}  ({metrics['auc']['method']})")
    voice.say(f"  AUPRC {_shown(metrics['auprc'])}")
    for row in metrics["per_class"]:
        at = row["sensitivity_at_90_specificity"]
        voice.say(
            f"  {row['class']}: {row['n_positive']} positive, AUC {_shown(row['auc'])}, sensitivity at 90 % "
            f"specificity {_shown(at)}, ECE {row['ece']:.3f}, Brier {row['brier']:.3f}"
        )


def _shown(interval: IntervalJson) -> str:
    return interval_text(interval) or "undefined (one class only)"
