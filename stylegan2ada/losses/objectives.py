"""The adversarial objectives: what D and G minimise, as functions of logits, and what each asks of a run.

All functions return one value per sample. Logits are D's raw output; higher means more real.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import softplus

from stylegan2ada.errors import UserError
from stylegan2ada.protocols import Options

Critic = Callable[[Tensor], Tensor]  # images -> logits, labels already chosen
Penalty = Callable[[Critic, Tensor, Tensor, Tensor], Tensor]  # critic, real, fake, mix [N] -> [N]


def slopes(logits: Tensor, inputs: Tensor) -> Tensor:
    """d(sum of logits)/d(inputs), itself differentiable; row n is sample n's own if D mixes none."""
    (slope,) = torch.autograd.grad(logits.sum(), inputs, create_graph=True)
    return slope


def r1_penalty(real_logits: Tensor, real_img: Tensor) -> Tensor:
    """Squared gradient norm at real images, [N]; half of it is R1 (Mescheder et al., arXiv:1801.04406)."""
    return slopes(real_logits, real_img).square().flatten(1).sum(1)


def gradient_penalty(critic: Critic, real_img: Tensor, fake_img: Tensor, mix: Tensor) -> Tensor:
    """(gradient norm - 1)^2 at random interpolates, [N] (Gulrajani et al. 2017, arXiv:1704.00028, eq. 3).

    mix [N] in [0, 1]: the share of the fake image. The norm runs over all axes of a sample.
    """
    share = mix.reshape(-1, *[1] * (real_img.ndim - 1))
    between = torch.lerp(real_img.detach().float(), fake_img.detach().float(), share).requires_grad_(True)
    norm = slopes(critic(between).float(), between).flatten(1).norm(dim=1)
    return (norm - 1).square()


@dataclass(frozen=True)
class Objective:
    """One row of the table below."""

    name: str
    on_real: Callable[[Tensor], Tensor]  # D's loss of real logits
    on_fake: Callable[[Tensor], Tensor]  # D's loss of fake logits
    g: Callable[[Tensor], Tensor]  # G's loss of fake logits
    penalty: Penalty | None = None  # of D, in each step
    has_regularisers: bool = False  # R1 and path length, lazily in phases of their own
    clips_weights: bool = False  # D's effective weights, after each step
    has_drift: bool = False  # a small pull of real logits towards zero
    G_every: int = 1  # G takes a step in every n-th iteration, its gradients unscaled
    network_settings: Options = field(default_factory=dict)  # constructor arguments asked of D
    refuses_ada: str = ""  # why adaptive augmentation cannot work, empty: it can

    def d(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """What D minimises."""
        return self.on_real(real_logits) + self.on_fake(fake_logits)


def find_objective(name: str) -> Objective:
    """A row of the table; an unknown name is answered with the known ones."""
    if name not in OBJECTIVES:
        raise UserError(f"objective {name!r} is not known; use one of: {', '.join(OBJECTIVES)}")
    return OBJECTIVES[name]


def _minus(logits: Tensor) -> Tensor:
    return -logits


def _surprise(logits: Tensor) -> Tensor:
    """-ln sigmoid(logits)."""
    return softplus(-logits)


def _lack_of_surprise(logits: Tensor) -> Tensor:
    """ln(1 - sigmoid(logits)): vanishing gradient where D is sure, which is the point of comparing."""
    return -softplus(logits)


def _distance_to(target: float) -> Callable[[Tensor], Tensor]:
    return lambda logits: (logits - target).square() / 2


_OFFSET = (
    "adaptive augmentation steers by the sign of D(real), and a Wasserstein critic's zero has no meaning; "
    "use --aug=noaug or --aug=fixed with --p"
)
_TARGETS = (
    "adaptive augmentation steers by the sign of D(real), and lsgan's logits lie around 1/2, not 0; "
    "use --aug=noaug or --aug=fixed with --p"
)
# A critic that compares the samples of a batch has no per-sample gradient that a penalty could measure.
_NO_MINIBATCH_STDDEV = {"epilogue_kwargs": {"mbstd_num_channels": 0}}

# fmt: off
OBJECTIVES: dict[str, Objective] = {
    row.name: row
    for row in (
        # Karras et al. 2020, arXiv:1912.04958: non-saturating logistic loss, lazy R1 and path length
        Objective("stylegan2", _surprise, softplus, _surprise, has_regularisers=True),
        # Goodfellow et al. 2014, arXiv:1406.2661: G as used in practice, and as in the minimax game (eq. 1)
        Objective("ns",        _surprise, softplus, _surprise),
        Objective("minimax",   _surprise, softplus, _lack_of_surprise),
        # Mao et al. 2017, arXiv:1611.04076, eq. 9: targets 1 and 0, G wants 1
        Objective("lsgan",     _distance_to(1), _distance_to(0), _distance_to(1), refuses_ada=_TARGETS),
        # Arjovsky et al. 2017, arXiv:1701.07875, algorithm 1
        Objective("wgan",      _minus, torch.positive, _minus, clips_weights=True,
                  G_every=5, refuses_ada=_OFFSET),
        # Gulrajani et al. 2017, arXiv:1704.00028; drift: Karras et al. 2018, arXiv:1710.10196, appendix A.1
        Objective("wgan-gp",   _minus, torch.positive, _minus, penalty=gradient_penalty, has_drift=True,
                  G_every=5, refuses_ada=_OFFSET, network_settings=_NO_MINIBATCH_STDDEV),
    )
}
# fmt: on
