"""The lumbar spine as numbers: the patient, the place of each vertebra, and the outline of one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from spine_plugins.phantom.shapes import Canvas, Patch, _norm8

VIEWS = ("AP", "lateral")
LUMBAR = ("L1", "L2", "L3", "L4", "L5")
_NAMES = ("L5", "L4", "L3", "L2", "L1", "T12", "T11", "T10", "T9", "T8")  # drawn upwards from the sacrum
_LEAN = {"L5": 24, "L4": 12, "L3": 1, "L2": -8, "L1": -12, "T12": -12, "T11": -9, "T10": -5, "T9": 0, "T8": 4}


@dataclass(frozen=True)
class Patient:
    """What all images of one study share."""

    scale: float
    bone: float  # mineral density, 1 = average
    girth: float  # thickness of soft tissue, 1 = average
    lordosis: float
    curve: float  # sideways bend in image heights
    curve_phase: float
    disc: float  # disc height against the average
    concave: float  # how far the endplates bow inwards
    slimness: float  # width of a vertebra against the average
    front: int  # lateral view: side of the belly, -1 left


@dataclass
class Level:
    """One vertebra; lesions change these numbers before it is drawn."""

    name: str
    cx: float
    cy: float
    angle: float
    half_width: float
    half_height: float  # as grown; lesions move the endplates, not what hangs on the arch
    top: float  # distance from the centre to the upper endplate
    bottom: float
    gap: float  # disc height below
    concave: float
    waist: float
    density: float
    crush: float = 0.0  # how far the upper endplate has sunk
    wedge: float = 0.0  # share of that which is lost only at the front
    sclerosis: dict[str, float] = field(default_factory=dict)  # endplate name -> extra brightness

    def at(self, u: float, v: float) -> tuple[float, float]:
        """Image position of a point u to the right of and v below the centre."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return self.cx + u * cos - v * sin, self.cy + u * sin + v * cos


@dataclass
class Spine:
    view: str
    front: int  # -1 or 1 in a lateral view, 0 from the front
    scale: float
    levels: list[Level]  # from the sacrum upwards: levels[0] is L5
    sacrum: tuple[float, float, float]  # middle of its upper endplate and its angle
    foramen_size: dict[str, float] = field(default_factory=dict)  # level -> share of the normal size left

    def index(self, name: str) -> int:
        return next(i for i, level in enumerate(self.levels) if level.name == name)

    def __getitem__(self, name: str) -> Level:
        return self.levels[self.index(name)]


def draw_patient(rng: np.random.Generator) -> Patient:
    """Random but plausible proportions."""
    return Patient(
        scale=rng.uniform(0.92, 1.10),
        bone=rng.uniform(0.8, 1.2),
        girth=rng.uniform(0.8, 1.25),
        lordosis=rng.uniform(0.5, 1.3),
        curve=rng.normal(0, 0.009),
        curve_phase=rng.uniform(0, 2 * math.pi),
        disc=rng.uniform(0.85, 1.15),
        concave=rng.uniform(0.2, 1.0),
        slimness=rng.uniform(0.92, 1.08),
        front=-1 if rng.random() < 0.9 else 1,
    )


