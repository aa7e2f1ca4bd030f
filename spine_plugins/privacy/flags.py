"""The flags of --dp-mode, one group for every command that trains, and what they mean together."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Self

from stylegan2ada import options as flags
from stylegan2ada.errors import UserError
from stylegan2ada.flag_types import choice
from stylegan2ada.protocols import JsonObject

OF_PAPER = ("dp_variant", "dp_ablation", "dp_noise")  # mean something in paper mode only


@dataclass(frozen=True)
class DpOptions:
    """What a training was asked of differential privacy; None where nothing was given."""

    dp_mode: str | None = None
    dp_clip: str | None = None  # a number, or none
    dp_variant: str | None = None
    dp_ablation: str | None = None
    dp_noise: float | None = None

    def of_dp(self) -> JsonObject:
        """The flags that were given, by field name."""
        names = [field.name for field in dataclasses.fields(DpOptions)]
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    @classmethod
    def from_record(cls, record: JsonObject) -> Self:
        """Back from what `of_dp` gave to a run's options file."""
        known = {field.name for field in dataclasses.fields(DpOptions)}
        return cls(**{name: value for name, value in record.items() if name in known})


dp_options = flags.group(
    "Differential privacy",
    flags.opt("--dp-mode", type=choice("off", "paper"),
              help="paper: the paper's clipping and noise, without any guarantee [default: off]"),
    flags.opt("--dp-clip", metavar="FLOAT|none", help="Clip norm of gradients [default: paper 1.5]"),
    flags.opt("--dp-variant", type=choice("text", "release"),
              help="paper: clip, then noise, or as the paper's program [default: text]"),
    flags.opt("--dp-ablation", type=choice("b", "c", "d", "e"),
              help="paper: an arm of Figure 3: noise 0.2, noise 0.02, batch 4, no clipping"),
    flags.opt("--dp-noise", type=float, metavar="FLOAT",
              help="paper: deviation of the noise on each value of a gradient [default: 0.2]"),
)  # fmt: skip


def clip_norm(text: str | None, default: float | None) -> float | None:
    """The value of --dp-clip; None for `none`."""
    if text is None:
        return default
    if text == "none":
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise UserError(f"--dp-clip={text} must be a positive number, or none")
    return value


def refuse(asked: DpOptions, names: tuple[str, ...], mode: str) -> None:
    """Refuse flags that mean nothing in this mode."""
    for name in names:
        if getattr(asked, name) is not None:
            raise UserError(
                f"--{name.replace('_', '-')} means nothing with --dp-mode={mode}; leave one of them out"
            )
