"""What a run does to its folder: nothing before it is accepted, one writer at a time, and who may look."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from stylegan2ada import files, locks, train
from stylegan2ada.checkpoints.training_state import load_state, save_state
from stylegan2ada.config import TrainOptions
from stylegan2ada.data.decode import DatasetError
from stylegan2ada.errors import Interrupted, StoppedOnRequest, UserError
from stylegan2ada.training import loop, run_files
from stylegan2ada.training.hooks import Hook
from tests.stylegan2ada.training.toy import (
    StopAfter,
    statistics,
    toy_config,
    toy_dataset,
    toy_run_dir,
)

ROOT = Path(__file__).parents[3]
CPU = torch.device("cpu")
CHANGES = {"batch": 8, "cbase": 64, "cmax": 4, "kimg": 1, "tick": 0.008, "snap": 1, "workers": 1,
           "cond": True, "metrics": (), "device": "cpu", "aug": "noaug"}  # fmt: skip


class Counted(StopAfter):
    """Has a state, so that a run cannot go on without it."""

    def state_dict(self) -> dict:
        return {"iterations": self.iterations}

    def load_state_dict(self, state: dict) -> None:
        pass


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the command, stopped after its second iteration; its data lie beside it."""
    place = tmp_path_factory.mktemp("original")
    data = toy_dataset(place / "toy.zip", resolution=8)
    options = TrainOptions(data=str(data), outdir=str(place / "runs"), **CHANGES)
    with pytest.raises(StoppedOnRequest):
        train.run(options, hooks=[Counted(2)])
    (run_dir,) = (place / "runs").iterdir()
    return run_dir


@pytest.fixture
def stopped(original: Path, tmp_path: Path) -> Path:
    return shutil.copytree(original, tmp_path / "runs" / original.name)


def go_on(run_dir: Path, *hooks: Hook, **changes: object) -> None:
    train.run(TrainOptions(continue_run=str(run_dir), **changes), hooks=hooks or [Counted(4)])


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# Before a run is accepted its folder stays as it was.


def _other_data(run_dir: Path) -> None:
    go_on(run_dir, data=str(toy_dataset(run_dir.parent / "other.zip", resolution=8, count=25)))


def _other_resolution(run_dir: Path) -> None:
    go_on(run_dir, data=str(toy_dataset(run_dir.parent / "other.zip", resolution=16)))


def _other_channels(run_dir: Path) -> None:
    go_on(run_dir, data=str(toy_dataset(run_dir.parent / "other.zip", resolution=8, channels=3)))


def _other_labels(run_dir: Path) -> None:
    go_on(run_dir, data=str(toy_dataset(run_dir.parent / "other.zip", resolution=8, classes=3)))


def _no_labels(run_dir: Path) -> None:
    go_on(run_dir, data=str(toy_dataset(run_dir.parent / "other.zip", resolution=8, classes=0)))


def _changed_state(**changes: object) -> Callable[[Path], None]:
    def attempt(run_dir: Path) -> None:
        path = run_dir / run_files.STATE
        state = load_state(path)
        for name, value in changes.items():
            state[name] = value
        save_state(path, state)
        (run_dir / (run_files.STATE + run_files.PREVIOUS)).unlink()
        before = bytes_of(run_dir)
        try:
            go_on(run_dir)
        finally:
            assert bytes_of(run_dir) == before

    return attempt


def _damaged_state(run_dir: Path) -> None:
    (run_dir / run_files.STATE).write_bytes(b"PK\x03\x04")
    before = bytes_of(run_dir)
    try:
        go_on(run_dir)
    finally:
        assert bytes_of(run_dir) == before


