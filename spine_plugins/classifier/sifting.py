"""A part of a labelled data set: by lot, or as a classifier agrees with its labels, or names it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

import numpy as np

from spine_plugins.classifier import answers
from spine_plugins.classifier.labelled import LabelledImages, open_labelled
from spine_plugins.classifier.model import load_classifier
from spine_plugins.classifier.training import predict
from stylegan2ada import files, processes, provenance
from stylegan2ada.data.writer import DatasetWriter
from stylegan2ada.errors import NothingToDoError, UserError

Labels = Literal["own", "classifier"]
Only = Literal["all", "agreeing"]


@dataclass(frozen=True)
class Sieve:
    """What of a data set is wanted."""

    data: str
    out: str
    classifier: str | None = None
    labels: Labels = "own"
    only: Only = "all"
    images: int | None = None  # at most so many
    seed: int = 0  # of the lot that chooses them
    device: str = "auto"
    overwrite: bool = False


@dataclass(frozen=True)
class Sifted:
    """What became of it."""

    of: int
    written: int
    agreeing: int | None  # with the classifier
    per_class: dict[str, int]


def sift(sieve: Sieve) -> Sifted:
    """Write the part as a data set of its own."""
    if sieve.classifier is None and (sieve.labels != "own" or sieve.only != "all"):
        raise UserError("--labels=classifier and --only=agreeing ask a classifier; give --classifier=FILE")
    data, said = _open(sieve)
    labels = _labels_of(data)
    agrees = None if said is None else said == labels
    chosen = np.arange(len(data))
    if sieve.only == "agreeing":
        assert agrees is not None
        chosen = np.flatnonzero(agrees)
        if not len(chosen):
            raise NothingToDoError(f"the classifier agrees on no label of {sieve.data}; nothing was written")
    if sieve.images is not None:
        lot = np.random.default_rng(sieve.seed).permutation(len(chosen))[: sieve.images]
        chosen = np.sort(chosen[lot])
    written = said if sieve.labels == "classifier" and said is not None else labels
    _write(sieve, data, chosen, written)
    counts = np.bincount(written[chosen], minlength=len(data.class_names)).tolist()
    return Sifted(
        len(data),
        len(chosen),
        None if agrees is None else int(agrees.sum()),
        dict(zip(data.class_names, counts, strict=True)),
    )


def _open(sieve: Sieve) -> tuple[LabelledImages, np.ndarray | None]:
    """The images, and the class that the classifier sees in each."""
    if sieve.classifier is None:
        data = open_labelled(sieve.data)
        _check_exclusive(data)
        return data, None
    model = load_classifier(sieve.classifier).to(processes.pick_device(sieve.device))
    data = open_labelled(sieve.data, model.task, model.class_names)
    _check_exclusive(data)
    logits = predict(model, data, label="sifting")
    return data, answers.class_probabilities(logits, model.task).argmax(axis=1)


def _check_exclusive(data: LabelledImages) -> None:
    if data.task is None or not answers.is_exclusive(data.task):
        raise UserError(f"{data.dataset.path} has independent findings; only sets of classes can be sifted")


def _labels_of(data: LabelledImages) -> np.ndarray:  # int64 [N], numbers of classes
    assert data.targets is not None
    if data.task == "binary":
        return data.targets[:, 0].astype(np.int64)
    return data.targets.argmax(axis=1).astype(np.int64)


def _write(sieve: Sieve, data: LabelledImages, chosen: np.ndarray, labels: np.ndarray) -> None:
    with DatasetWriter(sieve.out, overwrite=sieve.overwrite) as writer:
        names = data.names
        was = {}
        for at in chosen.tolist():
            image = data.dataset.raw_image(int(data.dataset.raw_indices[at])).transpose(1, 2, 0)
            was[writer.add(image if image.shape[2] == 3 else image[:, :, 0], int(labels[at]))] = names[at]
        groups = data.dataset.groups
        if groups:
            writer.extra["groups"] = {name: groups[before] for name, before in was.items()}
        writer.extra["label_names"] = data.class_names
        flags = {
            "data": os.path.basename(sieve.data),
            "classifier": sieve.classifier and files.sha256_file(sieve.classifier),
            "labels": sieve.labels,
            "only": sieve.only,
            "images": sieve.images,
            "seed": sieve.seed,
        }
        writer.extra["recipe"] = provenance.recipe("sift", flags, resize_filter=None)
