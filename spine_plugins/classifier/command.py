"""`spinegan classify train|eval|predict`: the SpineClassifier on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from spine_plugins.classifier import SpineClassifier, evaluation, load_classifier, plots, training, write_card
from spine_plugins.classifier import fitting as recipe
from spine_plugins.classifier.architectures import ARCHITECTURES
from spine_plugins.classifier.labelled import LabelledImages, open_images, open_labelled
from stylegan2ada import files, processes
from stylegan2ada.errors import UserError
from stylegan2ada.options import Command, group, opt

_CLASSIFIER = opt("--classifier", required=True, metavar="FILE", help="Made by `spinegan classify train`")
_DEVICE = opt("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, mps [default: auto]")
_BATCH = opt("--batch", type=click.IntRange(min=1), default=64, metavar="INT", help="[default: 64]")


@click.group()
def classify() -> None:
    """Train, evaluate and apply the SpineClassifier, which the spine loss and the reports need."""


@classify.command("train", cls=Command)
@group(
    "Data",
    opt("--data", required=True, metavar="PATH", help="Labelled images to train on (zip or folder)"),
    opt("--out", required=True, metavar="FILE", help="X.safetensors; its card goes beside it as X.json"),
    opt("--val", metavar="PATH", help="Validation images [default: a part of --data]"),
    opt("--test", metavar="PATH", help="Test images, measured once at the end"),
    opt("--val-share", type=float, default=0.15, metavar="FLOAT", help="Part held out [default: 0.15]"),
    opt("--split-seed", type=int, default=0, metavar="INT", help="Which part [default: 0]"),
    opt(
        "--task",
        type=click.Choice(["auto", "binary", "multiclass", "multilabel"]),
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
    opt("--size", type=int, metavar="INT", help="Input side in pixels [default: 224; 64 for cnn13k]"),
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
        type=click.Choice(["standard", "none"]),
        default="standard",
        help="standard: flip 0.3, rotation 5 degrees, resized crop 0.8-1 [default: standard]",
    ),
    opt(
        "--select-on",
        type=click.Choice(["val", "test", "last"]),
        default="val",
        help="Keep the epoch best on this; test only to replicate, and stamped [default: val]",
    ),
    opt("--seed", type=int, default=0, metavar="INT", help="Start of all random numbers [default: 0]"),
    opt("--precision", type=click.Choice(["fp32", "bf16"]), default="fp32", help="[default: fp32]"),
    _DEVICE,
)
@group(
    "General",
    opt("--overwrite", is_flag=True, help="Replace an existing --out"),
    opt("-n", "--dry-run", is_flag=True, help="Print the card so far, train nothing"),
)
def train_(dry_run: bool, **given: Any) -> None:
    """Train a classifier; give the same command again to continue an interrupted one (exit code 75).

    \b
    spinegan classify train --data=spine-train.zip --val=spine-val.zip --out=spine.safetensors \\
        --weights=densenet121-a639ec97.pth
    """
    card = recipe.run(recipe.Recipe(**given), log=click.echo, dry_run=dry_run)
    if dry_run:
        click.echo(json.dumps(card, indent=1))
        return
    for role, metrics in card["metrics"].items():
        if metrics is not None:
            _print_metrics(role, metrics)
    if card["selected_on"] == "test":
        click.echo("Note: the epoch was chosen on the test data; this is stamped on the card", err=True)
    click.echo(f"epoch {card['chosen_epoch']} of {card['epochs']} is saved in {given['out']}")


@classify.command("eval", cls=Command)
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
    opt(
        "--mapping",
        type=click.Choice(["card", "authors"]),
        default="card",
        help="authors: the input mapping of the paper's program [default: card]",
    ),
    opt(
        "--resamples",
        type=click.IntRange(min=100),
        default=evaluation.RESAMPLES,
        metavar="INT",
        help="Of the bootstrap [default: 2000]",
    ),
    opt("--seed", type=int, default=0, metavar="INT", help="Of the bootstrap [default: 0]"),
    opt("--record", is_flag=True, help="Write the result into the classifier's card as its test result"),
    opt("--no-plots", is_flag=True, help="No PNG files"),
    _BATCH,
    _DEVICE,
)
def eval_(
    classifier: str,
    data: str,
    outdir: str,
    mapping: str,
    resamples: int,
    seed: int,
    record: bool,
    no_plots: bool,
    batch: int,
    device: str,
) -> None:
    """Measure a classifier: AUC with intervals, AUPRC, sensitivity at 90 % specificity, calibration.

    Intervals resample whole patients or studies where the data set knows them.
    """
    model = load_classifier(classifier).to(processes.pick_device(device))
    images = open_labelled(data, model.task, model.class_names)
    logits = training.predict(model, images, batch=batch, mapping=mapping, label="classifying")
    metrics = evaluation.evaluate(images, logits, resamples=resamples, seed=seed)
    facts = images.facts()
    warning = _leak_warning(model, facts)
    folder = Path(outdir)
    folder.mkdir(parents=True, exist_ok=True)
    _write_predictions(model, images, logits, folder / "predictions.csv")
    _write(folder / "per_class.csv", evaluation.as_csv(*evaluation.per_class_rows(metrics)))
    record_of = {
        "classifier": {"name": Path(classifier).name, "sha256": model.card["sha256"]},
        "selected_on": model.card.get("selected_on"),
        "mapping": mapping,
        "data": facts,
        "warning": warning,
        "metrics": metrics,
        "versions": recipe.versions(),
    }
    _write(folder / "metrics.json", json.dumps(record_of, indent=1).encode() + b"\n")
    if not no_plots and plots.is_available():
        plots.draw_roc(images, logits, metrics, folder / "roc.png")
        plots.draw_calibration(images, logits, metrics, folder / "calibration.png")
    elif not no_plots:
        click.echo("Note: no plots without matplotlib; run: pip install 'spinegan[report]'", err=True)
    if warning:
        click.echo(f"Note: {warning}", err=True)
    if record:
        model.card["data"] = (model.card.get("data") or {}) | {"test": facts}
        model.card["metrics"] = (model.card.get("metrics") or {}) | {"test": metrics}
        write_card(model.card, classifier)
    _print_metrics(facts["path_name"], metrics)


@classify.command("predict", cls=Command)
@group(
    "What to classify",
    _CLASSIFIER,
    opt("--data", required=True, metavar="PATH", help="Images, labelled or not (zip or folder)"),
    opt("--out", required=True, metavar="FILE.csv", help="Table of names, labels, groups, probabilities"),
)
@group(
    "How",
    opt(
        "--mapping",
        type=click.Choice(["card", "authors"]),
        default="card",
        help="authors: the input mapping of the paper's program [default: card]",
    ),
    _BATCH,
    _DEVICE,
)
def predict_(classifier: str, data: str, out: str, mapping: str, batch: int, device: str) -> None:
    """Write the probability of every class for every image; no labels are needed."""
    if not Path(out).parent.is_dir():
        raise UserError(f"the folder of --out={out} does not exist; create it")
    model = load_classifier(classifier).to(processes.pick_device(device))
    try:
        images = open_labelled(data, model.task, model.class_names)
    except UserError:  # without labels, or with some that say something else
        images = open_images(data)
    logits = training.predict(model, images, batch=batch, mapping=mapping, label="classifying")
    _write_predictions(model, images, logits, Path(out))
    click.echo(f"{len(images)} predictions in {out}")


def _write_predictions(model: SpineClassifier, images: LabelledImages, logits: Any, path: Path) -> None:
    _write(
        path, evaluation.as_csv(*evaluation.prediction_rows(images, logits, model.task, model.class_names))
    )


def _write(path: Path, content: bytes) -> None:
    with files.atomic_write(path) as file:
        file.write(content)


def _leak_warning(model: SpineClassifier, facts: dict[str, Any]) -> str | None:
    """A sentence if the classifier was made with these images."""
    for role, known in (model.card.get("data") or {}).items():
        if known and role != "test" and known.get("source_fingerprint") == facts["source_fingerprint"]:
            return f"these include the classifier's own {role} images; the result says little about new ones"
    return None


def _print_metrics(title: str, metrics: dict[str, Any]) -> None:
    clusters = f", {metrics['n_groups']} groups" if metrics["n_groups"] else ""
    click.echo(f"{title}: {metrics['n']} images{clusters}")
    click.echo(f"  AUC {_shown(metrics['auc'])}  ({metrics['auc']['method']})")
    click.echo(f"  AUPRC {_shown(metrics['auprc'])}")
    for row in metrics["per_class"]:
        at = row["sensitivity_at_90_specificity"]
        click.echo(
            f"  {row['class']}: {row['n_positive']} positive, AUC {_shown(row['auc'])}, sensitivity at 90 % "
            f"specificity {_shown(at)}, ECE {row['ece']:.3f}, Brier {row['brier']:.3f}"
        )


def _shown(interval: dict[str, Any]) -> str:
    if interval["value"] is None:
        return "undefined (one class only)"
    if interval["low"] is None:
        return f"{interval['value']:.3f}"
    return f"{interval['value']:.3f} (95 % {interval['low']:.3f} to {interval['high']:.3f})"
