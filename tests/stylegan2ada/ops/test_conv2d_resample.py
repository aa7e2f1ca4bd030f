from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from stylegan2ada.ops.conv2d_resample import NHWC_UP_TO, conv2d_resample
from stylegan2ada.ops.upfirdn2d import setup_filter
from tests.golden_data import golden_arrays, golden_json
from tests.stylegan2ada.ops.checks import (
    assert_near,
    assert_second_order,
    gradients,
    leaf,
    per_sample_gradients,
    per_sample_loop,
)

LOW_PASS = setup_filter([1, 3, 3, 1])
CASES = {
    "plain": {"padding": 1},
    "up": {"up": 2, "padding": 1},
    "up flipped": {"up": 2, "padding": 1, "flip_weight": False},
    "down": {"down": 2, "padding": 1},
    "both": {"up": 2, "down": 2, "padding": 1},
    "uneven": {"up": 2, "padding": [1, 2, 0, 3], "flip_filter": True},
    "cropped": {"padding": [2, 0, 1, -1]},
}


def test_recorded_values_and_gradients(impl):
    arrays = golden_arrays("ops/conv2d_resample.npz")
    for case in golden_json("ops/conv2d_resample.json"):
        want = arrays.under(case["key"])
        x, w, f = leaf(want["x"]), leaf(want["w"]), torch.tensor(want["f"]) if "f" in want else None
        y = conv2d_resample(x, w, f, groups=case["groups"], impl=impl, **case["kwargs"])
        assert list(y.shape) == case["out_shape"]
        torch.testing.assert_close(y, torch.tensor(want["y"]), rtol=1e-5, atol=5e-6)
        dx, dw = gradients((y * torch.tensor(want["dy"])).sum(), [x, w])
        (ddx_w,) = gradients((dx * torch.tensor(want["vx"])).sum(), [w])
        for name, value in {"dx": dx, "dw": dw, "ddx_w": ddx_w}.items():
            assert_near(value, want[name], 3e-6, (case, name))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    size=st.tuples(st.integers(3, 8), st.integers(3, 8)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    taps=st.one_of(st.none(), st.integers(1, 6), st.tuples(st.integers(1, 5), st.integers(1, 5))),
    up=st.integers(1, 3),
    down=st.integers(1, 3),
    padding=st.lists(st.integers(-1, 4), min_size=4, max_size=4),
    groups=st.integers(1, 2),
    flips=st.tuples(st.booleans(), st.booleans()),
    seed=st.integers(0, 99),
)
def test_fast_equals_reference(size, kernel, taps, up, down, padding, groups, flips, seed):
    rng = torch.Generator().manual_seed(seed)
    f = None
    if taps is not None:
        f = torch.randn(*([taps] if isinstance(taps, int) else taps), generator=rng)
    x = torch.randn(2, 2 * groups, *size, generator=rng, dtype=torch.float64, requires_grad=True)
    w = torch.randn(3 * groups, 2, *kernel, generator=rng, dtype=torch.float64, requires_grad=True)
    op = partial(conv2d_resample, x, w, f, up, down, padding, groups, *flips)
    try:
        ref = op(impl="ref")
    except (AssertionError, RuntimeError):  # nothing is left of the image
        assume(False)
    fast = op(impl="fast")
    torch.testing.assert_close(fast, ref)
    c = torch.randn(ref.shape, generator=rng, dtype=torch.float64)
    slopes = []
    for y in (ref, fast):
        dx, dw = gradients((y * c).sum(), [x, w])
        slopes.append([dx, dw, *gradients(dx.square().sum() + dw.square().sum(), [x, w])])
    for a, b in zip(*slopes):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kernel", [1, 3])
def test_gradgradcheck(name, kernel, impl):
    x = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    w = torch.randn(2, 2, kernel, kernel, dtype=torch.float64, requires_grad=True)
    op = partial(conv2d_resample, f=LOW_PASS, impl=impl, **CASES[name])
    assert gradcheck(op, (x, w), fast_mode=True)
    assert gradgradcheck(op, (x, w), fast_mode=True)


@pytest.mark.parametrize("name", CASES)
def test_second_order_against_float64(name, impl):
    op = partial(conv2d_resample, f=LOW_PASS, impl=impl, **CASES[name])
    assert_second_order(op, [(2, 8, 8, 8), (6, 8, 3, 3)], f"conv2d_resample {name} {impl}")


@pytest.mark.parametrize("name", CASES)
def test_per_sample_gradients(name, impl):
    w = torch.randn(3, 2, 3, 3, dtype=torch.float64)
    op = partial(conv2d_resample, w=w, f=LOW_PASS, impl=impl, **CASES[name])
    x = torch.randn(3, 2, 5, 4, dtype=torch.float64)
    for batched, looped in zip(per_sample_gradients(op, x), per_sample_loop(op, x)):
        torch.testing.assert_close(batched, looped)


@pytest.mark.parametrize("name", CASES)
def test_per_sample_gradients_of_the_weights(name, impl):
    x = torch.randn(3, 2, 5, 4, dtype=torch.float64)
    w = torch.randn(3, 2, 3, 3, dtype=torch.float64)

    def score(weight, image):
        return conv2d_resample(image[None], weight, LOW_PASS, impl=impl, **CASES[name]).square().sum()

    def penalty(weight, image):
        return torch.func.grad(score, argnums=1)(weight, image).square().sum()

    for function in (score, penalty):
        batched = torch.func.vmap(torch.func.grad(function), in_dims=(None, 0))(w, x)
        looped = torch.stack([torch.func.grad(function)(w, image) for image in x])
        torch.testing.assert_close(batched, looped)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", CASES)
def test_half_precision(name, dtype, impl):
    x, w = leaf(torch.randn(2, 8, 6, 6, dtype=dtype)), leaf(torch.randn(4, 8, 3, 3, dtype=dtype) / 8)
    y = conv2d_resample(x, w, LOW_PASS, impl=impl, **CASES[name])
    dx, dw = gradients(y.sum(), [x, w])
    exact = conv2d_resample(x.detach().double(), w.detach().double(), LOW_PASS, impl="ref", **CASES[name])
    assert y.dtype == dx.dtype == dw.dtype == dtype
    assert_near(y, exact, 8 * torch.finfo(dtype).eps, name)


@pytest.mark.parametrize("name", CASES)
def test_batch_size_changes_no_value(name, impl):
    x, w = torch.randn(3, 4, 8, 8, dtype=torch.float64), torch.randn(4, 4, 3, 3, dtype=torch.float64)
    op = partial(conv2d_resample, w=w, f=LOW_PASS, impl=impl, **CASES[name])
    torch.testing.assert_close(op(x), torch.cat([op(image[None]) for image in x]))


def test_layout_is_chosen_per_layer():
    for channels, channels_last in [(NHWC_UP_TO, True), (NHWC_UP_TO + 1, False)]:
        for given_layout in (torch.contiguous_format, torch.channels_last):
            x = torch.randn(2, channels, 8, 8).contiguous(memory_format=given_layout)
            y = conv2d_resample(x, torch.randn(8, channels, 3, 3), padding=1, impl="fast")
            assert y.is_contiguous(memory_format=torch.channels_last) is channels_last
