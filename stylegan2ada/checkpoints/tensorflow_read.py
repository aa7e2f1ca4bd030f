"""Networks of the TensorFlow era -> ours: names and layouts are translated key by key from our side."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch

from stylegan2ada.checkpoints import official_names as names
from stylegan2ada.checkpoints.official_read import TFNetwork, plain
from stylegan2ada.checkpoints.pickle_machine import Unreadable, shown
from stylegan2ada.checkpoints.pickle_tensors import NumpyArray
from stylegan2ada.checkpoints.rebuild import Description, assemble, check_arguments, construct
from stylegan2ada.protocols import NETWORK_KEYS, Networks, Options

_MAX_COMPONENTS = 20  # of a network, one inside the other counted; there were two
_MAX_VARIABLES = 3000  # 1024x1024 has about 170
_MAX_NAME = 100  # letters
_MAX_NUMBER = 2**63  # of a variable that is a plain number
_FILTER = [1, 3, 3, 1]

# TensorFlow's argument -> its default. `None` in a value means what it meant there.
_G_DEFAULTS: Options = {
    "latent_size": 512, "label_size": 0, "dlatent_size": 512, "resolution": 1024, "num_channels": 3,
    "mapping_layers": 8, "label_fmaps": None, "mapping_fmaps": None, "mapping_nonlinearity": "lrelu",
    "mapping_lrmul": 0.01, "w_avg_beta": 0.995,
    "fmap_base": 16384, "fmap_max": 512, "num_fp16_res": 0, "conv_clamp": None, "architecture": "skip",
    "resample_kernel": _FILTER, "use_noise": True, "nonlinearity": "lrelu",
}  # fmt: skip
_G_IGNORED = frozenset({"truncation_psi", "truncation_cutoff", "style_mixing_prob", "structure"})

_D_DEFAULTS: Options = {
    "label_size": 0, "resolution": 1024, "num_channels": 3, "architecture": "resnet",
    "fmap_base": 16384, "fmap_max": 512, "num_fp16_res": 0, "conv_clamp": None,
    "mapping_layers": 0, "mapping_fmaps": None, "mapping_lrmul": 0.1,
    "nonlinearity": "lrelu", "resample_kernel": _FILTER, "freeze_layers": 0,
    "mbstd_group_size": None, "mbstd_num_features": 1,
}  # fmt: skip
_D_IGNORED = frozenset({"structure"})


def convert(content: tuple[object, ...], max_bytes: int, log: Callable[[str], None]) -> Networks:
    """G, D, G_ema of a file's (G, D, Gs); values are exactly those of the file."""
    networks = [network for network in content if isinstance(network, TFNetwork)]
    if len(content) != 3 or len(networks) != 3:
        raise Unreadable("it holds a tuple that is not the three networks of a TensorFlow-era file")
    log("Converting a network file of the TensorFlow era")
    return assemble(
        (entry, _translated(entry, network, max_bytes)) for entry, network in zip(NETWORK_KEYS, networks)
    )


def _translated(entry: str, network: TFNetwork, max_bytes: int) -> Description:
    variables = _variables(entry, network, max_bytes)
    translate = _discriminator if entry == "D" else _generator
    return translate(entry, _arguments(entry, network), variables)


# What the file says


def _arguments(entry: str, network: TFNetwork) -> Options:
    """The keyword arguments given in TensorFlow, defaults filled in."""
    version = network.fields.get("version")
    if type(version) is not int or version < names.TF_MIN_VERSION:
        raise Unreadable(
            f"its {entry} has version {shown(version)}; the oldest that works is {names.TF_MIN_VERSION}"
        )
    given = plain(network.fields.get("static_kwargs"))
    if type(given) is not dict:
        raise Unreadable(f"its {entry} does not say how it was constructed")
    defaults, ignored = (_D_DEFAULTS, _D_IGNORED) if entry == "D" else (_G_DEFAULTS, _G_IGNORED)
    unknown = given.keys() - defaults.keys() - ignored
    if unknown:
        raise Unreadable(f"its {entry} was built with the argument {shown(min(unknown))}, which is not known")
    result = {**defaults, **{key: value for key, value in given.items() if key not in ignored}}
    if type(result["resolution"]) is not int or type(result["fmap_base"]) is not int:
        raise Unreadable(f"its {entry} has a resolution or width that is no whole number")
    return result


