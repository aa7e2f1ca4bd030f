"""Augmentation against recorded images and gradients, and against recorded statistics of many draws."""

import math

import numpy as np
import pytest
import torch

from stylegan2ada.networks import augment
from stylegan2ada.networks.augment import AugmentPipe
from tests.golden_data import golden_arrays, golden_json

FORWARD = {"rtol": 1e-4, "atol": 1e-5}


def entries(name: str) -> list[str]:
    return list(golden_json(f"augment/{name}.json")["entries"])


@pytest.mark.parametrize("margins", ["exact", "full"])
@pytest.mark.parametrize(
    ("name", "entry"), [(name, entry) for name in ("augment_c3", "augment_c1") for entry in entries(name)]
)
def test_recorded_images_and_gradients(name, entry, margins):
    facts, recorded = golden_json(f"augment/{name}.json"), golden_arrays(f"augment/{name}.npz")
    pipe = AugmentPipe(**facts["entries"][entry])
    pipe.margins = margins
    x = torch.from_numpy(recorded["in/x"]).requires_grad_(True)
    dy = torch.from_numpy(recorded["in/dy"])
    seen = set()
    for q in facts["percentiles"]:
        y = pipe(x, debug_percentile=q)
        np.testing.assert_allclose(y.detach(), recorded[f"{entry}/p{q}/y"], **FORWARD, err_msg=f"{q}")
        seen.add(f"{entry}/p{q}/y")
        if f"{entry}/p{q}/dx" in recorded:
            (dx,) = torch.autograd.grad((y * dy).sum(), x)
            expected = recorded[f"{entry}/p{q}/dx"]
            np.testing.assert_allclose(dx, expected, rtol=0, atol=1e-3 * np.abs(expected).max())
            seen.add(f"{entry}/p{q}/dx")
    assert seen == {key for key in recorded if key.startswith(f"{entry}/")}


@pytest.mark.parametrize("margins", ["exact", "full"])
@pytest.mark.parametrize("case", golden_json("augment/augment_sizes.json"), ids=lambda case: case["key"])
def test_recorded_sizes(case, margins):
    recorded = golden_arrays("augment/augment_sizes.npz")
    x = torch.from_numpy(recorded[f"{case['key']}/x"])
    assert list(x.shape) == case["shape"]
    pipe = AugmentPipe(**case["kwargs"])
    pipe.margins = margins
    y = pipe(x, debug_percentile=case["percentile"])
    np.testing.assert_allclose(y, recorded[f"{case['key']}/y"], **FORWARD)


def test_recorded_constants():
    recorded = golden_arrays("augment/constants.npz")
    np.testing.assert_array_equal(augment.SYM6, recorded["sym6"])
    np.testing.assert_array_equal(augment.SYM2, recorded["sym2"])
    pipe = AugmentPipe()
    np.testing.assert_allclose(pipe.Hz_geom, recorded["Hz_geom"], rtol=1e-6)
    np.testing.assert_allclose(pipe.Hz_fbank, recorded["Hz_fbank"], rtol=1e-6, atol=1e-8)
    assert pipe.p.shape == ()
    assert pipe.p == 1
    assert list(pipe.state_dict()) == ["p", "Hz_geom", "Hz_fbank"]


def test_recorded_neutral_images():
    recorded = golden_arrays("augment/p_zero.npz")
    settings = golden_json("augment/augment_c3.json")["entries"]
    differences = golden_json("augment/statistics.json")["p_zero"]
    x = torch.from_numpy(recorded["x"])
    names = [key.split("/")[0] for key in recorded if key != "x"]
    assert set(names) == set(differences)
    for name in names:
        pipe = AugmentPipe(**settings[name])
        pipe.p.zero_()
        y = pipe(x)
        np.testing.assert_allclose(y, recorded[f"{name}/y_p0"], **FORWARD, err_msg=name)
        # as close to the input as the recorded one, give or take rounding
        assert (y - x).abs().max() <= differences[name]["max_abs_diff_from_input"] + 1e-6, name


RGB = (0.2, -0.1, 0.4)  # of the recorded constant images: brightness, which adds, has it as its mean
DRAWS = 4096


@pytest.mark.parametrize("key", [key for key in golden_json("augment/statistics.json") if key != "p_zero"])
def test_recorded_statistics(key):
    """Two estimates from `DRAWS` draws each lie within 3 sigma of their difference."""
    recorded = golden_json("augment/statistics.json")[key]
    name, p = key.split("@p")
    torch.manual_seed(0)
    pipe = AugmentPipe(**{name: 1})
    pipe.p.fill_(float(p))
    geometric = name == "xflip"
    size = 8
    x = torch.tensor(RGB).reshape(1, 3, 1, 1).expand(DRAWS, 3, size, size).clone()
    if name in ("cutout", "noise"):
        x = torch.ones_like(x) if name == "cutout" else torch.zeros_like(x)
    if geometric:
        x = torch.linspace(-1, 1, size).expand(DRAWS, 3, size, size).clone()
    y = pipe(x)

    def close(got: float, expected: float, sigma: float) -> None:
        assert abs(got - expected) <= 3 * math.sqrt(2) * sigma + 1e-6, (got, expected, sigma)

    # what happens at all: a binomial share
    rounding = 1e-4 if geometric else 1e-6  # geometry resamples even what it does not move
    changed = ((y - x).abs().amax([1, 2, 3]) > rounding).double().mean().item()
    share = recorded["fraction_changed"]
    close(changed, share, math.sqrt(max(share * (1 - share), 0) / DRAWS))
    if "mean_rgb" in recorded:
        colours = y[:, :, 0, 0].double()
        torch.testing.assert_close(y, y[:, :, :1, :1].expand_as(y))  # the same for all pixels
        for got, mean, std in zip(colours.unbind(1), recorded["mean_rgb"], recorded["std_rgb"]):
            spread = (got - got.mean()).square()
            close(got.mean().item(), mean, std / math.sqrt(DRAWS))
            # delta method: Var(std) = Var((x - mean)^2) / (4 variance n)
            close(got.std().item(), std, spread.std().item() / (2 * std * math.sqrt(DRAWS)))
    if "overall_std" in recorded:
        power = y.double().square().mean([1, 2, 3])
        sigma = power.std().item() / (2 * recorded["overall_std"] * math.sqrt(DRAWS))
        close(y.double().square().mean().sqrt().item(), recorded["overall_std"], sigma)
    if "mean" in recorded:
        means = y.double().mean([1, 2, 3])
        close(means.mean().item(), recorded["mean"], means.std().item() / math.sqrt(DRAWS))
