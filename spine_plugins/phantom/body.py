"""Draw the patient: soft tissue, gas, ribs, pelvis and the spine itself, as sums of attenuation."""

from __future__ import annotations

import math

import numpy as np

from spine_plugins.phantom.anatomy import Patient, Spine, body_patch
from spine_plugins.phantom.shapes import Canvas, Patch, texture


def draw_soft_tissue(canvas: Canvas, spine: Spine, patient: Patient, rng: np.random.Generator) -> None:
    """Trunk, psoas or back muscles, liver, diaphragm, bowel gas and a low-frequency mottle."""
    # The dice below fall in a fixed order: a changed one changes every picture of every seed.
    x, y = canvas.x[None, :], canvas.y[:, None]
    middle = 0.02 * -spine.front + rng.normal(0, 0.01)
    reach = patient.girth * (0.37 if spine.front else 0.47) * rng.uniform(0.94, 1.06)
    if spine.front:  # the belly reaches further from the spine than the back
        ahead = (x - middle) * spine.front
        reach = np.where(ahead > 0, reach * 1.3, reach * 0.9) * (1 + 0.06 * np.sin(5 * y + rng.uniform(0, 6)))
    # Flat in the middle and steep at the skin: a trunk is thick nearly to its edge.
    depth = np.clip(1 - ((x - middle) / reach) ** 4, 0, None) ** 0.6
    canvas.sum += (1.15 + 0.55 * patient.girth) * depth
    pelvis = np.clip((y - 0.45) / 0.5, -0.4, 1)  # is dense
    canvas.sum += depth * (0.5 if spine.front else 0.25) * pelvis
    # Mottle of three grain sizes, fainter as it gets finer; a single one looks like wallpaper.
    canvas.sum += 0.13 * depth * texture(canvas, rng.standard_normal((9, 11)))
    canvas.sum += 0.07 * depth * texture(canvas, rng.standard_normal((24, 30)))
    canvas.sum += 0.03 * depth * texture(canvas, rng.standard_normal((60, 72)))
    _draw_organs(canvas, spine, rng)
    _draw_gas(canvas, spine, rng)


def _draw_organs(canvas: Canvas, spine: Spine, rng: np.random.Generator) -> None:
    dome_y, dome_x = rng.uniform(-0.05, 0.06), rng.normal(0, 0.02)
    if spine.front:
        lung = canvas.ellipse(dome_x - spine.front * 0.02, dome_y - 0.15, 0.34, 0.2, margin=0.1)
        # Air takes the place of tissue, so it takes attenuation away.
        canvas.fill(lung, -0.5, 0.05)
        return
    # The liver is at the patient's right, our left; a few films lie the wrong way round.
    side = -1 if rng.random() < 0.97 else 1
    canvas.fill(canvas.ellipse(side * 0.3 + dome_x, 0.18, 0.22, 0.24, margin=0.1), 0.16, 0.05)  # liver
    for lung_side in (-1, 1):
        canvas.fill(canvas.ellipse(lung_side * 0.3, dome_y - 0.16, 0.2, 0.2, margin=0.1), -0.5, 0.03)
        hip, waist = rng.uniform(0.16, 0.21), rng.uniform(0.05, 0.07)
        muscle = np.array(
            [[lung_side * waist, 0.2], [lung_side * (waist + 0.05), 0.45], [lung_side * hip, 0.8]]
        )
        canvas.fill(canvas.path(muscle, 0.055, margin=0.03), 0.13, 0.02)  # psoas


def _draw_gas(canvas: Canvas, spine: Spine, rng: np.random.Generator) -> None:
    """Loops of gas-filled bowel: chains of soft lobes, joined by their maximum so that no overlap shows."""
    for _ in range(rng.integers(2, 7)):
        cx = rng.uniform(-0.40, 0.40) if not spine.front else spine.front * rng.uniform(0.08, 0.38)
        cy = rng.uniform(0.12, 0.9)
        heading, depth = rng.uniform(0, 2 * math.pi), rng.uniform(0.08, 0.32)
        # One layer per loop: subtracting lobe by lobe would draw the seams between them.
        loop = np.zeros(canvas.sum.shape, np.float32)
        for _ in range(rng.integers(2, 9)):
            radius = rng.uniform(0.016, 0.036)
            lobe = canvas.ellipse(cx, cy, radius * rng.uniform(0.9, 1.5), radius, heading, margin=0.04)
            np.maximum(loop[lobe.window], canvas.cover(lobe, 0.022), out=loop[lobe.window])
            # A random walk of the heading bends the loop without kinks.
            heading += rng.normal(0, 0.6)
            cx, cy = cx + 1.2 * radius * math.cos(heading), cy + 1.2 * radius * math.sin(heading)
        canvas.sum -= depth * loop


