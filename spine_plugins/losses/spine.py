"""SpineGAN's loss: StyleGAN2's, plus gamma times what a frozen classifier says about the fakes' classes.

For a binary classifier with logit s and wanted class c, the term is gamma * softplus((1 - 2c) s): the binary
cross-entropy of Schonfeld and Veeravagu (2022), whose printed formula lacks the minus before c log S.
docs/spine-loss.md says what the term does to the generated density, and what it costs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal, Protocol, TypedDict

import torch
from torch import Tensor

from spine_plugins.classifier.answers import class_loss, is_as_wanted
from stylegan2ada import stats
from stylegan2ada.errors import UserError
from stylegan2ada.losses.draws import Draws
from stylegan2ada.losses.stylegan2 import StyleGAN2Loss
from stylegan2ada.losses.terms import GeneratorTerm
from stylegan2ada.protocols import Options

if TYPE_CHECKING:
    from spine_plugins.classifier.model import Mapping, SpineClassifier


class TermOptions(TypedDict, total=False):
    """What changes the class term's formula."""

    weight: float
    reduction: Literal["sum", "mean"]
    mapping: Mapping


WEIGHT = 0.01  # the paper's gamma
# What the authors' program did.
AUTHORS: TermOptions = {"weight": 0.1, "reduction": "mean", "mapping": "authors"}


class HasProgress(Protocol):
    """As much of a run as the warm-up needs."""

    @property
    def cur_nimg(self) -> int: ...


class SpineTerm:
    """The class term, in Gmain, on fakes; a generator term as `stylegan2ada.losses.terms` describes it."""

    name = "cls"  # reported as Loss/G/cls
    capturable = True  # what changes on the host is `weight` alone

    def __init__(
        self,
        weight: float = WEIGHT,  # gamma
        *,
        device: torch.device | str = "cpu",
        classifier: str | SpineClassifier | None = None,  # file or module; frozen, eval, float32
        reduction: Literal["sum", "mean"] = "sum",  # over the whole batch, whatever its split
        mapping: Mapping = "card",  # how images become the classifier's input
        warmup_kimg: float = 0,  # gamma rises linearly from 0 within so many kimg
        augment_pipe: Callable[[Tensor], Tensor] | None = None,  # the classifier sees augmented fakes
    ) -> None:
        if classifier is None:
            raise UserError(
                "the spine loss needs a trained classifier; give --classifier=FILE (from `spinegan classify`)"
            )
        if reduction not in ("sum", "mean"):
            raise UserError(f"--cls-reduction={reduction} is not known; use sum or mean")
        if isinstance(classifier, str):
            from spine_plugins.classifier import load_classifier

            classifier = load_classifier(classifier)
        self.classifier = classifier.to(device)
        # Frozen, yet not under no_grad: gradients must pass through it to the fakes.
        self.classifier.eval().requires_grad_(False)
        self.reduction, self.mapping = reduction, mapping
        self.full_weight, self.warmup_kimg = float(weight), float(warmup_kimg)
        self.augment_pipe = augment_pipe
        # Outside of a run no image has been shown: a warm-up stands at its beginning.
        self._progress_nimg: Callable[[], int] = lambda: 0 if warmup_kimg else 1

    def start(self, run: HasProgress) -> None:
        """The run's progress moves the warm-up."""
        self._progress_nimg = lambda: run.cur_nimg

    def state_dict(self) -> dict[str, str | None]:
        """Which classifier it was; the weights stay in its file."""
        return {"classifier_sha256": self.classifier.card.get("sha256")}

    def load_state_dict(self, state: dict[str, str | None]) -> None:
        """A run goes on with the classifier it began with, or not at all."""
        before, now = state["classifier_sha256"], self.classifier.card.get("sha256")
        # Another classifier is another loss: the curves would bend without a visible reason.
        if before != now:
            raise UserError(
                f"the classifier has changed since this run was stopped (SHA-256 {str(before)[:12]} then, "
                f"{str(now)[:12]} now); put the old file back, or start a new run with --resume=PKL"
            )

    @property
    def weight(self) -> float:
        """Gamma now."""
        if self.warmup_kimg <= 0:
            return self.full_weight
        return self.full_weight * min(self._progress_nimg() / (self.warmup_kimg * 1000), 1.0)

    def __call__(self, fake_img: Tensor, gen_c: Tensor, real_img: Tensor) -> Tensor:
        # With weight 0 nothing may reach G, not even a zero that hides a NaN.
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.weight != 0):
            seen = fake_img if self.augment_pipe is None else self.augment_pipe(fake_img)
            logits = self.classifier(seen, mapping=self.mapping)  # [N, k]
            loss = class_loss(logits, gen_c, self.classifier.task)
        stats.report("Loss/G/cls_accuracy", is_as_wanted(logits.detach(), gen_c, self.classifier.task))
        return loss


