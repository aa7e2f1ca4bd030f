"""Official pickles: the recorded files give exactly the recorded tensors, outputs, images and facts."""

from __future__ import annotations

import pickle
import pickletools
import sys
import types

import numpy as np
import pytest
import torch

from stylegan2ada.checkpoints import load_network
from stylegan2ada.checkpoints.official_read import Record, read_records
from stylegan2ada.images import to_uint8
from tests.golden_data import assert_same_pictures, golden_arrays, golden_json, golden_path
from tests.stylegan2ada.checkpoints.conftest import assert_same_module

NAMES = ["cond_rgb_r16", "uncond_gray_r16", "uncond_rgb_r32"]


def quiet(_: str) -> None:
    pass


def recorded(name):
    return load_network(golden_path(f"checkpoints/{name}.pkl"), log=quiet), golden_arrays(
        f"checkpoints/{name}.expected.npz"
    )


def to_image(img):
    return to_uint8(img)[0].permute(1, 2, 0).numpy()  # [H, W, C]


@pytest.mark.parametrize("name", NAMES)
def test_state_dicts_are_exactly_the_recorded_ones(name):
    networks, arrays = recorded(name)
    for entry in ("G", "D", "G_ema"):
        state, expected = networks[entry].state_dict(), arrays.under(entry)
        assert state.keys() == expected.keys()
        for key, value in state.items():
            assert str(value.dtype).removeprefix("torch.") == str(expected[key].dtype), key
            np.testing.assert_array_equal(value.numpy(), expected[key], err_msg=key)
    if "augment_pipe/p" in arrays:
        np.testing.assert_array_equal(networks["augment_pipe"].p.numpy(), arrays["augment_pipe/p"])
    else:
        assert networks["augment_pipe"] is None


@pytest.mark.parametrize("name", NAMES)
def test_forward_passes_give_the_recorded_numbers(name):
    networks, arrays = recorded(name)
    z, c = torch.tensor(arrays["in/z"]), torch.tensor(arrays["in/c"])
    options = {"noise_mode": "const", "force_fp32": True}
    img = networks["G"](z, c, **options)
    outputs = {
        "G_img_fp32": img,
        "G_ema_img_fp32": networks["G_ema"](z, c, **options),
        "G_ema_img_psi0.5_fp32": networks["G_ema"](z, c, truncation_psi=0.5, **options),
        "D_logits_fp32": networks["D"](img, c, force_fp32=True),
    }
    for key, value in outputs.items():
        np.testing.assert_allclose(value.numpy(), arrays[f"out/{key}"], rtol=1e-4, atol=1e-5, err_msg=key)


@pytest.mark.parametrize("name", NAMES)
def test_generated_images_are_the_recorded_ones(name):
    networks, arrays = recorded(name)
    G = networks["G_ema"]
    keys = [key for key in arrays if key.startswith("generate/")]
    assert len(keys) == 6
    pairs = []
    for key in keys:
        seed, psi, label = (
            key.removeprefix("generate/seed").replace("psi", "").replace("class", "").split("_")
        )
        z = torch.from_numpy(np.random.RandomState(int(seed)).randn(1, G.z_dim))
        c = torch.zeros([1, G.c_dim])
        if label != "none":
            c[0, int(label)] = 1
        img = G(z, c, truncation_psi=float(psi), noise_mode="const", force_fp32=True)
        pairs.append((to_image(img), arrays[key]))
    assert_same_pictures(pairs)


def test_style_mixing_images_are_the_recorded_ones():
    networks, arrays = recorded("uncond_rgb_r32")
    setting = golden_json("checkpoints/structure.json")["uncond_rgb_r32"]["style_mixing"]
    G = networks["G_ema"]
    seeds = setting["rows"] + setting["cols"]
    z = torch.from_numpy(np.stack([np.random.RandomState(seed).randn(G.z_dim) for seed in seeds]))
    w = G.mapping(z, None)
    w = dict(zip(seeds, G.mapping.w_avg + (w - G.mapping.w_avg) * setting["trunc"]))
    first, last = map(int, setting["styles"].split("-"))
    keys = [key for key in arrays if key.startswith("style_mixing/")]
    assert len(keys) == len(seeds) + len(setting["rows"]) * len(setting["cols"])
    pairs = []
    for key in keys:
        row, column = map(int, key.removeprefix("style_mixing/").split("-"))
        mixed = w[row].clone()
        mixed[first : last + 1] = w[column][first : last + 1]
        img = G.synthesis(mixed[None], noise_mode="const", force_fp32=True)
        pairs.append((to_image(img), arrays[key]))
    assert_same_pictures(pairs)


