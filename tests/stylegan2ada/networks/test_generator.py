"""The generator against recorded numbers: keys, outputs, truncation, w_avg, gradients of both orders."""

from __future__ import annotations

import pytest
import torch

from stylegan2ada.networks.stylegan2 import Generator
from tests.golden_data import golden_arrays, golden_json
from tests.stylegan2ada.networks.comparing import assert_forward, assert_gradient, gradients, tensors

CONFIGS = {
    entry["name"]: entry for entry in golden_json("networks/configs.json") if entry["name"].startswith("g_")
}


@pytest.fixture(params=CONFIGS)
def case(request):
    config, golden = CONFIGS[request.param], golden_arrays(f"networks/{request.param}.npz")
    G = Generator(**config["kwargs"])
    G.load_state_dict(tensors(golden.under("state")), strict=True)
    z, c = torch.tensor(golden["in/z"]), torch.tensor(golden["in/c"])
    return G, golden, z, c


@pytest.mark.parametrize("name", CONFIGS)
def test_keys_shapes_and_orders(name):
    entry = CONFIGS[name]
    G = Generator(**entry["kwargs"])
    assert [key for key, _ in G.named_parameters()] == entry["params"]
    assert [key for key, _ in G.named_buffers()] == entry["buffers"]
    assert {key: list(value.shape) for key, value in G.state_dict().items()} == entry["shapes"]
    assert list(G.state_dict()) == list(golden_arrays(f"networks/{name}.npz").under("state"))
    assert G.num_ws == G.synthesis.num_ws == G.mapping.num_ws == entry["num_ws"]
    assert G.init_kwargs == entry["kwargs"]
    assert G.init_args == ()


def test_evaluation_outputs(case):
    G, golden, z, c = case
    G.eval()
    ws = G.mapping(z, c)
    assert_forward(ws, golden["out/ws"])
    assert_forward(G.mapping(z, c, truncation_psi=0.7), golden["out/ws_psi0.7"])
    assert_forward(G.mapping(z, c, truncation_psi=0.5, truncation_cutoff=2), golden["out/ws_psi0.5_cut2"])
    assert_forward(G(z, c, noise_mode="const"), golden["out/img_const"])
    assert_forward(G(z, c, noise_mode="none"), golden["out/img_none"])
    assert_forward(G(z, c, truncation_psi=0.7, noise_mode="const"), golden["out/img_const_psi0.7"])
    assert_forward(G.synthesis(ws, noise_mode="none", fused_modconv=False), golden["out/img_none_unfused"])
    w_random = torch.tensor(golden["in/w_random"])
    assert_forward(G.synthesis(w_random, noise_mode="const"), golden["out/img_from_w_random"])
    # A batch of one takes the folded kernels: same picture.
    for fused in (True, False):
        one = G(z[1:2], c[1:2], noise_mode="const", fused_modconv=fused)
        assert_forward(one, golden["out/img_const"][1:2])


def test_running_mean_of_w(case):
    G, golden, z, c = case
    G.train()
    with torch.no_grad():
        G.mapping(z, c, skip_w_avg_update=True)
        assert_forward(G.mapping.w_avg, golden["state/mapping.w_avg"])
        assert_forward(G(z, c, noise_mode="const"), golden["out/img_const_trainmode"])
        assert_forward(G.mapping.w_avg, golden["out/w_avg_after_1"])
        G.mapping(z.flip(0) * 0.5, c.flip(0))
        assert_forward(G.mapping.w_avg, golden["out/w_avg_after_2"])


def test_first_order_gradients(case):
    G, golden, z, c = case
    G.eval()
    inputs = {"z": z.requires_grad_(), "c": c.requires_grad_()}
    loss = (G(z, c, noise_mode="const") * torch.tensor(golden["in/dimg"])).sum()
    parameters = dict(G.named_parameters())
    found = gradients(loss, {**inputs, **parameters})
    for name, expected in golden.under("grad/in").items():
        assert_gradient(found.pop(name), expected, name)
    recorded = golden.under("grad/param")
    assert set(recorded) == set(parameters)
    for name, expected in recorded.items():
        assert_gradient(found[name], expected, name)


def test_second_order_gradients(case):
    G, golden, z, c = case
    G.eval()
    ws = G.mapping(z, c).detach().requires_grad_()
    img = G.synthesis(ws, noise_mode="const")
    (dws,) = torch.autograd.grad((img * torch.tensor(golden["in/dimg"])).sum(), ws, create_graph=True)
    assert_gradient(dws, golden["out/dws"])
    parameters = dict(G.named_parameters())
    found = gradients(dws.square().sum(), parameters)
    for name, expected in golden.under("grad2/param").items():
        assert_gradient(found[name], expected, name)


def test_random_noise_is_fresh_and_scaled():
    G = Generator(**CONFIGS["g_skip_r16_c0"]["kwargs"]).eval()
    z = torch.randn([2, G.z_dim])
    with torch.no_grad():
        assert torch.equal(G(z, None), G(z, None))  # strength 0: noise has no effect yet
        G.synthesis.b16.conv1.noise_strength.fill_(0.3)
        assert not torch.equal(G(z, None), G(z, None))
        assert torch.equal(G(z, None, noise_mode="const"), G(z, None, noise_mode="const"))


def test_a_conditional_network_asks_for_labels():
    G = Generator(**CONFIGS["g_skip_r16_c2_l"]["kwargs"])
    with pytest.raises(ValueError, match="labels"):
        G(torch.randn([2, G.z_dim]), None)


@pytest.mark.parametrize("resolution", [2, 12, 0, 100])
def test_resolution_must_be_a_power_of_two(resolution):
    with pytest.raises(ValueError, match="power of two"):
        Generator(8, 0, 8, resolution, 3)
