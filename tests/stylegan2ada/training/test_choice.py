"""Which operations a run computes with: settled before it has a folder, recorded, kept when it goes on."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from stylegan2ada.config import TrainConfig, TrainOptions
from stylegan2ada.config.continuing import continue_with
from stylegan2ada.errors import MissingError, UserError
from stylegan2ada.ops import build, choice, pick_impl
from stylegan2ada.training import run_files
from stylegan2ada.training.launch import Job, settled, with_run_dir

CPU = torch.device("cpu")
CONFIG = TrainConfig(
    num_gpus=1, image_snapshot_ticks=1, network_snapshot_ticks=1, metrics=[], random_seed=0,
    training_set_kwargs={"path": "x"}, data_loader_kwargs={}, G_kwargs={}, D_kwargs={}, G_opt_kwargs={},
    D_opt_kwargs={}, loss_kwargs={}, total_kimg=1, batch_size=1, batch_gpu=1, ema_kimg=1, ema_rampup=None,
)  # fmt: skip


@pytest.fixture
def is_there(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """Whether kernels can be had, without building any."""
    state = {"kernels": True}

    def ensure(device: str, **_: object) -> None:
        if not state["kernels"]:
            raise build.Unavailable("there is no compiler")

    monkeypatch.setattr(build, "ensure", ensure)
    monkeypatch.delenv(choice.ENVIRONMENT, raising=False)
    return state


def job(outdir: Path, ops: str | None, config: TrainConfig = CONFIG) -> Job:
    config = dataclasses.replace(config, ops=config.ops if ops is None else ops)
    return Job(config, TrainOptions(ops=ops), outdir=str(outdir))


@pytest.mark.parametrize(
    ("asked", "kernels", "found"),
    [
        (None, True, "compiled"),
        (None, False, "plain"),
        ("plain", True, "plain"),
        ("compiled", True, "compiled"),
    ],
)
def test_the_settled_choice_is_recorded(
    asked: str | None, kernels: bool, found: str, is_there: dict[str, bool], tmp_path: Path
) -> None:
    is_there["kernels"] = kernels
    made = with_run_dir(settled(job(tmp_path, asked), CPU), {})
    assert made.run_dir is not None
    written = json.loads((made.run_dir / "training_options.json").read_text())[run_files.OURS]
    assert (written["ops"], written["graphs"]) == (found, "off")


def test_what_was_asked_for_is_had_or_refused(is_there: dict[str, bool], tmp_path: Path) -> None:
    is_there["kernels"] = False
    with pytest.raises(MissingError, match="--ops=compiled: there is no compiler"):
        settled(job(tmp_path, "compiled"), CPU)
    assert not list(tmp_path.iterdir())


def test_a_run_that_took_what_there_was_goes_on_with_what_there_is(
    is_there: dict[str, bool], tmp_path: Path
) -> None:
    before = dataclasses.replace(CONFIG, ops="compiled")
    assert settled(job(tmp_path, None, before), CPU).config.ops == "compiled"
    is_there["kernels"] = False
    assert settled(job(tmp_path, None, before), CPU).config.ops == "plain"
    plain = dataclasses.replace(CONFIG, ops="plain")
    is_there["kernels"] = True
    assert settled(job(tmp_path, None, plain), CPU).config.ops == "plain"


def test_going_on_keeps_it_unless_it_is_said_otherwise() -> None:
    recorded = dataclasses.replace(CONFIG, ops="compiled", graphs="on")
    keep = continue_with(recorded, TrainOptions(), TrainOptions(), lambda _: CONFIG)
    assert (keep.ops, keep.graphs) == ("compiled", "on")
    change = TrainOptions(ops="plain", graphs="off")
    changed = continue_with(recorded, TrainOptions(), change, lambda _: CONFIG)
    assert (changed.ops, changed.graphs) == ("plain", "off")


def test_what_auto_means_can_be_said_outside(
    is_there: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(choice.ENVIRONMENT, "plain")
    assert choice.settle("auto", "cpu") == "plain"
    assert choice.settle("compiled", "cpu") == "compiled"  # a flag is said nearer
    monkeypatch.setenv(choice.ENVIRONMENT, "fast")
    with pytest.raises(UserError, match=choice.ENVIRONMENT):
        choice.settle("auto", "cpu")


def test_steps_are_captured_on_cuda_only() -> None:
    assert choice.settle_graphs("auto", "cuda") == "on"
    assert choice.settle_graphs("auto", "cpu") == "off"
    assert choice.settle_graphs("off", "cuda") == "off"


def test_the_choice_is_of_the_process() -> None:
    choice.use("compiled")
    assert (choice.in_use(), pick_impl("auto")) == ("compiled", "compiled")
    choice.use("plain")
    assert (choice.in_use(), pick_impl("auto")) == ("plain", "fast")
