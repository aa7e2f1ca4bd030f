"""The two records of a run: what was asked for, and what that means in full."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field, replace
from typing import Any

from stylegan2ada.errors import UserError
from stylegan2ada.official_names import OPTION_CLASSES
from stylegan2ada.protocols import JsonObject, Options

LAST_SEED = 2**32 - 1  # that numpy's generators take
_HOW = ("dry_run", "continue_run", "trust_run")


@dataclass(frozen=True)
class TrainOptions:
    """One field per flag of the training commands; None means that the flag was not given."""

    # General.
    outdir: str | None = None
    data: str | None = None
    gpus: int | None = None
    snap: int | None = None
    metrics: tuple[str, ...] | None = None
    seed: int | None = None
    dry_run: bool = False
    # Data set.
    cond: bool | None = None
    subset: int | None = None
    mirror: bool | None = None
    sampler: str | None = None
    # Base configuration.
    cfg: str | None = None
    gamma: float | None = None
    kimg: int | None = None
    batch: int | None = None
    batch_gpu: int | None = None
    cbase: int | None = None
    cmax: int | None = None
    tick: float | None = None
    # Loss.
    loss: str | None = None
    loss_opt: tuple[tuple[str, str], ...] | None = None
    term: tuple[str, ...] | None = None
    # Augmentation.
    aug: str | None = None
    p: float | None = None
    target: float | None = None
    augpipe: str | None = None
    ada_max_p: float | None = None
    # Transfer learning.
    resume: str | None = None
    freezed: int | None = None
    # Performance.
    device: str | None = None
    precision: str | None = None
    fp32: bool | None = None
    nhwc: bool | None = None
    nobench: bool | None = None
    allow_tf32: bool | None = None
    workers: int | None = None
    ops: str | None = None
    graphs: str | None = None
    # Run control.
    continue_run: str | None = None
    trust_run: bool = False
    state_minutes: float | None = None
    keep_snapshots: int | None = None
    detector: tuple[tuple[str, str], ...] | None = None
    log: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("loss_opt", "term", "detector", "log"):
            if getattr(self, name) == ():  # what a parser makes of a repeatable flag that was not given
                object.__setattr__(self, name, None)

    def given(self) -> JsonObject:
        """The flags that were given, by field name; those in _HOW say how to run, not what."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {k: v for k, v in values.items() if v is not None and k not in _HOW}

    @classmethod
    def from_record(cls, record: JsonObject) -> TrainOptions:
        """Back from what `given` wrote to JSON (lists become tuples again)."""
        known = {f.name for f in dataclasses.fields(cls)}
        return cls(**{name: _as_tuple(value) for name, value in record.items() if name in known})


