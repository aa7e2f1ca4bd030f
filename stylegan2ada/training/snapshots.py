"""What a run shows and keeps: image grids, network snapshots, and the metrics measured on them."""

from __future__ import annotations

import contextlib
import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stylegan2ada import images, processes
from stylegan2ada.checkpoints import save_network
from stylegan2ada.checkpoints.training_state import capture_rng, restore_rng
from stylegan2ada.errors import MissingError, UserError
from stylegan2ada.metrics import registry
from stylegan2ada.metrics.detectors import Detectors
from stylegan2ada.training import watch
from stylegan2ada.training.build import Run
from stylegan2ada.training.log import RunLog
from stylegan2ada.training.snapshot_grid import grid_indices, grid_size

CLASS_GRID = (8, 4)  # columns, rows of the picture of one class
_GRID_PIXELS = 2**20  # at once; without gradients that fits wherever training does
_MOST_CLASSES = 16  # with more, the common grid has to do
_COLLAPSE_FROM_KIMG = 20  # before that, a generator may still look for its way


def prepare_grid(run: Run) -> None:
    """Choose the grid's images, labels and latents; a continued run brings its own."""
    run.grid_size = grid_size(run.dataset.image_shape)
    cells = run.grid_size[0] * run.grid_size[1]
    if run.grid_z is None:
        run.grid_z = torch.randn([cells, run.G.z_dim], device=run.device)
        run.grid_c = torch.from_numpy(run.dataset.get_labels(np.asarray(_indices(run)))).to(run.device)


def save_reals(run: Run) -> None:
    """reals.png."""
    if processes.rank() == 0:
        _save_grid(run.run_dir / "reals.png", _pixels(run, _indices(run)), (0, 255), run.grid_size)


def save_fakes(run: Run, name: str) -> None:
    """`name`.png, and a picture of each class below classes/."""
    if processes.rank() != 0:
        return
    assert run.grid_z is not None and run.grid_c is not None
    fakes = _generate(run, run.grid_z, run.grid_c)
    _save_grid(run.run_dir / f"{name}.png", fakes, (-1, 1), run.grid_size)
    _warn_of_collapse(run, fakes)
    if 1 < run.dataset.label_dim <= _MOST_CLASSES and run.dataset.has_onehot_labels:
        (run.run_dir / "classes").mkdir(exist_ok=True)
        columns, rows = CLASS_GRID
        z = run.grid_z[: columns * rows]
        rows = len(z) // columns
        for index, c in enumerate(torch.eye(run.dataset.label_dim, device=run.device)):
            shown = _generate(run, z[: rows * columns], c.repeat(rows * columns, 1))
            path = run.run_dir / "classes" / f"{name}-{class_name(run, index)}.png"
            _save_grid(path, shown, (-1, 1), (columns, rows))


def class_name(run: Run, index: int) -> str:
    """A class's name, fit for a file."""
    names = run.dataset.label_names
    if not names or index >= len(names):
        return f"class{index}"
    return f"class{index}-" + re.sub(r"[^0-9A-Za-z]+", "_", names[index]).strip("_")


def save_networks(run: Run) -> Path:
    """network-snapshot-KIMG.pkl in the official format; the same path on every rank."""
    path = run.run_dir / f"network-snapshot-{run.cur_nimg // 1000:06d}.pkl"
    for name, module in (("G", run.G), ("D", run.D), ("G_ema", run.G_ema)):
        apart = processes.differing(module, ignore=r"w_avg$")
        assert not apart, f"ranks disagree about {name}.{apart[0]}"
    if processes.rank() == 0:
        save_network(published(run), path)
        _drop_old(run)
    return path


def published(run: Run) -> dict[str, Any]:
    """What a network file holds: copies on the CPU, ready for use."""
    modules = {"G": run.G, "D": run.D, "G_ema": run.G_ema, "augment_pipe": run.augment_pipe}
    networks: dict[str, Any] = {
        name: None if module is None else copy.deepcopy(module).eval().requires_grad_(False).cpu()
        for name, module in modules.items()
    }
    networks["training_set_kwargs"] = run.config.to_upstream()["training_set_kwargs"]
    networks["card"] = run.card | {"kimg": run.cur_nimg / 1000}
    return networks


def measure(run: Run, log: RunLog, snapshot: Path, *, wall_sec: float) -> None:
    """All metrics of the run on G_ema; a detector that is missing costs its metric, not the run."""
    if not run.config.metrics:
        return
    detectors = Detectors(run.config.detectors, device=run.device)
    for name in run.config.metrics:
        missing = processes.all_ranks(_missing(detectors, registry.find_metric(name).detector))
        problem = next(
            filter(None, missing), None
        )  # a node without the file must not leave the others waiting
        if problem:
            processes.print0(f"Warning: {name} is skipped: {problem}")
            continue
        with untouched_draws():
            record = registry.calc_metric(
                name, run.G_ema, run.dataset, detectors=detectors, device=run.device, progress=True
            )
        registry.report_metric(record, run_dir=run.run_dir, snapshot_pkl=snapshot)
        for key, value in record.get("results", {}).items():
            log.scalar(f"Metrics/{key}", value, step_kimg=run.cur_nimg // 1000, wall_sec=wall_sec)


def _missing(detectors: Detectors, name: str) -> str | None:
    """Why a detector cannot be used here."""
    try:
        detectors.load(name)
    except MissingError as error:
        return str(error)
    return None


@contextlib.contextmanager
def untouched_draws() -> Iterator[None]:
    """Whatever is drawn inside, training goes on with the draws it would have had."""
    before = capture_rng()
    try:
        yield
    finally:
        restore_rng(before)


def _indices(run: Run) -> list[int]:
    columns, rows = run.grid_size
    labels = run.dataset.item_labels() if run.dataset.has_labels else None
    return grid_indices(columns, rows, len(run.dataset), labels)


def _pixels(run: Run, indices: list[int]) -> np.ndarray:
    """uint8 [N, C, H, W]; a small data set fills the grid several times but is read once."""
    found = {index: run.dataset[index][0] for index in set(indices)}
    return np.stack([found[index] for index in indices])


@torch.no_grad()
def _generate(run: Run, z: torch.Tensor, c: torch.Tensor) -> np.ndarray:
    """float32 [N, C, H, W]: images without random noise, some at a time."""
    size = max(run.config.batch_gpu, min(_GRID_PIXELS // run.dataset.resolution**2, 256))
    parts = [
        run.G_ema(z=a, c=b, noise_mode="const").float().cpu() for a, b in zip(z.split(size), c.split(size))
    ]
    return torch.cat(parts).numpy()


def _save_grid(path: Path, pixels: np.ndarray, drange: tuple[float, float], size: tuple[int, int]) -> None:
    if pixels.shape[1] not in (1, 3):
        raise UserError(f"{path.name}: images of {pixels.shape[1]} channels cannot be shown; use 1 or 3")
    images.save_image_grid(pixels, path, drange=drange, grid_size=size)


def _warn_of_collapse(run: Run, fakes: np.ndarray) -> None:
    if run.cur_nimg < _COLLAPSE_FROM_KIMG * 1000:
        return
    reals = _pixels(run, _indices(run)[: len(fakes)])
    warning = watch.collapse_warning(fakes, reals / 127.5 - 1)
    if warning is not None:
        print(f"Warning: {warning}")


def _drop_old(run: Run) -> None:
    if run.config.keep_snapshots is not None:
        for path in sorted(run.run_dir.glob("network-snapshot-*.pkl"))[: -run.config.keep_snapshots]:
            path.unlink()
