"""Changes to loaded networks: copy what matches, fold RGB to grey, switch on half precision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, cast

import torch
from torch import nn

from stylegan2ada.checkpoints import rebuild
from stylegan2ada.checkpoints.pickle_machine import Unreadable
from stylegan2ada.errors import UserError
from stylegan2ada.protocols import NETWORK_KEYS, Module, Networks, Options

_G_FOLD = "means over the output channels of toRGB"
_D_FOLD = "sums over the input channels of fromRGB"
_HALF_PRECISION = {"num_fp16_res": 4, "conv_clamp": 256}


class CopyReport(NamedTuple):
    """What `copy_matching` did, by state-dict key."""

    copied: list[str]
    missing: list[str]  # in the destination only: left as they were
    unused: list[str]  # in the source only


@torch.no_grad()
def copy_matching(src_module: Module, dst_module: Module) -> CopyReport:
    """Copy every parameter and buffer that both have under one name; nothing is copied if a size differs."""
    source, target = _named_tensors(src_module), _named_tensors(dst_module)
    copied = [key for key in target if key in source]
    for key in copied:
        if source[key].shape != target[key].shape:
            raise UserError(
                f"the tensor {key} is of size {list(source[key].shape)} in the network to start from "
                f"and of size {list(target[key].shape)} in the new one; "
                "use the same resolution, --cfg, --cond and channels"
            )
    for key in copied:
        target[key].copy_(source[key])
    return CopyReport(
        copied, [key for key in target if key not in source], [key for key in source if key not in target]
    )


def _named_tensors(module: Module) -> dict[str, torch.Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def fold_to_grey(networks: Networks, *, log: Callable[[str], None] = print) -> Networks:
    """The same networks for one channel: G makes the mean of its RGB, D sees grey as three equal channels."""
    changed: dict[str, nn.Module] = {}
    for key in NETWORK_KEYS:
        module = networks.get(key)
        if module is None or module.img_channels == 1:
            continue
        if module.img_channels != 3:
            raise UserError(
                f"{key} has {module.img_channels} channels; only RGB networks can be folded to grey"
            )
        fold, what = (_fold_d, _D_FOLD) if key == "D" else (_fold_g, _G_FOLD)
        changed[key] = _rebuilt(key, module, lambda _: {"img_channels": 1}, fold)
        log(f"{key}: folded from RGB to grey ({what})")
    if not changed:
        log("The networks are grey already; nothing was folded")
    return _with(networks, changed)


def check_channels(networks: Networks, channels: int, path: str) -> None:
    """A clear refusal where a loaded network does not fit images of that many channels."""
    for key in NETWORK_KEYS:
        module = networks.get(key)
        if module is None or module.img_channels == channels:
            continue
        if module.img_channels == 1:
            raise UserError(
                f"{path} makes grey images and cannot be made to do {channels} channels; "
                "use a grey data set (--channels=1), or start from an RGB network"
            )
        raise UserError(
            f"{path} has {module.img_channels} channels, the data {channels}; "
            "load it with its RGB folded to grey"
        )


def _fold_g(key: str, value: torch.Tensor) -> torch.Tensor:
    is_output = key.endswith(("torgb.weight", "torgb.bias"))
    # toRGB is linear up to its clamp: the mean of its filters makes the mean of its images.
    return value.mean(0, keepdim=True) if is_output else value


def _fold_d(key: str, value: torch.Tensor) -> torch.Tensor:
    # Layers scale by 1 / sqrt(input channels) when they run: one channel instead of three is sqrt(3) louder.
    return value.sum(1, keepdim=True) / value.shape[1] ** 0.5 if key.endswith("fromrgb.weight") else value


def with_half_precision(networks: Networks) -> Networks:
    """The same networks built with float16 in the four highest resolutions and activations clamped to 256."""

    def in_synthesis(old: Options) -> Options:
        return {"synthesis_kwargs": {**old.get("synthesis_kwargs", {}), **_HALF_PRECISION}}

    changed: dict[str, nn.Module] = {}
    for key in NETWORK_KEYS:
        module = networks.get(key)
        if module is not None:
            # D takes these arguments itself, G hands them down to its synthesis network.
            changes = (lambda _: _HALF_PRECISION) if key == "D" else in_synthesis
            changed[key] = _rebuilt(key, module, changes, lambda _, value: value)
    return _with(networks, changed)


def _with(networks: Networks, changed: dict[str, nn.Module]) -> Networks:
    return cast(Networks, {**networks, **changed})  # rebuilt, so of the classes that they were


def _rebuilt(
    entry: str,
    module: nn.Module,
    changes: Callable[[Options], Options],  # old arguments by name -> new ones
    convert: Callable[[str, torch.Tensor], torch.Tensor],  # key, old tensor -> new one
) -> nn.Module:
    old = rebuild.describe_module(module)
    # By name, so that a change replaces an argument wherever it stood.
    arguments = dict(zip(rebuild.argument_names(type(module)), old.init_args, strict=False)) | old.init_kwargs
    tensors = {key: convert(key, value) for key, value in old.tensors.items()}
    try:
        # Built anew, not edited: the recorded arguments travel in files and must tell the truth.
        return rebuild.build(
            entry,
            replace(old, init_args=(), init_kwargs={**arguments, **changes(arguments)}, tensors=tensors),
        )
    except Unreadable as reason:
        raise UserError(f"{entry} cannot be changed: {reason}") from reason
