"""Augmentation: closed forms, both kinds of margins, gradients of gradients, per-sample work, edges."""

import inspect
import math
import pickle
import sys
import types

import numpy as np
import pytest
import torch

from stylegan2ada.networks import augment
from stylegan2ada.networks.augment import AugmentPipe

BLIT = {"xflip": 1, "rotate90": 1, "xint": 1}
GEOM = {"scale": 1, "rotate": 1, "aniso": 1, "xfrac": 1}
COLOUR = {"brightness": 1, "contrast": 1, "lumaflip": 1, "hue": 1, "saturation": 1}
EVERYTHING = {**BLIT, **GEOM, **COLOUR, "imgfilter": 1, "noise": 1, "cutout": 1}


def images(n: int = 3, c: int = 3, h: int = 24, w: int = 24, dtype=torch.float32) -> torch.Tensor:
    return torch.randn(n, c, h, w, generator=torch.Generator().manual_seed(7), dtype=dtype)


def smooth(n: int = 3, c: int = 3, size: int = 32) -> torch.Tensor:
    """Slow waves that continue smoothly where they are reflected: resampling is nearly exact on them."""
    waves = torch.stack([torch.cos(math.pi * k * torch.arange(size) / (size - 1)) for k in range(3)])
    weights = torch.randn(n, c, 3, 3, generator=torch.Generator().manual_seed(7))
    return torch.einsum("nckl,ki,lj->ncij", weights, waves, waves)


def build(margins: str = "auto", p: float = 1.0, **kwargs) -> AugmentPipe:
    pipe = AugmentPipe(**kwargs)
    pipe.margins = margins
    pipe.p.fill_(p)
    return pipe


# --- what the operations mean --------------------------------------------------------------------------


@pytest.mark.parametrize("margins", ["exact", "full"])
def test_blits_are_numpys(margins):
    """Mirror, quarter turns and whole shifts, against flip, rot90 and numpy's reflecting pad.

    The wavelet is not quite symmetric: turning against it moves an image by about a tenth of a pixel.
    """
    x = smooth(4, 1, 32)
    pipe = build(margins)
    zero = torch.zeros(4)
    cases = [
        ({"xflip": zero + 1}, lambda a: a[:, ::-1]),
        *[({"rotate90": zero + k}, lambda a, k=k: np.rot90(a, k)) for k in range(4)],
        (
            {"xint": torch.tensor([[3 / 32, -5 / 32]] * 4)},  # right by 3, up by 5
            lambda a: np.pad(a, ((0, 5), (3, 0)), "reflect")[5:, :32],
        ),
        (
            {"xflip": zero + 1, "rotate90": zero + 1},  # the mirror comes first, then the turn
            lambda a: np.rot90(a[:, ::-1]),
        ),
    ]
    for params, expected in cases:
        y = pipe.apply(x, params)
        for got, image in zip(y, x):
            limit = 1e-5 if set(params) == {"xint"} else 0.02 * image.abs().max()
            np.testing.assert_allclose(
                got[0], expected(image[0].numpy()), rtol=0, atol=limit, err_msg=str(params)
            )


def test_zoom_and_turn_agree_with_scipy():
    from scipy import ndimage

    x = smooth(1, 1, 48)
    angle, zoom, shift = 0.3, 1.3, (0.05, -0.1)
    params = {
        "scale": torch.tensor([zoom]),
        "rotate_pre": torch.tensor([angle]),
        "xfrac": torch.tensor([shift]),
    }
    got = AugmentPipe().apply(x, params)[0, 0].numpy()
    # scipy's matrix maps output (row, column) to input, as ours does for (x, y)
    linear = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]) / zoom
    center = np.array([23.5, 23.5])
    offset = center - linear @ (center + np.array(shift) * 48)
    swap = [1, 0]
    expected = ndimage.affine_transform(
        x[0, 0].double().numpy(), linear[swap][:, swap], offset[swap], order=5, mode="mirror"
    )
    inner = (slice(8, 40), slice(8, 40))
    assert np.abs(got - expected)[inner].max() < 0.02 * np.abs(expected).max()
    assert np.abs(got - x[0, 0].numpy())[inner].max() > 0.2 * np.abs(expected).max()  # it did move


