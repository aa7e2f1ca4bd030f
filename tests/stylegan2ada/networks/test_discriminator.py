"""The discriminator against recorded numbers: keys, freezing, logits, R1, gradients of both orders."""

from __future__ import annotations

import pytest
import torch

from stylegan2ada.networks.stylegan2 import Discriminator
from tests.golden_data import golden_arrays, golden_json
from tests.stylegan2ada.networks.comparing import assert_forward, assert_gradient, gradients, tensors

CONFIGS = {
    entry["name"]: entry for entry in golden_json("networks/configs.json") if entry["name"].startswith("d_")
}


@pytest.fixture(params=CONFIGS)
def case(request):
    config, golden = CONFIGS[request.param], golden_arrays(f"networks/{request.param}.npz")
    D = Discriminator(**config["kwargs"])
    D.load_state_dict(tensors(golden.under("state")), strict=True)
    img, c = torch.tensor(golden["in/img"]).requires_grad_(), torch.tensor(golden["in/c"])
    return D, golden, img, c


@pytest.mark.parametrize("name", CONFIGS)
def test_keys_shapes_and_orders(name):
    entry = CONFIGS[name]
    D = Discriminator(**entry["kwargs"])
    assert [key for key, _ in D.named_parameters()] == entry["params"]
    assert [key for key, _ in D.named_buffers()] == entry["buffers"]
    assert {key: list(value.shape) for key, value in D.state_dict().items()} == entry["shapes"]
    assert list(D.state_dict()) == list(golden_arrays(f"networks/{name}.npz").under("state"))
    assert D.init_kwargs == entry["kwargs"]


def test_logits_and_first_order_gradients(case):
    D, golden, img, c = case
    logits = D(img, c)
    assert_forward(logits, golden["out/logits"])
    loss = (logits * torch.tensor(golden["in/dlogits"])).sum()
    parameters = dict(D.named_parameters())
    found = gradients(loss, {"img": img, **parameters})
    assert_gradient(found["img"], golden["grad/in/img"])
    recorded = golden.under("grad/param")
    assert set(recorded) == set(parameters)
    for name, expected in recorded.items():
        assert_gradient(found[name], expected, name)


def test_r1_and_second_order_gradients(case):
    D, golden, img, c = case
    (slope,) = torch.autograd.grad(D(img, c).sum(), img, create_graph=True)
    penalty = slope.square().sum([1, 2, 3])
    torch.testing.assert_close(penalty.detach(), torch.tensor(golden["out/r1_penalty"]), rtol=1e-4, atol=1e-5)
    found = gradients(penalty.sum(), dict(D.named_parameters()))
    for name, expected in golden.under("grad2/param").items():
        assert_gradient(found[name], expected, name)


def test_freezing():
    for name, kinds in golden_json("networks/freeze_layers.json").items():
        architecture, frozen = name.split("/")
        D = Discriminator(
            c_dim=2,
            img_resolution=16,
            img_channels=3,
            architecture=architecture,
            channel_base=64,
            channel_max=4,
            block_kwargs={"freeze_layers": int(frozen)},
        )
        assert [key for key, _ in D.named_parameters()] == kinds["params"], name
        assert [key for key, _ in D.named_buffers()] == kinds["buffers"], name


def test_too_small_resolution_is_refused():
    with pytest.raises(ValueError, match="too small"):
        Discriminator(0, 4, 3)


def test_batch_that_does_not_split_into_groups_is_refused():
    D = Discriminator(0, 8, 3, channel_base=32, channel_max=4)
    with pytest.raises(ValueError, match="groups of 4"):
        D(torch.randn([6, 3, 8, 8]), None)
