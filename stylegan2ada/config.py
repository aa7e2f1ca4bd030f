"""What a training run will do: the user's options, the presets, and one pure function from one to the other.

`TrainOptions` holds one field per flag; `resolve` turns it into a complete `TrainConfig`.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from stylegan2ada.errors import UserError

if TYPE_CHECKING:
    from stylegan2ada.data.dataset import DatasetInfo


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
    # Run control.
    continue_run: str | None = None
    state_minutes: float | None = None
    keep_snapshots: int | None = None
    detector: tuple[tuple[str, str], ...] | None = None

    def given(self) -> dict[str, Any]:
        """The flags that were given, by field name; --dry-run and --continue say how to run, not what."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {k: v for k, v in values.items() if v is not None and k not in ("dry_run", "continue_run")}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> TrainOptions:
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
    training_set_kwargs: dict[str, Any]
    data_loader_kwargs: dict[str, Any]
    G_kwargs: dict[str, Any]
    D_kwargs: dict[str, Any]
    G_opt_kwargs: dict[str, Any]
    D_opt_kwargs: dict[str, Any]
    loss_kwargs: dict[str, Any]
    total_kimg: float
    batch_size: int
    batch_gpu: int
    ema_kimg: float
    ema_rampup: float | None
    augment_p: float = 0
    ada_target: float | None = None
    augment_kwargs: dict[str, Any] | None = None
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
    ada_max_p: float | None = None
    keep_snapshots: int | None = None
    state_minutes: float | None = None
    detectors: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # what resolve decided by itself, with the reason

    def to_upstream(self) -> dict[str, Any]:
        """The options as upstream writes them to training_options.json: its keys, class names and order."""
        named = dict(CLASS_NAMES)
        if self.loss != "stylegan2":
            named["loss_kwargs"] = self.loss
        written: dict[str, Any] = {}
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

    def ours(self) -> dict[str, Any]:
        """The extra keys of training_options.json: only what differs from the default."""
        return {name: getattr(self, name) for name in _OURS if getattr(self, name) != _DEFAULTS[name]}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> TrainConfig:
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


# What upstream calls the classes; only written into options files, never imported.
CLASS_NAMES = {
    "training_set_kwargs": "training.dataset.ImageFolderDataset",
    "G_kwargs": "training.networks.Generator",
    "D_kwargs": "training.networks.Discriminator",
    "G_opt_kwargs": "torch.optim.Adam",
    "D_opt_kwargs": "torch.optim.Adam",
    "loss_kwargs": "training.loss.StyleGAN2Loss",
    "augment_kwargs": "training.augment.AugmentPipe",
}
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
_OURS = ("loss", "terms", "sampler", "device", "precision", "ada_max_p", "keep_snapshots", "state_minutes",
         "detectors")  # fmt: skip


class Preset(NamedTuple):
    """One row of the table of base configurations."""

    ref_gpus: int
    kimg: int
    batch: int
    mbstd: int
    fmaps: float
    lr: float
    gamma: float
    ema_kimg: float
    rampup: float | None
    map: int


# fmt: off
PRESETS = {  #             gpus    kimg  batch  mbstd  fmaps      lr  gamma   ema  ramp-up  map
    "stylegan2": Preset(      8,  25000,    32,     4,   1.0, 0.0020, 10.00,   10,    None,   8),
    "paper256":  Preset(      8,  25000,    64,     8,   0.5, 0.0025,  1.00,   20,    None,   8),
    "paper512":  Preset(      8,  25000,    64,     8,   1.0, 0.0025,  0.50,   20,    None,   8),
    "paper1024": Preset(      8,  25000,    32,     4,   1.0, 0.0020,  2.00,   10,    None,   8),
    "cifar":     Preset(      2, 100000,    64,    32,   1.0, 0.0025,  0.01,  500,    0.05,   2),
}
# fmt: on


