"""Stock configurations' tables, and half precision: which blocks, which type, how far from float32."""

from __future__ import annotations

import copy

import pytest
import torch
from torch._subclasses import FakeTensorMode

from stylegan2ada.checkpoints import official_write
from stylegan2ada.networks import stylegan2
from stylegan2ada.networks.stylegan2 import Discriminator, Generator, set_precision
from tests.golden_data import golden_arrays, golden_json
from tests.stylegan2ada.networks.comparing import assert_forward, tensors

STOCK = golden_json("networks/stock_state_dicts.json")
PAIR = next(entry for entry in golden_json("networks/configs.json") if entry["name"] == "fp16_pair")


# name: resolution, image channels, classes, channel base, mapping layers, D's architecture
STOCK_SHAPES = {
    "auto_res256_rgb": (256, 3, 0, 16384, 2, "resnet"),
    "auto_res256_gray_cond2": (256, 1, 2, 16384, 2, "resnet"),
    "paper256_rgb": (256, 3, 0, 16384, 8, "resnet"),
    "paper512_rgb": (512, 3, 0, 32768, 8, "resnet"),
    "stylegan2_res1024_rgb": (1024, 3, 0, 32768, 8, "resnet"),
    "cifar_res32_rgb_cond10": (32, 3, 10, 32768, 2, "orig"),
}


def stock_kwargs(name):
    """The network arguments that a configuration resolves to."""
    resolution, channels, c_dim, base, layers, architecture = STOCK_SHAPES[name]
    common = {"c_dim": c_dim, "img_resolution": resolution, "img_channels": channels}
    width = {"channel_base": base, "channel_max": 512, "num_fp16_res": 4, "conv_clamp": 256}
    mapping = {"num_layers": layers}
    G = {"z_dim": 512, "w_dim": 512, **common, "mapping_kwargs": mapping, "synthesis_kwargs": width}
    return G, {**common, **width, "architecture": architecture}


@pytest.mark.parametrize("name", STOCK)
def test_stock_tables(name):
    entry = STOCK[name]
    with FakeTensorMode():  # shapes only
        G_kwargs, D_kwargs = stock_kwargs(name)
        networks = {"G": Generator(**G_kwargs), "D": Discriminator(**D_kwargs)}
    for letter, network in networks.items():
        parameters, buffers = dict(network.named_parameters()), dict(network.named_buffers())
        table = [
            [key, list(value.shape), "param" if key in parameters else "buffer"]
            for key, value in network.state_dict().items()
        ]
        assert table == entry[letter]
        assert list(parameters) == entry[f"{letter}_order_named_parameters"]
        assert list(buffers) == entry[f"{letter}_order_named_buffers"]
        assert sum(p.numel() for p in parameters.values()) == entry[f"{letter}_params"]
        blocks = network.synthesis if letter == "G" else network
        half = [r for r in blocks.block_resolutions if getattr(blocks, f"b{r}").use_fp16]
        assert half == entry[f"fp16_blocks_{letter}"]
    assert networks["G"].num_ws == entry["num_ws"]


@pytest.fixture
def pair():
    golden = golden_arrays("networks/fp16_pair.npz")
    G, D = Generator(**PAIR["G_kwargs"]).eval(), Discriminator(**PAIR["D_kwargs"]).eval()
    G.load_state_dict(tensors(golden.under("G")), strict=True)
    D.load_state_dict(tensors(golden.under("D")), strict=True)
    return G, D, golden


