"""Path length pieces: recorded interpolations and full samplers, and the laws of the sphere."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stylegan2ada.metrics import ppl
from stylegan2ada.networks.stylegan2 import Generator
from tests.golden_data import golden_arrays, golden_json

FACTS = golden_json("metrics/metrics.json")


def recorded(key: str) -> torch.Tensor:
    return torch.as_tensor(golden_arrays("metrics/metrics.npz")[key])


@pytest.fixture(scope="module")
def generator() -> Generator:
    G = Generator(**FACTS["ppl_sampler"]["G_kwargs"]).eval().requires_grad_(False)
    state = golden_arrays("metrics/metrics.npz").under("ppl/G")
    G.load_state_dict({key: torch.as_tensor(value) for key, value in state.items()}, strict=True)
    for name, buffer in G.synthesis.named_buffers():  # the draws that redraw_noise would make
        if name.endswith("noise_const"):
            buffer.copy_(recorded(f"ppl/draws/synthesis.{name}"))
    return G


def pooled(img: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.adaptive_avg_pool2d(img, 4).flatten(1) / 255


def test_slerp_as_recorded() -> None:
    z0, z1, t = recorded("ppl/z0"), recorded("ppl/z1"), recorded("ppl/t")
    for key, where in [("slerp", t), ("slerp_t0", t * 0), ("slerp_t0_eps1e-2", t * 0 + 1e-2)]:
        torch.testing.assert_close(ppl.slerp(z0, z1, where), recorded(f"ppl/{key}"), rtol=1e-5, atol=1e-6)


def test_slerp_starts_at_a_ends_at_b_and_stays_on_the_sphere() -> None:
    a, b = torch.randn(2, 20, 9, dtype=torch.float64)
    unit = lambda x: x / x.norm(dim=1, keepdim=True)  # noqa: E731
    torch.testing.assert_close(ppl.slerp(a, b, torch.zeros(20, 1).double()), unit(a))
    torch.testing.assert_close(ppl.slerp(a, b, torch.ones(20, 1).double()), unit(b))
    middle = ppl.slerp(a, b, torch.full((20, 1), 0.5).double())
    torch.testing.assert_close(middle, unit(unit(a) + unit(b)))


@pytest.mark.parametrize("case", FACTS["ppl_sampler"]["cases"], ids=lambda case: case["key"])
def test_distances_as_recorded(generator: Generator, case: dict) -> None:
    t = recorded("ppl/draws/t") * (1 if case["sampling"] == "full" else 0)
    distances = ppl.path_distances(
        generator, recorded("ppl/draws/z"), recorded("ppl/c"), t, pooled,
        space=case["space"], epsilon=case["epsilon"], crop=case["crop"],
    )  # fmt: skip
    # a difference of nearby float32 features, squared and divided by 1e-4; 5e-5 was seen
    torch.testing.assert_close(distances, recorded(f"ppl/{case['key']}/dist"), rtol=1e-4, atol=0)


def test_trimmed_mean_as_recorded() -> None:
    facts = FACTS["ppl_filter"]
    distances = recorded("ppl/dist").numpy()
    assert ppl.trimmed_mean(distances) == pytest.approx(facts["ppl"], rel=1e-6)
    kept = distances[(distances >= facts["lo"]) & (distances <= facts["hi"])]
    assert ppl.trimmed_mean(distances) == pytest.approx(kept.mean(dtype=np.float64), rel=1e-12)


def test_noise_is_redrawn_in_module_order_and_shared_by_both_ends() -> None:
    widths = {"channel_base": 32, "channel_max": 4}
    G = Generator(z_dim=4, c_dim=0, w_dim=4, img_resolution=8, img_channels=1, synthesis_kwargs=widths)
    ppl.redraw_noise(G, torch.Generator().manual_seed(3))
    again = torch.Generator().manual_seed(3)
    for name, buffer in G.synthesis.named_buffers():
        if name.endswith("noise_const"):
            torch.testing.assert_close(buffer, torch.randn(buffer.shape, generator=again))


def test_detector_view_crops_averages_and_repeats() -> None:
    img = torch.rand(2, 1, 512, 512) * 2 - 1
    view = ppl.detector_view(img, crop=False, network_resolution=512)
    assert view.shape == (2, 3, 256, 256)
    torch.testing.assert_close(view[0, 1, 3, 5], (img[0, 0, 6:8, 10:12].mean() + 1) * 127.5)
    assert ppl.detector_view(img, crop=True, network_resolution=512).shape == (2, 3, 128, 128)
    torch.testing.assert_close(
        ppl.detector_view(img, crop=True, network_resolution=255)[0, 0, 0, 0],
        (img[0, 0, 192, 128] + 1) * 127.5,
    )
