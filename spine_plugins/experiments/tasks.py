"""A plan as tasks: each one command of this program, what it needs, and what it leaves in its folder.

Paths are relative to the folder of the experiment, where the commands run: it may be moved.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import takewhile

from spine_plugins.experiments.plan import Arm
from stylegan2ada.config.presets import auto_preset

Facts = dict[str, object]
TASKS = "tasks"  # folder
WORK = "work"  # of a GAN, while it trains
RUN = "run"  # of a GAN, afterwards
IMAGES = "images.zip"
PREDICTIONS = "predictions.csv"
CLASSIFIER = "classifier.safetensors"


@dataclass(frozen=True)
class Task:
    """One command."""

    id: str
    kind: str  # data | gan | metrics | quality | draw | classifier | predict | consistency
    facts: Facts
    command: tuple[str, ...]  # behind `spinegan`
    needs: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()  # files of the user and of other tasks, relative to the experiment
    writes: tuple[str, ...] = ()  # patterns, relative to the task
    continues: bool = False  # what a stopped one has left is gone on with
    again: tuple[str, ...] = ()  # words added to the command then
    computes: bool = True  # with a device, should there be one
    wants: Mapping[str, str] = field(default_factory=dict)  # what must be on this computer: see missing.py

    @property
    def folder(self) -> str:
        return f"{TASKS}/{self.id}"


def in_order(tasks: list[Task]) -> Iterator[Task]:
    """The tasks, each behind those it needs."""
    by_id = {task.id: task for task in tasks}
    seen: set[str] = set()

    def walk(task: Task) -> Iterator[Task]:
        if task.id in seen:
            return
        seen.add(task.id)
        for need in task.needs:
            yield from walk(by_id[need])
        yield task

    for task in tasks:
        yield from walk(task)


_TICK, _SNAP = 4.0, 50  # of the engine, where neither flags nor preset say otherwise
_PRESET_SNAP = {"radiograph": 10}


def snapshots(arm: Arm, resolution: int) -> list[int]:
    """kimg in the names of the networks that the training leaves.

    As the loop counts: a tick ends with the batch that completes it, and the first one after a single batch.
    """
    batch = int(arm.flags.get("batch", auto_preset(resolution, 1).batch))
    tick = float(arm.flags.get("tick", _TICK)) * 1000
    snap = int(arm.flags.get("snap", _PRESET_SNAP.get(arm.preset or "", _SNAP)))
    last = math.ceil(arm.kimg * 1000 / batch) * batch
    per_tick = math.ceil(tick / batch)
    ends = ((1 + number * per_tick) * batch for number in range(0, last, snap))
    return list(dict.fromkeys([*(seen // 1000 for seen in takewhile(last.__gt__, ends)), last // 1000]))