def test_colours_are_the_chain_of_matrices():
    """The closed form against the five homogeneous matrices multiplied one by one, in float64."""
    torch.manual_seed(0)
    n = 5
    params = {
        "brightness": torch.randn(n).double(),
        "contrast": torch.rand(n).double() + 0.5,
        "lumaflip": torch.tensor([0.0, 1, 0, 1, 1]).double(),
        "hue": torch.randn(n).double() * 2,
        "saturation": torch.rand(n).double() * 2,
    }
    x = images(n, 3, 4, 4, dtype=torch.float64)
    got = augment.change_colours(x, params)
    v = np.array([1, 1, 1, 0]) / math.sqrt(3)
    cross = np.zeros([4, 4])
    cross[:3, :3] = np.cross(np.eye(3), v[:3]).T * -1  # columns: v cross e_k
    np.testing.assert_allclose(cross[:3, :3] @ [1, 0, 0], np.cross(v[:3], [1, 0, 0]))
    for k in range(n):
        b, c, flip, a, s = (params[name][k].item() for name in params)
        shift = np.eye(4)
        shift[:3, 3] = b
        turn = np.eye(4) + math.sin(a) * cross + (1 - math.cos(a)) * cross @ cross  # Rodrigues
        steps = [
            shift,
            np.diag([c, c, c, 1]),
            np.eye(4) - 2 * flip * np.outer(v, v),
            turn,
            np.outer(v, v) + s * (np.eye(4) - np.outer(v, v)),
        ]
        total = np.eye(4)
        for step in steps:
            total = step @ total
        expected = np.einsum("ij,jhw->ihw", total[:3, :3], x[k].numpy()) + total[:3, 3, None, None]
        np.testing.assert_allclose(got[k], expected, rtol=1e-10, atol=1e-12)


def test_grey_images_keep_what_matters_to_them():
    x = images(2, 1)
    value = {"lumaflip": torch.tensor([1.0, 0.0]), "brightness": torch.tensor([0.25, 0.5])}
    y = augment.change_colours(x, value)
    torch.testing.assert_close(y[0], -(x[0] + 0.25))
    torch.testing.assert_close(y[1], x[1] + 0.5)
    only_colour = build(hue=1, saturation=1)
    assert torch.equal(only_colour(x), x)


def test_two_channels_have_no_colours():
    with pytest.raises(ValueError, match="1 or 3 channels"):
        build(contrast=1)(images(1, 2))
    build(xflip=1)(images(1, 2))  # geometry does not mind


def test_bands_keep_the_expected_power():
    """Gains of one band after another, each renormalised, as one closed form."""
    torch.manual_seed(0)
    t = torch.exp2(torch.randn(6, 4).double())
    power = augment.BAND_POWER
    for row, got in zip(t.numpy(), augment.band_gains(t).numpy()):
        gains = np.ones(4)
        for band in range(4):
            one = np.ones(4)
            one[band] = row[band]
            gains *= one / np.sqrt((power * one**2).sum())
        np.testing.assert_allclose(got, gains, rtol=1e-6)


def test_filter_agrees_with_scipy():
    from scipy import ndimage

    pipe = AugmentPipe()
    x = images(2, 2, 23, 30, dtype=torch.float64)
    gains = torch.tensor([[1.0, 0.3, 2, 0.7], [0.5, 1, 1, 3]])
    taps = (gains @ pipe.Hz_fbank).double()
    got = augment.filter_rows_and_columns(x, taps)
    for k in range(2):
        expected = x[k].numpy()
        for axis in (1, 2):
            expected = ndimage.correlate1d(expected, taps[k].numpy(), axis=axis, mode="mirror")
        np.testing.assert_allclose(got[k], expected, atol=1e-10)


def test_cutout_is_a_grey_square():
    pipe = AugmentPipe()
    params = {"cutout": torch.tensor([0.5, 0.0]), "cutout_center": torch.tensor([[0.5, 0.25], [0.5, 0.5]])}
    y = pipe.apply(torch.ones(2, 1, 8, 16), params)
    expected = torch.ones(8, 16)
    expected[0:4, 4:12] = 0
    assert torch.equal(y[0, 0], expected)
    assert torch.equal(y[1], torch.ones(1, 8, 16))


