"""The kernels against float64 and plain operations: values, derivatives, vmap, types, layouts, odd sizes."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import gradcheck, gradgradcheck

from stylegan2ada.networks.stylegan2 import Discriminator, Generator, demodulation
from stylegan2ada.ops import build, use_impl
from stylegan2ada.ops.bias_act import activation_funcs, bias_act, epilogue, has_epilogue
from stylegan2ada.ops.compiled import functions
from stylegan2ada.ops.conv2d_resample import kernel_energy
from stylegan2ada.ops.upfirdn2d import setup_filter, upfirdn2d
from tests.stylegan2ada.ops.checks import assert_near

ROUNDING = {torch.float32: 3e-6, torch.bfloat16: 2e-2, torch.float16: 3e-3, torch.float64: 1e-12}
LAYOUTS = {"first": torch.contiguous_format, "last": torch.channels_last}
ACTS = [act for act in activation_funcs if act != "swish"]  # whose slope its output tells


@pytest.fixture(scope="module", autouse=True)
def _library() -> None:
    try:
        build.ensure("cpu", may_build=True, seconds=300)
    except build.Unavailable as reason:
        pytest.skip(str(reason))


def drawn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def by_definition(
    x: Tensor, scale: Tensor | None, noise: Tensor | None, bias: Tensor | None, act: str, clamp: float | None
) -> Tensor:
    """The epilogue of the formula, by reference operations in x's type."""
    if scale is not None:
        x = x * scale.to(x)[:, :, None, None]
    if noise is not None:
        x = x + noise.to(x)
    return bias_act(x, bias, act=act, gain=1.3, clamp=clamp, impl="ref")


def by_kernel(
    x: Tensor, scale: Tensor | None, noise: Tensor | None, bias: Tensor | None, act: str, clamp: float | None
) -> Tensor:
    with use_impl("compiled"):
        return epilogue(x, scale, noise, bias, act, 1.3, clamp)


def parts(mask: int, n: int, c: int, h: int, w: int, dtype: torch.dtype) -> list[Tensor | None]:
    """Scale, noise and bias, those that the mask names; noise is one for all where its fourth bit is set."""
    noise = drawn(h, w, seed=2) if mask & 8 else drawn(n, 1, h, w, seed=2)
    found = [drawn(n, c, seed=1), noise, drawn(c, seed=3)]
    return [t.to(dtype) if mask >> k & 1 else None for k, t in enumerate(found)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@pytest.mark.parametrize("mask", [0, 1, 2, 4, 7, 15])
def test_epilogue_is_its_formula(mask: int, dtype: torch.dtype, layout: str) -> None:
    x = drawn(3, 5, 7, 9, dtype=dtype).contiguous(memory_format=LAYOUTS[layout])
    others = parts(mask, 3, 5, 7, 9, dtype)
    exact = [None if t is None else t.double() for t in (x, *others)]
    for act, clamp in (("lrelu", 1.0), ("linear", None), ("softplus", 0.9)):
        found = by_kernel(x, *others, act, clamp)
        assert found.dtype == dtype and found.shape == x.shape
        assert found.is_contiguous(memory_format=LAYOUTS[layout])
        assert_near(found, by_definition(*exact, act, clamp), ROUNDING[dtype], (act, mask))


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_epilogue_has_both_derivatives(act: str, layout: str) -> None:
    # None of the inputs is near a kink or the limit, where differences say nothing.
    x = drawn(2, 3, 2, 3, seed=5).contiguous(memory_format=LAYOUTS[layout])
    scale, noise, bias = (t for t in parts(7, 2, 3, 2, 3, torch.float64))
    inputs = tuple(t.detach().requires_grad_() for t in (x, scale, noise, bias) if t is not None)
    call = lambda *given: by_kernel(*given, act, 2.1)  # noqa: E731
    assert gradcheck(call, inputs)
    assert gradgradcheck(call, inputs)


@pytest.mark.parametrize("mask", [0, 1, 4, 6, 15])
def test_every_part_of_the_second_pass_may_be_missing(mask: int) -> None:
    x = drawn(2, 3, 4, 5, seed=6)
    inputs = tuple(
        t.detach().requires_grad_() for t in (x, *parts(mask, 2, 3, 4, 5, x.dtype)) if t is not None
    )
    present = [True, *(t is not None for t in parts(mask, 2, 3, 4, 5, x.dtype))]

    def call(*given: Tensor) -> Tensor:
        left = iter(given)
        return by_kernel(*(next(left) if is_there else None for is_there in present), "lrelu", 2.3)

    assert gradgradcheck(call, inputs)


def test_third_derivatives_follow_from_plain_operations() -> None:
    x = drawn(2, 3, 2, 2, seed=7).requires_grad_()
    found = []
    for way in (by_kernel, by_definition):
        y = way(x, drawn(2, 3, seed=1), None, drawn(3, seed=3), "tanh", None)
        (first,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), x, create_graph=True)
        found.append(torch.autograd.grad(second.square().sum(), x)[0])
    assert_near(*found, 1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradients_in_every_type_and_layout(dtype: torch.dtype, layout: str) -> None:
    x = drawn(2, 5, 9, 6, dtype=dtype).contiguous(memory_format=LAYOUTS[layout])
    given = [x, *parts(7, 2, 5, 9, 6, dtype)]
    dy = drawn(2, 5, 9, 6, seed=9, dtype=dtype)
    grads = []
    for way, kind in ((by_kernel, dtype), (by_definition, torch.float64)):
        inputs = [t.detach().to(kind).requires_grad_() for t in given if t is not None]
        grads.append(torch.autograd.grad(way(*inputs, "lrelu", 2.0), inputs, dy.to(kind)))
    for mine, exact in zip(*grads):
        assert mine.dtype == dtype
        assert_near(mine, exact, 3 * ROUNDING[dtype])


AXES = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(-2, 5), st.integers(-2, 5))


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    size=st.tuples(st.integers(0, 2), st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
    taps=st.one_of(st.tuples(st.integers(1, 5), st.integers(1, 5)), st.integers(1, 12), st.just("usual")),
    axes=st.tuples(AXES, AXES),
    is_last=st.booleans(),
    flips=st.booleans(),
)
def test_resampling_is_its_definition(size, taps, axes, is_last, flips) -> None:  # type: ignore[no-untyped-def]
    (up_x, down_x, left, right), (up_y, down_y, top, bottom) = axes
    f = setup_filter([1, 3, 3, 1]) if taps == "usual" else None
    if f is None:
        f = drawn(taps, seed=1).float() if isinstance(taps, int) else drawn(*taps, seed=1).float()
    width, height = (f.shape[-1], f.shape[0])
    for side, up, before, after, count in (
        (size[3], up_x, left, right, width), (size[2], up_y, top, bottom, height),
    ):  # fmt: skip
        if side * up + min(before, 0) + min(after, 0) <= 0 or side * up + before + after < count:
            return  # nothing is left, which both refuse
    x = drawn(*size).contiguous(memory_format=torch.channels_last if is_last else torch.contiguous_format)
    how = {"up": [up_x, up_y], "down": [down_x, down_y], "padding": [left, right, top, bottom],
           "flip_filter": flips, "gain": 1.5}  # fmt: skip
    exact = upfirdn2d(x, f, impl="ref", **how) if size[0] else None
    found = upfirdn2d(x, f, impl="compiled", **how)
    if exact is None:
        assert found.numel() == 0
    elif exact.any():
        assert_near(found, exact, 1e-12)


