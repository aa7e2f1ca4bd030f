"""What is refused: values that cannot be right by themselves, and values that do not go together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stylegan2ada.config.presets import PRESETS, augmentation_presets
from stylegan2ada.config.records import TrainConfig, TrainOptions
from stylegan2ada.errors import UserError

if TYPE_CHECKING:
    from stylegan2ada.data.dataset import DatasetInfo

_MOST = {"workers": 1024, "cbase": 1 << 22, "cmax": 1 << 14}  # far above what anybody trains with


def check(options: TrainOptions, info: DatasetInfo, known_metrics: Sequence[str] | None) -> None:
    """Refuse values that cannot be right by themselves."""
    gpus = options.gpus
    if gpus is not None and (gpus < 1 or gpus & (gpus - 1)):
        raise UserError(f"--gpus={gpus} is not a power of two; use 1, 2, 4, 8, ...")
    for flag in ("snap", "kimg", "batch", "batch_gpu", "workers", "cbase", "cmax", "keep_snapshots"):
        value = getattr(options, flag)
        if value is not None and value < 1:
            raise UserError(f"--{flag.replace('_', '-')}={value} must be at least 1")
    for flag, most in _MOST.items():
        value = getattr(options, flag)
        if value is not None and value > most:
            raise UserError(f"--{flag}={value} is more than can be of use; give {most} at most")
    for flag in ("gamma", "freezed"):
        value = getattr(options, flag)
        if value is not None and not value >= 0:
            raise UserError(f"--{flag}={value} must not be negative")
    for flag in ("tick", "state_minutes"):
        value = getattr(options, flag)
        if value is not None and not value > 0:
            raise UserError(f"--{flag.replace('_', '-')}={value} must be more than 0")
    for flag in ("p", "target", "ada_max_p"):
        value = getattr(options, flag)
        if value is not None and not 0 <= value <= 1:
            raise UserError(f"--{flag.replace('_', '-')}={value} must lie between 0 and 1")
    if options.seed is not None and options.seed < 0:
        raise UserError(f"--seed={options.seed} must not be negative")
    if options.subset is not None and not 1 <= options.subset <= info.num_images:
        raise UserError(
            f"--subset={options.subset} must lie between 1 and the {info.num_images} images of --data"
        )
    for name in options.metrics or ():
        if known_metrics is not None and name.partition("@")[0] not in known_metrics:
            raise UserError(
                f"--metrics: {name!r} is not a metric; choose from {', '.join(known_metrics)}, or none"
            )
    choices = {"cfg": ("auto", *PRESETS), "aug": ("noaug", "ada", "fixed"), "augpipe": augmentation_presets()}
    for flag, allowed in choices.items():
        value = getattr(options, flag)
        if value is not None and value not in allowed:
            raise UserError(f"--{flag}={value} is not known; choose from {', '.join(allowed)}")
    side = info.image_shape[1]
    if side < 8 or side & (side - 1):
        raise UserError(
            f"--data: images of {side}x{side} pixels cannot be used; make them 8, 16, 32, ... wide and high"
        )
    if options.cond and not info.has_labels:
        raise UserError(
            f"--cond=1 needs labels, and {info.path} has none; pack it with labels or leave --cond out"
        )


def cross_check(config: TrainConfig, options: TrainOptions, refuses_ada: str = "") -> None:
    """Refuse what does not go together."""
    if refuses_ada and config.ada_target is not None:
        raise UserError(f"--aug=ada with --loss={config.loss}: {refuses_ada}")
    aug, gpus, batch = options.aug or "ada", config.num_gpus, config.batch_size
    if batch % gpus:
        raise UserError(f"--batch={batch} cannot be split over --gpus={gpus}; use a multiple of {gpus}")
    if aug == "fixed" and options.p is None:
        raise UserError("--aug=fixed needs the strength of the augmentation; add --p=..., e.g. --p=0.2")
    if aug != "fixed" and options.p is not None:
        raise UserError(f"--p={options.p:g} is for --aug=fixed only; with --aug={aug} leave --p out")
    if aug != "ada" and options.target is not None:
        raise UserError(
            f"--target={options.target:g} is for --aug=ada only; with --aug={aug} leave --target out"
        )
    if aug != "ada" and options.ada_max_p is not None:
        raise UserError(
            f"--ada-max-p={options.ada_max_p:g} is for --aug=ada only; with --aug={aug} leave it out"
        )
    if aug == "noaug" and options.augpipe is not None:
        raise UserError(
            f"--augpipe={options.augpipe} has nothing to do with --aug=noaug; leave one of them out"
        )
    if options.batch_gpu is not None and batch % (options.batch_gpu * gpus):
        raise UserError(
            f"--batch-gpu={options.batch_gpu} on {gpus} device(s) does not divide the batch of {batch}; "
            f"use a divisor of {batch // gpus}"
        )
    if options.fp32 and options.precision not in (None, "fp32"):
        raise UserError(
            f"--fp32=1 and --precision={options.precision} contradict each other; leave one of them out"
        )
    if config.sampler == "balanced" and not config.training_set_kwargs["use_labels"]:
        raise UserError("--sampler=balanced draws every class equally often and needs labels; add --cond=1")