# --- draws ---------------------------------------------------------------------------------------------


def test_forward_is_sample_then_apply():
    x, pipe = images(4), build(**EVERYTHING)
    torch.manual_seed(3)
    whole = pipe(x)
    torch.manual_seed(3)
    drawn = pipe.sample(4, device=x.device, img_shape=x.shape[1:])
    assert torch.equal(pipe.apply(x, drawn), whole)
    assert torch.equal(pipe.apply(x, drawn), whole)  # nothing random is left
    assert all(len(value) == 4 for value in drawn.values())


def test_only_what_is_enabled_is_drawn():
    assert build().sample(2) == {}
    assert set(build(rotate=1).sample(2)) == {"rotate_pre", "rotate_post"}
    assert "noise_image" not in build(noise=1).sample(2)


def test_without_probability_nothing_happens():
    x = smooth()
    torch.testing.assert_close(build(p=0.0, **EVERYTHING)(x), x, rtol=0, atol=1e-5)
    drawn = build(p=0.0, **EVERYTHING).sample(50)
    for name, value in drawn.items():
        if name != "cutout_center":
            neutral = 1 if name in ("scale", "aniso", "contrast", "saturation", "imgfilter") else 0
            assert name == "noise_image" or torch.all(value == neutral), name


@pytest.mark.parametrize("p", [0.3, 1.0, 1.7])
def test_either_rotation_has_the_wanted_probability(p):
    torch.manual_seed(0)
    drawn = build(p=p, rotate=0.8).sample(20000)
    either = ((drawn["rotate_pre"] != 0) | (drawn["rotate_post"] != 0)).double().mean().item()
    expected = min(0.8 * p, 1)
    assert abs(either - expected) <= 4 * math.sqrt(expected * (1 - expected) / 20000) + 1e-9


def test_rates_multiply():
    torch.manual_seed(0)
    drawn = build(p=0.5, imgfilter=0.8, imgfilter_bands=[1, 0, 0.5, 1], xint=0.4).sample(20000)
    for share, expected in [
        *zip((drawn["imgfilter"] != 1).double().mean(0).tolist(), [0.4, 0, 0.2, 0.4]),
        ((drawn["xint"] != 0).all(1).double().mean().item(), 0.2),  # x and y are kept together
        ((drawn["xint"] != 0).any(1).double().mean().item(), 0.2),
    ]:
        assert abs(share - expected) <= 4 * math.sqrt(expected * (1 - expected) / 20000)


def test_limited_rotation_for_radiographs():
    torch.manual_seed(0)
    degrees = build(rotate=1, rotate_max=5 / 180).sample(5000)
    for name in ("rotate_pre", "rotate_post"):
        angles = torch.rad2deg(degrees[name]).abs()
        assert 4.9 < angles.max() <= 5


# --- margins -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 3, 32, 32), (3, 1, 20, 34), (2, 2, 8, 5)])
def test_both_margins_give_the_same_image(shape):
    x = images(*shape)
    settings = {**BLIT, **GEOM, "scale_std": 0.5, "xfrac_std": 0.3}  # strong: reflection reaches its limit
    for seed in range(4):
        torch.manual_seed(seed)
        drawn = AugmentPipe(**settings).sample(len(x))
        exact, full = (build(margins).apply(x, drawn) for margins in ("exact", "full"))
        torch.testing.assert_close(exact, full, rtol=1e-4, atol=2e-5)


def test_batch_mates_only_touch_the_border():
    """Margins are shared by a batch: that may change an image near its border and nowhere else."""
    torch.manual_seed(0)
    x = images(6, 1, 48, 48)
    pipe = build(**BLIT, rotate=1, scale=1, aniso=1)
    drawn = pipe.sample(6)
    drawn["scale"] = drawn["scale"].clamp(min=1)  # zooming out shows beyond the reflection itself
    together = pipe.apply(x, drawn)
    alone = torch.cat(
        [pipe.apply(x[k : k + 1], {name: v[k : k + 1] for name, v in drawn.items()}) for k in range(6)]
    )
    difference = (together - alone).abs()
    assert difference[:, :, 4:-4, 4:-4].max() < 1e-4  # rounding of coordinates on another canvas
    assert difference.max() < 0.05 * x.abs().max()