def place_spine(patient: Patient, view: str, rng: np.random.Generator) -> Spine:
    """Position every vertebra; jitter makes two images of one patient differ as two exposures do."""
    scale = patient.scale * rng.uniform(0.97, 1.03)
    lateral = view == "lateral"
    front = patient.front if lateral else 0
    x = (0.03 * -front if lateral else 0.0) + rng.normal(0, 0.012)
    y = 0.745 + rng.normal(0, 0.01)
    lean = rng.normal(0, 0.03)
    sacrum_angle = lean + front * math.radians(38 * patient.lordosis) if lateral else lean
    spine = Spine(view, front, scale, [], (x, y, sacrum_angle))
    # [levels, 5]; for all of them, those above the picture, too.
    jitter = rng.normal(0, 1, (len(_NAMES), 5))
    for number, name in enumerate(_NAMES):
        # The topmost may stick out of the picture; beyond that nothing of it would show.
        if y < -0.12:
            break
        a, b, c, d, e = jitter[number]
        shrink = 1.0 if number < 5 else 0.95 ** (number - 4)  # thoracic vertebrae are smaller
        height = scale * 0.101 * shrink * (1 + 0.02 * a)
        width = scale * patient.slimness * (0.070 if lateral else 0.090) * shrink * (1 + 0.015 * b)
        if not lateral:
            width *= 1.05 - 0.02 * min(number, 5)  # wider towards the pelvis
        gap = scale * patient.disc * (0.028 if number < 5 else 0.018) * (1 + 0.07 * c)
        bend = math.radians(_LEAN[name] * patient.lordosis) * front if lateral else 0.0
        angle = lean + bend + 0.012 * d + 8 * patient.curve * math.cos(patient.curve_phase + number)
        # Up to the centre along the lean of the vertebra, then on to its upper endplate below.
        step = gap + height / 2
        x, y = x + step * math.sin(angle), y - step * math.cos(angle)
        concave = 0.010 * scale * patient.concave * max(0.2, 1 + 0.3 * e)
        level = Level(
            name, x, y, angle, width, height / 2, height / 2, height / 2, gap, concave, 0.12, patient.bone
        )
        spine.levels.append(level)
        x, y = x + height / 2 * math.sin(angle), y - height / 2 * math.cos(angle)
    return spine


def body_patch(
    canvas: Canvas, level: Level, front: int, *, grow: float = 0.0
) -> tuple[Patch, np.ndarray, np.ndarray]:
    """Outline of a vertebral body, plus the distances to its upper and lower endplate (negative inside)."""
    reach_v = max(level.top, level.bottom) + 0.02
    window, u, v = canvas.local(level.cx, level.cy, level.angle, level.half_width + 0.02, reach_v)
    n = u / np.float32(level.half_width)
    # 1 in the middle and 0 at the corners: how far the plates bow there.
    bow = np.clip(1 - n * n, 0, None)
    # From the side the front edge sinks most, and the body becomes a wedge.
    at_front = (1 + front * n) / 2 if front else 0.7 + 0.3 * bow
    sunk = level.crush * ((1 - level.wedge) * (0.6 + 0.4 * bow) + level.wedge * np.clip(at_front, 0, 1))
    upper = -level.top + level.concave * bow + sunk
    lower = level.bottom - level.concave * bow
    # Plates that cross would make a body of negative height.
    half = np.maximum((lower - upper) / 2, 0.004)
    b = np.abs(v - (upper + lower) / 2) / half
    waist = 1 - level.waist * np.clip(1 - b * b, 0, 1)
    # Exact on the outline only, in image heights along the shorter axis; see Canvas.block.
    distance = (_norm8(np.abs(n) / waist, b) - 1) * np.float32(min(level.half_width, level.top)) - grow
    return Patch(window, distance.astype(np.float32)), upper - v, v - lower


def disc_patch(
    canvas: Canvas, upper: Level, lower_centre: tuple[float, float, float], margin: float = 0.0
) -> Patch:
    """The gap between a vertebra and the one below, given that one's upper endplate (x, y, angle)."""
    # Middle of the endplate above; the block spans the two middles at their mean angle.
    ax, ay = upper.at(0, upper.bottom)
    bx, by, angle = lower_centre
    return canvas.block(
        (ax + bx) / 2,
        (ay + by) / 2,
        upper.half_width * 0.98,
        max(math.hypot(ax - bx, ay - by) / 2, 0.003) + margin,
        (upper.angle + angle) / 2,
    )


def endplate_below(spine: Spine, index: int) -> tuple[float, float, float]:
    """Middle and angle of the endplate under the disc of `levels[index]` (the sacrum's for L5)."""
    if index == 0:
        return spine.sacrum
    below = spine.levels[index - 1]
    return (*below.at(0, -below.top), below.angle)
