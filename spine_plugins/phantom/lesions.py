"""Seven kinds of finding with a severity from 0 to 1: which ones an image gets, and how each one looks.

Every lesion stays local: a counterfactual twin without it differs only around its mask.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from spine_plugins.phantom.anatomy import LUMBAR, Spine, body_patch, disc_patch, endplate_below
from spine_plugins.phantom.body import foramen_patch
from spine_plugins.phantom.shapes import Canvas, Patch
from spine_plugins.vindr import COMMON

KINDS = COMMON  # the order is that of the eight-class labels 1..7

# A lesion is reported from this severity on; below it stands for wear and tear that readers pass over.
THRESHOLDS = dict(zip(KINDS, (0.35, 0.35, 0.35, 0.30, 0.20, 0.30, 0.30)))
_SHARE = dict(zip(KINDS, (0.20, 0.08, 0.30, 0.11, 0.12, 0.12, 0.07)))
_MOST = dict(zip(KINDS, (3, 3, 4, 1, 1, 2, 2)))  # lesions of one kind in one image
_SILENT_KINDS = (
    "Osteophytes",
    "Disc space narrowing",
    "Osteophytes",
    "Vertebral collapse",
    "Spondylolysthesis",
    "Other lesions",
)
METAL = 4.8  # line integral at which the detector sees nothing more


@dataclass(frozen=True)
class Lesion:
    kind: str
    severity: float
    level: str  # vertebra, or the one above the disc
    side: int  # -1 or 1
    variant: int  # 0..2, kind-specific
    shape: tuple[float, ...]  # four numbers in 0..1 for shape details


def plan_lesions(rng: np.random.Generator, abnormal: bool, *, allow_several: bool = True) -> list[Lesion]:
    """The findings of one patient: none above its threshold if normal, else one kind or (30 %) several."""
    plan: list[Lesion] = []
    for _ in range(rng.choice(3, p=(0.45, 0.35, 0.2))):  # wear and tear, in anyone
        kind = _SILENT_KINDS[rng.integers(len(_SILENT_KINDS))]
        # A share of the threshold, so it can never be reported.
        plan.append(_draw_lesion(rng, kind, THRESHOLDS[kind] * rng.beta(1.3, 2.2)))
    if not abnormal:
        return plan
    several = allow_several and rng.random() < 0.3
    count = 1 if not several else 2 + int(rng.random() < 0.25)
    for kind in rng.choice(KINDS, count, replace=False, p=list(_SHARE.values())):
        # The reported lesions of a kind are all of it: wear beside them would only blur the severity.
        plan = [lesion for lesion in plan if lesion.kind != kind]
        plan.extend(draw_reported(rng, str(kind)))
    return plan


def draw_reported(rng: np.random.Generator, kind: str, severity: float | None = None) -> list[Lesion]:
    """Lesions of a kind at different levels; the worst has the given severity, or one above the threshold."""
    worst = (
        severity if severity is not None else THRESHOLDS[kind] + (1 - THRESHOLDS[kind]) * rng.beta(2.4, 1.0)
    )
    # Without repetition, or two lesions of a kind would lie on each other.
    names = rng.permutation(LUMBAR)[: rng.integers(1, _MOST[kind] + 1)]
    shares = [1.0] + [rng.uniform(0.5, 1.0) for _ in names[1:]]
    return [_draw_lesion(rng, kind, float(worst * share), str(name)) for name, share in zip(names, shares)]


def _draw_lesion(rng: np.random.Generator, kind: str, severity: float, level: str | None = None) -> Lesion:
    level = level or LUMBAR[rng.integers(len(LUMBAR))]
    # Every kind throws the same dice, used or not: the lesions after it stay where they are.
    shape = tuple(float(number) for number in rng.random(4))
    return Lesion(kind, float(severity), level, 1 if rng.random() < 0.5 else -1, int(rng.integers(3)), shape)


def seen_from(lesions: list[Lesion], view: str) -> list[Lesion]:
    """The lesions as one view shows them: from the front, a narrow foramen is seen as its narrow disc."""
    if view == "lateral":
        return list(lesions)
    swapped = []
    for lesion in lesions:
        if lesion.kind == "Foraminal stenosis":
            # Threshold meets threshold: what is reported in one view is so in the other.
            ratio = THRESHOLDS["Disc space narrowing"] / THRESHOLDS["Foraminal stenosis"]
            lesion = replace(lesion, kind="Disc space narrowing", severity=min(lesion.severity * ratio, 1.0))
        swapped.append(lesion)
    return swapped


def severities(lesions: list[Lesion]) -> dict[str, float]:
    """Worst severity per kind, in the order of KINDS."""
    worst = {kind: max((x.severity for x in lesions if x.kind == kind), default=0.0) for kind in KINDS}
    return {kind: value for kind, value in worst.items() if value > 0}


def reported_kinds(worst: dict[str, float]) -> list[str]:
    """Kinds at or above their thresholds: what a perfect reader writes down."""
    return [kind for kind in KINDS if worst.get(kind, 0.0) >= THRESHOLDS[kind]]


# Before drawing: lesions that change the bones themselves.


def deform(spine: Spine, lesion: Lesion, strength: float) -> None:
    """Change the numbers of the vertebrae a lesion touches; `strength` is its visible severity."""
    index = spine.index(lesion.level)
    level = spine.levels[index]
    if lesion.kind == "Disc space narrowing":
        # A rest of the disc always stays, or there would be nothing to put a mask on.
        loss = level.gap * min(0.95 * strength, 0.92)
        level.bottom += loss / 2 if index else loss  # the sacrum stays, so L5 takes all of it
        _add_sclerosis(level.sclerosis, "lower", strength)
        if index:
            below = spine.levels[index - 1]
            # The plates close in and the centres stay: arch and ribs hang on those.
            below.top += loss / 2
            _add_sclerosis(below.sclerosis, "upper", strength)
    elif lesion.kind == "Vertebral collapse":
        # Two on one level do not add up, or the plates would cross.
        level.crush = max(level.crush, 0.68 * strength * (level.top + level.bottom))
        level.wedge = 0.75 if spine.front else 0.0
    elif lesion.kind == "Spondylolysthesis":
        # From the side it slips forward; from the front only a slip to one side can be seen.
        shift = 0.9 * strength * level.half_width * (spine.front or lesion.side)
        level.cx, level.cy = level.at(shift, 0.0)
        above = spine.levels[index + 1] if index + 1 < len(spine.levels) else level
        if (
            above is not level and above.name in LUMBAR
        ):  # it follows; a thoracic one would take its ribs along
            above.cx, above.cy = above.at(0.4 * shift, 0.0)
    elif lesion.kind == "Foraminal stenosis" and spine.front:
        # Never quite closed: an ellipse of no height would divide by 0.
        left = 1 - min(0.8 * strength, 0.85)
        spine.foramen_size[level.name] = min(spine.foramen_size.get(level.name, 1.0), left)


def _add_sclerosis(plates: dict[str, float], name: str, strength: float) -> None:
    plates[name] = max(plates.get(name, 0.0), strength)


# After drawing: lesions that add something, and the masks of all of them.


def draw_lesion(canvas: Canvas, spine: Spine, lesion: Lesion, strength: float) -> list[Patch]:
    """Add what the lesion adds; the patches together are its mask."""
    index = spine.index(lesion.level)
    level = spine.levels[index]
    match lesion.kind:
        case "Disc space narrowing":
            return [disc_patch(canvas, level, endplate_below(spine, index), margin=0.006)]
        case "Vertebral collapse" | "Spondylolysthesis":
            return [body_patch(canvas, level, spine.front, grow=0.004)[0]]
        case "Foraminal stenosis":
            return [foramen_patch(canvas, spine, index)]
        case "Osteophytes":
            return _draw_spurs(canvas, spine, lesion, strength)
        case "Surgical implant":
            return _draw_implant(canvas, spine, lesion, strength)
        case _:
            return (_draw_dense_spot, _draw_crack, _draw_foreign_body)[lesion.variant](
                canvas, spine, lesion, strength
            )


def _draw_spurs(canvas: Canvas, spine: Spine, lesion: Lesion, strength: float) -> list[Patch]:
    """Hooks at the corners on both sides of a disc, pointing outwards and towards each other."""
    index = spine.index(lesion.level)
    level, bony = spine.levels[index], spine.levels[index].density
    side = spine.front or lesion.side
    corners = [(level, side, level.bottom - level.concave * 0.1, 1)]
    # Mostly a pair that grows towards each other across the disc; a slight one may be alone.
    if index and (lesion.shape[0] < 0.7 or strength > 0.6):
        below = spine.levels[index - 1]
        corners.append((below, side, -below.top, -1))
    if lesion.shape[1] < 0.35 * strength:
        corners.append((level, -side, level.bottom - level.concave * 0.1, 1))
    reach = (0.006 + 0.05 * strength) * spine.scale
    patches = []
    for bone, at_side, v, towards in corners:
        u = at_side * bone.half_width * 0.93
        # The root lies inside the bone, so that no gap opens at the corner.
        root, thick = bone.at(u, v - towards * 0.010), 0.007 + 0.012 * strength
        knee = bone.at(u + at_side * reach * (0.75 + 0.3 * lesion.shape[2]), v + towards * 0.002)
        tip = bone.at(u + at_side * reach * (0.95 + 0.3 * lesion.shape[2]), v + towards * 0.45 * reach)
        # Out first, then over the disc: one straight stroke looks like a thorn.
        for start, end, r0, r1 in (
            (root, knee, thick, thick * 0.75),
            (knee, tip, thick * 0.75, thick * 0.35),
        ):
            patch = canvas.capsule(start, end, r0, r1)
            canvas.fill(patch, (0.3 + 1.0 * strength) * bony)
            canvas.rim(patch, 0.16 * bony * strength, 0.003)
            patches.append(patch)
    return patches


def _draw_implant(canvas: Canvas, spine: Spine, lesion: Lesion, strength: float) -> list[Patch]:
    """Rods with pedicle screws over up to four levels; when slight, a single screw or clip."""
    levels = max(1, min(4, round(0.8 + 3.6 * strength)))
    # Slid down until all of its levels are lumbar and there.
    start = min(spine.index(lesion.level), len(spine.levels) - levels, 5 - levels)
    bones = spine.levels[max(start, 0) : max(start, 0) + levels]
    thick = (0.005 + 0.007 * strength) * spine.scale
    strokes = []
    for side in (spine.front,) if spine.front else (-1, 1) if strength > 0.4 else (lesion.side,):
        heads = []
        for bone in bones:
            w, h = bone.half_width, bone.half_height
            if spine.front:
                heads.append(bone.at(-side * 1.75 * w, -0.45 * h))
                strokes.append(
                    (heads[-1], bone.at(side * (0.1 + 0.5 * strength) * w, -0.2 * h), thick, thick * 0.6)
                )
            else:
                heads.append(bone.at(side * 0.66 * w, -0.28 * h))
                strokes.append((heads[-1], bone.at(side * 0.3 * w, -0.1 * h), thick * 1.2, thick * 0.7))
        strokes += [(a, b, thick * 1.1, thick * 1.1) for a, b in zip(heads[:-1], heads[1:])]
        strokes += [(head, head, thick * 1.7, thick * 1.7) for head in heads]
    return [_add_metal(canvas, canvas.capsule(a, b, r0, r1), min(r0, r1)) for a, b, r0, r1 in strokes]


def _add_metal(canvas: Canvas, patch: Patch, radius: float) -> Patch:
    cover = canvas.cover(patch, 0.002) * canvas.stroke_gain(radius)
    # Metal stops what light is left: added on top, bones would shine through it.
    under = canvas.sum[patch.window]
    canvas.sum[patch.window] = under + np.clip(METAL - under, 0, None) * cover
    return patch


def _draw_dense_spot(canvas: Canvas, spine: Spine, lesion: Lesion, strength: float) -> list[Patch]:
    """Round sclerosis inside a vertebral body."""
    level = spine[lesion.level]
    a, b, c, d = lesion.shape
    cx, cy = level.at((a - 0.5) * 1.1 * level.half_width, (b - 0.5) * 0.9 * level.half_height)
    radius = (0.012 + 0.026 * strength) * spine.scale
    patch = canvas.ellipse(cx, cy, radius * (0.8 + 0.5 * c), radius * (0.8 + 0.3 * d), a * math.pi)
    canvas.fill(patch, (0.3 + 1.3 * strength) * level.density, 0.012)
    return [patch]


def _draw_crack(canvas: Canvas, spine: Spine, lesion: Lesion, strength: float) -> list[Patch]:
    """A dark jagged fracture line across a vertebral body, with a denser lip."""
    level = spine[lesion.level]
    w, h = level.half_width, level.half_height
    slope = (lesion.shape[1] - 0.5) * 0.9 * h
    reach = 0.5 + 0.5 * strength
    u = np.linspace(-0.95, -0.95 + 1.9 * reach, 6) * lesion.side
    # [6] steps off the line, without which a crack looks like a wire.
    zigzag = np.array([0, 0.12, -0.1, 0.14, -0.08, 0.1]) * h
    line = np.array(
        [level.at(a * w, slope * a + z + (lesion.shape[0] - 0.5) * 0.6 * h) for a, z in zip(u, zigzag)]
    )
    patch = canvas.path(line, 0.0035 + 0.006 * strength)
    # A gap holds no bone.
    canvas.fill(patch, -(0.2 + 0.7 * strength) * level.density, 0.003)
    canvas.rim(patch, (0.1 + 0.3 * strength) * level.density, 0.004, inset=-0.005)
    return [patch]


def _draw_foreign_body(canvas: Canvas, spine: Spine, lesion: Lesion, strength: float) -> list[Patch]:
    """A small piece of metal or a stone beside the spine."""
    level = spine[lesion.level]
    beside = 1.5 + 1.1 * lesion.shape[0]
    cx, cy = level.at(
        (spine.front or lesion.side) * beside * level.half_width,
        (lesion.shape[1] - 0.5) * 2 * level.half_height,
    )
    radius = (0.008 + 0.022 * strength) * spine.scale
    patch = canvas.ellipse(cx, cy, radius, radius * (0.5 + 0.5 * lesion.shape[2]), lesion.shape[3] * math.pi)
    cover = canvas.cover(patch, 0.002)
    canvas.sum[patch.window] += (0.6 + 2.0 * strength) * cover
    return [patch]