@pytest.mark.parametrize("size", [4, 5, 8])
@pytest.mark.parametrize("margins", ["exact", "full"])
def test_tiny_images_survive(size, margins):
    torch.manual_seed(0)
    settings = {k: v for k, v in EVERYTHING.items() if k != "imgfilter"}
    pipe = build(margins, p=1.0, **settings)
    for _ in range(20):
        x = images(4, 3, size, size)
        y = pipe(x)
        assert y.shape == x.shape
        assert torch.isfinite(y).all()


def test_small_images_cannot_be_filtered():
    with pytest.raises(ValueError, match="at least 22 pixels, not 30x21"):
        build(imgfilter=1)(images(1, 3, 21, 30))
    build(imgfilter=1)(images(1, 3, 22, 22))


# --- gradients -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("margins", ["exact", "full"])
def test_gradients_of_gradients(margins):
    torch.manual_seed(1)
    x = images(1, 3, 5, 4, dtype=torch.float64).requires_grad_(True)
    pipe = build(margins, **GEOM, **COLOUR, cutout=1).double()
    pipe.p.fill_(0.9)
    drawn = pipe.sample(1)

    def curved(image):  # the pipe is linear: give the second derivative something to see
        return pipe.apply(image, drawn).pow(3) + pipe.apply(image * image, drawn)

    assert torch.autograd.gradcheck(curved, x, nondet_tol=1e-12)
    assert torch.autograd.gradgradcheck(curved, x, nondet_tol=1e-12, fast_mode=True)


def test_gradients_of_gradients_through_the_filter():
    torch.manual_seed(1)
    x = images(1, 1, 22, 22, dtype=torch.float64)
    pipe = build(imgfilter=1).double()
    drawn = pipe.sample(1)
    a, b = (torch.randn_like(x) for _ in range(2))
    image = x.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad((pipe.apply(image, drawn).pow(3) * a).sum(), image, create_graph=True)
    (curve,) = torch.autograd.grad((slope * b).sum(), image)

    def slope_at(at):
        at = at.clone().requires_grad_(True)
        return torch.autograd.grad((pipe.apply(at, drawn).pow(3) * a).sum(), at)[0]

    expected = (slope_at(x + 1e-5 * b) - slope_at(x - 1e-5 * b)) / 2e-5
    torch.testing.assert_close(curve, expected, rtol=1e-6, atol=1e-6 * expected.abs().max().item())


@pytest.mark.parametrize("margins", ["auto", "full"])
def test_per_sample_gradients(margins):
    """vmap over images with their own parameters equals one image at a time, squared gradients included."""
    torch.manual_seed(2)
    x = images(3, 3, 24, 24)
    pipe = build(margins, **EVERYTHING)
    drawn = pipe.sample(3, img_shape=x.shape[1:])

    def score(image, params):
        y = pipe.apply(image[None], {name: value[None] for name, value in params.items()})
        return y.pow(3).sum()

    def penalty(image, params):
        return torch.func.grad(score)(image, params).square().sum()

    got = torch.func.vmap(torch.func.grad(penalty))(x, drawn)
    for k in range(3):
        image = x[k].clone().requires_grad_(True)
        params = {name: value[k] for name, value in drawn.items()}
        (slope,) = torch.autograd.grad(score(image, params), image, create_graph=True)
        (expected,) = torch.autograd.grad(slope.square().sum(), image)
        torch.testing.assert_close(got[k], expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())


# --- as a module ---------------------------------------------------------------------------------------


def test_constructor_arguments_are_attributes():
    pipe = AugmentPipe(xflip=1, scale_std=0.3, imgfilter_bands=[1, 0, 1, 0])
    assert (pipe.xflip, pipe.scale_std, pipe.rotate_max, pipe.cutout_size) == (1.0, 0.3, 1.0, 0.5)
    assert isinstance(pipe.xflip, float)
    assert pipe.imgfilter_bands == [1, 0, 1, 0]
    assert pipe.init_kwargs == {"xflip": 1, "scale_std": 0.3, "imgfilter_bands": [1, 0, 1, 0]}
    assert not list(pipe.parameters())


def test_module_apply_keeps_its_meaning():
    seen = []
    pipe = AugmentPipe()
    assert pipe.apply(lambda module: seen.append(module)) is pipe
    assert seen == [pipe]


