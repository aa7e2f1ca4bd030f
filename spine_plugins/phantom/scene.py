"""One study as numbers, and one image of it as pixels, masks, boxes and factors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from spine_plugins.phantom import lesions as lesion_room
from spine_plugins.phantom.anatomy import VIEWS, Patient, draw_patient, place_spine
from spine_plugins.phantom.body import draw_bones, draw_soft_tissue
from spine_plugins.phantom.film import VENDORS, draw_factors, draw_style, expose
from spine_plugins.phantom.lesions import KINDS, THRESHOLDS, Lesion
from spine_plugins.phantom.shapes import Canvas
from spine_plugins.vindr import NO_FINDING

Box = tuple[str, float, float, float, float]  # kind, xmin, ymin, xmax, ymax


class Factors(TypedDict):
    """What a table of one image tells beside its label."""

    view: str
    style: str  # the vendor
    marker: str  # "none", "L" or "R"
    collimation: int
    kind: str  # reported kinds, "; " between them, or "No finding"
    severity: float  # the worst, of any kind


@dataclass
class Phantom:
    """One drawn radiograph with everything that is true about it."""

    image: np.ndarray  # float32 [H, W] in 0..1, bone bright (MONOCHROME2 sense)
    kinds: dict[str, float]  # worst severity per kind, below its threshold too
    boxes: list[Box]  # in pixels, of lesions at or above their threshold
    # bool [H, W]: "vertebrae", the kinds of the boxes, and "wear" for lesions below their threshold
    masks: dict[str, np.ndarray]
    factors: Factors
    label: int  # 0 normal, 1 abnormal: what a perfect reader says


@dataclass(frozen=True)
class Study:
    """What the images of one study share; built from one seed, so that nothing depends on other studies."""

    patient: Patient
    lesions: tuple[Lesion, ...]
    style: int
    confound: float
    difficulty: float
    views: tuple[str, ...]  # one per image
    image_seeds: tuple[np.random.SeedSequence, ...]


def make_study(
    seed: np.random.SeedSequence,
    *,
    kinds: Mapping[str, float] | Iterable[str] | None = None,
    confound: float = 0.0,
    difficulty: float = 1.0,
    allow_several: bool = True,
    lateral: float = 0.5,  # share of the views from the side
) -> Study:
    """Draw patient, findings, vendor and the views of one to four images."""
    # A stream each: a twin with other lesions is the same patient in the same pictures.
    for_patient, for_lesions, for_style, for_images = seed.spawn(4)
    lesions = _choose_lesions(np.random.default_rng(for_lesions), kinds, allow_several)
    # By what is reported, not by the plan: asked for by name, a mild lesion may stay below.
    abnormal = bool(lesion_room.reported_kinds(lesion_room.severities(lesions)))
    rng = np.random.default_rng(for_images)
    views = tuple(
        VIEWS[int(rng.random() < lateral)] for _ in range(rng.choice((1, 2, 3, 4), p=(0.3, 0.4, 0.2, 0.1)))
    )
    return Study(
        patient=draw_patient(np.random.default_rng(for_patient)),
        lesions=tuple(lesions),
        style=draw_style(np.random.default_rng(for_style), abnormal, confound),
        confound=confound,
        difficulty=difficulty,
        views=views,
        image_seeds=tuple(for_images.spawn(len(views))),
    )


def _choose_lesions(
    rng: np.random.Generator, kinds: Mapping[str, float] | Iterable[str] | None, allow_several: bool
) -> list[Lesion]:
    if kinds is None:
        return lesion_room.plan_lesions(rng, abnormal=bool(rng.random() < 0.5), allow_several=allow_several)
    wanted: Mapping[str, float | None] = kinds if isinstance(kinds, Mapping) else dict.fromkeys(kinds)
    # Each kind has its own stream, so that asking for one more leaves the others where they were.
    streams = dict(zip(KINDS, rng.spawn(len(KINDS))))
    return [
        lesion for kind, s in wanted.items() for lesion in lesion_room.draw_reported(streams[kind], kind, s)
    ]


def render(study: Study, number: int, size: tuple[int, int], view: str | None = None) -> Phantom:
    """Image `number` of the study at size (H, W)."""
    view = view or study.views[number]
    # A stream per act: a lesion in one cannot shift the noise of another.
    streams = [np.random.default_rng(child) for child in study.image_seeds[number].spawn(5)]
    lesions = lesion_room.seen_from(list(study.lesions), view)
    worst = lesion_room.severities(lesions)
    reported = lesion_room.reported_kinds(worst)
    canvas = Canvas(size)
    spine = place_spine(study.patient, view, streams[0])
    # Drawn stronger than this the shapes come apart; only a difficulty below 1 gets there.
    strengths = [min(lesion.severity / study.difficulty, 1.4) for lesion in lesions]
    for lesion, strength in zip(lesions, strengths):
        # All bones change before any is drawn, for neighbours share a disc.
        lesion_room.deform(spine, lesion, strength)
    draw_soft_tissue(canvas, spine, study.patient, streams[1])
    masks = {"vertebrae": draw_bones(canvas, spine, study.patient, streams[2])}
    boxes: list[Box] = []
    for lesion, strength in zip(lesions, strengths):
        mask = np.zeros(size, bool)
        for patch in lesion_room.draw_lesion(canvas, spine, lesion, strength):
            mask |= canvas.mask(patch)
        is_reported = lesion.severity >= THRESHOLDS[lesion.kind]
        name = lesion.kind if is_reported else "wear"
        masks[name] = masks[name] | mask if name in masks else mask
        # A lesion outside the picture has no pixels, and so no box.
        if is_reported and mask.any():
            boxes.append((lesion.kind, *_bounds(mask)))
    factors = draw_factors(streams[3], study.style, bool(reported), study.confound)
    return Phantom(
        image=expose(canvas, factors, streams[4]),
        kinds=worst,
        boxes=boxes,
        masks=masks,
        factors=Factors(
            view=view,
            style=VENDORS[study.style].name,
            marker=factors.marker,
            collimation=int(factors.collimation),
            kind="; ".join(reported) or NO_FINDING,
            severity=max(worst.values(), default=0.0),
        ),
        label=int(bool(reported)),
    )


def _bounds(mask: np.ndarray) -> tuple[float, float, float, float]:
    """xmin, ymin, xmax, ymax around a mask; the right and lower edges lie behind the last pixel."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
