"""How close is close: errors are measured against the largest element of the truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor


def relative_error(value: Tensor, truth: Tensor | np.ndarray) -> float:
    """Largest deviation over largest magnitude of the truth."""
    expected = torch.as_tensor(truth)
    assert value.shape == expected.shape, (value.shape, expected.shape)
    expected = expected.detach().double()
    deviation = (value.detach().double() - expected).abs().max()
    return float(deviation / expected.abs().max().clamp_min(1e-30))


def assert_near(value: Tensor, truth: Tensor | np.ndarray, limit: float, what: object = "") -> None:
    expected = torch.as_tensor(truth)
    if not expected.any():
        assert not value.any(), f"{what}: not zero"
        return
    error = relative_error(value, expected)
    assert error <= limit, f"{what}: off by {error:.2e} of the largest element, allowed {limit:.0e}"


def leaf(array: np.ndarray | Tensor) -> Tensor:
    """An input that wants gradients."""
    return torch.as_tensor(array).clone().requires_grad_()


def gradients(value: Tensor, wrt: Sequence[Tensor]) -> list[Tensor]:
    """With graph; zeros where value does not depend on a tensor."""
    if not value.requires_grad:
        return [torch.zeros_like(x) for x in wrt]
    found = torch.autograd.grad(value, wrt, create_graph=True, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for g, x in zip(found, wrt)]


def second_order_errors(
    op: Callable[..., Tensor], shapes: Sequence[Sequence[int]], seeds: Sequence[int] = (0, 1, 2)
) -> list[float]:
    """Errors of d(|d sum(op * dy) / dx|^2) / d(inputs, dy) in float32, each against float64, over seeds."""
    errors = []
    for seed in seeds:
        rng = torch.Generator().manual_seed(seed)
        exact = [torch.randn(*shape, generator=rng, dtype=torch.float64) for shape in shapes]
        dy = torch.randn(op(*exact).shape, generator=rng, dtype=torch.float64)
        results = []
        for dtype in (torch.float32, torch.float64):
            # both start from the float32 numbers, so that only the arithmetic differs
            inputs = [leaf(x.float().to(dtype)) for x in [*exact, dy]]
            (dx,) = gradients((op(*inputs[:-1]) * inputs[-1]).sum(), inputs[:1])
            results.append(gradients(dx.square().sum(), inputs))
        errors += [relative_error(a, b) for a, b in zip(*results) if b.any()]
    return errors


def assert_second_order(op: Callable[..., Tensor], shapes: Sequence[Sequence[int]], what: str) -> None:
    errors = second_order_errors(op, shapes)
    median, worst = float(np.median(errors)), max(errors)
    print(f"{what}: second order against float64, median {median:.1e}, max {worst:.1e}, n={len(errors)}")
    assert median < 2e-6, what
    assert worst < 2e-5, what


def per_sample_gradients(op: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """(vmap(grad), vmap(grad of grad)) of a scalar made of op, over the first axis of x."""

    def score(image: Tensor) -> Tensor:
        return op(image[None]).square().sum()

    def penalty(image: Tensor) -> Tensor:
        return torch.func.grad(score)(image).square().sum()

    return torch.func.vmap(torch.func.grad(score))(x), torch.func.vmap(torch.func.grad(penalty))(x)


def per_sample_loop(op: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """The same numbers one after the other with plain autograd."""
    first, second = [], []
    for image in x:
        image = leaf(image[None])
        (dx,) = gradients(op(image).square().sum(), [image])
        (ddx,) = gradients(dx.square().sum(), [image])
        first.append(dx[0].detach())
        second.append(ddx[0].detach())
    return torch.stack(first), torch.stack(second)
