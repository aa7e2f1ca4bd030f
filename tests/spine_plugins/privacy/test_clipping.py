"""Per-sample gradients against plain autograd, and the bound against records made to break it."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import softplus

from spine_plugins.privacy.clipping import clipped_sum
from tests.spine_plugins.privacy.making import one_hot, some_reals, step_of, tiny_D


def flat(gradients) -> torch.Tensor:
    return torch.cat([gradient.reshape(-1) for gradient in gradients]).double()


def line(parameters, x):
    """A loss whose gradient is the sample itself."""
    return (parameters["w"] * x).sum()


W = {"w": torch.zeros(3)}


@pytest.mark.parametrize("method", ["vmap", "loop"])
def test_small_gradients_pass_and_large_ones_are_cut(method) -> None:
    x = torch.tensor([[3.0, 4, 0], [0, 0, 0.5], [0, 0, 0]])
    (total,), norms = clipped_sum(line, W, x, 1.0, method=method, chunk=2)
    assert total.tolist() == pytest.approx([0.6, 0.8, 0.5])
    assert norms.tolist() == [5, 0.5, 0]


@pytest.mark.parametrize("method", ["vmap", "loop"])
@pytest.mark.parametrize("chunk", [1, 2, 3, 8])
def test_a_units_samples_are_averaged_and_then_clipped(method, chunk: int) -> None:
    """Units in any order, with one, two and four samples; a unit may reach over several chunks."""
    generator = torch.Generator().manual_seed(0)
    x = 3 * torch.randn([7, 3], generator=generator)
    units = torch.tensor([5, 2, 5, 9, 5, 2, 5])
    (total,), norms = clipped_sum(line, W, (x,), 1.0, units=units, method=method, chunk=chunk)
    means = [x[units == unit].mean(0) for unit in (2, 5, 9)]
    assert torch.allclose(norms, torch.stack([m.norm() for m in means]), rtol=1e-5)
    expected = sum(m * min(1, 1 / float(m.norm())) for m in means)
    assert torch.allclose(total, expected, rtol=1e-5, atol=1e-6)


def test_parameters_may_be_a_list_and_none_may_be_drawn() -> None:
    def loss(parameters, x):
        return (parameters[1] * x).sum() + 0 * parameters[0].sum()

    first, second = torch.zeros(2), torch.zeros(3)
    total, norms = clipped_sum(loss, [first, second], torch.ones(2, 3), 10.0)
    assert [t.tolist() for t in total] == [[0, 0], [2, 2, 2]] and len(norms) == 2
    for method in ("vmap", "loop"):
        for units in (None, torch.zeros(0, dtype=torch.int64)):
            total, norms = clipped_sum(
                loss, [first, second], torch.ones(0, 3), 1.0, units=units, method=method
            )
            assert all(not t.any() for t in total) and len(norms) == 0


def by_autograd(D, reals, gamma: float, clip: float) -> torch.Tensor:
    """From the formula, one sample at a time, nothing of ours but D."""
    D = D.requires_grad_(True)
    parameters = list(D.parameters())
    total = torch.zeros(sum(p.numel() for p in parameters), dtype=torch.float64)
    for one in range(len(reals.images)):
        x = reals.images[one : one + 1].clone().requires_grad_(True)
        logit = D(x, reals.labels[one : one + 1])
        loss = softplus(-logit).sum()
        if gamma:
            (slope,) = torch.autograd.grad(logit.sum(), x, create_graph=True)
            loss = loss + gamma / 2 * slope.square().sum()
        g = flat(torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True))
        total += g * min(1.0, clip / float(g.norm()))
    D.requires_grad_(False)
    return total


@pytest.mark.parametrize("gamma", [0.0, 10.0])
@pytest.mark.parametrize("c_dim", [0, 2])
@pytest.mark.parametrize(("method", "chunk"), [("vmap", 5), ("vmap", 3), ("vmap", 2), ("loop", 1)])
def test_vmap_and_loop_equal_autograd(gamma: float, c_dim: int, method, chunk: int) -> None:
    D, reals = tiny_D(c_dim), some_reals(5, c_dim=c_dim)
    expected = by_autograd(D, reals, gamma, clip=0.7)
    step = step_of(D, clip=0.7, method=method, chunk=chunk, r1="real" if gamma else "off", r1_gamma=gamma)
    found = flat(step.real_sum(reals))
    assert float((found - expected).norm() / expected.norm()) < 1e-5
    assert step.last_norms.max() > 0.7  # some were cut


@pytest.mark.parametrize("gamma", [0.0, 10.0])
def test_vmap_equals_loop_with_augmentation_copies_and_units(gamma: float) -> None:
    from tests.spine_plugins.privacy.making import pipe

    D, reals = tiny_D(), some_reals(5, units=[0, 3, 0, 7, 3])
    sums = [
        flat(
            step_of(
                D, augment_pipe=pipe(), aug_mult=2, method=method, chunk=chunk, clip=0.5,
                r1="real" if gamma else "off", r1_gamma=gamma,
            ).real_sum(reals)
        )
        for method, chunk in (("loop", 1), ("vmap", 3), ("vmap", 16))
    ]  # fmt: skip
    for other in sums[1:]:
        assert float((other - sums[0]).norm() / sums[0].norm()) < 1e-5


# The bound.


class Wild(torch.nn.Module):
    """A network without anything that keeps values small: what the records hold arrives in the gradient."""

    c_dim, img_resolution, img_channels = 2, 16, 1

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a = torch.nn.Linear(16 * 16 + 2, 4)
        self.b = torch.nn.Linear(4, 1)

    def forward(self, img, c):
        return self.b(self.a(torch.cat([img.flatten(1), c], 1)).square())


def wild_records() -> dict[str, torch.Tensor]:
    plain = torch.randn([1, 1, 16, 16], generator=torch.Generator().manual_seed(5))
    return {
        "zero": torch.zeros_like(plain),
        "huge": plain * 1e6,
        "beyond float32": plain * 1e30,
        "NaN": plain * math.nan,
        "infinite": plain * math.inf,
        "tiny": plain * 1e-30,
        "one pixel": torch.nn.functional.one_hot(torch.tensor([7]), 256).reshape(1, 1, 16, 16) * 1e4,
    }


@pytest.mark.parametrize(
    ("network", "method", "kind"),
    [
        *((Wild, method, kind) for kind in wild_records() for method in ("vmap", "loop")),
        *((tiny_D, "vmap", kind) for kind in ("huge", "NaN")),
    ],
)
def test_no_record_moves_the_sum_by_more_than_the_clip(method, network, kind: str) -> None:
    """One record more, in a batch of others; as a unit of three, too; all others' shares unmoved."""
    D, clip = network(), 0.5
    base = some_reals(4)
    record = wild_records()[kind]
    for copies in (1, 3) if network is Wild else (3,):
        images = torch.cat([base.images, record.repeat(copies, 1, 1, 1)])
        labels = torch.cat([base.labels, one_hot(copies, 2)])
        units = torch.cat([base.units, torch.full([copies], 99)])
        settings = {"clip": clip, "method": method, "chunk": 3, "r1": "real", "r1_gamma": 1.0}
        without = flat(step_of(D, **settings).real_sum(base))
        with_it = flat(step_of(D, **settings).real_sum(type(base)(images, labels, units)))
        assert torch.isfinite(with_it).all()
        assert float((with_it - without).norm()) <= clip * (1 + 1e-5)
        # Another in its place: at most twice as far.
        images[0] = -images[-1]
        other = flat(step_of(D, **settings).real_sum(type(base)(images, labels, units)))
        assert float((other - with_it).norm()) <= 2 * clip * (1 + 1e-5)


def test_a_unit_counts_once_however_many_images_it_has() -> None:
    D = tiny_D()
    one, many = some_reals(1), some_reals(1)
    many = type(one)(
        one.images.repeat(40, 1, 1, 1), one.labels.repeat(40, 1), torch.zeros(40, dtype=torch.int64)
    )
    first = flat(step_of(D, clip=0.1).real_sum(one))
    second = flat(step_of(D, clip=0.1, chunk=7).real_sum(many))
    assert float(second.norm()) <= 0.1 * (1 + 1e-5)
    assert torch.allclose(first, second, rtol=1e-4, atol=1e-7)
