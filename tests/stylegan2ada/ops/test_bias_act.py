from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from stylegan2ada.errors import UserError
from stylegan2ada.ops import choice, use_impl
from stylegan2ada.ops.bias_act import activation_funcs, bias_act
from tests.golden_data import golden_arrays, golden_json
from tests.stylegan2ada.ops.checks import (
    assert_near,
    assert_second_order,
    gradients,
    leaf,
    per_sample_gradients,
    per_sample_loop,
)

ACTS = list(activation_funcs)
CURVED = [name for name, spec in activation_funcs.items() if spec.has_2nd_grad]


def test_table_equals_the_recorded_one():
    recorded = golden_json("ops/bias_act.json")["activations"]
    assert ACTS == list(recorded)
    for index, (name, row) in enumerate(recorded.items(), start=1):
        spec = activation_funcs[name]
        assert (spec.def_alpha, spec.def_gain, spec.has_2nd_grad) == (
            row["def_alpha"],
            row["def_gain"],
            row["has_2nd_grad"],
        )
        assert spec.cuda_idx == index


def test_recorded_values_and_gradients(impl):
    arrays = golden_arrays("ops/bias_act.npz")
    for case in golden_json("ops/bias_act.json")["cases"]:
        want = arrays.under(case["key"])
        x, dy, b = leaf(want["x"]), leaf(want["dy"]), leaf(want["b"]) if case["bias"] else None
        y = bias_act(x, b, dim=case["dim"], impl=impl, **case["kwargs"])
        torch.testing.assert_close(y, torch.tensor(want["y"]), rtol=1e-6, atol=1e-6)
        wrt = [x] if b is None else [x, b]
        slopes = gradients((y * dy).sum(), wrt)
        bends = gradients((slopes[0] * torch.tensor(want["v"])).sum(), [dy, *wrt])
        for name, value in zip(["dx", "db"], slopes):
            assert_near(value, want[name], 2e-6, (case, name))
        for name, value in zip(["ddx_dy", "ddx_x", "ddx_b"], bends):
            assert_near(value, want[name], 5e-6, (case, name))


def kink_free(*shape: int, seed: int = 0) -> torch.Tensor:
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return x + 0.05 * x.sign()


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("clamp", [None, 1.1])
def test_gradgradcheck(act, clamp, impl):
    x, b = leaf(kink_free(2, 3, 2)), leaf(torch.zeros(3, dtype=torch.float64))
    op = partial(bias_act, dim=1, act=act, clamp=clamp, impl=impl)
    assert gradcheck(op, (x, b))
    assert gradgradcheck(op, (x, b))


@pytest.mark.parametrize("act", ["lrelu", "tanh", "sigmoid", "elu", "selu", "softplus", "swish"])
def test_second_order_against_float64(act, impl):
    op = partial(bias_act, act=act, clamp=2.0, impl=impl)
    assert_second_order(op, [(4, 8, 6, 6), (8,)], f"bias_act {act} {impl}")


@pytest.mark.parametrize(("act", "slope"), [("relu", 0.0), ("lrelu", 0.2)])
def test_kink_has_the_slope_of_its_negative_side(act, slope, impl):
    x = leaf(torch.tensor([[0.5, -0.25, 1.0]]))
    y = bias_act(x, torch.tensor([-0.5, 0.25, -1.0]), act=act, gain=1.0, impl=impl)
    (dx,) = gradients(y.sum(), [x])
    torch.testing.assert_close(dx, torch.full_like(x, slope))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("limit", [256.0, 0.9, 0.1])
def test_no_slope_where_the_clamp_is_reached(dtype, limit, impl):
    x = leaf(torch.tensor([[-2.0, -1.0, -0.5, 0.5, 1.0, 2.0]], dtype=dtype) * limit)
    y = bias_act(x, act="linear", clamp=limit, impl=impl)
    (dx,) = gradients(y.sum(), [x])
    assert y.dtype == dtype
    assert dx.tolist() == [[0, 0, 1, 1, 0, 0]]
    assert y.abs().max() <= torch.tensor(limit, dtype=dtype)


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize(
    "options", [{"gain": 0.0}, {"gain": -0.7}, {"gain": -1.3, "clamp": 0.5}, {"clamp": 0.0}]
)
def test_gains_that_hide_the_sign(act, options):
    check_equal_to_reference(act, options)


@pytest.mark.parametrize("alpha", [0.0, -0.3, 0.01, 1.0, 2.0])
def test_slopes_that_hide_the_sign(alpha):
    check_equal_to_reference("lrelu", {"alpha": alpha, "clamp": 2.0})


