"""Networks with NaN or infinity in them are found, and the tensor is named."""

from __future__ import annotations

import pytest
import torch

from stylegan2ada.checkpoints import load_network, not_finite, save_network
from tests.stylegan2ada.checkpoints.conftest import make_networks


@pytest.mark.parametrize("ending", ["pkl", "safetensors"])
@pytest.mark.parametrize(
    ("entry", "key", "value"),
    [
        ("G_ema", "synthesis.b8.conv1.noise_const", float("nan")),
        ("G_ema", "mapping.w_avg", float("inf")),
        ("D", "b4.out.weight", float("-inf")),
        ("augment_pipe", "p", float("nan")),
    ],
)
def test_the_first_tensor_with_a_number_that_is_none_is_named(entry, key, value, ending, tmp_path):
    networks = make_networks()
    assert not_finite(networks) is None
    networks[entry].state_dict()[key].view(-1)[-1] = value
    save_network(networks, tmp_path / f"x.{ending}")
    assert not_finite(load_network(tmp_path / f"x.{ending}")) == f"{entry}.{key}"


def test_half_precision_absent_networks_and_whole_numbers_are_no_obstacle():
    networks = {"G": None, "D": torch.nn.Linear(2, 2).half(), "training_set_kwargs": {"x": float("nan")}}
    assert not_finite(networks) is None
    networks["D"].weight.data[0, 1] = float("nan")
    networks["D"].register_buffer("count", torch.tensor(3))
    assert not_finite(networks) == "D.weight"