@pytest.mark.parametrize(("up", "down"), [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
def test_the_usual_filter_in_every_type_layout_and_size(
    dtype: torch.dtype, layout: str, up: int, down: int
) -> None:
    f = setup_filter([1, 3, 3, 1])
    for c, h, w in ((1, 8, 8), (3, 5, 7), (17, 70, 3), (2, 1, 1)):
        x = drawn(2, c, h, w, dtype=dtype).contiguous(memory_format=LAYOUTS[layout])
        for pads in ([2, 1, 2, 1], [1, 2, 3, 2], [3, 3, 2, 2]):
            found = upfirdn2d(x, f, up=up, down=down, padding=pads, impl="compiled")
            exact = upfirdn2d(x.double(), f, up=up, down=down, padding=pads, impl="ref")
            assert_near(found, exact, ROUNDING[dtype], (c, h, w, pads))


@pytest.mark.parametrize(("up", "down"), [(1, 1), (2, 1), (1, 2), (3, 2)])
@pytest.mark.parametrize("taps", [[1, 3, 3, 1], [1, 2, 3, 4, 5, 6, 5, 4]])
def test_resampling_has_both_derivatives(taps: list[int], up: int, down: int) -> None:
    f = setup_filter(taps)
    x = drawn(1, 2, 6, 5).requires_grad_()
    call = lambda image: upfirdn2d(image, f, up=up, down=down, padding=4, impl="compiled")  # noqa: E731
    assert gradcheck(call, (x,))
    assert gradgradcheck(call, (x,))


def test_energy_of_kernels() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        w = drawn(3, 4, 3, 3, dtype=dtype)
        assert_near(kernel_energy(w, impl="compiled"), w.double().square().sum([2, 3]), 1e-6)
    w = drawn(2, 3, 3, 3).contiguous(memory_format=torch.channels_last).requires_grad_()
    assert gradcheck(lambda t: kernel_energy(t, impl="compiled"), (w,))
    assert gradgradcheck(lambda t: kernel_energy(t, impl="compiled"), (w,))
    with use_impl("compiled"):
        assert gradgradcheck(demodulation, (w, drawn(2, 3, seed=4).requires_grad_()))


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 4, 4), (2, 3, 0, 4)])
def test_nothing_in_nothing_out(shape: tuple[int, ...]) -> None:
    x = torch.zeros(shape, requires_grad=True)
    y = by_kernel(x, torch.ones(shape[:2]), None, torch.zeros(shape[1]), "lrelu", None)
    assert y.shape == shape
    y.sum().backward()
    assert x.grad is not None and x.grad.shape == shape