def test_half_precision_blocks(pair):
    G, D, golden = pair
    assert {f"b{r}": getattr(G.synthesis, f"b{r}").use_fp16 for r in G.synthesis.block_resolutions} == PAIR[
        "G_block_uses_fp16"
    ]
    assert {f"b{r}": getattr(D, f"b{r}").use_fp16 for r in D.block_resolutions} == PAIR["D_block_uses_fp16"]
    z = torch.tensor(golden["in/z"])
    with torch.no_grad():
        full = G(z, None, noise_mode="const", force_fp32=True)
        half = G(z, None, noise_mode="const")
        assert half.dtype == torch.float32
        assert_forward(full, golden["out/img_fp32"])
        expected = torch.tensor(golden["out/img_fp16"])
        span = float(expected.max() - expected.min())
        assert float((half - expected).abs().max()) < 2e-2 * span
        assert float((half - full).abs().max()) > 1e-5  # it really was computed in half precision
        image = torch.tensor(golden["out/img_fp16"])
        assert_forward(D(image, None, force_fp32=True), golden["out/logits_fp32"])
        logits = D(image, None)
        torch.testing.assert_close(logits, torch.tensor(golden["out/logits_fp16"]), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", None])
def test_precision_of_the_machine(pair, precision, monkeypatch):
    G, D, golden = pair
    seen = {}
    for network in (G.synthesis, D):
        for r in network.block_resolutions:
            key, conv = (id(network), r), getattr(network, f"b{r}").conv1
            conv.register_forward_pre_hook(lambda m, args, key=key: seen.update({key: args[0].dtype}))
    z = torch.tensor(golden["in/z"])
    before = copy.deepcopy((G.init_kwargs, D.init_kwargs))
    set_precision(G, precision)
    set_precision(D, precision)
    with torch.no_grad():
        image = G(z, None, noise_mode="const")
        logits = D(image, None)
    assert image.dtype == logits.dtype == torch.float32
    half = {None: torch.float16, "float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    from_here = 16 if precision is None else 8
    for network in (G.synthesis, D):
        for r in network.block_resolutions:
            assert seen[id(network), r] == (half if r >= from_here else torch.float32), (r, seen)
    full = torch.tensor(golden["out/img_fp32"])
    tolerance = {"float32": 1e-5, "bfloat16": 5e-2, None: 2e-2}[precision]
    assert float((image - full).abs().max()) < tolerance * float(full.max() - full.min())
    assert (G.init_kwargs, D.init_kwargs) == before
    with pytest.raises(ValueError, match="precision"):
        set_precision(G, "int8")


def test_half_precision_survives_huge_styles():
    """Without the rescaling a style of 1e4 would overflow float16's 65504 in the first product."""
    x = torch.randn([2, 8, 4, 4]).half()
    w, styles = torch.randn([8, 8, 3, 3]) * 50, torch.randn([2, 8]) * 1e4
    y = stylegan2.modulated_conv2d(x, w, styles, padding=1)
    full = stylegan2.modulated_conv2d(x.float(), w, styles, padding=1)
    assert y.dtype == torch.float16
    torch.testing.assert_close(y.float(), full, rtol=2e-2, atol=2e-2)


def test_channels_last_changes_the_layout_and_no_values(pair):
    G, D, golden = pair
    G_kwargs = copy.deepcopy(PAIR["G_kwargs"])
    G_kwargs["synthesis_kwargs"]["fp16_channels_last"] = True
    G_nhwc = Generator(**G_kwargs).eval()
    D_nhwc = Discriminator(**PAIR["D_kwargs"], block_kwargs={"fp16_channels_last": True}).eval()
    G_nhwc.load_state_dict(G.state_dict())
    D_nhwc.load_state_dict(D.state_dict())
    for conv, is_half in (
        (G_nhwc.synthesis.b32.conv1, True),
        (G_nhwc.synthesis.b8.conv1, False),
        (D_nhwc.b32.conv1, True),
    ):
        assert conv.weight.is_contiguous(memory_format=torch.channels_last) == is_half
    z = torch.tensor(golden["in/z"])
    with torch.no_grad():
        for full in (True, False):
            images = [net(z, None, noise_mode="const", force_fp32=full) for net in (G, G_nhwc)]
            logits = [net(images[0], None, force_fp32=full) for net in (D, D_nhwc)]
            tolerance = 1e-5 if full else 1e-2
            torch.testing.assert_close(images[1], images[0], rtol=tolerance, atol=tolerance)
            torch.testing.assert_close(logits[1], logits[0], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("layout", "built"), [(None, False), (None, True), (True, False), (False, True)])
def test_the_layout_of_a_machine_is_no_part_of_the_network(pair, layout, built):
    """As training on CUDA asks for it: half-precision blocks work channels last, and files do not know."""
    G, *_ = pair
    block = copy.deepcopy(G.synthesis.b32)
    block.channels_last = built
    set_precision(block, "bfloat16", channels_last=layout)
    x = torch.zeros(2, 8, 4, 4)
    half = stylegan2._enter(x, torch.bfloat16, block)
    assert half.is_contiguous(memory_format=torch.channels_last) == (built if layout is None else layout)
    assert stylegan2._enter(x, torch.float32, block).is_contiguous()  # full precision stays as it is
    assert "layout" not in official_write.exported_state(block)


def test_channels_last_on_a_network_that_was_not_built_so(pair):
    G, _, golden = pair
    images = []
    for channels_last in (None, True):
        set_precision(G, "bfloat16", channels_last)
        with torch.no_grad():
            images.append(G(torch.tensor(golden["in/z"]), None, noise_mode="const"))
    torch.testing.assert_close(images[1], images[0], rtol=2e-2, atol=2e-2)
    assert G.synthesis.b32.conv1.weight.is_contiguous()
