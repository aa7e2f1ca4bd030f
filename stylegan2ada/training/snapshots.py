"""What a run shows and keeps: image grids, network snapshots, and the metrics measured on them."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from stylegan2ada import files, images, processes
from stylegan2ada.checkpoints import save_network
from stylegan2ada.checkpoints.training_state import capture_rng, restore_rng
from stylegan2ada.errors import MissingError, UserError
from stylegan2ada.metrics import registry
from stylegan2ada.metrics.detectors import Detectors
from stylegan2ada.protocols import Networks, State
from stylegan2ada.training import run_files, watch
from stylegan2ada.training.log import RunLog, private_folder, warn
from stylegan2ada.training.run import Run
from stylegan2ada.training.snapshot_grid import grid_size
from stylegan2ada.training.source import shown_indices

M = TypeVar("M", bound=torch.nn.Module)
CLASS_GRID = (8, 4)  # columns, rows of the picture of one class
_GRID_PIXELS = 2**20  # at once; without gradients that fits wherever training does
_MOST_CLASSES = 16  # with more, the common grid has to do
_COLLAPSE_FROM_KIMG = 20  # before that, a generator may still look for its way


@dataclass(frozen=True)
class Grid:
    """The fakes that a run shows again and again."""

    size: tuple[int, int]  # columns, rows
    z: torch.Tensor  # [cells, z_dim]
    c: torch.Tensor  # [cells, c_dim]

    @classmethod
    def choose(cls, run: Run) -> Grid:
        """Latents by chance; labels as the run's source of labels wants them shown."""
        columns, rows = grid_size(run.dataset.image_shape)
        z = torch.randn([columns * rows, run.G.z_dim], device=run.device)
        c = torch.from_numpy(run.labels.for_grid(columns, rows)).to(run.device)
        return cls((columns, rows), z, c)

    @classmethod
    def from_state(cls, run: Run, state: State) -> Grid:
        """The grid of the run that goes on."""
        z, c = (state[name].to(run.device) for name in ("grid_z", "grid_c"))
        return cls(grid_size(run.dataset.image_shape), z, c)

    def state_dict(self) -> State:
        return {"grid_z": self.z, "grid_c": self.c}


def save_reals(run: Run, grid: Grid, *, is_private: bool = False) -> None:
    """reals.png, where everybody who sees the run folder sees it, or not."""
    if processes.rank() == 0:
        folder = private_folder(run.run_dir) if is_private else run.run_dir
        pixels = _pixels(run, shown_indices(run.dataset, *grid.size))
        _save_grid(folder / run_files.REALS, pixels, (0, 255), grid.size)


def save_fakes(run: Run, grid: Grid, *, is_first: bool = False, compares: bool = True) -> dict[str, Path]:
    """The picture of the fakes, and one of each class below classes/; {title: file}, {} on other ranks."""
    if processes.rank() != 0:
        return {}
    kimg = None if is_first else run.cur_nimg // 1000
    fakes = _generate(run, grid.z, grid.c)
    written = {"Fakes": run.run_dir / run_files.fakes(kimg)}
    _save_grid(written["Fakes"], fakes, (-1, 1), grid.size)
    if compares:
        _warn_of_collapse(run, grid, fakes)
    if 1 < run.dataset.label_dim <= _MOST_CLASSES and run.dataset.has_onehot_labels:
        (run.run_dir / run_files.CLASSES).mkdir(exist_ok=True)
        names = dict(enumerate(run.dataset.label_names or ()))
        columns, rows = CLASS_GRID
        # The same latents for every class: only the label differs from picture to picture.
        z = grid.z[: columns * rows]
        rows = len(z) // columns
        for index, c in enumerate(torch.eye(run.dataset.label_dim, device=run.device)):
            shown = _generate(run, z[: rows * columns], c.repeat(rows * columns, 1))
            path = run.run_dir / run_files.class_fakes(kimg, index, names.get(index))
            _save_grid(path, shown, (-1, 1), (columns, rows))
            written[f"Class {index} {names.get(index, '')}".strip()] = path
    return written


