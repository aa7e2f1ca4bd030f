"""Sampling and convolution wrappers."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck, gradgradcheck

from stylegan2ada.ops import conv2d_gradfix
from stylegan2ada.ops import grid_sample_gradfix as room
from stylegan2ada.ops.grid_sample_gradfix import grid_sample, native_differentiates_twice
from tests.stylegan2ada.ops.checks import assert_second_order, gradients, leaf


def warped_grid(n: int, h: int, w: int, seed: int = 0) -> torch.Tensor:
    """A grid that is turned, and leaves the image in places."""
    rng = torch.Generator().manual_seed(seed)
    matrices = torch.randn(n, 2, 3, generator=rng, dtype=torch.float64)
    return F.affine_grid(matrices, [n, 1, h, w], align_corners=False)


def test_probe_says_what_a_second_derivative_does():
    x = leaf(torch.randn(1, 1, 4, 4))
    (dx,) = gradients(grid_sample(x, warped_grid(1, 3, 3).float(), impl="native").square().sum(), [x])
    try:
        gradients(dx.sum(), [x])
        works = True
    except RuntimeError:
        works = False
    assert native_differentiates_twice("cpu") is works
    print(f"torch {torch.__version__}: native grid_sample differentiates twice: {works}")


@pytest.mark.parametrize("answer", [True, False])
def test_auto_follows_the_probe(monkeypatch, answer):
    monkeypatch.setattr(room, "native_differentiates_twice", lambda device: answer)
    y = grid_sample(leaf(torch.randn(1, 1, 4, 4)), warped_grid(1, 3, 3).float())
    assert ("_Sample" in y.grad_fn.name()) is not answer


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_own_equals_native(seed, dtype):
    if not native_differentiates_twice("cpu"):
        pytest.skip("this torch has no native second order to compare with")
    grid = warped_grid(2, 5, 6, seed).to(dtype)
    results = []
    for impl in ("native", "own"):
        rng = torch.Generator().manual_seed(seed)
        x = torch.randn(2, 3, 7, 4, generator=rng, dtype=dtype, requires_grad=True)
        dy = torch.randn(2, 3, 5, 6, generator=rng, dtype=dtype, requires_grad=True)
        y = grid_sample(x, grid, impl=impl)
        (dx,) = gradients((y.square() * dy).sum(), [x])
        results.append([y, dx, *gradients(dx.square().sum(), [x, dy])])
    for own, native in zip(*reversed(results)):
        torch.testing.assert_close(own, native)


@pytest.mark.parametrize("impl", ["own", "auto"])
def test_gradgradcheck(impl):
    x = torch.randn(2, 2, 4, 3, dtype=torch.float64, requires_grad=True)
    grid = warped_grid(2, 3, 4)
    assert gradcheck(lambda image: grid_sample(image, grid, impl=impl), x)
    assert gradgradcheck(lambda image: grid_sample(image, grid, impl=impl).square(), x)


def test_second_order_against_float64():
    grid = warped_grid(3, 8, 8).float()
    assert_second_order(
        lambda x: grid_sample(x, grid.to(x.dtype), impl="own").square(), [(3, 2, 9, 7)], "grid_sample own"
    )


@pytest.mark.parametrize("impl", ["own", "auto"])
def test_per_sample_gradients(impl):
    images, grids = torch.randn(3, 2, 5, 4, dtype=torch.float64), warped_grid(3, 4, 4)

    def score(image, grid):
        return grid_sample(image[None], grid[None], impl=impl).pow(3).sum()

    def penalty(image, grid):
        return torch.func.grad(score)(image, grid).square().sum()

    for function in (score, penalty):
        for in_dims, given in [((0, 0), grids), ((0, None), grids[0])]:
            batched = torch.func.vmap(torch.func.grad(function), in_dims=in_dims)(images, given)
            looped = [
                torch.func.grad(function)(image, grids[k] if in_dims[1] == 0 else given)
                for k, image in enumerate(images)
            ]
            torch.testing.assert_close(batched, torch.stack(looped))


@pytest.mark.parametrize("enabled", [False, True])
def test_convolutions_are_torchs(monkeypatch, enabled):
    monkeypatch.setattr(conv2d_gradfix, "enabled", enabled)
    x, w, b = torch.randn(2, 4, 6, 6), torch.randn(6, 2, 3, 3), torch.randn(6)
    torch.testing.assert_close(
        conv2d_gradfix.conv2d(x, w, b, stride=2, padding=1, groups=2),
        F.conv2d(x, w, b, stride=2, padding=1, groups=2),
        rtol=0,
        atol=0,
    )
    w, b = torch.randn(4, 3, 3, 3), torch.randn(6)
    torch.testing.assert_close(
        conv2d_gradfix.conv_transpose2d(x, w, b, stride=2, padding=1, output_padding=1, groups=2),
        F.conv_transpose2d(x, w, b, stride=2, padding=1, output_padding=1, groups=2),
        rtol=0,
        atol=0,
    )


def test_no_weight_gradients_loses_no_gradient():
    """R1's way: image gradients inside the block, the real backward outside."""
    results = []
    for inside in (False, True):
        rng = torch.Generator().manual_seed(0)
        x = torch.randn(1, 2, 5, 5, generator=rng, requires_grad=True)
        w = torch.randn(3, 2, 3, 3, generator=rng, requires_grad=True)
        y = conv2d_gradfix.conv2d(x, w, padding=1).square().sum()
        if inside:
            with conv2d_gradfix.no_weight_gradients():
                assert conv2d_gradfix.weight_gradients_disabled
                (dx,) = torch.autograd.grad(y, [x], create_graph=True)
        else:
            (dx,) = torch.autograd.grad(y, [x], create_graph=True)
        assert not conv2d_gradfix.weight_gradients_disabled
        (dx.square().sum() + y).backward()
        results.append(w.grad)
    torch.testing.assert_close(*results, rtol=0, atol=0)
