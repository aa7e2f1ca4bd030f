"""From options to a configuration: pure, and at its end one block of cross-checks."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stylegan2ada.config.checks import check, cross_check
from stylegan2ada.config.presets import (
    PRESETS,
    TRANSFER_SOURCES,
    Preset,
    augmentation_presets,
    auto_preset,
    transfer_source,
)
from stylegan2ada.config.records import TrainConfig, TrainOptions
from stylegan2ada.errors import UserError
from stylegan2ada.protocols import Options

if TYPE_CHECKING:
    from stylegan2ada.data.dataset import DatasetInfo


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
    check(options, info, known_metrics)
    gpus = options.gpus or 1
    preset = _with_overrides(_preset(options, info.image_shape[1], gpus), options)
    resumes = options.resume not in (None, "noresume")
    aug = options.aug or "ada"
    widths, layout = _widths(options, preset), _layout(options)
    D_kwargs = _discriminator(options, preset)
    loss_kwargs = {
        "r1_gamma": preset.gamma,
        **_of_cifar(options),
        **loss_options(options.loss_opt or (), loss),
    }
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
            "synthesis_kwargs": widths | layout,
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
        ops=options.ops or "auto",
        graphs=options.graphs or "auto",
        ada_max_p=options.ada_max_p,
        keep_snapshots=options.keep_snapshots,
        state_minutes=options.state_minutes,
        detectors=dict(options.detector or ()),
        log=list(dict.fromkeys(options.log or ())),
        notes=notes,
    )
    cross_check(config, options, loss.refuses_ada if loss is not None else "")
    return config


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


def loss_options(pairs: Sequence[tuple[str, str]], loss: LossFacts | None) -> Options:
    """{argument: value} of `--loss-opt NAME=VALUE`, checked against the arguments of the loss."""
    parsed = {name: _value(text) for name, text in pairs}
    for name, value in parsed.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"--loss-opt={name}={value} is no number to work with")
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


# Small rules of resolve, in the order of their use.


def _preset(options: TrainOptions, resolution: int, gpus: int) -> Preset:
    cfg = options.cfg or "auto"
    return auto_preset(resolution, gpus) if cfg == "auto" else PRESETS[cfg]


def _with_overrides(preset: Preset, options: TrainOptions) -> Preset:
    """The preset with --gamma, --kimg and --batch put in."""
    asked: Options = {"gamma": options.gamma, "kimg": options.kimg, "batch": options.batch}
    return preset._replace(**{name: value for name, value in asked.items() if value is not None})


def _rounds(preset: Preset, options: TrainOptions, gpus: int) -> int:
    """Images per device and round. upstream: a preset splits by its own GPUs, --batch by the real ones."""
    own_split = preset.batch // (preset.ref_gpus if options.batch is None else gpus)
    return max(min(own_split, preset.batch // gpus), 1)  # more GPUs than the preset knows: one round each


def _widths(options: TrainOptions, preset: Preset) -> Options:
    """Channels and precision, the same for both networks."""
    is_fp32 = bool(options.fp32) or options.precision == "fp32"
    return {
        "channel_base": options.cbase or int(preset.fmaps * 32768),
        "channel_max": options.cmax or 512,
        "num_fp16_res": 0 if is_fp32 else 4,
        "conv_clamp": None if is_fp32 else 256,  # far below 65504, where half precision ends
    }


def _layout(options: TrainOptions) -> Options:
    return {"fp16_channels_last": True} if options.nhwc else {}


def _discriminator(options: TrainOptions, preset: Preset) -> Options:
    freeze = {} if options.freezed is None else {"freeze_layers": options.freezed}
    kwargs: Options = {
        "block_kwargs": freeze | _layout(options),
        "mapping_kwargs": {},
        "epilogue_kwargs": {"mbstd_group_size": preset.mbstd},
        **_widths(options, preset),
    }
    return kwargs | ({"architecture": "orig"} if options.cfg == "cifar" else {})


def _of_cifar(options: TrainOptions) -> Options:
    # upstream: this preset goes without path length regularisation and style mixing
    return {"pl_weight": 0, "style_mixing_prob": 0} if options.cfg == "cifar" else {}


def _adam(lr: float) -> Options:
    return {"lr": lr, "betas": [0, 0.99], "eps": 1e-8}


def _dataset_kwargs(options: TrainOptions, info: DatasetInfo) -> Options:
    kwargs: Options = {
        "path": info.path,
        "use_labels": bool(options.cond),
        "max_size": info.num_images if options.subset is None else options.subset,
        "xflip": bool(options.mirror),
        "resolution": info.image_shape[1],
    }
    if options.subset is not None and options.subset < info.num_images:
        kwargs["random_seed"] = options.seed or 0  # which images are left out
    return kwargs


def _apply_loss(options: TrainOptions, D_kwargs: Options, loss_kwargs: Options, loss: LossFacts) -> list[str]:
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


def _merge(target: Options, changes: Mapping[str, object]) -> None:
    for name, value in changes.items():
        if isinstance(value, Mapping):
            _merge(target.setdefault(name, {}), value)
        else:
            target[name] = value


def _value(text: str) -> int | float | str | bool | None:
    """A number, true/false or none where the text looks like one, else the text."""
    words: dict[str, bool | None] = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
