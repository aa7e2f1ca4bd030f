"""Training from Python: the same run as the command's, and the caller's process as it was."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stylegan2ada import from_python, stats, train
from stylegan2ada.config import TrainOptions
from stylegan2ada.data.writer import DatasetWriter
from stylegan2ada.errors import StoppedOnRequest, UserError
from stylegan2ada.library import train_network
from stylegan2ada.training.hooks import Hook

Asked = list[tuple[TrainOptions, tuple[Hook, ...]]]  # what reaches the command
SHORT: dict[str, Any] = {
    "aug": "noaug", "kimg": 1, "batch": 256, "cbase": 64, "cmax": 4, "metrics": (), "snap": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "images.zip"
    rng = np.random.default_rng(0)
    with DatasetWriter(path) as writer:
        for i in range(16):
            writer.add(rng.integers(0, 255, size=(8, 8), dtype=np.uint8), label=i % 2)
    return path


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run from its beginning to its end."""
    return train_network(data, tmp_path_factory.mktemp("whole"), quiet=True, **SHORT)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Asked:
    """What reaches the command, instead of a training."""
    seen: Asked = []

    def run(options: TrainOptions, *, hooks: Any) -> Path:
        seen.append((options, tuple(hooks)))
        return tmp_path / "00000-run"

    monkeypatch.setattr(train, "run", run)
    return seen


def networks(run: Path) -> bytes:
    return (run / "network-snapshot-000001.pkl").read_bytes()


def written_files(run: Path) -> set[str]:
    return {path.name for path in run.iterdir() if not path.name.startswith("events.out")}


def statistics(run: Path) -> list[dict[str, Any]]:
    """What was reported, without times and memory."""
    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k.split("/")[0] in ("Loss", "Progress")} for line in lines]


def test_flags_become_what_the_command_would_make_of_them(asked: Asked, tmp_path: Path) -> None:
    hook = Hook()
    train_network(
        tmp_path / "images.zip",
        tmp_path,
        cond=True,
        mirror=False,
        kimg=np.int64(2),
        gamma=0.5,
        batch=None,
        metrics=["fid50k", "kid50k"],
        loss_opt={"margin": 2, "soft": True},
        term="exposure:0.1",
        detector=[("mine", Path("mine.pt"))],
        hooks=[hook],
    )
    typed = (
        f"--data={tmp_path}/images.zip --outdir={tmp_path} --cond=1 --mirror=0 --kimg=2 --gamma=0.5 "
        "--metrics=fid50k,kid50k --loss-opt=margin=2 --loss-opt=soft=True --term=exposure:0.1 "
        "--detector=mine=mine.pt"
    )
    with train.main.make_context("train", typed.split()) as context:
        assert asked == [(TrainOptions(**context.params), (hook,))]


def test_no_metrics_is_none_and_not_the_default(asked: Asked, tmp_path: Path) -> None:
    train_network("images.zip", tmp_path, metrics=())
    assert asked[0][0].metrics == ()
    train_network("images.zip", tmp_path)
    assert asked[1][0].metrics is None


def test_loss_options_may_be_pairs(asked: Asked, tmp_path: Path) -> None:
    train_network("images.zip", tmp_path, loss="ns", loss_opt=[("r1_gamma", 1), ("objective", "ns")])
    assert asked[0][0].loss_opt == (("r1_gamma", "1"), ("objective", "ns"))


