"""TensorFlow-era files: the recorded conversion exactly, and architectures that were not recorded."""

from __future__ import annotations

import pickle
import sys
import types

import numpy as np
import pytest
import torch

from stylegan2ada.checkpoints import load_network
from stylegan2ada.errors import UserError
from stylegan2ada.networks.stylegan2 import Discriminator, Generator
from tests.golden_data import golden_arrays, golden_json, golden_path


def test_the_recorded_file_is_converted_exactly():
    said = []
    networks = load_network(golden_path("checkpoints/legacy_tf_style.pkl"), log=said.append)
    arrays, facts = (
        golden_arrays("checkpoints/legacy_tf_style.expected.npz"),
        golden_json("checkpoints/legacy_tf_style.json"),
    )
    assert facts["result_keys"] == ["G", "D", "G_ema", "training_set_kwargs", "augment_pipe"]
    assert set(facts["result_keys"]) == networks.keys() - {"card"}
    for key in ("G", "D", "G_ema"):
        expected, state = arrays.under(key), networks[key].state_dict()
        assert state.keys() == expected.keys()
        for name, value in state.items():
            assert value.dtype == torch.float32
            np.testing.assert_array_equal(value.numpy(), expected[name], err_msg=name)
    assert networks["G"].init_kwargs == networks["G_ema"].init_kwargs == facts["G_init_kwargs"]
    assert networks["D"].init_kwargs == facts["D_init_kwargs"]
    assert networks["training_set_kwargs"] is facts["training_set_kwargs"]
    assert networks["augment_pipe"] is facts["augment_pipe"]
    assert networks["card"]["foreign"] is True
    assert said == ["Converting a network file of the TensorFlow era"]

    z, c = torch.tensor(arrays["in/z"]), torch.tensor(arrays["in/c"])
    img = networks["G_ema"](z, c, noise_mode="const", force_fp32=True)
    close = {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(img, arrays["out/img"], **close)
    np.testing.assert_allclose(networks["D"](img, c, force_fp32=True), arrays["out/logits"], **close)


# Files of other architectures: our tensors written the way TensorFlow had them, by a translation of its own.


def tf_kernel(value, flip=False):
    value = value.numpy()
    if value.ndim < 4:
        return value.T
    value = value.transpose(2, 3, 1, 0)  # [kh, kw, in, out]
    return value[::-1, ::-1] if flip else value


def g_variables(G, *, lod):
    """(mapping, synthesis, own) variables by name."""
    synthesis, state = {}, G.state_dict()
    for resolution in G.synthesis.block_resolutions:
        block = getattr(G.synthesis, f"b{resolution}")
        folder = f"{resolution}x{resolution}"
        if resolution == 4:
            synthesis["4x4/Const/const"] = block.const.numpy()[None]
        for layer, tf_layer in [("conv0", "Conv0_up"), ("conv1", "Conv" if resolution == 4 else "Conv1")]:
            if hasattr(block, layer):
                conv = getattr(block, layer)
                synthesis[f"{folder}/{tf_layer}/weight"] = tf_kernel(conv.weight, flip=layer == "conv0")
                synthesis[f"{folder}/{tf_layer}/bias"] = conv.bias.numpy()
                synthesis[f"{folder}/{tf_layer}/noise_strength"] = conv.noise_strength.numpy()[()]
                synthesis[f"{folder}/{tf_layer}/mod_weight"] = conv.affine.weight.numpy().T
                synthesis[f"{folder}/{tf_layer}/mod_bias"] = conv.affine.bias.numpy() - 1
                # noise0 belongs to 4x4; then two per resolution.
                index = (
                    0 if resolution == 4 else 2 * int(np.log2(resolution)) - (5 if layer == "conv0" else 4)
                )
                synthesis[f"noise{index}"] = conv.noise_const.numpy()[None, None]
        if hasattr(block, "torgb"):
            level = int(np.log2(G.img_resolution // resolution))
            name = f"ToRGB_lod{level}" if lod else f"{folder}/ToRGB"
            synthesis[f"{name}/weight"] = tf_kernel(block.torgb.weight)
            synthesis[f"{name}/bias"] = block.torgb.bias.numpy()
            synthesis[f"{name}/mod_weight"] = block.torgb.affine.weight.numpy().T
            synthesis[f"{name}/mod_bias"] = block.torgb.affine.bias.numpy() - 1
        if hasattr(block, "skip"):
            synthesis[f"{folder}/Skip/weight"] = tf_kernel(block.skip.weight, flip=True)
    mapping = {}
    for key, value in state.items():
        if key.startswith("mapping.fc"):
            _, layer, leaf = key.split(".")
            mapping[f"Dense{layer[2:]}/{leaf}"] = tf_kernel(value)
    return mapping, synthesis, {"dlatent_avg": G.mapping.w_avg.numpy(), "lod": np.float32(0)}


def d_variables(D, *, lod):
    variables = {}
    for key, value in D.state_dict().items():
        block, layer, leaf = key.split(".") if key.count(".") == 2 else (key.split(".")[0], "", "")
        resolution = block[1:]
        if leaf not in ("weight", "bias"):
            continue
        tf_layer = {"fromrgb": "FromRGB", "conv0": "Conv0", "conv1": "Conv1_down", "skip": "Skip"}.get(layer)
        name = f"{resolution}x{resolution}/{tf_layer}"
        if block == "b4" and layer != "fromrgb":
            name = {"conv": "4x4/Conv", "fc": "4x4/Dense0", "out": "Output"}[layer]
        if layer == "fromrgb" and lod:
            name = f"FromRGB_lod{int(np.log2(D.img_resolution // int(resolution)))}"
        variables[f"{name}/{leaf}"] = tf_kernel(value)
    return variables


@pytest.fixture
def tf_network(monkeypatch):
    """A class that pickles under TensorFlow-era StyleGAN2's name."""
    module = types.ModuleType("dnnlib.tflib.network")
    module.Network = type("Network", (), {"__module__": module.__name__})
    for name in ("dnnlib", "dnnlib.tflib"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)

    def make(static_kwargs, variables, components=None):
        network = module.Network()
        network.version, network.name, network.build_module_src = 4, "N", "raise SystemExit('ran')"
        network.static_kwargs = static_kwargs
        network.variables = [(key, np.array(value)) for key, value in variables.items()]
        network.components = components or {}
        return network

    return make


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize(
    ("architecture", "lod"), [("orig", True), ("orig", False), ("skip", False), ("resnet", False)]
)
def test_every_architecture_is_converted(architecture, lod, protocol, tf_network, tmp_path):
    torch.manual_seed(0)
    synthesis = {"channel_base": 128, "channel_max": 8, "architecture": architecture}
    G = Generator(5, 0, 6, 16, 1, mapping_kwargs={"num_layers": 2}, synthesis_kwargs=synthesis)
    D = Discriminator(0, 16, 1, architecture=architecture, channel_base=128, channel_max=8)
    for module in (G, D):
        module.eval().requires_grad_(False)
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter))
    G.mapping.w_avg.normal_()

    stated = {} if lod else {"architecture": architecture}  # progressive growing did not state it
    common = {"resolution": 16, "num_channels": 1, "fmap_base": 64, "fmap_max": 8, **stated}
    mapping, synthesis, own = g_variables(G, lod=lod)
    parts = {"mapping": tf_network({}, mapping), "synthesis": tf_network({}, synthesis)}
    kwargs = {**common, "latent_size": 5, "dlatent_size": 6, "mapping_layers": 2, "truncation_psi": 0.5}
    tf_g = tf_network(kwargs, own, parts)
    tf_d = tf_network({**common, "mbstd_group_size": 4, "structure": "auto"}, d_variables(D, lod=lod))
    (tmp_path / "x.pkl").write_bytes(pickle.dumps((tf_g, tf_d, tf_g), protocol=protocol))

    networks = load_network(tmp_path / "x.pkl", log=lambda _: None)
    assert networks["G"].init_kwargs["synthesis_kwargs"]["architecture"] == architecture
    assert networks["D"].init_kwargs["architecture"] == architecture
    for ours, converted in [(G, networks["G"]), (G, networks["G_ema"]), (D, networks["D"])]:
        state = converted.state_dict()
        assert state.keys() == ours.state_dict().keys()
        for key, value in ours.state_dict().items():
            if key.endswith("affine.bias"):  # stored as the distance from one: two roundings
                torch.testing.assert_close(state[key], value, rtol=0, atol=1e-6)
            else:
                assert torch.equal(state[key], value), key


def test_what_does_not_fit_is_named(tf_network, tmp_path):
    def refused(says, network):
        (tmp_path / "x.pkl").write_bytes(pickle.dumps((network, network, network)))
        with pytest.raises(UserError, match=says):
            load_network(tmp_path / "x.pkl", log=lambda _: None)

    small = {"resolution": 8, "fmap_base": 32, "fmap_max": 4}
    refused("lacks the variable synthesis/4x4/Const/const .our synthesis.b4.const", tf_network(small, {}))
    refused("'style_gun'", tf_network({**small, "style_gun": 1}, {}))
    refused("synthesis/4x4/Const/const of size \\[\\]", tf_network(small, {"synthesis/4x4/Const/const": 1.0}))
    refused("resolution", tf_network({**small, "resolution": "8"}, {}))
    old = tf_network(small, {})
    old.version = 3
    refused("version 3; the oldest that works is 4", old)
