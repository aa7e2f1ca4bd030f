"""Transfer by name, folding RGB to grey, half precision."""

from __future__ import annotations

import pytest
import torch

from stylegan2ada.checkpoints import copy_matching, fold_to_grey, load_network, save_network
from stylegan2ada.checkpoints.surgery import check_channels, with_half_precision
from stylegan2ada.errors import UserError
from stylegan2ada.networks.stylegan2 import Discriminator, Generator
from tests.golden_data import golden_path
from tests.stylegan2ada.checkpoints.conftest import assert_same_module, make_networks


def test_copy_matching_takes_over_parameters_and_buffers_of_one_name():
    source, target = make_networks(seed=0)["G"], make_networks(seed=1)["G"]
    source.mapping.w_avg.fill_(3)
    report = copy_matching(source, target)
    assert report.copied == [n for n, _ in [*target.named_parameters(), *target.named_buffers()]]
    assert report.missing == report.unused == []
    for key, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[key], value), key


def test_copy_matching_tells_what_only_one_side_has():
    source, target = make_networks(resolution=8)["G"], make_networks(resolution=16, seed=1)["G"]
    before = target.synthesis.b16.conv0.weight.clone()
    report = copy_matching(source, target)
    assert set(report.missing) == {key for key in target.state_dict() if ".b16." in key}
    assert report.unused == []
    assert torch.equal(target.synthesis.b16.conv0.weight, before)
    assert torch.equal(target.synthesis.b8.conv0.weight, source.synthesis.b8.conv0.weight)
    assert set(copy_matching(target, source).unused) == set(report.missing)


def test_frozen_layers_are_copied_from_trainable_ones_and_back():
    narrow = {"channel_base": 64, "channel_max": 8}
    free = Discriminator(0, 8, 1, **narrow)
    frozen = Discriminator(0, 8, 1, **narrow, block_kwargs={"freeze_layers": 3})
    assert "b8.fromrgb.weight" in dict(frozen.named_buffers())
    assert copy_matching(free, frozen).missing == []
    assert torch.equal(free.b8.fromrgb.weight, frozen.b8.fromrgb.weight)
    frozen.b8.fromrgb.weight.add_(1)
    assert copy_matching(frozen, free).missing == []
    assert torch.equal(free.b8.fromrgb.weight, frozen.b8.fromrgb.weight)


def test_copy_matching_names_the_tensor_that_does_not_fit_and_changes_nothing():
    source, target = make_networks(c_dim=0)["G"], make_networks(c_dim=2, seed=1)["G"]
    before = {key: value.clone() for key, value in target.state_dict().items()}
    with pytest.raises(UserError, match=r"mapping\.fc0\.weight is of size \[6, 6\] .* \[6, 12\]"):
        copy_matching(source, target)
    assert all(torch.equal(before[key], value) for key, value in target.state_dict().items())


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
def test_grey_networks_compute_what_the_rgb_ones_do(architecture):
    torch.manual_seed(0)
    narrow = {"channel_base": 64, "channel_max": 8, "architecture": architecture}
    G = Generator(z_dim=6, c_dim=0, w_dim=6, img_resolution=16, img_channels=3, synthesis_kwargs=narrow)
    D = Discriminator(c_dim=0, img_resolution=16, img_channels=3, **narrow)
    for module in (G, D):
        module.eval().requires_grad_(False)
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    said = []
    grey = fold_to_grey({"G": G, "D": D, "G_ema": None, "augment_pipe": None}, log=said.append)
    assert len(said) == 2
    assert "RGB to grey" in said[0]
    z = torch.randn([4, 6])
    rgb_img, grey_img = (g(z, None, noise_mode="const") for g in (G, grey["G"]))
    assert grey_img.shape == (4, 1, 16, 16)
    torch.testing.assert_close(grey_img, rgb_img.mean(1, keepdim=True), rtol=1e-4, atol=1e-5)
    logits = D(grey_img.expand(-1, 3, -1, -1), None)
    torch.testing.assert_close(grey["D"](grey_img, None), logits, rtol=1e-4, atol=1e-5)
    assert grey["G"].init_kwargs["img_channels"] == grey["D"].init_kwargs["img_channels"] == 1
    assert G.img_channels == 3, "the given networks are not changed"


def test_folding_on_load_and_its_log(tmp_path):
    said = []
    folded = load_network(golden_path("checkpoints/uncond_rgb_r32.pkl"), grey_from_rgb=True, log=said.append)
    assert [line.split(":")[0] for line in said] == ["G", "D", "G_ema"]
    assert folded["G_ema"].img_channels == 1
    assert folded["G_ema"].synthesis.b32.torgb.weight.shape[0] == 1
    assert folded["card"]["foreign"] is True
    save_network(folded, tmp_path / "grey.pkl")
    said.clear()
    again = load_network(tmp_path / "grey.pkl", grey_from_rgb=True, log=said.append)
    assert said == ["The networks are grey already; nothing was folded"]
    assert_same_module(folded["D"], again["D"])


def test_channels_that_do_not_fit_are_refused():
    grey, rgb = make_networks(channels=1), make_networks(channels=3)
    check_channels(grey, 1, "x.pkl")
    check_channels(rgb, 3, "x.pkl")
    with pytest.raises(UserError, match=r"x.pkl makes grey images and cannot be made to do 3 channels"):
        check_channels(grey, 3, "x.pkl")
    with pytest.raises(UserError, match=r"x.pkl has 3 channels, the data 1"):
        check_channels(rgb, 1, "x.pkl")
    with pytest.raises(UserError, match="has 2 channels"):
        fold_to_grey(make_networks(channels=2), log=lambda _: None)


def test_half_precision_changes_arguments_and_no_tensor():
    networks = make_networks(resolution=16)
    half = with_half_precision(networks)
    assert half["G"].synthesis.b16.use_fp16
    assert half["D"].b16.use_fp16
    assert half["G_ema"].init_kwargs["synthesis_kwargs"] == {
        "channel_base": 64, "channel_max": 8, "num_fp16_res": 4, "conv_clamp": 256,
    }  # fmt: skip
    assert half["D"].init_kwargs["conv_clamp"] == 256
    assert half["D"].init_kwargs["num_fp16_res"] == 4
    for key in ("G", "D", "G_ema"):
        for name, value in networks[key].state_dict().items():
            assert torch.equal(half[key].state_dict()[name], value)
        assert networks[key].init_kwargs != half[key].init_kwargs


def test_networks_built_with_positional_arguments_can_be_changed():
    narrow = {"channel_base": 64, "channel_max": 8}
    G = Generator(4, 0, 4, 8, 3, {"num_layers": 2}, narrow).eval().requires_grad_(False)
    assert with_half_precision({"G": G})["G"].synthesis.b8.use_fp16
    assert fold_to_grey({"G": G}, log=lambda _: None)["G"].img_channels == 1