def auto_preset(resolution: int, gpus: int) -> Preset:
    """The base configuration `auto`: upstream's rules of thumb for a resolution and a number of devices."""
    per_gpu = min(4096 // resolution, 32)
    batch = max(min(gpus * per_gpu, 64), gpus)
    return Preset(
        ref_gpus=gpus,
        kimg=25000,
        batch=batch,
        mbstd=min(batch // gpus, 4),
        fmaps=1.0 if resolution >= 512 else 0.5,
        lr=0.002 if resolution >= 1024 else 0.0025,
        gamma=0.0002 * resolution**2 / batch,
        ema_kimg=batch * 10 / 32,
        rampup=0.05,
        map=2,
    )


_KINDS = {
    "blit": "xflip rotate90 xint",
    "geom": "scale rotate aniso xfrac",
    "color": "brightness contrast lumaflip hue saturation",
    "filter": "imgfilter",
    "noise": "noise",
    "cutout": "cutout",
}
_SUMS = {"bg": 2, "bgc": 3, "bgcf": 4, "bgcfn": 5, "bgcfnc": 6}  # the first kinds, taken together


def augmentation_presets() -> dict[str, dict[str, float]]:
    """{name for --augpipe: arguments of the augmentation pipeline}."""
    names = {kind: words.split() for kind, words in _KINDS.items()}
    names |= {total: [w for kind in list(_KINDS)[:n] for w in names[kind]] for total, n in _SUMS.items()}
    table: dict[str, dict[str, float]] = {kind: dict.fromkeys(words, 1) for kind, words in names.items()}
    # What a radiograph can show: shifts, scale, exposure, and a patient who stands a little askew. No flips
    # (the heart is on one side), no quarter turns, no colours: those would leak into the fakes as anatomy.
    gentle = dict.fromkeys("xint scale aniso xfrac rotate brightness contrast".split(), 1)
    table["radiograph"] = gentle | {"rotate_max": 5 / 180}  # rotate_max is a fraction of half a turn
    return table


TRANSFER_URL = (
    "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/transfer-learning-source-nets/"
)
TRANSFER_SOURCES = {  # all below TRANSFER_URL
    "ffhq256": "ffhq-res256-mirror-paper256-noaug.pkl",
    "ffhq512": "ffhq-res512-mirror-stylegan2-noaug.pkl",
    "ffhq1024": "ffhq-res1024-mirror-stylegan2-noaug.pkl",
    "celebahq256": "celebahq-res256-mirror-paper256-kimg100000-ada-target0.5.pkl",
    "lsundog256": "lsundog-res256-paper256-kimg100000-noaug.pkl",
}


@dataclass(frozen=True)
class LossFacts:
    """What `resolve` must know about the chosen loss."""

    make: Callable[..., Any]  # the class
    objective: str | None = None  # of a loss that takes one
    refuses_ada: str = ""  # why adaptive augmentation cannot work with it; empty: it can


def resolve(
    options: TrainOptions,  # what the user asked for
    info: DatasetInfo,  # facts about the data set
    *,
    loss: LossFacts | None = None,  # what --loss names; None = not looked up, take it as it is
    known_metrics: Sequence[str] | None = None,  # None = do not check the names
) -> TrainConfig:
    """The complete configuration for these options on this data set, or a UserError that names the flag."""
    _check(options, info, known_metrics)
    gpus = options.gpus or 1
    resolution = info.image_shape[1]
    preset = _with_overrides(_preset(options, resolution, gpus), options)
    resumes = options.resume not in (None, "noresume")
    aug = options.aug or "ada"
    is_fp32 = bool(options.fp32) or options.precision == "fp32"

    common: dict[str, Any] = {
        "channel_base": options.cbase or int(preset.fmaps * 32768),
        "channel_max": options.cmax or 512,
        "num_fp16_res": 0 if is_fp32 else 4,
        "conv_clamp": None if is_fp32 else 256,
    }
    channels_last = {"fp16_channels_last": True} if options.nhwc else {}
    freeze = {} if options.freezed is None else {"freeze_layers": options.freezed}
    D_kwargs: dict[str, Any] = {
        "block_kwargs": freeze | channels_last,
        "mapping_kwargs": {},
        "epilogue_kwargs": {"mbstd_group_size": preset.mbstd},
    } | common
    is_cifar = options.cfg == "cifar"
    if is_cifar:
        D_kwargs["architecture"] = "orig"
    loss_kwargs: dict[str, Any] = {"r1_gamma": preset.gamma}
    if is_cifar:
        loss_kwargs |= {"pl_weight": 0, "style_mixing_prob": 0}
    loss_kwargs |= loss_options(options.loss_opt or (), loss)
    notes = [] if loss is None else _apply_loss(options, D_kwargs, loss_kwargs, loss)

    config = TrainConfig(
        desc=describe(options, info, gpus),
        num_gpus=gpus,
        image_snapshot_ticks=options.snap or 50,
        network_snapshot_ticks=options.snap or 50,
        metrics=["fid50k_full"] if options.metrics is None else list(options.metrics),
        random_seed=options.seed or 0,
        training_set_kwargs=_dataset_kwargs(options, info),
        data_loader_kwargs={"pin_memory": True, "num_workers": options.workers or 3, "prefetch_factor": 2},
        G_kwargs={
            "z_dim": 512,
            "w_dim": 512,
            "mapping_kwargs": {"num_layers": preset.map},
            "synthesis_kwargs": common | channels_last,
        },
        D_kwargs=D_kwargs,
        G_opt_kwargs=_adam(preset.lr),
        D_opt_kwargs=_adam(preset.lr),
        loss_kwargs=loss_kwargs,
        total_kimg=preset.kimg,
        batch_size=preset.batch,
        batch_gpu=options.batch_gpu or _rounds(preset, options, gpus),
        ema_kimg=preset.ema_kimg,
        ema_rampup=None if resumes else preset.rampup,
        augment_p=(options.p or 0.0) if aug == "fixed" else 0,
        ada_target=(0.6 if options.target is None else options.target) if aug == "ada" else None,
        augment_kwargs=None if aug == "noaug" else dict(augmentation_presets()[options.augpipe or "bgc"]),
        resume_pkl=transfer_source(str(options.resume)) if resumes else None,
        ada_kimg=100 if resumes else 500,  # a pre-trained D knows the data sooner; let p follow sooner
        cudnn_benchmark=not options.nobench,
        allow_tf32=bool(options.allow_tf32),
        kimg_per_tick=4 if options.tick is None else options.tick,
        loss=options.loss or "stylegan2",
        terms=list(options.term or ()),
        sampler=options.sampler or "uniform",
        device=options.device or "auto",
        precision=options.precision or "auto",
        ada_max_p=options.ada_max_p,
        keep_snapshots=options.keep_snapshots,
        state_minutes=options.state_minutes,
        detectors=dict(options.detector or ()),
        notes=notes,
    )
    _cross_check(config, options, loss)
    return config


def transfer_source(name: str) -> str:
    """The URL of a known source network, or the path or URL itself."""
    file = TRANSFER_SOURCES.get(name)
    return name if file is None else TRANSFER_URL + file


def describe(options: TrainOptions, info: DatasetInfo, gpus: int) -> str:
    """The run folder's name without its number: only what was asked for explicitly."""
    parts = [info.name]
    if options.cond:
        parts.append("cond")
    if options.subset is not None:
        parts.append(f"subset{options.subset}")
    if options.mirror:
        parts.append("mirror")
    cfg = options.cfg or "auto"
    parts.append(f"auto{gpus}" if cfg == "auto" else cfg)
    labelled = [("gamma", options.gamma), ("kimg", options.kimg), ("batch", options.batch)]
    parts += [
        f"{name}{value:g}" if name == "gamma" else f"{name}{value}"
        for name, value in labelled
        if value is not None
    ]
    if options.loss is not None:
        parts.append(options.loss.replace(":", "."))
    parts += [term.replace(":", "") for term in options.term or ()]
    parts += [options.aug] if options.aug is not None else []
    parts += [f"p{options.p:g}"] if options.p is not None else []
    parts += [f"target{options.target:g}"] if options.target is not None else []
    parts += [options.augpipe] if options.augpipe is not None else []
    if options.resume == "noresume":
        parts.append("noresume")
    elif options.resume is not None:
        parts.append("resume" + (options.resume if options.resume in TRANSFER_SOURCES else "custom"))
    parts += [f"freezed{options.freezed}"] if options.freezed is not None else []
    return "-".join(parts)


def loss_options(pairs: Sequence[tuple[str, str]], loss: LossFacts | None) -> dict[str, Any]:
    """{argument: value} of `--loss-opt NAME=VALUE`, checked against the arguments of the loss."""
    parsed = {name: _value(text) for name, text in pairs}
    if loss is not None and parsed:
        reserved = {"self", "device", "G_mapping", "G_synthesis", "D", "augment_pipe", "terms", "draws"}
        parameters = inspect.signature(loss.make).parameters
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        allowed = [name for name in parameters if name not in reserved]
        for name in parsed:
            if name in reserved or (name not in allowed and not takes_any):
                raise UserError(
                    f"--loss-opt={name}=... is not an option of this loss; it takes {', '.join(allowed)}"
                )
    return parsed


# Flags that may change when a run goes on: they do not touch its numbers. --data may name another place with
# the same images, which the loop checks; another number of devices gives up bitwise equality, and says so.
SAFE_TO_CHANGE = ("outdir", "gpus", "snap", "metrics", "kimg", "workers", "data", "device", "nobench",
                  "state_minutes", "keep_snapshots", "detector")  # fmt: skip


def continue_with(
    recorded: TrainConfig,  # of the run so far
    before: TrainOptions,  # the flags it was started with
    asked: TrainOptions,  # the flags given now
    resolve_again: Callable[[TrainOptions], TrainConfig],
) -> TrainConfig:
    """The recorded configuration with safe changes put in; other changes are refused by name."""
    risky = {name: value for name, value in asked.given().items() if name not in SAFE_TO_CHANGE}
    differing = [name for name, value in risky.items() if value != getattr(before, name)]
    if differing:
        quiet = replace(before, metrics=())
        if _numbers(resolve_again(replace(quiet, **risky))) != _numbers(resolve_again(quiet)):
            listed = ", ".join(f"--{name.replace('_', '-')}={risky[name]}" for name in differing)
            raise UserError(
                f"{listed}: this run was started differently, and it would change its numbers; leave it out, "
                "or start a new run from the last snapshot with --resume=PKL"
            )
    changes: dict[str, Any] = {}
    direct = {"kimg": "total_kimg", "device": "device", "state_minutes": "state_minutes",
              "keep_snapshots": "keep_snapshots"}  # fmt: skip
    changes |= {
        target: getattr(asked, name) for name, target in direct.items() if getattr(asked, name) is not None
    }
    if asked.snap is not None:
        changes |= {"image_snapshot_ticks": asked.snap, "network_snapshot_ticks": asked.snap}
    if asked.metrics is not None:
        changes["metrics"] = list(asked.metrics)
    if asked.workers is not None:
        changes["data_loader_kwargs"] = recorded.data_loader_kwargs | {"num_workers": asked.workers}
    if asked.data is not None:
        changes["training_set_kwargs"] = recorded.training_set_kwargs | {"path": asked.data}
    if asked.nobench is not None:
        changes["cudnn_benchmark"] = not asked.nobench
    if asked.detector is not None:
        changes["detectors"] = recorded.detectors | dict(asked.detector)
    return replace(recorded, **changes).on_devices(asked.gpus or recorded.num_gpus)


def _numbers(config: TrainConfig) -> TrainConfig:
    """The configuration without its name and remarks."""
    return replace(config, desc="", notes=[])


# Small rules of resolve, in the order of their use.


def _preset(options: TrainOptions, resolution: int, gpus: int) -> Preset:
    cfg = options.cfg or "auto"
    return auto_preset(resolution, gpus) if cfg == "auto" else PRESETS[cfg]


def _with_overrides(preset: Preset, options: TrainOptions) -> Preset:
    """The preset with --gamma, --kimg and --batch put in."""
    asked: dict[str, Any] = {"gamma": options.gamma, "kimg": options.kimg, "batch": options.batch}
    return preset._replace(**{name: value for name, value in asked.items() if value is not None})


def _rounds(preset: Preset, options: TrainOptions, gpus: int) -> int:
    """Images per device and round. upstream: a preset splits by its own GPUs, --batch by the real ones."""
    own_split = preset.batch // (preset.ref_gpus if options.batch is None else gpus)
    return max(min(own_split, preset.batch // gpus), 1)  # more GPUs than the preset knows: one round each


def _adam(lr: float) -> dict[str, Any]:
    return {"lr": lr, "betas": [0, 0.99], "eps": 1e-8}


def _dataset_kwargs(options: TrainOptions, info: DatasetInfo) -> dict[str, Any]:
    kwargs: dict[str, Any] = {
        "path": info.path,
        "use_labels": bool(options.cond),
        "max_size": info.num_images if options.subset is None else options.subset,
        "xflip": bool(options.mirror),
        "resolution": info.image_shape[1],
    }
    if options.subset is not None and options.subset < info.num_images:
        kwargs["random_seed"] = options.seed or 0  # which images are left out
    return kwargs


def _apply_loss(
    options: TrainOptions, D_kwargs: dict[str, Any], loss_kwargs: dict[str, Any], loss: LossFacts
) -> list[str]:
    """Put in the objective, and the discriminator settings it asks for; the answer says what was changed."""
    if options.term and "terms" not in inspect.signature(loss.make).parameters:
        raise UserError(
            f"--term={options.term[0]}: the loss {options.loss} takes no generator terms; leave it out"
        )
    if loss.objective not in (None, "stylegan2"):
        loss_kwargs["objective"] = loss.objective
    asks = getattr(loss.make, "network_settings", None)
    settings = {} if asks is None or loss.objective is None else asks(loss.objective)
    _merge(D_kwargs, settings)
    return [f"objective {loss.objective} asks for D_kwargs {settings}"] if settings else []


def _merge(target: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for name, value in changes.items():
        if isinstance(value, Mapping):
            _merge(target.setdefault(name, {}), value)
        else:
            target[name] = value


def _check(options: TrainOptions, info: DatasetInfo, known_metrics: Sequence[str] | None) -> None:
    """Refuse values that cannot be right by themselves."""
    gpus = options.gpus
    if gpus is not None and (gpus < 1 or gpus & (gpus - 1)):
        raise UserError(f"--gpus={gpus} is not a power of two; use 1, 2, 4, 8, ...")
    for flag in ("snap", "kimg", "batch", "batch_gpu", "workers", "cbase", "cmax", "keep_snapshots"):
        value = getattr(options, flag)
        if value is not None and value < 1:
            raise UserError(f"--{flag.replace('_', '-')}={value} must be at least 1")
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
        if known_metrics is not None and name not in known_metrics:
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


def _cross_check(config: TrainConfig, options: TrainOptions, loss: LossFacts | None) -> None:
    """Refuse what does not go together."""
    if loss is not None and loss.refuses_ada and config.ada_target is not None:
        raise UserError(f"--aug=ada with --loss={config.loss}: {loss.refuses_ada}")
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


def _value(text: str) -> Any:
    """A number, true/false or none where the text looks like one, else the text."""
    words: dict[str, Any] = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _as_tuple(value: Any) -> Any:
    return tuple(_as_tuple(v) for v in value) if isinstance(value, list) else value
