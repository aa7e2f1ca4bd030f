"""Many phantoms in order: studies, reader noise, the factors table and rendering by several processes."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from spine_plugins import executors
from spine_plugins.phantom.lesions import KINDS
from spine_plugins.phantom.scene import Box, Phantom, Study, make_study, render
from spine_plugins.vindr import CLASSES
from stylegan2ada import files, provenance
from stylegan2ada.errors import UserError

T = TypeVar("T")
Row = dict[str, str | int]  # a line of factors.csv
LABEL_NAMES = {classes: list(names) for classes, names in CLASSES.items()}
_SEVERITY_COLUMNS = {kind: "severity_" + kind.lower().replace(" ", "_") for kind in KINDS}
FACTOR_COLUMNS = (
    *("name", "study", "patient", "split", "view", "label", "label_name", "label_true", "kind", "severity"),
    *_SEVERITY_COLUMNS.values(),
    *("style", "marker", "collimation"),
)


@dataclass(frozen=True)
class SeriesOptions:
    """Everything that decides what a series looks like."""

    seed: int = 0
    size: tuple[int, int] = (512, 448)
    difficulty: float = 1.0
    confound: float = 0.0
    label_noise: float = 0.0
    allow_several: bool = True  # two or more reported kinds in one image
    lateral: float = 0.5  # share of images from the side; the others are from the front

    def checked(self) -> SeriesOptions:
        """Itself; unusable values are told apart."""
        check_size(self.size)
        for name in ("confound", "label_noise", "lateral"):
            if not 0 <= getattr(self, name) <= 1:
                flag = "--" + name.replace("_", "-")
                raise UserError(f"{flag}={getattr(self, name)} is not a share; give a number from 0 to 1")
        if not self.difficulty > 0:
            raise UserError(
                f"--difficulty={self.difficulty} must be above 0; 1 is normal, 2 halves every lesion"
            )
        return self

    def recipe(self, classes: str) -> dict[str, Any]:
        """How the series was made; its options stand on the outer level, too, as they always have."""
        flags = asdict(self) | {"classes": classes}
        if self.lateral == SeriesOptions.lateral:  # older than the option, and the same bytes still
            del flags["lateral"]
        packages = (*provenance.PACKAGES, "scipy")
        return provenance.recipe("spinegan phantom", flags, resize_filter=None, packages=packages, **flags)


@dataclass(frozen=True)
class Sheet:
    """One image of a series with its place in it and what the reader wrote."""

    index: int
    study: str
    patient: str
    split: str
    phantom: Phantom
    kinds_read: tuple[str, ...]  # reported kinds after reader noise, empty = No finding
    boxes_read: tuple[Box, ...]

    @property
    def label(self) -> int:
        return int(bool(self.kinds_read))

    def label_in(self, classes: str) -> int:
        """The class number among `binary` or `spine8`."""
        if classes == "binary":
            return self.label
        # Eight classes are drawn with one kind per image, so the first is the only one.
        return 1 + KINDS.index(self.kinds_read[0]) if self.kinds_read else 0

    def row(self, name: str, classes: str = "binary") -> Row:
        """Its line of factors.csv."""
        label = self.label_in(classes)
        factors, kinds = self.phantom.factors, self.phantom.kinds
        return {
            "name": name,
            "study": self.study,
            "patient": self.patient,
            "split": self.split,
            "view": factors["view"],
            "label": label,
            "label_name": LABEL_NAMES[classes][label],
            "label_true": self.phantom.label,
            "kind": factors["kind"],
            "severity": f"{factors['severity']:.4f}",
            **{column: f"{kinds.get(kind, 0.0):.4f}" for kind, column in _SEVERITY_COLUMNS.items()},
            "style": factors["style"],
            "marker": factors["marker"],
            "collimation": factors["collimation"],
        }


def check_size(size: tuple[int, int]) -> None:
    """Refuses a (height, width) in which a spine does not fit."""
    height, width = size
    if height < 32 or not 0.6 * height <= width <= 1.5 * height:
        raise UserError(
            f"a phantom of {height}x{width} (height x width) cannot be drawn; give at least 32 rows "
            "and a width between 0.6 and 1.5 of the height"
        )


def study_seed(seed: int, number: int, branch: int = 0) -> np.random.SeedSequence:
    """Each study has its own seed, whoever draws it and however many there are."""
    return np.random.SeedSequence(seed, spawn_key=(branch, number))


def hashed(text: str) -> str:
    """32 hexadecimal digits, as VinDr's ids are."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def sheets_of_study(options: SeriesOptions, number: int, first: int, count: int) -> Iterator[Sheet]:
    """The first `count` images of a study; `first` is the running number of the first of them."""
    study = _study(options, number)
    patient = hashed(f"phantom patient {options.seed} {_patient_number(options.seed, number)}")
    # By the patient's hash: all visits of one patient fall on the same side, wherever they are drawn.
    split = "test" if int(patient[:8], 16) % 5 == 0 else "train"
    # A stream of its own: a careless reader does not change the pictures.
    reader = np.random.default_rng(study_seed(options.seed, number, branch=1))
    for image in range(count):
        phantom = render(study, image, options.size)
        kinds, boxes = _read(phantom, reader, options.label_noise)
        name = hashed(f"phantom study {options.seed} {number}")
        yield Sheet(first + image, name, patient, split, phantom, kinds, boxes)


