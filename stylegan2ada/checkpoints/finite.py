"""Whether networks can compute anything: NaN or infinity among their numbers makes every picture black."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from stylegan2ada.checkpoints import official_names


def not_finite(networks: Mapping[str, Any]) -> str | None:
    """The first tensor with NaN or infinity, e.g. "G_ema.mapping.fc0.weight"; None if all numbers are real.

    Takes what `load_network` returns, or a part of it: {"G_ema": G}.
    """
    for entry in official_names.ENTRY_CLASSES:
        module = networks.get(entry)
        if not isinstance(module, nn.Module):
            continue
        for key, value in module.state_dict().items():
            if not bool(torch.isfinite(value).all()):
                return f"{entry}.{key}"
    return None
