"""read(write(x)) = x, in both formats, for every recorded configuration; equal networks give equal bytes."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import pickletools

import numpy as np
import pytest
import torch

from stylegan2ada.checkpoints import load_network, save_network
from stylegan2ada.checkpoints.cards import derive_card
from stylegan2ada.checkpoints.pickle_tensors import read_storage, write_storage
from stylegan2ada.errors import UserError
from stylegan2ada.networks import stylegan2
from tests.golden_data import golden_json, golden_path
from tests.stylegan2ada.checkpoints.conftest import assert_same_module, make_networks

CONFIGS = [entry for entry in golden_json("networks/configs.json") if "kwargs" in entry]
FORMATS = ["pkl", "safetensors"]


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize("entry", CONFIGS, ids=lambda entry: entry["name"])
def test_every_recorded_configuration_survives(entry, ending, tmp_path):
    torch.manual_seed(1)
    module = getattr(stylegan2, entry["type"])(**entry["kwargs"]).eval().requires_grad_(False)
    key = "G" if entry["type"] == "Generator" else "D"
    networks = {"G": None, "D": None, "G_ema": None, key: module}
    save_network(networks, tmp_path / f"x.{ending}")
    loaded = load_network(tmp_path / f"x.{ending}")
    assert_same_module(module, loaded[key])
    assert [loaded[k] for k in ("G", "D", "G_ema") if k != key] == [None, None]
    assert list(loaded[key].state_dict()) == list(module.state_dict())


@pytest.mark.parametrize("ending", FORMATS)
def test_whole_files_survive(networks, ending, tmp_path):
    save_network(networks, tmp_path / f"x.{ending}")
    loaded = load_network(str(tmp_path / f"x.{ending}"))
    for key in ("G", "D", "G_ema", "augment_pipe"):
        assert_same_module(networks[key], loaded[key])
    assert loaded["augment_pipe"].p.item() == 0.3125
    assert loaded["training_set_kwargs"] == networks["training_set_kwargs"]
    assert loaded["card"]["foreign"] is False


@pytest.mark.parametrize("ending", FORMATS)
def test_types_layouts_and_unusual_arguments_survive(ending, tmp_path):
    narrow = {"channel_base": 64, "channel_max": 8}
    options = {**narrow, "num_fp16_res": 1, "fp16_channels_last": True, "resample_filter": (1, 2, 1)}
    G = stylegan2.Generator(4, 0, w_dim=4, img_resolution=8, img_channels=1, synthesis_kwargs=options)
    G.eval().requires_grad_(False)
    G.synthesis.b8.conv0.weight.data = G.synthesis.b8.conv0.weight.data.double()
    G.synthesis.b4.noise = None  # a stray attribute does no harm
    weight = G.synthesis.b8.conv0.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()
    save_network({"G": G}, tmp_path / f"x.{ending}")
    loaded = load_network(tmp_path / f"x.{ending}")["G"]
    assert_same_module(G, loaded)
    assert loaded._init_args == (4, 0)
    assert loaded._init_kwargs["synthesis_kwargs"]["resample_filter"] == (1, 2, 1)
    assert loaded.synthesis.b8.conv0.weight.dtype == torch.float64


@pytest.mark.parametrize("ending", FORMATS)
def test_numbers_that_json_does_not_know_survive(ending, tmp_path):
    narrow = {"channel_base": 64, "channel_max": 8}
    D = stylegan2.Discriminator(0, 8, 1, **narrow, conv_clamp=float("1e6") / 3).eval().requires_grad_(False)
    networks = {"D": D, "training_set_kwargs": {"a": float("inf"), "b": (1, [2, "é\ud800"]), "c": 2**100}}
    save_network(networks, tmp_path / f"x.{ending}")
    loaded = load_network(tmp_path / f"x.{ending}")
    assert loaded["training_set_kwargs"] == networks["training_set_kwargs"]
    assert loaded["D"]._init_kwargs["conv_clamp"] == float("1e6") / 3


@pytest.mark.parametrize("ending", FORMATS)
def test_equal_networks_give_equal_bytes(ending, tmp_path):
    def digest(networks, name):
        save_network(networks, tmp_path / f"{name}.{ending}")
        return hashlib.sha256((tmp_path / f"{name}.{ending}").read_bytes()).digest()

    first = digest(make_networks(), "first")
    assert digest(make_networks(), "other object") == first
    assert digest(copy.deepcopy(make_networks()), "copied") == first
    assert digest(load_network(tmp_path / f"first.{ending}"), "loaded") == first
    trained = make_networks()
    trained["G"].train().requires_grad_(True)  # the way networks are during training leaves no trace
    stylegan2.set_precision(trained["G"], "bfloat16")
    trained["G"].register_forward_hook(lambda *_: None, with_kwargs=True, always_call=True)
    trained["D"].b8.register_forward_pre_hook(lambda *_: None, with_kwargs=True)
    trained["D"].register_full_backward_hook(lambda *_: None)
    trained["D"]._compiled_call_impl = print  # as module.compile() leaves it
    assert digest(trained, "in training") == first
    assert digest(make_networks(seed=1), "other values") != first


def test_official_files_are_modest_pickles(networks, tmp_path):
    save_network(networks, tmp_path / "x.pkl")
    data = (tmp_path / "x.pkl").read_bytes()
    operations = list(pickletools.genops(data))
    assert max(opcode.proto for opcode, _, _ in operations) <= 4
    texts = [argument for _, argument, _ in operations if isinstance(argument, str)]
    assert not any("numpy" in text and len(text) < 100 for text in texts)
    # One copy of each of our two source files, however many modules there are.
    assert sum("persistent_class" in text for text in texts) == 2
    assert texts.count("torch_utils.persistence") == 1


@pytest.mark.parametrize("ending", FORMATS)
def test_relatives_of_plain_types_are_written_as_those(ending, networks, tmp_path):
    class Options(dict):
        pass

    options = Options(
        a=np.float64(0.5), b=np.int64(3), c=torch.Size([1, 2]), d=np.str_("x"), e=np.bool_(True)
    )
    save_network({**networks, "training_set_kwargs": Options(inner=options)}, tmp_path / f"x.{ending}")
    loaded = load_network(tmp_path / f"x.{ending}")["training_set_kwargs"]
    assert loaded == {"inner": {"a": 0.5, "b": 3, "c": (1, 2), "d": "x", "e": True}}
    assert [type(value) for value in loaded["inner"].values()] == [float, int, tuple, str, bool]


def test_a_file_is_read_by_path_text_or_url(networks, tmp_path):
    save_network(networks, tmp_path / "x.pkl")
    for way in (tmp_path / "x.pkl", str(tmp_path / "x.pkl"), f"file://{tmp_path}/x.pkl"):
        loaded = load_network(way)
        assert loaded["card"]["origin"] == str(way)
        assert_same_module(networks["D"], loaded["D"])


def test_two_names_for_one_module_are_written_twice(networks, tmp_path):
    networks["G_ema"] = networks["G"]
    for ending in FORMATS:
        save_network(networks, tmp_path / f"x.{ending}")
        loaded = load_network(tmp_path / f"x.{ending}")
        assert_same_module(loaded["G"], loaded["G_ema"])
        assert loaded["G"] is not loaded["G_ema"]


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8]
)
def test_storages_are_read_alike_by_torch_and_by_us(dtype):
    values = torch.arange(7).to(dtype)
    ours = write_storage(values)
    assert torch.equal(read_storage(ours), values)
    by_torch = torch.load(io.BytesIO(ours), weights_only=True)
    assert torch.equal(torch.tensor([], dtype=dtype).set_(by_torch), values)
    buffer = io.BytesIO()
    torch.save(values._typed_storage(), buffer, _use_new_zipfile_serialization=False)
    assert torch.equal(read_storage(buffer.getvalue()), values)


def test_the_card_names_foreign_ancestors_at_any_distance(networks, tmp_path):
    foreign = load_network(golden_path("checkpoints/uncond_rgb_r32.pkl"))
    root = {key: foreign["card"][key] for key in ("origin", "sha256", "licence")}
    for ending in FORMATS:
        save_network(foreign, tmp_path / f"copy.{ending}")
        copied = load_network(tmp_path / f"copy.{ending}")
        assert copied["card"]["foreign"] is False
        assert copied["card"]["starts_from"] == [root]
        save_network(
            {**networks, "card": derive_card(copied["card"], run="7")}, tmp_path / f"trained.{ending}"
        )
        card = load_network(tmp_path / f"trained.{ending}")["card"]
        assert card["starts_from"] == [root]
        assert card["licence"] == root["licence"]
        assert card["run"] == "7"
    sidecar = json.loads((tmp_path / "trained.json").read_text())
    assert sidecar["card"]["starts_from"] == [root]
    assert sidecar["networks"]["G"]["class"] == "Generator"


def test_what_cannot_be_written_is_said_and_leaves_no_file(networks, tmp_path):
    class Mine(torch.nn.Linear):
        pass

    for change, part in [
        ({"G": Mine(1, 1)}, "its G is a Mine"),
        ({"D": networks["G"]}, "its D is a Generator"),
        ({"training_set_kwargs": {"a": np.zeros(3)}}, "training_set_kwargs.a"),
    ]:
        for ending in FORMATS:
            with pytest.raises(UserError, match=part):
                save_network({**networks, **change}, tmp_path / f"x.{ending}")
    with pytest.raises(UserError, match="x.pt ends in"):
        save_network(networks, tmp_path / "x.pt")
    with pytest.raises(UserError, match="cannot be written"):
        save_network(networks, tmp_path / "no such folder" / "x.pkl")
    assert list(tmp_path.iterdir()) == []


def test_a_class_of_the_same_name_from_elsewhere_is_not_written(networks, tmp_path):
    Generator = type("Generator", (stylegan2.Generator,), {"__module__": "somewhere.else"})
    networks["G"].__class__ = Generator
    with pytest.raises(UserError, match="somewhere.else"):
        save_network(networks, tmp_path / "x.pkl")
