"""The options of recorded command lines, and the rules that are ours."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from stylegan2ada.config import LossFacts, TrainConfig, TrainOptions, augmentation_presets, resolve
from stylegan2ada.errors import UserError
from tests.golden_data import golden_json


def dataset_info(entry: dict) -> SimpleNamespace:
    return SimpleNamespace(
        name=entry["placeholder"].split("/")[-1].removesuffix(".zip"),
        path=entry["placeholder"],
        num_images=entry["n"],
        image_shape=[entry["ch"], entry["res"], entry["res"]],
        has_labels=entry["labels"] is not None,
        label_dim=0,
        label_names=None,
    )


RECORD = golden_json("cli/train_options.json")
R64 = dataset_info(RECORD["datasets"]["r64"])
LABELLED = dataset_info(RECORD["datasets"]["r32_lab"])


def as_options(flags: dict) -> TrainOptions:
    return TrainOptions(**{name: tuple(v) if isinstance(v, list) else v for name, v in flags.items()})


@pytest.mark.parametrize("case", RECORD["cases"], ids=lambda case: case["desc"])
def test_recorded_options(case: dict) -> None:
    config = resolve(as_options(case["flags"]), dataset_info(RECORD["datasets"][case["dataset"]]))
    written = config.to_upstream()
    assert config.desc == case["desc"]
    assert json.loads(json.dumps(written)) == case["options"]
    assert list(written) == case["key_order"]
    for name, value in case["options"].items():
        if isinstance(value, dict):
            assert list(written[name]) == list(value), name


@pytest.mark.parametrize("case", RECORD["cases"][::7], ids=lambda case: case["desc"])
def test_a_configuration_survives_its_file(case: dict) -> None:
    options = as_options(case["flags"])
    config = resolve(options, dataset_info(RECORD["datasets"][case["dataset"]]))
    record = json.loads(json.dumps(config.to_upstream() | config.ours() | {"desc": config.desc}))
    assert TrainConfig.from_record(record) == config
    assert TrainOptions.from_record(json.loads(json.dumps(options.given()))) == options


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"batch": 8, "batch_gpu": 3}, "--batch-gpu"),
        ({"aug": "noaug", "ada_max_p": 0.8}, "--ada-max-p"),
        ({"fp32": True, "precision": "bf16"}, "--precision"),
        ({"sampler": "balanced"}, "--sampler"),
        ({"seed": -1}, "--seed"),
        ({"tick": 0.0}, "--tick"),
        ({"cbase": 0}, "--cbase"),
        ({"keep_snapshots": 0}, "--keep-snapshots"),
        ({"state_minutes": 0.0}, "--state-minutes"),
        ({"gamma": float("nan")}, "--gamma"),
        ({"ada_max_p": 1.5}, "--ada-max-p"),
        ({"metrics": ("fid50k", "fid10k")}, "fid10k"),
    ],
)
def test_refusals_name_the_flag(options: dict, named: str) -> None:
    with pytest.raises(UserError, match=named):
        resolve(TrainOptions(**options), R64, known_metrics=["fid50k"])


def test_our_flags_reach_the_configuration() -> None:
    options = TrainOptions(
        cond=True, cbase=1024, cmax=16, tick=0.5, term=("edges:0.5",), sampler="balanced", precision="bf16",
        device="cpu", ada_max_p=0.8, batch=8, batch_gpu=4, keep_snapshots=3, state_minutes=2.5,
        detector=(("inception", "some/file.pt"),),
    )  # fmt: skip
    config = resolve(options, LABELLED)
    assert config.G_kwargs["synthesis_kwargs"]["channel_base"] == config.D_kwargs["channel_base"] == 1024
    assert config.G_kwargs["synthesis_kwargs"]["channel_max"] == config.D_kwargs["channel_max"] == 16
    assert config.to_upstream()["kimg_per_tick"] == 0.5
    assert (config.batch_size, config.batch_gpu) == (8, 4)
    assert config.ours() == {
        "terms": ["edges:0.5"], "sampler": "balanced", "precision": "bf16", "device": "cpu",
        "ada_max_p": 0.8, "keep_snapshots": 3, "state_minutes": 2.5,
        "detectors": {"inception": "some/file.pt"},
    }  # fmt: skip


class _Loss:
    def __init__(self, device, G_mapping, G_synthesis, D, augment_pipe=None, r1_gamma=10, strength=1.0):
        pass

    @classmethod
    def network_settings(cls, objective):
        return {"epilogue_kwargs": {"mbstd_num_channels": 0}}


def test_loss_options_are_checked_against_the_class_and_may_ask_for_settings() -> None:
    asked = TrainOptions(loss="my.Loss", loss_opt=(("strength", "0.5"), ("r1_gamma", "3")))
    config = resolve(asked, R64, loss=LossFacts(_Loss, "flat"))
    assert config.loss_kwargs == {"r1_gamma": 3, "strength": 0.5, "objective": "flat"}
    assert config.to_upstream()["loss_kwargs"]["class_name"] == "my.Loss"
    assert config.D_kwargs["epilogue_kwargs"]["mbstd_num_channels"] == 0
    assert any("mbstd_num_channels" in note for note in config.notes)
    with pytest.raises(UserError, match="strenght.*strength"):
        resolve(TrainOptions(loss_opt=(("strenght", "1"),)), R64, loss=LossFacts(_Loss))


def test_what_a_loss_cannot_do_is_refused() -> None:
    with pytest.raises(UserError, match="--aug=ada.*steers"):
        resolve(TrainOptions(loss="wgan"), R64, loss=LossFacts(_Loss, "wgan", "ADA steers by a sign"))
    with pytest.raises(UserError, match="--term=edges"):
        resolve(TrainOptions(term=("edges",)), R64, loss=LossFacts(_Loss))


def test_another_number_of_devices_keeps_the_batch() -> None:
    config = resolve(TrainOptions(batch=24, batch_gpu=8), R64)
    for gpus in (1, 2, 4, 8):
        moved = config.on_devices(gpus)
        assert moved.batch_size == 24
        assert 24 % (moved.batch_gpu * gpus) == 0
        assert moved.batch_gpu <= 8
    with pytest.raises(UserError, match="--gpus=16"):
        config.on_devices(16)


def test_more_gpus_than_a_preset_knows_still_divide_the_batch() -> None:
    config = resolve(TrainOptions(cfg="paper256", gpus=16), R64)
    assert (config.batch_size, config.batch_gpu) == (64, 4)


def test_radiographs_are_not_flipped_turned_or_coloured() -> None:
    kinds = augmentation_presets()["radiograph"]
    assert set(kinds) == {"xint", "scale", "aniso", "xfrac", "rotate", "rotate_max", "brightness", "contrast"}
    assert kinds["rotate_max"] * 180 == pytest.approx(5)


def test_an_unknown_source_network_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="ffhq128 is neither .*ffhq256, ffhq512, ffhq1024, celebahq256"):
        resolve(as_options({"resume": "ffhq128"}), dataset_info(RECORD["datasets"]["r64"]))