def test_every_flag_of_the_command_is_an_argument(asked: Asked) -> None:
    names = {parameter.name for parameter in train.main.params if parameter.expose_value}
    given = from_python.parsed(train.main, dict.fromkeys(names))
    assert set(given) == names
    assert TrainOptions(**given) == TrainOptions()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"kimgs": 1}, "kimgs is not an option of train; the nearest name is kimg"),
        ({"batch_size": 1}, "batch_size is not an option of train; the nearest name is batch"),
        ({"kimg": 1.5}, "'--kimg': '1.5' is not a valid integer"),
        ({"cfg": "paper"}, "'--cfg': 'paper' is not one of"),
        ({"cond": "perhaps"}, "'--cond'"),
        ({"term": "mine:heavy"}, "the weight after the colon must be a number"),
        ({"loss_opt": "margin"}, "must look like NAME=VALUE"),
        ({"dry_run": True}, "train.py --dry-run"),
    ],
)
def test_wrong_flags_are_told_before_anything_happens(
    flags: dict[str, Any], told: str, asked: Asked, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        train_network("images.zip", tmp_path / "runs", **flags)
    assert told in str(caught.value)
    assert not asked and not (tmp_path / "runs").exists()


def test_the_checks_of_the_command_hold(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--outdir is missing"):
        train_network(data)
    with pytest.raises(UserError, match="--loss-opt=margin"):
        train_network(data, tmp_path, loss_opt={"margin": 2})
    with pytest.raises(UserError, match="does not exist"):
        train_network(tmp_path / "nothing.zip", tmp_path)


class Counts(Hook):
    """Reports, as a user's hook may."""

    def after_step(self, phase: Any) -> None:
        stats.report("Before/steps", 1)


@pytest.mark.slow
def test_a_run_leaves_the_process_as_it_was(
    data: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    collector = stats.Collector("Before/.*")
    stats.report("Before/value", [1.0, 2.0])
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(7)
    expected = random.random(), np.random.rand(), float(torch.rand([]))
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(7)
    matmul = torch.get_float32_matmul_precision()
    run = train_network(data, tmp_path / "runs", hooks=[Counts()], quiet=True, **SHORT)
    assert (random.random(), np.random.rand(), float(torch.rand([]))) == expected
    assert torch.get_float32_matmul_precision() == matmul
    collector.update()
    assert collector.names() == ["Before/value"]
    assert collector.num("Before/value") == 2
    assert run.parent == tmp_path / "runs" and run.name.startswith("00000-images-")
    printed = capsys.readouterr()
    assert printed.out == printed.err == ""
    assert "tick 1" in (run / "log.txt").read_text()
    assert networks(run) == networks(whole), "nor does what ran before in the process matter"


def test_the_command_makes_the_same_run(data: Path, whole: Path, tmp_path: Path) -> None:
    flags = [f"--{name}={value}" for name, value in SHORT.items() if name != "metrics"]
    typed = [f"--data={data}", f"--outdir={tmp_path}", "--metrics=none", *flags]
    train.main(typed, standalone_mode=False)
    (run,) = tmp_path.iterdir()
    assert statistics(run) == statistics(whole)
    assert networks(run) == networks(whole)
    assert written_files(run) == written_files(whole) and run.name == whole.name


class StopsOnce(Hook):
    """Asks the run to stop after its third iteration, as the stop button does."""

    def __init__(self) -> None:
        self.steps = 0

    def on_start(self, run: Any) -> None:
        self.stop = run.stop

    def after_step(self, phase: Any) -> None:
        self.steps += phase.name == "Gmain"
        if self.steps == 3:
            self.stop.request("the test")


def test_a_stopped_run_goes_on_exactly(data: Path, whole: Path, tmp_path: Path) -> None:
    with pytest.raises(StoppedOnRequest):
        train_network(data, tmp_path, hooks=[StopsOnce()], quiet=True, **SHORT)
    (stopped,) = tmp_path.iterdir()
    assert not (stopped / "network-snapshot-000001.pkl").exists()
    assert train_network(continue_run=stopped, quiet=True) == stopped
    assert networks(stopped) == networks(whole)


def test_latest_is_the_newest_run_of_outdir(data: Path, whole: Path) -> None:
    assert train_network(data, whole.parent, continue_run="latest", quiet=True, **SHORT) == whole
    assert [path.name for path in whole.parent.iterdir()] == [whole.name]