def run_over_studies(
    work: Callable[[SeriesOptions, int, int, int], T], options: SeriesOptions, n: int, workers: int | None
) -> Iterator[tuple[int, T]]:
    """(count, work(options, study, first index, count)) for as many studies as give n images, in order.

    `workers` > 1 starts fresh processes (a script that asks for them needs the usual
    `if __name__ == "__main__"`); None takes every core. The results do not depend on it.
    """
    if n < 1:
        raise UserError(f"{n} phantoms were asked for; give at least 1")
    tasks = list(_tasks(options, n))
    workers = min(workers or os.cpu_count() or 1, len(tasks))
    for done, results in executors.run(
        functools.partial(_apply, work, options),
        tasks,
        executor="serial" if workers <= 1 else "process",
        workers=workers,
        batch=4,
        in_order=True,
    ):
        for task, result in zip(done, results):
            yield task.n_images, result


def _apply(work: Callable[[SeriesOptions, int, int, int], T], options: SeriesOptions, task: _Task) -> T:
    return work(options, *task)


def write_factors(path: str | Path, rows: list[Row]) -> None:
    """factors.csv: one line per image with everything that is true about it."""
    files.write_csv(path, FACTOR_COLUMNS, ([row[column] for column in FACTOR_COLUMNS] for row in rows))


def pack_masks(masks: dict[str, np.ndarray]) -> np.ndarray:
    """uint8 [H, W]: bit 0 = vertebrae, bits 1..7 = the kinds in the order of KINDS (masks may overlap)."""
    packed = np.zeros(masks["vertebrae"].shape, np.uint8)
    for bit, name in enumerate(("vertebrae", *KINDS)):
        if name in masks:
            packed |= masks[name].astype(np.uint8) << bit
    return packed


def kind_mask(masks: dict[str, np.ndarray], what: str) -> np.ndarray:
    """uint8 [H, W] of a phantom: vertebrae are 1; else reported lesions by number, smaller ones on top."""
    drawn = {"vertebrae": masks["vertebrae"]} if what == "vertebrae" else {
        kind: mask for kind, mask in masks.items() if kind in KINDS
    }  # fmt: skip
    found = np.zeros(masks["vertebrae"].shape, np.uint8)
    for kind, mask in sorted(drawn.items(), key=lambda item: -int(item[1].sum())):
        found[mask] = 1 if what == "vertebrae" else KINDS.index(kind) + 1
    return found


def unpack_masks(packed: np.ndarray) -> dict[str, np.ndarray]:
    """The bool masks in a picture of the masks folder; kinds that are absent have no entry."""
    layers = {name: (packed >> bit & 1).astype(bool) for bit, name in enumerate(("vertebrae", *KINDS))}
    return {name: mask for name, mask in layers.items() if name == "vertebrae" or mask.any()}


def _study(options: SeriesOptions, number: int) -> Study:
    return make_study(
        study_seed(options.seed, number),
        confound=options.confound,
        difficulty=options.difficulty,
        allow_several=options.allow_several,
        lateral=options.lateral,
    )


class _Task(NamedTuple):
    """Some images of one study."""

    study: int
    first: int  # running number of its first image
    n_images: int


def _tasks(options: SeriesOptions, n: int) -> Iterator[_Task]:
    done, number = 0, 0
    while done < n:
        # A plan costs no pixels, so all of them can be made just to count the images.
        count = min(len(_study(options, number).views), n - done)
        yield _Task(number, done, count)
        done, number = done + count, number + 1


def _patient_number(seed: int, number: int) -> int:
    """About one study in ten is a second visit of the patient before."""
    # From the study's own number: no process needs to know what others drew.
    while number > 0 and study_seed(seed, number, branch=2).generate_state(1)[0] % 10 == 0:
        number -= 1
    return number


def _read(
    phantom: Phantom, rng: np.random.Generator, noise: float
) -> tuple[tuple[str, ...], tuple[Box, ...]]:
    """What a reader writes down: the truth, or with probability `noise` the opposite."""
    # All dice fall, mistaken or not, so that noise in one image leaves the next as it was.
    mistaken, place, size = rng.random() < noise, rng.uniform(0.3, 0.7, 2), rng.uniform(0.06, 0.12)
    kinds = tuple(kind for kind in KINDS if kind in {box[0] for box in phantom.boxes})
    if not mistaken:
        return kinds, tuple(phantom.boxes)
    if phantom.label:
        return (), ()
    # Overcalled is what shows most below its threshold.
    kind = max(phantom.kinds, key=lambda name: phantom.kinds[name], default="Osteophytes")
    height, width = phantom.image.shape
    x, y = (place - size / 2) * (width, height)
    return (kind,), ((kind, float(x), float(y), float(x + size * width), float(y + size * height)),)
