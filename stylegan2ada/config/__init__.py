"""What a training run will do: the user's options, the presets, and one pure function from one to the other.

`TrainOptions` holds one field per flag; `resolve` turns it into a complete `TrainConfig`.
"""

from stylegan2ada.config.continuing import SAFE_TO_CHANGE, continue_with
from stylegan2ada.config.presets import (
    PRESETS,
    TRANSFER_SOURCES,
    augmentation_presets,
    auto_preset,
    transfer_source,
)
from stylegan2ada.config.records import LAST_SEED, TrainConfig, TrainOptions
from stylegan2ada.config.resolving import LossFacts, describe, loss_options, resolve

__all__ = [
    "LAST_SEED", "PRESETS", "SAFE_TO_CHANGE", "TRANSFER_SOURCES", "LossFacts", "TrainConfig", "TrainOptions",
    "augmentation_presets", "auto_preset", "continue_with", "describe", "loss_options", "resolve",
    "transfer_source",
]  # fmt: skip