def _variables(entry: str, network: TFNetwork, max_bytes: int) -> dict[str, torch.Tensor]:
    """All arrays of a network and its components by full name."""
    found: dict[str, torch.Tensor] = {}
    used_bytes = 0
    pending: list[tuple[str, object]] = [("", network)]
    number_of_parts = 1
    while pending:
        prefix, part = pending.pop()
        if not isinstance(part, TFNetwork):
            raise Unreadable(f"its {entry} has a component {shown(prefix)} that is no network")
        variables, components = part.fields.get("variables"), part.fields.get("components") or {}
        if type(variables) is not list or type(components) is not dict:
            raise Unreadable(f"its {entry} lists no variables")
        number_of_parts += len(components)
        # A memo lets components contain each other.
        if number_of_parts > _MAX_COMPONENTS or len(variables) > _MAX_VARIABLES:
            raise Unreadable(f"its {entry} has more components or variables than any network")
        for item in variables:
            if type(item) is not tuple or len(item) != 2 or not _is_name(item[0]):
                raise Unreadable(f"its {entry} lists a variable without name and value")
            value = _tensor(f"{prefix}{item[0]}", item[1])
            used_bytes += value.numel() * value.element_size()
            # Summed up, since one array may stand under many names.
            if used_bytes > max_bytes:
                raise Unreadable("its variables claim more than the file holds")
            found[prefix + item[0]] = value
        if not all(map(_is_name, components)):
            raise Unreadable(f"its {entry} has a component without a name")
        pending.extend((f"{prefix}{name}/", child) for name, child in components.items())
    return found


def _is_name(value: object) -> bool:
    return type(value) is str and len(value) <= _MAX_NAME


def _tensor(name: str, value: object) -> torch.Tensor:
    if isinstance(value, NumpyArray) and value.array is not None:
        # A copy: arrays over the file's bytes cannot be written to.
        return torch.from_numpy(np.array(value.array))
    if isinstance(value, int | float) and abs(value) < _MAX_NUMBER:
        return torch.tensor(float(value), dtype=torch.float32)
    raise Unreadable(f"its variable {shown(name)} is {shown(value)}")


# What it means to us


class _Source(NamedTuple):
    """Where one of our tensors comes from."""

    variable: str
    change: Callable[[torch.Tensor], torch.Tensor]


def _as_is(value: torch.Tensor) -> torch.Tensor:
    return value


def _kernel(value: torch.Tensor) -> torch.Tensor:
    """[in, out] -> [out, in]; [kh, kw, in, out] -> [out, in, kh, kw]."""
    return value.permute(3, 2, 0, 1) if value.ndim == 4 else value.t() if value.ndim == 2 else value


def _flipped_kernel(value: torch.Tensor) -> torch.Tensor:
    # Upsampling layers convolve with the kernel flipped, in TensorFlow as in ours.
    return _kernel(value.flip(0, 1))


def _first(value: torch.Tensor) -> torch.Tensor:
    return value[0]


def _first_first(value: torch.Tensor) -> torch.Tensor:
    return value[0, 0]


def _plus_one(value: torch.Tensor) -> torch.Tensor:
    # Style biases were stored as distances from one.
    return value + 1


_G_LAYERS = {"conv0": "Conv0_up", "conv1": "Conv1", "torgb": "ToRGB", "skip": "Skip"}
_D_LAYERS = {"fromrgb": "FromRGB", "conv0": "Conv0", "conv1": "Conv1_down", "skip": "Skip"}
_D_EPILOGUE = {"conv": "4x4/Conv", "fc": "4x4/Dense0", "out": "Output", "fromrgb": "4x4/FromRGB"}


def _mapping_source(path: list[str], folder: str, dense: str) -> _Source:
    layer, leaf = path
    name = "LabelEmbed" if layer == "embed" else dense + layer.removeprefix("fc")
    return _Source(f"{folder}{name}/{leaf}", _kernel)


def _generator_source(key: str) -> _Source:
    network, *path = key.split(".")
    if key == "mapping.w_avg":
        return _Source("dlatent_avg", _as_is)
    if network == "mapping":
        return _mapping_source(path, "mapping/", "Dense")
    side = int(path[0].removeprefix("b"))
    folder = f"synthesis/{side}x{side}"
    if path[1] == "const":
        return _Source(f"{folder}/Const/const", _first)
    layer, leaf = path[1], path[-1]
    if leaf == "noise_const":
        # Noise inputs were numbered through: one at 4x4, two at each larger size.
        number = 2 * (side.bit_length() - 1) - (5 if layer == "conv0" or side == 4 else 4)
        return _Source(f"synthesis/noise{max(number, 0)}", _first_first)
    folder += "/Conv" if side == 4 and layer == "conv1" else f"/{_G_LAYERS[layer]}"
    if path[2] == "affine":
        return _Source(f"{folder}/mod_{leaf}", _plus_one if leaf == "bias" else _kernel)
    return _Source(
        f"{folder}/{leaf}", _flipped_kernel if layer in ("conv0", "skip") and leaf == "weight" else _kernel
    )


