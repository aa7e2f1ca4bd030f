from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck
from torch.utils._python_dispatch import TorchDispatchMode

from stylegan2ada.ops import upfirdn2d as room
from stylegan2ada.ops.upfirdn2d import downsample2d, filter2d, setup_filter, upfirdn2d, upsample2d
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
WAVELET = setup_filter(
    [0.0154, 0.0035, -0.118, -0.0483, 0.491, 0.788, 0.338, -0.073, -0.021, 0.0448, 0.0018, -0.0078]
)

# What happens to an image: kwargs of upfirdn2d and a filter.
CASES = {
    "blur": (LOW_PASS, {"padding": [2, 1]}),
    "enlarge": (LOW_PASS, {"up": 2, "padding": [2, 1], "gain": 4}),
    "reduce": (LOW_PASS, {"down": 2, "padding": 1}),
    "both": (LOW_PASS, {"up": 3, "down": 2, "padding": [2, 3, 1, 0]}),
    "crossed": (
        setup_filter([[1, 2, -1], [0.5, 3, 2]]),
        {"up": [2, 1], "down": [1, 3], "padding": [3, -1, 0, 4]},
    ),
    "separable": (WAVELET, {"up": 2, "padding": [6, 5, -2, 12], "flip_filter": True}),
    "shrunk": (WAVELET, {"down": [2, 1], "padding": [9, 4], "gain": 0.5}),
    "identity": (None, {"padding": [1, -2, -1, 3], "up": [1, 2]}),
}


def test_recorded_filters():
    arrays = golden_arrays("ops/setup_filter.npz")
    for case in golden_json("ops/setup_filter.json"):
        f = setup_filter(case["f"], **case["kwargs"])
        assert f.dtype == torch.float32
        torch.testing.assert_close(f, torch.tensor(arrays[case["key"]]), rtol=1e-7, atol=0)


def test_filters_of_other_kinds():
    taps = np.array([1, 2, 1], dtype=np.int64)
    torch.testing.assert_close(setup_filter(taps), setup_filter(torch.tensor([1.0, 2, 1])))
    assert setup_filter(range(1, 9)).shape == (8,)
    assert setup_filter(range(1, 8)).shape == (7, 7)
    with pytest.raises(AssertionError, match="separable"):
        setup_filter([[1, 2], [3, 4]], separable=True)


def test_recorded_values_and_gradients(impl):
    arrays = golden_arrays("ops/upfirdn2d.npz")
    for case in golden_json("ops/upfirdn2d.json"):
        want = arrays.under(case["key"])
        f = torch.tensor(want["f"]) if "f" in want else None
        x, dy = leaf(want["x"]), leaf(want["dy"])
        y = getattr(room, case["fn"])(x, f, impl=impl, **case["kwargs"])
        assert list(y.shape) == case["out_shape"]
        torch.testing.assert_close(y, torch.tensor(want["y"]), rtol=2e-6, atol=2e-6)
        (dx,) = gradients((y * dy).sum(), [x])
        (ddx_dy,) = gradients((dx * torch.tensor(want["v"])).sum(), [dy])
        assert_near(dx, want["dx"], 2e-6, case)
        assert_near(ddx_dy, want["ddx_dy"], 2e-6, case)