class SpineGANLoss(StyleGAN2Loss):
    """`--loss=spine`: an objective (stylegan2) with its regularisers untouched, plus the class term.

    It takes every option of StyleGAN2Loss, written out: flags are checked against this signature.

    >>> networks = sg.load_network("network.pkl")
    >>> G, D = networks["G"], networks["D"]
    >>> loss = sp.SpineGANLoss("cpu", G.mapping, G.synthesis, D, classifier="classifier.safetensors")
    >>> loss.terms[0].name, loss.terms[0].weight
    ('cls', 0.01)
    """

    capturable = True

    def __init__(
        self,
        device: torch.device | str,
        G_mapping: Callable[..., Tensor],
        G_synthesis: Callable[..., Tensor],
        D: Callable[..., Tensor],
        augment_pipe: Callable[..., Tensor] | None = None,
        style_mixing_prob: float = 0.9,
        r1_gamma: float = 10,
        pl_batch_shrink: int = 2,
        pl_decay: float = 0.01,
        pl_weight: float = 2,
        *,
        classifier: str | SpineClassifier | None = None,  # safetensors file of `spinegan classify train`
        cls_weight: float = WEIGHT,  # gamma
        cls_reduction: Literal["sum", "mean"] = "sum",
        cls_warmup: float = 0,  # kimg
        spine_aug: bool = False,  # the classifier sees what D sees
        spine_compat: Literal["authors"] | None = None,  # their weight, reduction and input mapping
        objective: str = "stylegan2",
        terms: Iterable[GeneratorTerm | str] = (),  # beside the class term
        draws: Draws | None = None,
        gp_weight: float = 10,
        drift_weight: float = 0.001,
        weight_clip: float = 0.01,
    ) -> None:
        if spine_compat not in (None, "authors"):
            raise UserError(f"--spine-compat={spine_compat} is not known; the only choice is authors")
        # All three of theirs or none: half a recipe would replicate nothing.
        by_flags: TermOptions = {"weight": cls_weight, "reduction": cls_reduction}
        term = SpineTerm(
            device=device,
            classifier=classifier,
            warmup_kimg=cls_warmup,
            augment_pipe=augment_pipe if spine_aug else None,
            **(by_flags if spine_compat is None else AUTHORS),
        )
        super().__init__(
            device,
            G_mapping,
            G_synthesis,
            D,
            augment_pipe,
            style_mixing_prob,
            r1_gamma,
            pl_batch_shrink,
            pl_decay,
            pl_weight,
            objective=objective,
            terms=[term, *terms],
            draws=draws,
            gp_weight=gp_weight,
            drift_weight=drift_weight,
            weight_clip=weight_clip,
        )

    @staticmethod
    def remarks(options: Options, batch_size: int) -> list[str]:
        """What a run says before it begins: the weight of the term beside the adversarial mean."""
        # As __init__ does: all three of theirs or none.
        own = {"weight": options.get("cls_weight", WEIGHT), "reduction": options.get("cls_reduction", "sum")}
        told = own if options.get("spine_compat") is None else AUTHORS
        weight = float(told["weight"])
        if told["reduction"] == "mean":
            return [f"effective gamma {weight:g}: the weight itself, for the term is a mean over the batch"]
        return [
            f"effective gamma {weight * batch_size:.4g}: weight {weight:g} x batch {batch_size}; "
            "with another --batch it is another loss"
        ]