def test_any_strides() -> None:
    """What is neither layout is read as it is meant, forward and backward."""
    x = drawn(2, 6, 8, 10, dtype=torch.float32)[:, ::2, :, 1:8].transpose(2, 3)
    dy = drawn(8, 7, 3, 2, seed=4, dtype=torch.float32).permute(3, 2, 1, 0)
    grads = []
    for impl in ("compiled", "ref"):
        image = x.detach().requires_grad_()
        y = bias_act(image, None, act="lrelu", impl=impl)
        y = upfirdn2d(y, setup_filter([1, 3, 3, 1]), padding=[2, 1, 2, 1], impl=impl)
        grads.append([y, *torch.autograd.grad(y, image, dy)])
    for mine, exact in zip(*grads):
        assert_near(mine, exact, 1e-6)


def test_no_input_is_written_to_while_gradients_are_wanted() -> None:
    x = drawn(2, 3, 4, 4, dtype=torch.float32)
    kept = x.clone()
    by_kernel(x, None, None, torch.ones(3), "lrelu", None)
    assert torch.equal(x, kept)
    with torch.no_grad():
        bias_act(x, torch.ones(3), act="lrelu", impl="compiled")  # anybody's tensor
    assert torch.equal(x, kept)


def _over(
    axes: tuple[int | None, ...], call: Callable[..., Tensor], inputs: list[Tensor]
) -> tuple[Tensor, Tensor]:
    """vmap of a call, and the same one by one."""
    mapped = torch.func.vmap(call, in_dims=axes)(*inputs)
    pick = lambda k: [t if axis is None else t.select(axis, k) for t, axis in zip(inputs, axes)]  # noqa: E731
    return mapped, torch.stack([call(*pick(k)) for k in range(3)])


@pytest.mark.parametrize("axes", list(itertools.product((0, 1), (None, 0), (None, 0)))[:8])
def test_rule_for_vmap(axes: tuple[int | None, ...]) -> None:
    x = drawn(3, 2, 4, 5, 6)  # [B, N, C, H, W]
    x = x.movedim(0, axes[0] or 0)
    scale = drawn(3, 2, 4, seed=1) if axes[1] == 0 else drawn(2, 4, seed=1)
    bias = drawn(3, 4, seed=2) if axes[2] == 0 else drawn(4, seed=2)
    noise = drawn(5, 6, seed=3)

    def value(image: Tensor, s: Tensor, b: Tensor) -> Tensor:
        return by_kernel(image, s, noise, b, "lrelu", 2.0)

    def slopes(image: Tensor, s: Tensor, b: Tensor) -> Tensor:
        found = torch.func.grad(lambda *a: value(*a).square().sum(), argnums=(0, 1, 2))(image, s, b)
        return torch.cat([part.flatten() for part in found])

    def bends(image: Tensor, s: Tensor, b: Tensor) -> Tensor:
        return torch.func.grad(lambda *a: slopes(*a).square().sum())(image, s, b)

    for call in (value, slopes, bends):
        assert_near(*_over(axes, call, [x, scale, bias]), 1e-12)


def test_rule_for_vmap_of_the_second_pass_itself() -> None:
    """Under functorch derivatives keep their graph, by plain operations; the kernel has a rule, too."""
    from stylegan2ada.ops.compiled.registered import epilogue_second

    how = functions.Settings.of("tanh", 0.0, 1.2, 0.9).numbers
    dy, y, x, a = (drawn(3, 2, 4, 5, 6, seed=k) for k in range(4))
    scale, b, f = (drawn(3, 2, 4, seed=k) for k in (5, 6, 7))
    e = drawn(3, 2, 1, 5, 6, seed=8)
    mapped = torch.func.vmap(lambda *t: epilogue_second(*t, True, *how))(dy, y, x, scale, a, b, e, f)
    for k in range(3):
        single = epilogue_second(*(t[k] for t in (dy, y, x, scale, a, b, e, f)), True, *how)
        for many, one in zip(mapped, single):
            assert torch.equal(many[k], one)