@dataclass(frozen=True)
class TrainConfig:
    """Everything that a run needs to know; the first block has upstream's names, defaults and meaning."""

    num_gpus: int
    image_snapshot_ticks: int | None  # None: no pictures
    network_snapshot_ticks: int | None  # None: no networks
    metrics: list[str]
    random_seed: int
    training_set_kwargs: Options
    data_loader_kwargs: Options
    G_kwargs: Options
    D_kwargs: Options
    G_opt_kwargs: Options
    D_opt_kwargs: Options
    loss_kwargs: Options
    total_kimg: float
    batch_size: int
    batch_gpu: int
    ema_kimg: float
    ema_rampup: float | None
    augment_p: float = 0
    ada_target: float | None = None
    augment_kwargs: Options | None = None
    resume_pkl: str | None = None
    ada_kimg: float = 500
    cudnn_benchmark: bool = True
    allow_tf32: bool = False
    kimg_per_tick: float = 4
    ada_interval: int = 4
    G_reg_interval: int | None = 4
    D_reg_interval: int | None = 16
    # Ours: each default leaves upstream's behaviour as it is.
    desc: str = ""
    loss: str = "stylegan2"  # registered name or import path
    terms: list[str] = field(default_factory=list)  # generator terms, "NAME" or "NAME:WEIGHT"
    sampler: str = "uniform"
    device: str = "auto"
    precision: str = "auto"
    channels_last: bool | None = None  # of half precision in memory; None: on CUDA
    ops: str = "auto"  # a run that has begun: plain or compiled
    graphs: str = "auto"  # a run that has begun: on or off
    ada_max_p: float | None = None
    keep_snapshots: int | None = None
    state_minutes: float | None = None
    detectors: dict[str, str] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)  # services that are sent curves and fakes
    notes: list[str] = field(default_factory=list)  # what resolve decided by itself, with the reason

    def to_upstream(self) -> JsonObject:
        """The options as upstream writes them to training_options.json: its keys, class names and order."""
        named = dict(OPTION_CLASSES)
        if self.loss != "stylegan2":
            named["loss_kwargs"] = self.loss
        written: JsonObject = {}
        for name in _WRITTEN_ORDER:
            value = getattr(self, name)
            is_default = name in _ONLY_IF_CHANGED and value == _DEFAULTS[name]
            if is_default and not (name == "augment_p" and self.augment_p_is_fixed):
                continue
            written[name] = {"class_name": named[name], **value} if name in named else value
        return written

    @property
    def augment_p_is_fixed(self) -> bool:
        """True if the augmentation strength is the user's and not ADA's."""
        return self.augment_kwargs is not None and self.ada_target is None

    def ours(self) -> JsonObject:
        """The extra keys of training_options.json: only what differs from the default."""
        return {name: getattr(self, name) for name in _OURS if getattr(self, name) != _DEFAULTS[name]}

    @classmethod
    def from_record(cls, record: JsonObject) -> TrainConfig:
        """Back from the two dictionaries above, as read from training_options.json."""
        known = {f.name for f in dataclasses.fields(cls)}
        values = {name: value for name, value in record.items() if name in known}
        for name, value in values.items():
            if isinstance(value, dict):
                values[name] = {k: v for k, v in value.items() if k != "class_name"}
        return cls(**values)

    def on_devices(self, num_gpus: int) -> TrainConfig:
        """The same run on another number of devices; the batch stays, its split changes."""
        if num_gpus == self.num_gpus:
            return self
        if self.batch_size % num_gpus:
            raise UserError(
                f"--gpus={num_gpus} cannot share this run's batch of {self.batch_size}; "
                f"use a number of devices that divides {self.batch_size}"
            )
        per_device = self.batch_size // num_gpus
        batch_gpu = max(n for n in range(1, per_device + 1) if per_device % n == 0 and n <= self.batch_gpu)
        return replace(self, num_gpus=num_gpus, batch_gpu=batch_gpu)


_WRITTEN_ORDER = (
    "num_gpus", "image_snapshot_ticks", "network_snapshot_ticks", "metrics", "random_seed",
    "training_set_kwargs", "data_loader_kwargs", "G_kwargs", "D_kwargs", "G_opt_kwargs", "D_opt_kwargs",
    "loss_kwargs", "total_kimg", "batch_size", "batch_gpu", "ema_kimg", "ema_rampup",
    "augment_p", "ada_target", "augment_kwargs", "resume_pkl", "ada_kimg", "cudnn_benchmark", "allow_tf32",
    "kimg_per_tick", "ada_interval", "G_reg_interval", "D_reg_interval",
)  # fmt: skip
_DEFAULTS = {
    f.name: f.default_factory() if callable(f.default_factory) else f.default
    for f in dataclasses.fields(TrainConfig)
}
_ONLY_IF_CHANGED = {name for name in _WRITTEN_ORDER if _DEFAULTS[name] is not dataclasses.MISSING}
_OURS = ("loss", "terms", "sampler", "device", "precision", "channels_last", "ada_max_p", "keep_snapshots",
         "state_minutes", "detectors", "log", "ops", "graphs")  # fmt: skip


def _as_tuple(value: Any) -> Any:  # of JSON
    return tuple(_as_tuple(v) for v in value) if isinstance(value, list) else value