def brute_force(x, f, up, down, padding, flip, gain):
    """The definition, sample by sample, in one dimension after the other; x and f are numpy float64."""
    f = np.ones((1, 1)) if f is None else np.outer(f, f) if f.ndim == 1 else f
    f = f if flip else f[::-1, ::-1]
    (fh, fw), (n, c, h, w) = f.shape, x.shape
    left, right, top, bottom = padding
    grid = {}  # (row, column) on the padded grid -> [N, C]
    for i in range(h):
        for j in range(w):
            grid[i * up[1] + top, j * up[0] + left] = x[:, :, i, j]
    height, width = h * up[1] + top + bottom, w * up[0] + left + right
    out = np.zeros((n, c, (height - fh) // down[1] + 1, (width - fw) // down[0] + 1))
    for (row, column), value in grid.items():
        if not (0 <= row < height and 0 <= column < width):
            continue
        for i in range(out.shape[2]):
            for j in range(out.shape[3]):
                a, b = row - i * down[1], column - j * down[0]
                if 0 <= a < fh and 0 <= b < fw:
                    out[:, :, i, j] += f[a, b] * value * gain
    return out


@st.composite
def calls(draw):
    small = st.integers(1, 3)
    up, down = [draw(small), draw(small)], [draw(small), draw(small)]
    padding = [draw(st.integers(-3, 6)) for _ in range(4)]
    shape = [draw(st.integers(1, 2)), draw(small), draw(st.integers(1, 7)), draw(st.integers(1, 7))]
    separable = draw(st.booleans())
    taps = [draw(st.integers(1, 5))] if separable else [draw(st.integers(1, 5)), draw(st.integers(1, 5))]
    return {
        "shape": shape,
        "taps": taps,
        "up": up,
        "down": down,
        "padding": padding,
        "flip_filter": draw(st.booleans()),
        "gain": draw(st.sampled_from([1, 0.5, 3.0])),
        "seed": draw(st.integers(0, 99)),
    }


def sizes_after(call):
    """(height, width) by the formula, and whether the call is possible at all."""
    (_, _, h, w), (left, right, top, bottom) = call["shape"], call["padding"]
    wide, high = w * call["up"][0], h * call["up"][1]
    fw, fh = call["taps"][-1], call["taps"][0]
    out = (high + top + bottom - fh) // call["down"][1] + 1, (wide + left + right - fw) // call["down"][0] + 1
    left_over = min(wide + min(left, 0) + min(right, 0), high + min(top, 0) + min(bottom, 0))
    return out, min(out) > 0 and left_over > 0


@settings(max_examples=50, deadline=None, derandomize=True)
@given(calls())
def test_definition_size_adjoint_and_batch(call):
    size, possible = sizes_after(call)
    rng = torch.Generator().manual_seed(call.pop("seed"))
    x = torch.randn(*call.pop("shape"), generator=rng, dtype=torch.float64, requires_grad=True)
    f = torch.randn(*call.pop("taps"), generator=rng)
    if not possible:
        for impl in ("ref", "fast"):
            with pytest.raises(AssertionError):
                upfirdn2d(x, f, impl=impl, **call)
        return
    ref, fast = (upfirdn2d(x, f, impl=impl, **call) for impl in ("ref", "fast"))
    names = [call[key] for key in ("up", "down", "padding", "flip_filter", "gain")]
    truth = brute_force(x.detach().numpy(), f.double().numpy(), *names)
    for y in (ref, fast):
        assert tuple(y.shape[2:]) == size
        np.testing.assert_allclose(y.detach().numpy(), truth, rtol=1e-9, atol=1e-9)

        # <A x, c> = <x, A' c>, and twice transposed is the operation itself.
        c = torch.randn(y.shape, generator=rng, dtype=torch.float64, requires_grad=True)
        (back,) = gradients((y * c).sum(), [x])
        torch.testing.assert_close((y * c).sum(), (x * back).sum())
        (again,) = gradients((back * x.detach()).sum(), [c])
        torch.testing.assert_close(again, y)
    alone = upfirdn2d(x[-1:], f, impl="fast", **call)
    torch.testing.assert_close(alone, fast[-1:])


@pytest.mark.parametrize("name", CASES)
def test_gradgradcheck(name, impl):
    f, kwargs = CASES[name]
    op = partial(upfirdn2d, f=f, impl=impl, **kwargs)
    x = torch.randn(1, 2, 4, 3, dtype=torch.float64, requires_grad=True)
    assert gradcheck(op, x, fast_mode=True)
    assert gradgradcheck(op, x, fast_mode=True)


@pytest.mark.parametrize("name", CASES)
def test_second_order_against_float64(name, impl):
    f, kwargs = CASES[name]
    assert_second_order(
        partial(upfirdn2d, f=f, impl=impl, **kwargs), [(3, 4, 16, 15)], f"upfirdn2d {name} {impl}"
    )


@pytest.mark.parametrize("name", CASES)
def test_per_sample_gradients(name, impl):
    f, kwargs = CASES[name]
    x = torch.randn(3, 2, 6, 5, dtype=torch.float64)
    op = partial(upfirdn2d, f=f, impl=impl, **kwargs)
    for batched, looped in zip(per_sample_gradients(op, x), per_sample_loop(op, x)):
        torch.testing.assert_close(batched, looped)


@pytest.mark.parametrize("in_dims", [(0, 0), (2, 0), (None, 0), (1, None)])
def test_vmap_over_image_and_filter(in_dims, impl):
    images = torch.randn(3, 3, 3, 6, 5, dtype=torch.float64)
    filters = torch.randn(3, 4, 4)
    op = partial(upfirdn2d, down=2, padding=1, impl=impl)
    x = images if in_dims[0] is not None else images[0]
    f = filters if in_dims[1] is not None else filters[0]
    batched = torch.func.vmap(op, in_dims=in_dims)(x, f)
    for k in range(3):
        own = x.select(in_dims[0], k) if in_dims[0] is not None else x
        torch.testing.assert_close(batched[k], op(own, filters[k] if in_dims[1] is not None else f))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", CASES)
def test_half_precision(name, dtype, impl):
    f, kwargs = CASES[name]
    x = leaf(torch.randn(2, 3, 6, 5, dtype=dtype))
    y = upfirdn2d(x, f, impl=impl, **kwargs)
    (dx,) = gradients(y.square().sum(), [x])
    exact = upfirdn2d(x.detach().double(), f, impl="ref", **kwargs)
    assert y.dtype == dx.dtype == dtype
    assert_near(y, exact, 4 * torch.finfo(dtype).eps, name)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_memory_layout_changes_no_value(layout):
    x = torch.randn(2, 8, 9, 7).contiguous(memory_format=layout)
    for f, kwargs in CASES.values():
        assert_near(
            upfirdn2d(x, f, impl="fast", **kwargs), upfirdn2d(x, f, impl="ref", **kwargs), 1e-6, kwargs
        )


@pytest.mark.parametrize("taps", [1, 2, 3, 4, 5, 8, 12])
def test_convenience_forms_keep_size_and_brightness(taps, impl):
    """On a constant image the middle stays constant, whatever the number of taps."""
    f, x = setup_filter(range(1, taps + 1)), torch.full([1, 1, 48, 40], 0.5)
    for y, shape in [
        (filter2d(x, f, impl=impl), (48, 40)),
        (upsample2d(x, f, up=2, impl=impl), (96, 80)),
        (downsample2d(x, f, down=2, impl=impl), (24, 20)),
    ]:
        assert y.shape[2:] == shape
        rows, columns = (shape[0] // 3, shape[1] // 3)
        middle = y[:, :, rows:-rows, columns:-columns]
        if taps > 1 or shape != (96, 80):  # one tap leaves the inserted zeros alone
            torch.testing.assert_close(middle.mean(), torch.tensor(0.5))


class CountConvolutions(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func)
        self.count += "conv" in name and "backward" not in name
        self.count += 2 * ("convolution_backward" in name)
        return func(*args, **(kwargs or {}))


def convolutions_for_two_orders(impl: str, channels: int) -> int:
    x = leaf(torch.randn(2, channels, 8, 8))
    with CountConvolutions() as counter:
        y = filter2d(filter2d(x, LOW_PASS, impl=impl).square(), LOW_PASS, impl=impl)
        (dx,) = gradients(y.square().sum(), [x])
        dx.square().sum().backward()
    return counter.count


def test_second_order_does_not_grow_with_the_channels():
    """2 filters, forward, backward, and the transposes of both: a dozen calls, however wide the layer."""
    assert convolutions_for_two_orders("fast", 64) == convolutions_for_two_orders("fast", 4) <= 12
    assert convolutions_for_two_orders("ref", 64) > 64  # the trap that this avoids


def test_bad_arguments():
    x = torch.zeros(1, 1, 4, 4)
    with pytest.raises(AssertionError, match="too small"):
        upfirdn2d(x, torch.ones(6, 6))
    with pytest.raises(AssertionError, match="cropped"):
        upfirdn2d(x, None, padding=[-4, 9, 0, 0])
    with pytest.raises(AssertionError, match="constants"):
        upfirdn2d(x, torch.ones(2, 2, requires_grad=True))
    with pytest.raises(AssertionError, match="up=0"):
        upfirdn2d(x, None, up=[1, 0])