def draw_bones(canvas: Canvas, spine: Spine, patient: Patient, rng: np.random.Generator) -> np.ndarray:
    """Ribs, pelvis, sacrum and vertebrae; returns the bool mask [H, W] of the vertebral bodies."""
    grain = 0.09 * texture(canvas, rng.standard_normal((60, 72)))
    if canvas.px < 1 / 120:  # trabeculae finer than the pixels would only alias
        grain = grain + 0.09 * texture(canvas, rng.standard_normal((150, 190)))
    _draw_ribs(canvas, spine, patient, rng)
    (_draw_pelvis_lateral if spine.front else _draw_pelvis_front)(canvas, spine, patient, rng)
    mask = np.zeros(canvas.sum.shape, bool)
    for index, level in enumerate(spine.levels):
        patch, above_upper, below_lower = body_patch(canvas, level, spine.front)
        # The same bone in less height is denser.
        compaction = 1 + 2.4 * level.crush / level.half_height
        cover = canvas.cover(patch)
        # The grain multiplies: it is the bone's, and ends where the bone does.
        canvas.sum[patch.window] += cover * (0.6 * level.density * compaction) * (1 + grain[patch.window])
        canvas.rim(patch, 0.28 * level.density, 0.0045, inset=0.003)
        for edge, name in ((above_upper, "upper"), (below_lower, "lower")):
            # A plate thinner than a pixel gets wider and fainter, as in Canvas.rim.
            thick = math.hypot(0.005 + 0.018 * level.sclerosis.get(name, 0), 0.6 * canvas.px)
            # The cap keeps broad sclerosis bright: that is more bone, not the same bone spread out.
            amount = (0.2 + 0.8 * level.sclerosis.get(name, 0)) * level.density * 0.005 / min(thick, 0.01)
            canvas.sum[patch.window] += amount * cover * np.exp(-((edge / thick) ** 2))
        # The outline without its soft edge, so that the mask is the same at any softness.
        mask[patch.window] |= patch.distance <= 0
        (_draw_arch_lateral if spine.front else _draw_arch_front)(canvas, spine, index)
    return mask


def _draw_arch_front(canvas: Canvas, spine: Spine, index: int) -> None:
    """Pedicles (the 'eyes'), transverse processes and the spinous drop, seen from the front."""
    level = spine.levels[index]
    w, h, d = level.half_width, level.half_height, level.density
    for side in (-1, 1):
        eye = canvas.ellipse(
            *level.at(side * 0.62 * w, -0.28 * h), 0.15 * w, 0.3 * h, level.angle + side * 0.15
        )
        canvas.fill(eye, 0.12 * d)
        canvas.rim(eye, 0.4 * d, 0.004)
        wing = canvas.capsule(
            level.at(side * 0.9 * w, -0.25 * h), level.at(side * 1.5 * w, -0.36 * h), 0.017, 0.011
        )
        canvas.fill(wing, 0.24 * d, 0.006)
        facet = canvas.capsule(
            level.at(side * 0.5 * w, 0.2 * h), level.at(side * 0.56 * w, 1.35 * h), 0.013, 0.017
        )
        canvas.fill(facet, 0.15 * d, 0.008)
    tip = level.at(0.05 * w, 0.75 * h)
    drop = canvas.capsule(level.at(0, 0.1 * h), tip, 0.007, 0.014)
    canvas.fill(drop, 0.16 * d)
    canvas.rim(drop, 0.25 * d, 0.004)


def _draw_arch_lateral(canvas: Canvas, spine: Spine, index: int) -> None:
    """From the side: pedicle, articular pillar, spinous process and the dark foramen below the pedicle."""
    level = spine.levels[index]
    w, h, d, back = level.half_width, level.half_height, level.density, -spine.front
    canvas.fill(
        canvas.capsule(level.at(back * 0.9 * w, -0.42 * h), level.at(back * 1.5 * w, -0.4 * h), 0.3 * h),
        0.34 * d,
    )
    pillar = canvas.capsule(
        level.at(back * 1.62 * w, -1.0 * h), level.at(back * 1.72 * w, 1.15 * h), 0.26 * h, 0.2 * h
    )
    canvas.fill(pillar, 0.36 * d, 0.006)
    thorn = canvas.capsule(
        level.at(back * 2.0 * w, 0.2 * h), level.at(back * 2.75 * w, 0.75 * h), 0.22 * h, 0.4 * h
    )
    canvas.fill(thorn, 0.3 * d, 0.008)
    canvas.rim(thorn, 0.12 * d, 0.005)
    if level.name.startswith("L"):
        draw_foramen(canvas, spine, index)


def foramen_patch(canvas: Canvas, spine: Spine, index: int, left: float = 1.0) -> Patch:
    """The opening behind the disc under `levels[index]`, shrunk to the share that is left."""
    level = spine.levels[index]
    cx, cy = level.at(-spine.front * 1.27 * level.half_width, level.half_height * 0.62)
    rx, ry = 0.024 * spine.scale, 0.042 * spine.scale
    return canvas.ellipse(cx, cy, rx * (0.35 + 0.65 * left), ry * left, level.angle)