REFUSALS: dict[str, tuple[Callable[[Path], None], str]] = {
    "other images": (_other_data, "not the same images"),
    "another resolution": (_other_resolution, "--data|does not fit|not the same"),
    "other channels": (_other_channels, "--data|does not fit|not the same"),
    "other classes": (_other_labels, "--data|does not fit|not the same"),
    "no labels": (_no_labels, "label"),
    "no data": (lambda run_dir: go_on(run_dir, data="gone.zip"), "--data"),
    "a pipe of data": (lambda run_dir: go_on(run_dir, data=os.devnull), "--data"),
    "another flag": (lambda run_dir: go_on(run_dir, gamma=99.0), "--gamma"),
    "another sampler": (lambda run_dir: go_on(run_dir, sampler="balanced"), "--sampler"),
    "an unknown metric": (lambda run_dir: go_on(run_dir, metrics=("fid7",)), "fid7"),
    "an unknown device": (lambda run_dir: go_on(run_dir, device="abacus"), "--device"),
    "no such device": (lambda run_dir: go_on(run_dir, device="cuda:99"), "--device|CUDA|device"),
    "an odd number of devices": (lambda run_dir: go_on(run_dir, gpus=3), "gpus"),
    "a missing hook": (lambda run_dir: go_on(run_dir, StopAfter(4)), "hook Counted"),
    "a damaged state": (_damaged_state, "damaged"),
    "a state of another version": (_changed_state(format=99), "version"),
    "a state without networks": (_changed_state(networks={}), "does not fit"),
    "a state without ranks": (_changed_state(ranks=[]), "ranks"),
    "a state with a list for a dictionary": (_changed_state(counters=[1]), "counters"),
    "a state of counters with texts": (_changed_state(collector="x"), "does not fit"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_changes_nothing(stopped: Path, name: str) -> None:
    attempt, sentence = REFUSALS[name]
    before = bytes_of(stopped)
    assert run_files.REQUEUE in before
    with pytest.raises(UserError, match=sentence) as refused:
        attempt(stopped)
    assert refused.value.exit_code == 2
    if "state" not in name:
        assert bytes_of(stopped) == before


def test_what_is_accepted_is_written_down(stopped: Path) -> None:
    with pytest.raises(StoppedOnRequest):
        go_on(stopped, workers=2)
    record = json.loads((stopped / run_files.OPTIONS).read_text())
    assert record["data_loader_kwargs"]["num_workers"] == 2
    assert len(record[run_files.OURS]["earlier"]) == 1
    assert "Continuing at 0.016 kimg" in (stopped / run_files.LOG).read_text()


# A state that is missing.


@pytest.mark.parametrize("trace", ["all", "state", "statistics", "snapshot", "half a previous state"])
def test_a_run_that_lost_its_state_is_not_begun_again(stopped: Path, trace: str) -> None:
    for name in (run_files.STATE, run_files.STATE + run_files.PREVIOUS):
        (stopped / name).unlink()
    if trace != "all":
        for path in list(stopped.iterdir()):
            if path.is_file() and path.name != run_files.OPTIONS:
                path.unlink()
    if trace == "state":
        (stopped / run_files.EVENTS).write_text('{"event": "saved", "kimg": 0, "time": 1}\n')
    if trace == "statistics":
        (stopped / run_files.STATS).write_text('{"Progress/tick": {"num": 1, "mean": 1, "std": 0}}\n')
    if trace == "snapshot":
        (stopped / run_files.snapshot(200)).touch()
    if trace == "half a previous state":
        (stopped / (run_files.STATE + run_files.PREVIOUS)).write_bytes(b"PK")
    before = bytes_of(stopped)
    with pytest.raises(UserError, match="training-state.pt is missing.*--resume"):
        go_on(stopped)
    assert bytes_of(stopped) == before


def test_a_run_that_never_saved_a_state_is_begun_again_and_says_so(original: Path, stopped: Path) -> None:
    for name in (run_files.STATE, run_files.STATE + run_files.PREVIOUS, run_files.REQUEUE, run_files.EVENTS):
        (stopped / name).unlink()
    first = (stopped / run_files.STATS).read_text().splitlines()[0]
    (stopped / run_files.STATS).write_text(first + "\n")  # killed between the first tick and its state
    with pytest.raises(StoppedOnRequest):
        go_on(stopped, Counted(2))
    assert statistics(stopped) == statistics(original)
    assert "begun again" in (stopped / run_files.LOG).read_text()


# Two at once.


def test_a_second_one_is_refused_and_changes_nothing(stopped: Path) -> None:
    with locks.hold(stopped / run_files.LOCK, str(stopped)):
        before = bytes_of(stopped)
        with pytest.raises(UserError, match=f"being written to by process {os.getpid()}"):
            go_on(stopped)
        assert bytes_of(stopped) == before
    with pytest.raises(StoppedOnRequest):
        go_on(stopped)
    assert not (stopped / run_files.LOCK).exists()


def test_temporaries_of_the_dead_are_swept(stopped: Path) -> None:
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    left = [
        stopped / f".{name}.{files._HOST}.{int(dead.stdout)}.tmp" for name in ("fakes.png", run_files.STATE)
    ]
    left.append(stopped / f".{run_files.STATE}.elsewhere.1.tmp")
    for path in left:
        path.touch()
    with pytest.raises(StoppedOnRequest):
        go_on(stopped)
    assert not any(path.exists() for path in left)


# Data that go wrong on the way.


def test_an_image_that_cannot_be_decoded_is_no_full_disk(tmp_path: Path) -> None:
    class Damaged(Hook):
        def after_step(self, phase) -> None:
            raise DatasetError("img7.png in toy.zip is damaged; restore it")

    config = toy_config(toy_dataset(tmp_path / "toy.zip", resolution=8))
    with pytest.raises(DatasetError) as refused:
        loop.train(config, toy_run_dir(tmp_path / "run", config), device=CPU, hooks=[Damaged()])
    assert str(refused.value) == "img7.png in toy.zip is damaged; restore it"


# Who may look.


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@pytest.mark.parametrize("mask", [0o000, 0o077], ids=["000", "077"])
def test_what_shows_patients_is_private_whatever_the_umask(tmp_path: Path, mask: int, umask) -> None:
    config = toy_config(
        toy_dataset(tmp_path / "toy.zip", resolution=8), total_kimg=0.016, kimg_per_tick=0.008,
        image_snapshot_ticks=1, network_snapshot_ticks=1,
    )  # fmt: skip
    umask(mask)
    for place, shows_reals in (("run", True), ("hidden", False)):
        seams = dataclasses.replace(loop.Seams(), shows_reals=shows_reals, private_statistics="Loss/.*real")
        loop.train(config, toy_run_dir(tmp_path / place, config), device=CPU, seams=seams)
    modes = {}
    for path in [p for place in ("run", "hidden") for p in (tmp_path / place).rglob("*") if p.is_file()]:
        name = path.relative_to(tmp_path / path.relative_to(tmp_path).parts[0]).as_posix()
        row = run_files.find_row(name)
        assert row is not None, name
        mode = modes[name] = stat.S_IMODE(path.stat().st_mode)
        if run_files.Trait.OWNER in row.traits:
            assert mode == 0o600, name
        elif name.startswith(run_files.PRIVATE):
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700, name
        else:
            assert mode == 0o666 & ~mask, name
    shown = {run_files.REALS, run_files.STATE, run_files.STATE + run_files.PREVIOUS}
    assert shown | {f"{run_files.PRIVATE}/{run_files.REALS}"} <= modes.keys()


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A folder that a user without rights can reach."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o755)
    yield place
    for path in (place, *place.rglob("*")):
        path.chmod(0o755)
    shutil.rmtree(place)


def as_nobody(work: Callable[[], None], said: Path) -> str:
    """The sentence of the UserError that a user without rights gets; run in a child if we are root."""
    said.touch()
    said.chmod(0o666)
    pid = os.fork()
    if pid == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            work()
            said.write_text("it went on")
        except UserError as refused:
            said.write_text(str(refused))
        except BaseException as error:  # noqa: BLE001 - the parent shows it
            said.write_text(f"TRACEBACK {error!r}")
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    return said.read_text()


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="no users here")
@pytest.mark.parametrize(
    ("place", "mode", "sentence"),
    [
        (".", 0o555, "cannot write to .*Permission denied"),
        (run_files.STATE, 0o000, "training-state.pt cannot be opened .Permission denied"),
        (run_files.STATS, 0o444, "cannot write to .*Permission denied"),
        (run_files.OPTIONS, 0o000, "training_options.json cannot be opened .Permission denied"),
        (run_files.LOG, 0o444, "cannot write to .*Permission denied"),
    ],
)
def test_a_user_without_rights_gets_a_sentence(
    stopped: Path, original: Path, open_place: Path, place: str, mode: int, sentence: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("DNNLIB_CACHE_DIR", str(open_place / "cache"))
    run_dir = shutil.copytree(stopped, open_place / "run")
    data = Path(shutil.copy(original.parents[1] / "toy.zip", open_place / "toy.zip"))
    data.chmod(0o644)  # data sets are private
    for path in (run_dir, *run_dir.rglob("*")):
        path.chmod(0o777)
        if os.geteuid() == 0:
            os.chown(path, 65534, 65534)
    open_place.chmod(0o777)
    (run_dir / place).chmod(mode)
    said = as_nobody(lambda: go_on(run_dir, data=str(data)), open_place / "said.txt")
    assert re.search(sentence, said), said


# Asked to stop before there is anything to save.


class SignalAtStart(Hook):
    def on_start(self, run) -> None:
        os.kill(os.getpid(), signal.SIGINT)


def test_a_signal_before_the_first_iteration_of_a_new_run_ends_it_at_once(tmp_path: Path) -> None:
    config = toy_config(toy_dataset(tmp_path / "toy.zip", resolution=8))
    run_dir = toy_run_dir(tmp_path / "run", config)
    with pytest.raises(Interrupted, match="before the first iteration") as stopped:
        loop.train(config, run_dir, device=CPU, hooks=[SignalAtStart()])
    assert stopped.value.exit_code == 130
    assert not (run_dir / run_files.STATE).exists()
    loop.train(config, run_dir, device=CPU, is_continued=True)


def test_a_signal_before_the_first_iteration_of_one_that_goes_on_leaves_its_state(stopped: Path) -> None:
    state = (stopped / run_files.STATE).read_bytes()
    with pytest.raises(StoppedOnRequest):
        go_on(stopped, Counted(4), SignalAtStart())
    assert (stopped / run_files.STATE).read_bytes() == state
    assert (stopped / run_files.REQUEUE).exists()
