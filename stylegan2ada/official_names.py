"""The one table of upstream's dotted names: what its files may mention, and what each is to us. No torch."""

from __future__ import annotations

Name = tuple[str, str]  # (module, attribute), as a pickle stores a global

# Pickled networks: each module is one call of RECONSTRUCT on a dict with RECORD_FIELDS.
RECONSTRUCT: Name = ("torch_utils.persistence", "_reconstruct_persistent_obj")
RECORD_FIELDS = ("type", "version", "module_src", "class_name", "state")
RECORD_TYPE = "class"
RECORD_VERSION = 6
TOP_LEVEL_KEYS = ("training_set_kwargs", "G", "D", "G_ema", "augment_pipe")
EASY_DICT: Name = ("dnnlib.util", "EasyDict")

# What training_options.json calls the classes; only written and left out again, never imported.
OPTION_CLASSES = {
    "training_set_kwargs": "training.dataset.ImageFolderDataset",
    "G_kwargs": "training.networks.Generator",
    "D_kwargs": "training.networks.Discriminator",
    "G_opt_kwargs": "torch.optim.Adam",
    "D_opt_kwargs": "torch.optim.Adam",
    "loss_kwargs": "training.loss.StyleGAN2Loss",
    "augment_kwargs": "training.augment.AugmentPipe",
}

# Modules of the official program that ours looks for when it runs in there.
TRAINING_STATS = "torch_utils.training_stats"

# TensorFlow-era files are a tuple of three of these.
TF_NETWORK: Name = ("dnnlib.tflib.network", "Network")
TF_MIN_VERSION = 4

ORDERED_DICT: Name = ("collections", "OrderedDict")
SETS: tuple[Name, ...] = (("builtins", "set"), ("__builtin__", "set"))  # protocols below 4
ENCODE: Name = ("_codecs", "encode")  # how protocols below 3 spell bytes

PARAMETER: Name = ("torch._utils", "_rebuild_parameter")
TENSOR: Name = ("torch._utils", "_rebuild_tensor_v2")
STORAGE: Name = ("torch.storage", "_load_from_bytes")

# numpy moved its private modules in 2.0; files carry the name of whichever version wrote them.
_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
NUMPY_SCALARS: tuple[Name, ...] = tuple((module, "scalar") for module in _MULTIARRAY)
NUMPY_ARRAYS: tuple[Name, ...] = tuple((module, "_reconstruct") for module in _MULTIARRAY)
NUMPY_NDARRAY: Name = ("numpy", "ndarray")
NUMPY_DTYPE: Name = ("numpy", "dtype")

# Class name in a record -> where our class of that name lives.
_STYLEGAN2 = "stylegan2ada.networks.stylegan2"
CLASS_HOMES: dict[str, str] = {
    **dict.fromkeys(
        (
            "Generator", "MappingNetwork", "SynthesisNetwork", "SynthesisBlock", "SynthesisLayer",
            "Discriminator", "DiscriminatorBlock", "DiscriminatorEpilogue", "MinibatchStdLayer",
            "FullyConnectedLayer", "Conv2dLayer", "ToRGBLayer",
        ),
        _STYLEGAN2,
    ),
    "AugmentPipe": "stylegan2ada.networks.augment",
}  # fmt: skip

# Which class each entry of a network file must be.
ENTRY_CLASSES = {"G": "Generator", "D": "Discriminator", "G_ema": "Generator", "augment_pipe": "AugmentPipe"}

# Arguments that are handed on as keyword arguments of inner classes.
NESTED_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "mapping_kwargs": ("MappingNetwork",),
    "synthesis_kwargs": ("SynthesisNetwork", "SynthesisBlock", "SynthesisLayer"),
    "block_kwargs": ("DiscriminatorBlock",),
    "epilogue_kwargs": ("DiscriminatorEpilogue",),
}
