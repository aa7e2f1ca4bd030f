"""The flags of --dp-mode, one group for every command that trains."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Self

from stylegan2ada import options as flags
from stylegan2ada.errors import UserError
from stylegan2ada.flag_types import SEED, choice
from stylegan2ada.protocols import JsonObject

OF_PAPER = ("dp_variant", "dp_ablation", "dp_noise")  # mean something in paper mode only
OF_SGD = (
    "dp_noise_multiplier", "dp_target_epsilon", "dp_delta", "dp_batch", "dp_steps", "dp_d_steps", "dp_method",
    "dp_chunk", "dp_microbatch", "dp_unit", "dp_n_public", "dp_r1", "dp_aug_mult", "dp_ada", "dp_clip_fakes",
    "dp_label_prior", "dp_trainable", "dp_init", "dp_canaries", "dp_insecure_seed", "sign_key",
)  # fmt: skip


@dataclass(frozen=True)
class DpOptions:
    """What a training was asked of differential privacy; None where nothing was given."""

    dp_mode: str | None = None
    dp_clip: str | None = None  # a number, or none
    # paper
    dp_variant: str | None = None
    dp_ablation: str | None = None
    dp_noise: float | None = None
    # sgd
    dp_noise_multiplier: float | None = None
    dp_target_epsilon: float | None = None
    dp_delta: float | None = None
    dp_batch: int | None = None
    dp_steps: int | None = None
    dp_d_steps: str | None = None
    dp_method: str | None = None
    dp_chunk: int | None = None
    dp_microbatch: int | None = None
    dp_unit: str | None = None
    dp_n_public: int | None = None
    dp_r1: str | None = None
    dp_aug_mult: int | None = None
    dp_ada: str | None = None
    dp_clip_fakes: bool | None = None
    dp_label_prior: str | None = None
    dp_trainable: str | None = None
    dp_init: str | None = None
    dp_canaries: int | None = None
    dp_insecure_seed: int | None = None
    sign_key: str | None = None

    def of_dp(self) -> JsonObject:
        """The flags that were given, by field name."""
        names = [field.name for field in dataclasses.fields(DpOptions)]
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    @classmethod
    def from_record(cls, record: JsonObject) -> Self:
        """Back from what `of_dp` gave to a run's options file."""
        known = {field.name for field in dataclasses.fields(DpOptions)}
        return cls(**{name: value for name, value in record.items() if name in known})


# fmt: off
_common = flags.group(
    "Differential privacy",
    flags.opt("--dp-mode", type=choice("off", "paper", "sgd"),
              help="sgd: DP-SGD with a guarantee; paper: the paper's clipping and noise, without any "
              "[default: off]"),
    flags.opt("--dp-clip", metavar="FLOAT|none", help="Clip norm of gradients [default: sgd 1, paper 1.5]"),
)
_sgd = flags.group(
    "Differential privacy by DP-SGD (--dp-mode=sgd)",
    flags.opt("--dp-target-epsilon", type=float, metavar="FLOAT", help="Noise is chosen to stay below it"),
    flags.opt("--dp-noise-multiplier", type=float, metavar="FLOAT", help="Noise over clip norm, instead"),
    flags.opt("--dp-delta", type=float, metavar="FLOAT", help="[default: the smaller of 1e-5 and 1/(10 n)]"),
    flags.opt("--dp-batch", type=int, metavar="INT", help="Expected units per step of D, and fakes"),
    flags.opt("--dp-steps", type=int, metavar="INT", help="Steps of D; the run ends with them"),
    flags.opt("--dp-d-steps", metavar="INT|adaptive", help="Steps of D per step of G [default: 1]"),
    flags.opt("--dp-unit", type=choice("image", "study", "patient"),
              help="Whom the promise is made to [default: image]"),
    flags.opt("--dp-n-public", type=int, metavar="INT",
              help="A published round number of units; without it one unit may be replaced, none added"),
    flags.opt("--dp-r1", type=choice("off", "fake", "real"), help="R1 on which images [default: off]"),
    flags.opt("--dp-aug-mult", type=int, metavar="INT", help="Augmented copies per image [default: 1]"),
    flags.opt("--dp-ada", metavar="fixed:P|fake|noisy:S",
              help="Strength of augmentation: fixed, by fakes, by a noised sum of signs [default: fixed:0]"),
    flags.opt("--dp-label-prior", metavar="uniform|FILE|dp:S",
              help="Labels of fakes: all alike, JSON list of shares, noised histogram [default: uniform]"),
    flags.opt("--dp-clip-fakes", type=bool, metavar="BOOL", help="Clip gradients of fakes [default: true]"),
    flags.opt("--dp-trainable", metavar="GLOB", help="Parameters of D that learn, by name [default: all]"),
    flags.opt("--dp-init", metavar="public:NOTE|none", help="Where the public weights of --resume are from"),
    flags.opt("--dp-method", type=choice("vmap", "loop"), help="loop: slower, least memory [default: vmap]"),
    flags.opt("--dp-chunk", type=int, metavar="INT", help="Samples at once by vmap [default: 8]"),
    flags.opt("--dp-microbatch", type=int, metavar="1", help="Samples clipped together; only 1 is private"),
    flags.opt("--dp-canaries", type=int, metavar="INT", help="Made-up records for `spinegan dp audit`"),
    flags.opt("--sign-key", metavar="FILE", help="Sign the report with this key; made if it is not there"),
    flags.opt("--dp-insecure-seed", type=SEED, metavar="INT",
              help="Noise that can be repeated, for tests: the report says guarantee: none"),
)
_paper = flags.group(
    "The paper's noise (--dp-mode=paper; guarantee: none)",
    flags.opt("--dp-variant", type=choice("text", "release"),
              help="Clip, then noise, or as the paper's program [default: text]"),
    flags.opt("--dp-ablation", type=choice("b", "c", "d", "e"),
              help="An arm of Figure 3: noise 0.2, noise 0.02, batch 4, no clipping"),
    flags.opt("--dp-noise", type=float, metavar="FLOAT",
              help="Deviation of the noise on each value of a gradient [default: 0.2]"),
)
# fmt: on
dp_options = flags.stack(_common, _sgd, _paper)


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