def save_networks(run: Run, save: Callable[[Networks, Path], None] = save_network) -> Path:
    """network-snapshot-KIMG.pkl in the official format; the same path on every rank."""
    path = run.run_dir / run_files.snapshot(run.cur_nimg // 1000)
    # Ranks that drifted apart would train different networks unseen. w_avg is each rank's own.
    for name, module in (("G", run.G), ("D", run.D), ("G_ema", run.G_ema)):
        apart = processes.differing(module, ignore=r"w_avg$")
        assert not apart, f"ranks disagree about {name}.{apart[0]}"
    if processes.rank() == 0:
        try:
            save(published(run), path)
        except UserError as refused:
            # Another place, as whoever saves for himself is advised to take, a run cannot take.
            raise refused.__cause__ if isinstance(refused.__cause__, OSError) else refused from None
        _drop_old(run)
    return path


def published(run: Run) -> Networks:
    """What a network file holds: copies on the CPU, ready for use."""
    return {
        "G": _kept(run.G),
        "D": _kept(run.D),
        "G_ema": _kept(run.G_ema),
        "augment_pipe": None if run.augment_pipe is None else _kept(run.augment_pipe),
        "training_set_kwargs": run.config.to_upstream()["training_set_kwargs"],
        "card": run.card | {"kimg": run.cur_nimg / 1000},
    }


def _kept(module: M) -> M:
    return copy.deepcopy(module).eval().requires_grad_(False).cpu()


def measure(run: Run, log: RunLog, snapshot: Path, *, wall_sec: float) -> None:
    """All metrics of the run on G_ema; a detector that is missing costs its metric, not the run."""
    if not run.config.metrics:
        return
    detectors = Detectors(run.config.detectors, device=run.device)
    for name in run.config.metrics:
        # A node without the file must not leave the others waiting
        missing = processes.all_ranks(_missing(detectors, registry.find_metric(name).detector))
        if problem := next(filter(None, missing), None):
            text = f"{name} is skipped: {problem}"
            # Once per run, also of one that goes on: every snapshot would say it again.
            if processes.rank() == 0 and not run_files.has_warned(run.run_dir, text):
                warn(run.run_dir, "metric_skipped", text, kimg=run.kimg)
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


def _pixels(run: Run, indices: list[int]) -> np.ndarray:
    """uint8 [N, C, H, W]; a small data set fills the grid several times but is read once."""
    found = {index: run.dataset[index][0] for index in set(indices)}
    return np.stack([found[index] for index in indices])


@torch.no_grad()
def _generate(run: Run, z: torch.Tensor, c: torch.Tensor) -> np.ndarray:
    """float32 [N, C, H, W]: images without random noise, some at a time."""
    size = max(run.progress.batch_gpu, min(_GRID_PIXELS // run.dataset.resolution**2, 256))
    parts = [
        run.G_ema(z=a, c=b, noise_mode="const").float().cpu() for a, b in zip(z.split(size), c.split(size))
    ]
    return torch.cat(parts).numpy()


def _save_grid(path: Path, pixels: np.ndarray, drange: tuple[float, float], size: tuple[int, int]) -> None:
    if pixels.shape[1] not in (1, 3):
        raise UserError(f"{path.name}: images of {pixels.shape[1]} channels cannot be shown; use 1 or 3")
    row = run_files.find_row(path.name)
    is_private = row is not None and run_files.Trait.OWNER in row.traits
    with files.atomic_write(path, private=is_private) as file:
        images.save_image_grid(pixels, file, drange=drange, grid_size=size)


def _warn_of_collapse(run: Run, grid: Grid, fakes: np.ndarray) -> None:
    if run.cur_nimg < _COLLAPSE_FROM_KIMG * 1000:
        return
    reals = _pixels(run, shown_indices(run.dataset, *grid.size))
    warning = watch.collapse_warning(fakes, images.to_float(torch.from_numpy(reals)).numpy())
    if warning is not None:
        warn(run.run_dir, "collapse", warning, kimg=run.kimg)


def _drop_old(run: Run) -> None:
    if run.config.keep_snapshots is not None:
        for path in run_files.snapshots_in(run.run_dir)[: -run.config.keep_snapshots]:
            path.unlink()
