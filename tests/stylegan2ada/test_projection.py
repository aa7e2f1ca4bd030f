"""The projector repeats a recorded run draw by draw, and finds what a network itself has drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from stylegan2ada import projection, synthesis
from stylegan2ada.checkpoints import load_network
from tests.golden_data import golden_arrays, golden_json, golden_path


def pooled(img: torch.Tensor) -> torch.Tensor:
    return functional.adaptive_avg_pool2d(img, 8).flatten(1) / 64


class Recorded(projection.ProjectionDraws):
    def noise_buffer(self, name: str, buffer: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(golden_arrays("checkpoints/projector.npz")[f"draw/init_noise/{name}"])

    def w_noise(self, step: int, w: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(golden_arrays("checkpoints/projector.npz")["draw/w_noise_per_step"][step])


@pytest.fixture(scope="module")
def G():
    return load_network(str(golden_path("checkpoints/uncond_rgb_r32.pkl")))["G_ema"]


def test_a_recorded_projection_is_repeated(G) -> None:
    facts, arrays = golden_json("checkpoints/projector.json"), golden_arrays("checkpoints/projector.npz")
    distances: list[float] = []
    path = projection.project(
        G,
        torch.as_tensor(arrays["target_uint8_chw"]),
        features=pooled,
        num_steps=facts["num_steps"],
        w_avg_samples=facts["w_avg_samples"],
        draws=Recorded(),
        on_step=lambda step, dist, _: distances.append(dist),
    )
    assert list(path.shape) == facts["w_steps_shape"]
    recorded = torch.as_tensor(arrays["w_steps"])
    torch.testing.assert_close(path[:, 0], recorded, rtol=1e-4, atol=1e-5 * recorded.abs().max().item())
    np.testing.assert_allclose(distances, arrays["dist_per_step"], rtol=1e-4)


def test_the_network_is_left_as_it_was_and_its_own_image_is_found(G) -> None:
    before = {key: value.clone() for key, value in G.state_dict().items()}
    torch.manual_seed(0)
    (img,) = synthesis.images_from_z(G, synthesis.seed_latents([4], G.z_dim), torch.zeros(1, 0), psi=0.7)
    distances: list[float] = []
    projection.project(
        G, (img[0] + 1) * 127.5, features=pooled, num_steps=60, w_avg_samples=200,
        on_step=lambda step, dist, _: distances.append(dist),
    )  # fmt: skip
    assert distances[-1] < 0.6 * distances[0]
    for key, value in G.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_roughness_is_zero_in_the_mean_for_noise_and_large_for_stripes() -> None:
    torch.manual_seed(0)
    stripes = torch.ones(32, 32)
    stripes[:, 1::2] = -1
    assert projection.noise_roughness(torch.randn(32, 32)) < 0.05
    assert projection.noise_roughness(stripes) > 1.5
