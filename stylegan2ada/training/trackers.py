"""Where the curves of a run go beside its own files: TensorBoard by itself, services only where asked."""

from __future__ import annotations

import functools
import hashlib
import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from stylegan2ada import processes
from stylegan2ada.config import TrainConfig
from stylegan2ada.data.decode import open_picture
from stylegan2ada.errors import MissingError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

Setting = bool | int | float | str
PROJECT = "spinegan"  # what the runs are filed under, unless the service's own variables say otherwise
_WIDEST = 1024  # pixels of a picture; the full one lies in the run folder


class Tracker(Protocol):
    """One place that curves, pictures and settings are sent to, by the process of rank 0."""

    def settings(self, values: Mapping[str, Setting]) -> None: ...

    def scalars(self, values: Mapping[str, float], *, kimg: int, wall_sec: float) -> None: ...

    def picture(self, name: str, pixels: np.ndarray, *, kimg: int) -> None:  # uint8 [H, W] or [H, W, 3]
        ...

    def close(self) -> None: ...


class TensorBoard:
    """Event files in the run folder; nothing leaves the machine."""

    def __init__(self, run_dir: Path, purge_step: int | None) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: SummaryWriter = SummaryWriter(str(run_dir), purge_step=purge_step)

    def settings(self, values: Mapping[str, Setting]) -> None:
        from torch.utils.tensorboard.summary import hparams

        # Not by add_hparams, which would put them into a folder of their own.
        for summary in hparams(dict(values), {"Progress/kimg": 0.0}):
            self._writer._get_file_writer().add_summary(summary)

    def scalars(self, values: Mapping[str, float], *, kimg: int, wall_sec: float) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, global_step=kimg, walltime=wall_sec)
        self._writer.flush()

    def picture(self, name: str, pixels: np.ndarray, *, kimg: int) -> None:
        layout = "HWC" if pixels.ndim == 3 else "HW"
        self._writer.add_image(name, pixels, global_step=kimg, dataformats=layout)

    def close(self) -> None:
        self._writer.close()


class WeightsAndBiases:
    """A run of wandb; where to, and whether online, its own variables say (WANDB_MODE=offline, ...)."""

    def __init__(self, run_dir: Path, run_id: str) -> None:
        self._wandb: Any = importlib.import_module("wandb")
        # "allow": a run that goes on appends to the one that it was.
        self._run = self._wandb.init(
            project=PROJECT, name=run_dir.name, id=run_id, resume="allow", dir=str(run_dir)
        )
        # By kimg, not by their order: a run that goes on may tell some points again.
        self._run.define_metric("kimg")
        self._run.define_metric("*", step_metric="kimg")

    def settings(self, values: Mapping[str, Setting]) -> None:
        self._run.config.update(dict(values), allow_val_change=True)

    def scalars(self, values: Mapping[str, float], *, kimg: int, wall_sec: float) -> None:
        self._run.log({**values, "kimg": kimg})

    def picture(self, name: str, pixels: np.ndarray, *, kimg: int) -> None:
        self._run.log({name: self._wandb.Image(pixels), "kimg": kimg})

    def close(self) -> None:
        self._run.finish()


class MLflow:
    """A run of mlflow; where to, its own variables say (MLFLOW_TRACKING_URI, default: files here)."""

    def __init__(self, run_dir: Path, run_id: str) -> None:
        self._mlflow: Any = importlib.import_module("mlflow")
        self._mlflow.set_experiment(PROJECT)
        tag = {"spinegan.run": run_id}
        found = self._mlflow.search_runs(
            filter_string=f"tags.`spinegan.run` = '{run_id}'", output_format="list", max_results=1
        )
        known = found[0].info.run_id if found else None
        self._mlflow.start_run(run_id=known, run_name=None if known else run_dir.name, tags=tag)

    def settings(self, values: Mapping[str, Setting]) -> None:
        self._mlflow.log_params(dict(values))

    def scalars(self, values: Mapping[str, float], *, kimg: int, wall_sec: float) -> None:
        self._mlflow.log_metrics(dict(values), step=kimg)

    def picture(self, name: str, pixels: np.ndarray, *, kimg: int) -> None:
        self._mlflow.log_image(pixels, artifact_file=f"{name}/{kimg:06d}.png")

    def close(self) -> None:
        self._mlflow.end_run()