def draw_foramen(canvas: Canvas, spine: Spine, index: int) -> None:
    left = spine.foramen_size.get(spine.levels[index].name, 1.0)
    d = spine.levels[index].density
    opening = foramen_patch(canvas, spine, index, left)
    canvas.fill(opening, -0.34 * d, 0.006)
    canvas.rim(opening, 0.14 * d, 0.004, inset=-0.003)
    if left < 1:  # bone grows into what was open
        canvas.fill(foramen_patch(canvas, spine, index), 0.55 * d * (1 - left), 0.01)


def _draw_ribs(canvas: Canvas, spine: Spine, patient: Patient, rng: np.random.Generator) -> None:
    sag = rng.uniform(0.1, 0.2)
    t = np.linspace(0, 1, 7)
    for level in spine.levels:
        if not level.name.startswith("T"):
            continue
        # The twelfth rib floats, and is short.
        length = 0.26 if level.name == "T12" else 0.5
        # From the side ribs sweep forward; what runs backward is foreshortened.
        for side in (-1, 1) if not spine.front else (spine.front, -spine.front * 0.4):
            x0, y0 = level.at(side * level.half_width, -0.4 * level.half_height)
            points = np.stack([x0 + side * length * t, y0 + sag * t + 0.16 * t**2 * length], 1)
            rib = canvas.path(points, 0.013)
            canvas.fill(rib, 0.13 * patient.bone, 0.006)
            canvas.rim(rib, 0.13 * patient.bone, 0.004)


def _draw_pelvis_front(canvas: Canvas, spine: Spine, patient: Patient, rng: np.random.Generator) -> None:
    x0, y0, angle = spine.sacrum
    bone = patient.bone * spine.scale
    for row in range(4):  # the sacrum narrows; pairs of dark holes between its segments
        half = (0.088 - 0.013 * row) * spine.scale
        segment = canvas.block(x0, y0 + 0.035 + 0.066 * row, half, 0.036, angle)
        canvas.fill(segment, 0.42 * bone, 0.012)
        canvas.rim(segment, 0.1 * bone, 0.005)
        for side in (-1, 1):
            hole = canvas.ellipse(x0 + side * (0.052 - 0.004 * row), y0 + 0.068 + 0.066 * row, 0.011, 0.009)
            canvas.fill(hole, -0.25 * bone, 0.006)
            canvas.rim(hole, 0.12 * bone, 0.004)
    crest, spread = rng.uniform(-0.03, 0.03), rng.uniform(0.265, 0.295)
    for side in (-1, 1):
        wing = canvas.ellipse(x0 + side * spread * spine.scale, y0 + 0.22 + crest, 0.185, 0.29, side * 0.42)
        canvas.fill(wing, 0.26 * bone, 0.03)
        canvas.rim(wing, 0.22 * bone, 0.010, inset=0.006)
        # The sacroiliac joint: a dark gap with a bright line of bone beside it.
        joint = np.array([[0.105, 0.0], [0.095, 0.08], [0.082, 0.16], [0.06, 0.24]]) * (side, 1) + (
            x0,
            y0 + 0.02,
        )
        canvas.fill(canvas.path(joint, 0.005), -0.22 * bone, 0.004)
        line = canvas.path(joint + (side * 0.011, 0), 0.004)
        canvas.fill(line, 0.3 * bone, 0.004)


def _draw_pelvis_lateral(canvas: Canvas, spine: Spine, patient: Patient, rng: np.random.Generator) -> None:
    x, y, angle = spine.sacrum
    bone, front = patient.bone, spine.front
    for row in range(4):  # segments that shrink and turn backwards, without discs between them
        h, w = 0.04 * 0.85**row * spine.scale, 0.06 * 0.82**row * spine.scale
        cx, cy = x - h * math.sin(angle), y + h * math.cos(angle)
        segment = canvas.block(cx, cy, w, h, angle)
        canvas.fill(segment, 0.5 * bone, 0.006)
        canvas.rim(segment, 0.22 * bone, 0.004, inset=0.002)
        back = -front * w
        spike = canvas.capsule(
            (cx + back * math.cos(angle), cy + back * math.sin(angle)),
            (cx + 1.7 * back * math.cos(angle), cy + 1.7 * back * math.sin(angle) + 0.02),
            h * 0.7,
            h * 0.4,
        )
        canvas.fill(spike, 0.28 * bone, 0.012)
        x, y = cx - 1.05 * h * math.sin(angle), cy + 1.05 * h * math.cos(angle)
        # One way at first, then back for good: the hollow of the sacrum.
        angle -= front * math.radians(-5 if row < 1 else 9)
    x0, y0, _ = spine.sacrum
    for _ in range(2):  # both wings overlap, never quite in line
        wing = canvas.ellipse(
            x0 + front * rng.uniform(-0.01, 0.05),
            y0 + 0.23 + rng.normal(0, 0.015),
            0.19,
            0.29,
            front * 0.35,
            margin=0.04,
        )
        canvas.fill(wing, 0.14 * bone, 0.03)
        canvas.rim(wing, 0.11 * bone, 0.009)