def test_survives_pickle():
    pipe = pickle.loads(pickle.dumps(build(p=0.25, xflip=1)))
    assert float(pipe.p) == 0.25
    assert pipe.xflip == 1


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-4), (torch.bfloat16, 0.05)])
def test_images_keep_their_type_and_places_their_accuracy(dtype, atol):
    x = images(2, 3, 64, 64).to(dtype)
    torch.manual_seed(0)
    pipe = build(**EVERYTHING)
    drawn = pipe.sample(2, img_shape=x.shape[1:])
    y = pipe.apply(x, drawn)
    assert y.dtype == dtype
    torch.testing.assert_close(y.float(), pipe.apply(x.float(), drawn), rtol=1e-2, atol=atol)


@pytest.mark.gpu
def test_no_reads_from_the_device():
    x = images(4).cuda()
    pipe = build(**EVERYTHING).cuda()
    pipe(x)  # first use may load kernels
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        image = x.clone().requires_grad_(True)
        y = pipe(image)
        (slope,) = torch.autograd.grad(y.sum(), image, create_graph=True)
        (slope.square().sum() + y.square().sum()).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.isfinite(image.grad).all()


@pytest.mark.gpu
def test_device_and_host_agree():
    x = images(4)
    pipe = build(**EVERYTHING)
    drawn = pipe.sample(4, img_shape=x.shape[1:])
    expected = pipe.apply(x, drawn)
    got = pipe.cuda().apply(x.cuda(), {name: value.cuda() for name, value in drawn.items()})
    torch.testing.assert_close(got.cpu(), expected, rtol=1e-3, atol=1e-4)


def test_nothing_is_read_from_a_device():
    """Tensors without contents: whatever would wait for a device's numbers fails."""
    x = torch.empty(3, 3, 24, 24, device="meta", requires_grad=True)
    pipe = AugmentPipe(**EVERYTHING).to("meta")
    y = pipe(x)
    assert y.shape == x.shape
    (slope,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    slope.square().sum().backward()
    assert x.grad.shape == x.shape
    pipe.margins = "exact"
    with pytest.raises((RuntimeError, NotImplementedError)):  # the test would notice a read
        pipe(x)


def test_text_runs_alone_and_computes_the_same(monkeypatch):
    """As from a pickle in an official checkout: torch_utils around it, and ops that know no more."""
    from stylegan2ada.networks import persistent_class
    from stylegan2ada.ops import grid_sample_gradfix, upfirdn2d

    def plain(function, *known):
        def call(*args, **kwargs):
            assert set(kwargs) <= set(known), f"unknown to the official op: {set(kwargs) - set(known)}"
            return function(*args, **kwargs)

        return call

    fir = ("padding", "flip_filter", "gain", "impl")
    ops = types.ModuleType("torch_utils.ops")
    ops.upfirdn2d = types.SimpleNamespace(
        setup_filter=plain(upfirdn2d.setup_filter),
        upsample2d=plain(upfirdn2d.upsample2d, "up", *fir),
        downsample2d=plain(upfirdn2d.downsample2d, "down", *fir),
    )
    ops.grid_sample_gradfix = types.SimpleNamespace(grid_sample=plain(grid_sample_gradfix.grid_sample))
    persistence = types.ModuleType("torch_utils.persistence")
    persistence.persistent_class = persistent_class
    monkeypatch.setitem(sys.modules, "torch_utils", types.ModuleType("torch_utils"))
    monkeypatch.setitem(sys.modules, "torch_utils.ops", ops)
    monkeypatch.setitem(sys.modules, "torch_utils.persistence", persistence)
    text = inspect.getsource(augment)
    for name in [key for key in sys.modules if key.split(".")[0] == "stylegan2ada"]:
        monkeypatch.setitem(sys.modules, name, None)  # importing any of it fails
    module = types.ModuleType("_imported_module_0123456789abcdef")
    exec(compile(text, "<from a pickle>", "exec"), module.__dict__)

    x = images(2)
    results = []
    for cls in (module.AugmentPipe, AugmentPipe):
        torch.manual_seed(0)
        results.append(cls(**EVERYTHING)(x))
    assert torch.equal(*results)