SERVICES: dict[str, Callable[[Path, str], Tracker]] = {"wandb": WeightsAndBiases, "mlflow": MLflow}


def check(names: Sequence[str]) -> None:
    """Refuse services whose package is missing, before anything is made."""
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise MissingError(f"--log={name} needs its package: pip install 'spinegan[{name}]'") from error


class Trackers:
    """All of a run. A service that fails is left with a warning: it may not cost the run."""

    def __init__(
        self,
        run_dir: Path,
        *,
        services: Sequence[str] = (),
        purge_step: int | None = None,  # TensorBoard hides points from here on
        warn: Callable[[str], None] = print,
    ) -> None:
        self._all: list[Tracker] = []
        self._warn = warn
        try:
            self._all.append(TensorBoard(run_dir, purge_step))
        except ImportError:
            processes.print0("Skipping event files: TensorBoard is not installed (pip install tensorboard)")
        # One folder, one run there; the folder's full name stays here.
        run_id = hashlib.sha256(os.fsencode(run_dir.resolve())).hexdigest()[:16]
        for name in services:
            self._guarded(name, functools.partial(self._begin, SERVICES[name], run_dir, run_id))

    def _begin(self, make: Callable[[Path, str], Tracker], run_dir: Path, run_id: str) -> None:
        self._all.append(make(run_dir, run_id))

    def settings(self, values: Mapping[str, Setting]) -> None:
        self._each(lambda tracker: tracker.settings(values))

    def scalars(self, values: Mapping[str, float], *, kimg: int, wall_sec: float) -> None:
        self._each(lambda tracker: tracker.scalars(values, kimg=kimg, wall_sec=wall_sec))

    def picture(self, name: str, path: Path, *, kimg: int) -> None:
        """A picture of the run folder, no wider than screens."""
        if self._all:
            with open_picture(path) as image:
                image.thumbnail((_WIDEST, _WIDEST))
                pixels = np.asarray(image)
            self._each(lambda tracker: tracker.picture(name, pixels, kimg=kimg))

    def close(self) -> None:
        self._each(lambda tracker: tracker.close())

    def _each(self, work: Callable[[Tracker], None]) -> None:
        for tracker in list(self._all):
            name = type(tracker).__name__
            if not self._guarded(name, functools.partial(work, tracker)):
                self._all.remove(tracker)

    def _guarded(self, name: str, work: Callable[[], None]) -> bool:
        try:
            work()
        except OSError as error:
            if name == TensorBoard.__name__:  # a full disk, which the run must hear of
                raise
            return self._left(name, error)
        except Exception as error:  # whatever a service's package raises where its server is gone
            return self._left(name, error)
        return True

    def _left(self, name: str, error: Exception) -> bool:
        self._warn(f"{name} gets nothing more of this run, which goes on: {error}")
        return False


def settings_of(config: TrainConfig) -> dict[str, Setting]:
    """What people compare runs by; no paths, no names of files, and nothing counted on images."""
    found: dict[str, Setting | None] = {
        "kimg": config.total_kimg,
        "batch": config.batch_size,
        "gpus": config.num_gpus,
        "seed": config.random_seed,
        "loss": config.loss,
        "terms": " ".join(config.terms),
        "r1_gamma": config.loss_kwargs.get("r1_gamma"),
        "cls_weight": config.loss_kwargs.get("cls_weight"),
        "pl_weight": config.loss_kwargs.get("pl_weight"),
        "style_mixing": config.loss_kwargs.get("style_mixing_prob"),
        "lr_G": config.G_opt_kwargs.get("lr"),
        "lr_D": config.D_opt_kwargs.get("lr"),
        "ema_kimg": config.ema_kimg,
        "resolution": config.training_set_kwargs.get("resolution"),
        "labels": bool(config.training_set_kwargs.get("use_labels")),
        "mirror": bool(config.training_set_kwargs.get("xflip")),
        "sampler": config.sampler,
        "ada_target": config.ada_target,
        "augment": " ".join(config.augment_kwargs or ()),
        "transfer": config.resume_pkl is not None,
        "precision": config.precision,
    }
    return {name: value for name, value in found.items() if value is not None}