def _discriminator_source(key: str) -> _Source:
    block, *path = key.split(".")
    if block == "mapping":
        return _mapping_source(path, "", "Mapping")
    layer, leaf = path
    side = block.removeprefix("b")
    folder = _D_EPILOGUE[layer] if side == "4" else f"{side}x{side}/{_D_LAYERS[layer]}"
    return _Source(f"{folder}/{leaf}", _kernel)


def _with_image_layers_renamed(
    variables: Mapping[str, torch.Tensor], arguments: Options
) -> dict[str, torch.Tensor]:
    """Progressive growing counted its image layers from the top (lod): architecture 'orig'."""
    renamed = {}
    for name, value in variables.items():
        match = re.fullmatch(r"(synthesis/|)(ToRGB|FromRGB)_lod(\d{1,2})/(\w+)", name)
        if match:
            folder, layer, level, leaf = match.groups()
            # Level 0 is the full resolution, each further one half of it.
            side = arguments["resolution"] >> int(level)
            name = f"{folder}{side}x{side}/{layer}/{leaf}"
            arguments["architecture"] = "orig"
        renamed[name] = value
    return renamed


def _generator(entry: str, given: Options, variables: dict[str, torch.Tensor]) -> Description:
    variables = _with_image_layers_renamed(variables, given)
    mapping = {
        "num_layers": given["mapping_layers"],
        "embed_features": given["label_fmaps"],
        "layer_features": given["mapping_fmaps"],
        "activation": given["mapping_nonlinearity"],
        "lr_multiplier": given["mapping_lrmul"],
        # Without a beta nothing was tracked: for us, an average that never moves.
        "w_avg_beta": 1 if given["w_avg_beta"] is None else given["w_avg_beta"],
    }
    synthesis = {
        # The width at resolution r was fmap_base / 2^(log2(r) - 1), which is 2 fmap_base / r.
        "channel_base": given["fmap_base"] * 2,
        "channel_max": given["fmap_max"],
        "num_fp16_res": given["num_fp16_res"],
        "conv_clamp": given["conv_clamp"],
        "architecture": given["architecture"],
        "resample_filter": given["resample_kernel"],
        "use_noise": given["use_noise"],
        "activation": given["nonlinearity"],
    }
    arguments = {
        "z_dim": given["latent_size"],
        "c_dim": given["label_size"],
        "w_dim": given["dlatent_size"],
        "img_resolution": given["resolution"],
        "img_channels": given["num_channels"],
        "mapping_kwargs": mapping,
        "synthesis_kwargs": synthesis,
    }
    return _described(entry, "Generator", arguments, variables, _generator_source)


def _discriminator(entry: str, given: Options, variables: dict[str, torch.Tensor]) -> Description:
    variables = _with_image_layers_renamed(variables, given)
    width, activation = given["mapping_fmaps"], given["nonlinearity"]
    arguments = {
        "c_dim": given["label_size"],
        "img_resolution": given["resolution"],
        "img_channels": given["num_channels"],
        "architecture": given["architecture"],
        "channel_base": given["fmap_base"] * 2,
        "channel_max": given["fmap_max"],
        "num_fp16_res": given["num_fp16_res"],
        "conv_clamp": given["conv_clamp"],
        "cmap_dim": width,
        "block_kwargs": {
            "activation": activation,
            "resample_filter": given["resample_kernel"],
            "freeze_layers": given["freeze_layers"],
        },
        "mapping_kwargs": {
            "num_layers": given["mapping_layers"],
            "embed_features": width,
            "layer_features": width,
            "activation": activation,
            "lr_multiplier": given["mapping_lrmul"],
        },
        "epilogue_kwargs": {
            "mbstd_group_size": given["mbstd_group_size"],
            "mbstd_num_channels": given["mbstd_num_features"],
            "activation": activation,
        },
    }
    return _described(entry, "Discriminator", arguments, variables, _discriminator_source)


def _described(
    entry: str,
    class_name: str,
    arguments: Options,
    variables: Mapping[str, torch.Tensor],
    source_of: Callable[[str], _Source],
) -> Description:
    # From our side: our module says which tensors it wants, so nothing of ours can be forgotten, and what the
    # file has beside them does not matter.
    bare = Description(class_name, (), arguments, {})
    check_arguments(entry, bare)
    tensors: dict[str, torch.Tensor] = {}
    for key, place in construct(entry, bare).state_dict().items():
        if key.endswith("resample_filter"):
            tensors[key] = place  # was no variable; follows from the arguments
            continue
        variable, change = source_of(key)
        if variable not in variables:
            raise Unreadable(f"its {entry} lacks the variable {variable} (our {key})")
        try:
            tensors[key] = change(variables[variable])
        except (IndexError, RuntimeError) as error:
            shape = list(variables[variable].shape)
            raise Unreadable(
                f"its {entry} has the variable {variable} of size {shape}, which does not fit"
            ) from error
    return Description(class_name, (), arguments, tensors)