def test_networks_agree_with_plain_operations() -> None:
    torch.manual_seed(0)
    G = Generator(16, 0, 16, 16, 1, synthesis_kwargs={"channel_base": 256, "channel_max": 80}).eval()
    D = Discriminator(0, 16, 1, channel_base=256, channel_max=80)
    z = torch.randn(4, 16)
    found = []
    for impl in ("compiled", "fast"):
        with use_impl(impl):
            with torch.no_grad():
                assert has_epilogue(z) == (impl == "compiled")
                drawn_ = G(z, None, noise_mode="const")
            image = drawn_.detach().requires_grad_()
            score = D(image, None).sum()
            (slope,) = torch.autograd.grad(score, image, create_graph=True)
            slope.square().sum().backward()
            found.append([drawn_, score, slope, D.b16.conv0.weight.grad.clone()])
            D.zero_grad()
    for mine, plain in zip(*found):
        assert_near(mine, plain, 1e-4)


def test_shapes_are_known_without_numbers() -> None:
    """As a graph is captured: no kernel may be called, and no value read."""
    with FakeTensorMode():
        G = Generator(16, 0, 16, 16, 1, synthesis_kwargs={"channel_base": 256, "channel_max": 16})
        D = Discriminator(0, 16, 1, channel_base=256, channel_max=16)
        with use_impl("compiled"):
            image = G(torch.randn(4, 16), None)
            score = D(image, None)
            (slope,) = torch.autograd.grad(score.sum(), image, create_graph=True)
            slope.square().sum().backward()
        assert image.shape == (4, 1, 16, 16) and D.b16.conv0.weight.grad is not None


# Whatever the number of threads, the same bits: sums are cut into blocks by their sizes alone.


def _with_two_derivatives(call: Callable[..., Tensor], inputs: list[Tensor]) -> list[Tensor]:
    """The value, its gradient, and the gradient of that gradient's size, by all inputs."""
    inputs = [t.detach().requires_grad_() for t in inputs]
    y = call(*inputs)
    rng = torch.Generator().manual_seed(7)
    score = (y.square() * torch.randn(y.shape, generator=rng).to(y)).sum()  # bends what is linear
    first = torch.autograd.grad(score, inputs, create_graph=True)
    second = torch.autograd.grad([t.square().sum() for t in first], inputs)
    return [t.detach() for t in (y, *first, *second)]


def _calls(c: int, h: int, w: int, dtype: torch.dtype, layout: str) -> dict[str, list[Tensor]]:
    """What every kernel computes for an image of three samples, by name."""
    x = drawn(3, c, h, w, dtype=dtype).contiguous(memory_format=LAYOUTS[layout])
    scale, noise, bias = (t for t in parts(7, 3, c, h, w, dtype) if t is not None)
    usual, long = setup_filter([1, 3, 3, 1]), setup_filter([1, 2, 3, 4, 5, 6, 5, 4])
    found = {
        f"epilogue {act}": _with_two_derivatives(
            lambda *given, act=act: by_kernel(*given, act, 2.0), [x, scale, noise, bias]
        )
        for act in ("lrelu", "tanh")
    }
    shared = noise[:1, 0].reshape(h, w)
    found["epilogue, one noise for all"] = _with_two_derivatives(
        lambda *given: by_kernel(*given, "lrelu", 2.0), [x, scale, shared, bias]
    )
    found["bias_act"] = _with_two_derivatives(
        lambda image, b: bias_act(image, b, act="lrelu", impl="compiled"), [x, bias]
    )
    with torch.no_grad():
        found["epilogue in place"] = [by_kernel(x.clone(), scale, noise, bias, "lrelu", 2.0)]
    for f, up, down in ((usual, 1, 1), (usual, 2, 1), (usual, 1, 2), (long, 3, 2)):
        how = {"up": up, "down": down, "padding": [4, 3, 3, 4], "impl": "compiled"}
        found[f"resample {len(f)} taps, {up}, {down}"] = _with_two_derivatives(
            lambda image, f=f, how=how: upfirdn2d(image, f, **how), [x]
        )
    kernels = drawn(c, 7, 3, 3, dtype=dtype).contiguous(memory_format=LAYOUTS[layout])
    found["energy"] = _with_two_derivatives(lambda t: kernel_energy(t, impl="compiled"), [kernels])
    return found


_TYPES = [pytest.param(t, marks=() if t == torch.float32 else pytest.mark.slow) for t in ROUNDING]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", _TYPES, ids=str)
def test_no_bit_depends_on_the_number_of_threads(dtype: torch.dtype, layout: str) -> None:
    # Planes of several blocks with a rest, bands of several rows; then fewer tasks than threads.
    for c, h, w in ((3, 131, 67), (70, 5, 9)):
        torch.set_num_threads(1)
        alone = _calls(c, h, w, dtype, layout)
        for threads in (2, 3):
            torch.set_num_threads(threads)
            for name, values in _calls(c, h, w, dtype, layout).items():
                assert len(values) == len(alone[name])
                for k, (mine, one) in enumerate(zip(values, alone[name])):
                    assert torch.equal(mine, one), (name, k, threads, (c, h, w))
