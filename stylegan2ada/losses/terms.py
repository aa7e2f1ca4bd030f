"""Generator terms: what G is asked for beside fooling D, e.g. images that a classifier recognises."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, Protocol, runtime_checkable

from torch import Tensor

from stylegan2ada import processes, stats
from stylegan2ada.errors import UserError
from stylegan2ada.losses.registry import find_term


@runtime_checkable
class GeneratorTerm(Protocol):
    """What a term offers; `start(context)`, `state_dict()` and `load_state_dict()` are optional."""

    name: str

    @property
    def weight(self) -> float: ...  # now; an attribute will do

    reduction: Literal["mean", "sum"]  # over the batch; "sum" does not depend on rounds and ranks

    def __call__(self, fake_img: Tensor, gen_c: Tensor, real_img: Tensor) -> Tensor:
        """Loss per sample, [N]; fake_img carries the graph and is not augmented."""
        ...


def offered(term: GeneratorTerm, name: str) -> Callable[..., Any]:
    """One of a term's optional methods; where it has none, one that does nothing."""
    return getattr(term, name, _nothing)


def _nothing(*_: object) -> None:
    """What most terms have to say about starting and states."""


def make_term(text: str, **options: Any) -> GeneratorTerm:
    """The term of "NAME" or "NAME:WEIGHT"; the factory receives the options, and weight if one was given."""
    name, colon, number = text.rpartition(":")
    if not colon or not _is_number(number):
        return find_term(text)(**options)
    weight = float(number)
    if not math.isfinite(weight) or weight < 0:
        raise UserError(f"--term={text}: the weight must be a number from 0 on")
    return find_term(name)(weight=weight, **options)


def weighted_sum(
    terms: Iterable[GeneratorTerm], fake_img: Tensor, gen_c: Tensor, real_img: Tensor
) -> Iterator[Tensor]:
    """One scalar per term, ready for backward; reports each as Loss/G/NAME."""
    for term in terms:
        per_sample = term(fake_img, gen_c, real_img).flatten()
        assert len(per_sample) == len(fake_img), (term.name, per_sample.shape)
        stats.report(f"Loss/G/{term.name}", per_sample)
        if term.reduction == "mean":
            yield per_sample.mean() * term.weight
        else:
            # Gradients are averaged over ranks later; a sum over the whole batch must not shrink by that.
            yield per_sample.sum() * (term.weight * processes.world_size())


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
