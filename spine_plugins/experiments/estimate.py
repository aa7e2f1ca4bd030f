"""What a plan will cost: seconds and bytes of every task, from a table of constants, some only assumed.

The plan's own table [speed], and --speed, win over ours: measure a short run, then plan the long one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from spine_plugins.experiments.halves import MOST_FAKES, RESAMPLES
from spine_plugins.experiments.plan import Plan
from spine_plugins.experiments.tasks import Task, snapshots
from stylegan2ada.errors import UserError

_GUESSED = (
    "dcgan@64",
    "fit-densenet121",
    "half-official",
    "predict-densenet121",
)  # of a CPU; the rest was measured
MEASURED = (
    "measured as CPU seconds of one busy core, November 2026, torch 2.13; "
    f"assumed, not measured: {', '.join(_GUESSED)}"
)
ASSUMED = "assumed: no GPU has been measured; give --speed NAME=SECONDS of a short run of your own"

# Seconds, by resolution where there is a number behind @: other sizes go by their pixels.
# fmt: off
_CPU: dict[str, float] = {
    "start":             2.5,     # of any command: Python, torch
    "gan@32":           28.0,     # per kimg, cbase 1024, cmax 64, batch 16
    "private@32":       60.0,     # per kimg: one image at a time
    "dcgan@64":          0.25,    # per step
    "phantom@32":        0.0065,  # per image
    "draw@32":           0.0015,  # per image
    "metrics@32":        0.003,   # per image and metric, tiny detector
    "half-tiny":         0.012,   # per pair of halves and class: all metrics, tiny detector
    "half-official":    12.0,     # 2,048 features: two roots of covariances
    "fit-cnn13k":        0.0005,  # per image shown
    "fit-densenet121":   0.6,
    "predict-cnn13k":    0.0006,  # per image
    "predict-densenet121": 0.2,
}
_GPU = _CPU | {
    "gan@256":          10.0,
    "private@256":     300.0,
    "draw@256":          0.01,
    "metrics@256":       0.005,
    "fit-densenet121":   0.006,
    "predict-densenet121": 0.002,
    "dcgan@64":          0.01,
}
# fmt: on
_PIXELS_PER_SIDE = 2  # powers of the side that time grows with

_MB = 1_000_000
_NETWORK_BYTES = {32: 5 * _MB, 64: 20 * _MB, 128: 150 * _MB, 256: 300 * _MB, 512: 350 * _MB}
_STATE_IN_NETWORKS = 4  # two states, each with the moments of two optimisers
_CLASSIFIER_BYTES = {"cnn13k": 100_000, "densenet121": 90 * _MB}


@dataclass(frozen=True)
class Cost:
    """Of one task or of many."""

    seconds: float
    bytes: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.seconds + other.seconds, self.bytes + other.bytes)


def total(costs: Iterable[Cost]) -> Cost:
    return sum(costs, Cost(0.0, 0.0))


class Estimator:
    """Costs of tasks of one plan."""

    def __init__(self, plan: Plan, given: Mapping[str, float], *, on_gpu: bool) -> None:
        self.plan, self.on_gpu = plan, on_gpu
        table = _GPU if on_gpu else _CPU
        known = {name.partition("@")[0] for name in table}
        unknown = next((name for name in given if name.partition("@")[0] not in known), None)
        if unknown is not None:
            raise UserError(f"--speed {unknown}: there is no such constant; there are {', '.join(table)}")
        self.table = table | dict(plan.speed) | dict(given)
        self.basis = ASSUMED if on_gpu else MEASURED
        self.own = {**plan.speed, **given}

    def speed(self, name: str) -> float:
        """Of this resolution; what was given without one holds as it is."""
        if name in self.own or name in self.table:
            return self.table[name]
        side = self.plan.resolution
        found = {int(key.partition("@")[2]): value for key, value in self.table.items()
                 if key.startswith(f"{name}@")}  # fmt: skip
        nearest = min(found, key=lambda at: abs(math.log(at / side)))
        return found[nearest] * (side / nearest) ** _PIXELS_PER_SIDE

    def cost(self, task: Task) -> Cost:
        """Seconds on one worker, and bytes that stay."""
        work, stays = getattr(self, f"_{task.kind}")(task)
        return Cost(self.speed("start") + work, stays)

    def _data(self, task: Task) -> tuple[float, float]:
        n = _number(task.facts["images"])
        speed = self.speed("phantom") if task.command[0] == "phantom" else 0.0  # a part of a set is a copy
        return n * speed, n * self._image_bytes()

    def _draw(self, task: Task) -> tuple[float, float]:
        n = _number(task.facts["images"])
        return n * self.speed("draw"), n * self._image_bytes()

    def _gan(self, task: Task) -> tuple[float, float]:
        arm = self.plan.arms[str(task.facts["arm"])]
        if arm.maker == "dcgan":
            return arm.steps * self.speed("dcgan"), _NETWORK_BYTES[64]
        is_private = arm.private is not None or (arm.preset or "").startswith("paper-dp")
        kept = len(snapshots(arm, self.plan.resolution))
        sizes = _NETWORK_BYTES
        size = sizes[min(sizes, key=lambda side: abs(side - self.plan.resolution))]
        seconds = arm.kimg * self.speed("private" if is_private else "gan")
        return seconds, (kept + _STATE_IN_NETWORKS) * size

    def _metrics(self, task: Task) -> tuple[float, float]:
        # The count stands in the name: fid50k_full draws 50,000.
        images = sum(images_of(name) for name in self.plan.metrics)
        return images * self.speed("metrics"), 10_000

    def _quality(self, task: Task) -> tuple[float, float]:
        names, parts = self.plan.metrics, int(_number(task.facts["parts"]))
        images = min(MOST_FAKES, max(images_of(name) for name in names)) * min(parts, 2)
        detectors = 1 if all(name.endswith("_tiny") for name in names) else 2
        halves = RESAMPLES * parts * self.speed("half-tiny" if detectors == 1 else "half-official")
        return images * detectors * self.speed("metrics") + halves, parts * len(names) * 4_000

    def _classifier(self, task: Task) -> tuple[float, float]:
        arch = _word(task, "--arch=")
        steps = _number(task.facts["steps"]) or 30 * 100
        shown = steps * int(_word(task, "--batch=") or 32)
        return shown * self.speed(f"fit-{arch}"), _CLASSIFIER_BYTES[arch]

    def _predict(self, task: Task) -> tuple[float, float]:
        n = int(self.plan.data["test"].phantom.get("n", 2000))
        return n * self.speed(f"predict-{self.plan_arch(task)}"), n * 150

    _consistency = _predict

    def plan_arch(self, task: Task) -> str:
        row = self.plan.rows.get(str(task.facts.get("row")))
        helper = self.plan.helpers.get(str(task.facts.get("judge")))
        return (row or helper or next(iter(self.plan.rows.values()))).fit.arch

    def _image_bytes(self) -> float:
        return self.plan.resolution**2 + 300  # stored as they are: PNG of one channel, not compressed


def images_of(metric: str) -> int:
    digits = "".join(c if c.isdigit() or c == "k" else " " for c in metric).split()
    found = next((int(part[:-1]) for part in digits if part.endswith("k") and part[:-1]), 1)
    return 1000 * found


def _word(task: Task, start: str) -> str:
    return next((word.removeprefix(start) for word in task.command if word.startswith(start)), "")


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
