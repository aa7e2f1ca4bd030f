"""Whole private runs, so small that each takes a second or two."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch

from spine_plugins.privacy.private_loss import Pace
from spine_plugins.privacy.private_run import PrivateRun, RunSettings
from spine_plugins.privacy.private_step import StepSettings
from stylegan2ada.data.writer import DatasetWriter
from stylegan2ada.training.loop import train
from stylegan2ada.training.run import Run
from tests.stylegan2ada.training.toy import toy_config, toy_run_dir

CPU = torch.device("cpu")
NAMES = ["normal", "abnormal", "rare"]
SIDE = 8


def images(count: int = 12, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, size=(SIDE, SIDE), dtype=np.uint8) for _ in range(count)]


def data_set(path: Path, pixels: list[np.ndarray] | None = None, labels: list[int] | None = None) -> Path:
    """Three declared classes of which the last may have no member."""
    pixels = images() if pixels is None else pixels
    labels = [i % 2 for i in range(len(pixels))] if labels is None else labels
    with DatasetWriter(path, overwrite=True) as writer:
        for image, label in zip(pixels, labels, strict=True):
            writer.add(image, label=label)
        writer.extra["label_names"] = NAMES
    return path


def with_a_broken_image(path: Path, number: int) -> Path:
    """The same zip with one image cut off in its middle."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    victim = sorted(name for name in members if name.endswith(".png"))[number]
    members[victim] = members[victim][:40]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def settings(*, pace: Pace | None = None, step: dict | None = None, **changes) -> RunSettings:
    batch = 4
    made = {
        "cond": True, "unit": "image", "adjacency": "add-remove", "n": 12, "n_public": 12,
        "step": StepSettings(**({"clip": 1.0, "noise_multiplier": 2.0, "batch": batch} | (step or {}))),
        "pace": pace or Pace(batch=batch), "steps": 4, "delta": 1e-5, "budget": 100.0,
    }  # fmt: skip
    return RunSettings(**(made | changes))


def config_of(path: Path, *, batch: int = 4, steps: int = 4, **changes):
    small = {
        "total_kimg": steps * batch / 1000, "batch_size": batch, "batch_gpu": batch, "kimg_per_tick": 0.004,
        "network_snapshot_ticks": 1, "ada_target": None, "augment_kwargs": None, "metrics": [],
    }  # fmt: skip
    made = toy_config(path, cond=True, **(small | changes))
    made.D_kwargs["epilogue_kwargs"] = {"mbstd_num_channels": 0}
    made.training_set_kwargs["max_size"] = 12
    return made


def private_run(
    path: Path, run_dir: Path, private: PrivateRun | None = None, *, is_continued=False, hooks=(), **changes
) -> tuple[Run, PrivateRun]:
    private = private or PrivateRun(settings())
    config = config_of(path, **changes)
    folder = run_dir if is_continued else toy_run_dir(run_dir, config)
    run = train(
        config, folder, device=CPU, hooks=[private, *hooks], seams=private.seams, is_continued=is_continued
    )
    return run, private