@pytest.mark.parametrize("name", NAMES)
def test_files_have_the_recorded_structure(name):
    facts = golden_json("checkpoints/structure.json")[name]
    data = golden_path(f"checkpoints/{name}.pkl").read_bytes()
    content = read_records(data)
    assert list(content) == facts["top_level_keys"]
    assert content["training_set_kwargs"] == facts["training_set_kwargs"]
    assert data[1] == facts["protocol"]
    assert globals_of(data) == facts["globals_referenced"]

    records = [r for key in ("G", "D", "G_ema", "augment_pipe") if content[key] for r in walk(content[key])]
    assert len(records) == facts["number_of_persistent_objects"]
    for fact in facts["objects"]:
        record = next(
            r for r in records if r.class_name == fact["class_name"] and matches(r, fact["init_kwargs"])
        )
        assert list(record.fields) == fact["meta_fields"]
        assert (record.fields["type"], record.fields["version"]) == (fact["type"], fact["version"])
        assert (record.module_src == "") is fact["module_src_is_empty"]
        assert list(record.state) == fact["state_fields"]
    assert {r.class_name for r in records} == {fact["class_name"] for fact in facts["objects"]}


@pytest.mark.parametrize("name", NAMES)
def test_rebuilt_networks_have_the_recorded_arguments(name):
    facts = golden_json("checkpoints/structure.json")[name]
    networks, _ = recorded(name)
    arguments = {fact["class_name"]: fact["init_kwargs"] for fact in facts["objects"]}
    assert networks["G"].init_kwargs == networks["G_ema"].init_kwargs == arguments["Generator"]
    assert networks["D"].init_kwargs == arguments["Discriminator"]
    if networks["augment_pipe"] is not None:
        assert networks["augment_pipe"].init_kwargs == arguments["AugmentPipe"]
    assert networks["training_set_kwargs"] == facts["training_set_kwargs"]
    assert networks["G_ema"].num_ws == facts["G_num_ws"]
    for entry in ("G", "D", "G_ema"):
        assert not networks[entry].training
        assert not any(p.requires_grad for p in networks[entry].parameters())


def test_official_files_are_marked_as_foreign():
    networks, _ = recorded("uncond_rgb_r32")
    card = networks["card"]
    assert card["foreign"] is True
    assert card["origin"].endswith("uncond_rgb_r32.pkl")
    assert len(card["sha256"]) == 64
    assert "non-commercial" in card["licence"]


@pytest.fixture
def original_names(monkeypatch):
    """Modules of the original's names: with them Python's own pickler writes its files in any protocol."""
    persistence, util = types.ModuleType("torch_utils.persistence"), types.ModuleType("dnnlib.util")

    class Held:
        def __init__(self, meta):
            self.meta = meta

        def __reduce__(self):
            return persistence._reconstruct_persistent_obj, (self.meta,)

    def _reconstruct_persistent_obj(meta):
        return Held(meta)

    for module, thing in [
        (persistence, _reconstruct_persistent_obj),
        (util, type("EasyDict", (dict,), {})),
    ]:
        thing.__module__ = module.__name__
        thing.__qualname__ = thing.__name__
        setattr(module, thing.__name__, thing)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        parent = module.__name__.split(".")[0]
        monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_that_python_writes_is_read(protocol, original_names, tmp_path):
    with open(golden_path("checkpoints/cond_rgb_r16.pkl"), "rb") as file:
        held = pickle.load(file)
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(held, protocol=protocol))
    assert (tmp_path / "x.pkl").read_bytes()[1] == protocol
    first, second = recorded("cond_rgb_r16")[0], load_network(tmp_path / "x.pkl")
    for key in ("G", "D", "G_ema", "augment_pipe"):
        assert_same_module(first[key], second[key])
    assert first["training_set_kwargs"] == second["training_set_kwargs"]


def matches(record, kwargs):
    return record.state["_init_kwargs"] == kwargs


def walk(record):
    assert isinstance(record, Record)
    yield record
    for child in record.children().values():
        if child is not None:
            yield from walk(child)


def globals_of(data):
    """An independent list of the globals: the two texts before each STACK_GLOBAL."""
    found, memo, texts = set(), {}, []
    for opcode, argument, _ in pickletools.genops(data):
        if isinstance(argument, str):
            texts.append(argument)
            last = argument
        elif opcode.name in ("BINGET", "LONG_BINGET"):
            texts.append(memo.get(argument))
        elif opcode.name == "MEMOIZE":
            memo[len(memo)] = texts[-1] if texts and last is texts[-1] else None
            continue
        elif opcode.name == "STACK_GLOBAL":
            found.add(".".join(texts[-2:]))
        last = argument if isinstance(argument, str) else None
    return sorted(found)