def check_equal_to_reference(act: str, options: dict) -> None:
    results = []
    for impl in ("ref", "fast"):
        x, b = leaf(kink_free(3, 4, 5, seed=1)), leaf(torch.zeros(4, dtype=torch.float64))
        y = bias_act(x, b, act=act, impl=impl, **options)
        dx, db = gradients(y.square().sum() + y.sum(), [x, b])
        results.append([y, dx, db, *gradients(dx.square().sum(), [x, b])])
    for fast, ref in zip(results[1], results[0]):
        assert_near(fast, ref, 1e-12, (act, options))


@pytest.mark.parametrize("act", ACTS)
def test_scaling_laws(act, impl):
    rng = torch.Generator().manual_seed(3)
    for dim, shape in [(0, (5,)), (1, (4, 5)), (2, (2, 3, 5)), (1, (2, 5, 3, 2)), (4, (1, 2, 1, 3, 5))]:
        x, b = torch.randn(*shape, generator=rng), torch.randn(5, generator=rng)
        plain = bias_act(x, b, dim=dim, act=act, gain=1.0, impl=impl)
        scaled = bias_act(x, b, dim=dim, act=act, gain=2.0, impl=impl)
        clipped = bias_act(x, b, dim=dim, act=act, gain=2.0, clamp=0.7, impl=impl)
        shifted = x + b.reshape([-1 if axis == dim else 1 for axis in range(x.ndim)])
        torch.testing.assert_close(scaled, 2 * plain)  # gain is linear
        torch.testing.assert_close(clipped, scaled.clamp(-0.7, 0.7))  # and comes before the clamp
        torch.testing.assert_close(plain, bias_act(shifted, act=act, gain=1.0, impl=impl))
        assert bias_act(x, act=act, clamp=math.inf, impl=impl).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("act", ACTS)
def test_half_precision(act, dtype, impl):
    x, b = torch.randn(3, 4, 5, dtype=dtype), torch.randn(4)  # the bias may be wider than x
    x.requires_grad_()
    y = bias_act(x, b, act=act, clamp=2.0, impl=impl)
    (dx,) = gradients(y.sum(), [x])
    exact = leaf(x.detach().double())
    expected = bias_act(exact, b.to(dtype).double(), act=act, clamp=2.0, impl="ref")
    assert y.dtype == dx.dtype == dtype
    step = torch.finfo(dtype).eps
    assert (y.double() - expected).abs().max() < 8 * step
    # a slope may differ only at an element that sits on the kink or the limit after rounding
    wrong = (dx.double() - gradients(expected.sum(), [exact])[0]).abs() > 16 * step
    assert wrong.sum() <= 1


def test_fast_keeps_only_its_output():
    kept = []
    x, b = leaf(torch.randn(2, 3, 4)), leaf(torch.randn(3))
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        y = bias_act(x, b, act="lrelu", clamp=1.0, impl="fast")
    assert [t.data_ptr() for t in kept] == [y.data_ptr()]


@pytest.mark.parametrize("act", ["linear", "lrelu", "tanh", "softplus", "swish"])
def test_per_sample_gradients(act, impl):
    b = torch.linspace(-1, 1, 3, dtype=torch.float64)
    op = partial(bias_act, b=b, act=act, clamp=1.5, impl=impl)
    x = kink_free(4, 3, 2, 2, seed=2)
    for batched, looped in zip(per_sample_gradients(op, x), per_sample_loop(op, x)):
        torch.testing.assert_close(batched, looped)


def test_per_sample_gradients_of_the_bias(impl):
    x, b = torch.randn(5, 3, 4, dtype=torch.float64), torch.randn(3, dtype=torch.float64)

    def score(bias, sample):
        return bias_act(sample[None], bias, act="lrelu", clamp=1.0, impl=impl).square().sum()

    batched = torch.func.vmap(torch.func.grad(score), in_dims=(None, 0))(b, x)
    looped = torch.stack([torch.func.grad(score)(b, sample) for sample in x])
    torch.testing.assert_close(batched, looped)


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(UserError, match="lrelu"):
        bias_act(torch.zeros(1, 1), act="gelu")
    with pytest.raises(UserError, match="fast"):
        bias_act(torch.zeros(1, 1), impl="quick")
    with pytest.raises(UserError, match="ref"), use_impl("quick"):
        pass


def test_use_impl_decides_auto_and_nothing_else():
    def node(impl: str) -> str:
        return bias_act(leaf(torch.ones(1, 1)), act="relu", impl=impl).grad_fn.name()

    best = "Epilogue" if choice.in_use() == "compiled" else "_FromOutput"  # SPINEGAN_OPS
    assert best in node("auto")
    assert best in node("cuda")  # upstream's word for the best there is
    with use_impl("ref"):
        assert "_FromOutput" not in node("auto")
        assert "_FromOutput" in node("fast")
        with use_impl("auto"):
            assert "_FromOutput" not in node("auto")
    assert best in node("auto")
