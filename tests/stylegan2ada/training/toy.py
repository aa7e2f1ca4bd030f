"""A data set and a configuration so small that a run takes seconds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stylegan2ada.checkpoints import load_network
from stylegan2ada.config import TrainConfig, TrainOptions, resolve
from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.data.writer import DatasetWriter
from stylegan2ada.training import run_dir as folders
from stylegan2ada.training.hooks import Hook
from stylegan2ada.training.phases import Phase
from stylegan2ada.training.run import Run


def toy_dataset(path: Path, *, resolution: int, channels: int = 1, count: int = 24, classes: int = 2) -> Path:
    """Blocky random images; classes=0 writes no labels."""
    rnd = np.random.RandomState(0)
    with DatasetWriter(path) as writer:
        for index in range(count):
            blocks = rnd.randint(0, 256, size=[resolution // 4, resolution // 4, channels], dtype=np.uint8)
            image = blocks.repeat(4, axis=0).repeat(4, axis=1)
            writer.add(image[:, :, 0] if channels == 1 else image, label=index % classes if classes else None)
    return path


def toy_config(data: Path, **changes: Any) -> TrainConfig:
    """The tiny configuration for a data set; fields of TrainConfig by name."""
    cond = changes.pop("cond", True)
    options = TrainOptions(
        data=str(data),
        cond=cond,
        batch=8,
        batch_gpu=8,
        cbase=64,
        cmax=8,
        metrics=(),
        workers=1,
        device="cpu",
        gamma=1.0,
    )
    config = resolve(options, ImageFolderDataset(data, use_labels=cond).info())
    small = {
        "G_kwargs": config.G_kwargs | {"z_dim": 8, "w_dim": 8, "mapping_kwargs": {"num_layers": 1}},
        "D_kwargs": config.D_kwargs | {"mapping_kwargs": {"num_layers": 1}},
        "augment_kwargs": {"xflip": 1, "scale": 1, "brightness": 1, "noise": 1},
        "total_kimg": 0.16,
        "kimg_per_tick": 0.04,
        "image_snapshot_ticks": None,
        "network_snapshot_ticks": 2,
    }
    return replace(config, **(small | changes))


def toy_run_dir(path: Path, config: TrainConfig) -> Path:
    """A run folder with its options, as the command makes it."""
    path.mkdir(parents=True)
    folders.write_options(path, config, TrainOptions(), {})
    return path


class StopAfter(Hook):
    """Asks the run to stop once so many iterations are done."""

    def __init__(self, iterations: int) -> None:
        self.iterations = iterations

    def on_start(self, run: Run) -> None:
        self.run = run

    def after_step(self, phase: Phase) -> None:
        if self.run.iteration + 1 == self.iterations:
            self.run.stop.request("test")


def weights(run: Run) -> dict[str, torch.Tensor]:
    """Everything learned: networks and optimisers, by name."""
    found = {}
    for name, module in (("G", run.G), ("D", run.D), ("G_ema", run.G_ema)):
        found |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
    for name, opt in run.opts.items():
        for index, slots in opt.state_dict()["state"].items():
            found |= {f"{name}_opt.{index}.{key}": torch.as_tensor(value) for key, value in slots.items()}
    return found


def compare_runs(one: Run, other: Run) -> None:
    """Bitwise: everything learned, statistics (time aside), pictures and network files."""
    mine, theirs = weights(one), weights(other)
    assert mine.keys() == theirs.keys()
    differing = [name for name in mine if not torch.equal(mine[name], theirs[name])]
    assert not differing, differing
    compare_folders(one.run_dir, other.run_dir)


def compare_folders(one: Path, other: Path) -> None:
    """Bitwise: statistics (time aside), pictures and network files."""
    assert statistics(one) == statistics(other)
    names = {p.relative_to(one) for p in one.rglob("*") if p.suffix in (".png", ".pkl")}
    assert names == {p.relative_to(other) for p in other.rglob("*") if p.suffix in (".png", ".pkl")}
    for name in names:
        if name.suffix == ".png":
            assert (one / name).read_bytes() == (other / name).read_bytes(), name
        else:
            compare_networks(one / name, other / name)


def compare_networks(one: Path, other: Path) -> None:
    mine, theirs = load_network(one), load_network(other)
    for key in ("G", "D", "G_ema", "augment_pipe"):
        if mine[key] is None:
            assert theirs[key] is None
            continue
        state, expected = mine[key].state_dict(), theirs[key].state_dict()
        assert state.keys() == expected.keys()
        assert all(torch.equal(state[name], expected[name]) for name in state), (one.name, key)


def statistics(run_dir: Path) -> list[str]:
    """The lines of stats.jsonl without time and memory, which no two runs share."""
    lines = []
    for text in (run_dir / "stats.jsonl").read_text().splitlines():
        line = json.loads(text)
        lines.append(json.dumps({k: v for k, v in line.items() if k.startswith(("Loss/", "Progress/"))}))
    return lines
