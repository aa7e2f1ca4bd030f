"""An interrupted run goes on as if nothing had happened, and says clearly when it cannot."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from stylegan2ada import files, processes
from stylegan2ada.checkpoints.training_state import load_state
from stylegan2ada.errors import StoppedOnRequest, UserError
from stylegan2ada.training import resume
from stylegan2ada.training.hooks import Hook, Hooks
from stylegan2ada.training.loop import train
from stylegan2ada.training.run_dir import REQUEUE_FILE, STATE_FILE
from tests.stylegan2ada.training.toy import compare_runs, toy_config, toy_dataset, toy_run_dir, weights

CPU = torch.device("cpu")


class StopAfter(Hook):
    """Asks the run to stop once so many iterations are done; has a state of its own."""

    def __init__(self, iterations: int | None) -> None:
        self.iterations = iterations
        self.steps = 0

    def on_start(self, run) -> None:
        self.run = run
        torch.rand(3)  # a hook may draw when it starts

    def after_step(self, phase) -> None:
        self.steps += 1
        if self.iterations is not None and self.run.iteration + 1 == self.iterations:
            self.run.stop.request("test")

    def state_dict(self) -> dict:
        return {"steps": self.steps}

    def load_state_dict(self, state: dict) -> None:
        self.steps = state["steps"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_dataset(tmp_path_factory.mktemp("data") / "toy.zip", resolution=8)


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory):
    """A run that nobody interrupts: ADA moves, style mixing and random noise on, both kinds of snapshots."""
    config = toy_config(
        data, ada_kimg=0.1, ada_target=-1.0, total_kimg=0.08, kimg_per_tick=0.024, image_snapshot_ticks=2
    )
    run_dir = toy_run_dir(tmp_path_factory.mktemp("whole") / "run", config)
    hook = StopAfter(None)
    return config, run_dir, train(config, run_dir, device=CPU, hooks=Hooks([hook])), hook


@pytest.mark.parametrize("stops", [[1, 6], [3, 4, 8]], ids=str)
def test_stopped_and_continued_equals_uninterrupted(whole, tmp_path: Path, stops: list[int]) -> None:
    config, whole_dir, whole_run, whole_hook = whole
    run_dir = toy_run_dir(tmp_path / "run", config)
    for index, iterations in enumerate(stops):
        with pytest.raises(StoppedOnRequest, match="--continue"):
            train(config, run_dir, device=CPU, hooks=Hooks([StopAfter(iterations)]), is_continued=index > 0)
        assert (run_dir / REQUEUE_FILE).exists()
        assert load_state(run_dir / STATE_FILE)["counters"]["iteration"] == iterations
    hook = StopAfter(None)
    run = train(config, run_dir, device=CPU, hooks=Hooks([hook]), is_continued=True)
    assert hook.steps == whole_hook.steps
    assert run.p == whole_run.p > 0
    compare_runs(whole_run, run)


def test_a_crash_between_saves_repeats_what_was_lost(whole, tmp_path: Path) -> None:
    config, _, whole_run, _ = whole

    class Crash(StopAfter):
        def after_step(self, phase) -> None:
            super().after_step(phase)
            if self.run.iteration == 9:
                raise RuntimeError("power cut")

    Crash.__name__ = StopAfter.__name__  # whose state the continued run takes over
    run_dir = toy_run_dir(tmp_path / "run", config)
    with pytest.raises(RuntimeError, match="power cut"):
        train(config, run_dir, device=CPU, hooks=Hooks([Crash(None)]))
    lines = (run_dir / "stats.jsonl").read_text().splitlines()
    assert len(lines) == 3  # ticks 0, 1 and 2; the state is of tick 2
    (run_dir / "stats.jsonl").write_text("\n".join([*lines, '{"after": "the state"}']) + "\n")
    (run_dir / f".{STATE_FILE}.123.tmp").write_bytes(b"killed while writing")
    run = train(config, run_dir, device=CPU, hooks=Hooks([StopAfter(None)]), is_continued=True)
    compare_runs(whole_run, run)
    assert not list(run_dir.glob(".*tmp"))


def test_killed_before_the_first_save_begins_again_in_its_folder(whole, tmp_path: Path) -> None:
    config, _, whole_run, _ = whole
    run_dir = toy_run_dir(tmp_path / "run", config)
    (run_dir / "stats.jsonl").write_text('{"from": "before"}\n')
    (run_dir / "log.txt").write_text("before\n")
    run = train(config, run_dir, device=CPU, hooks=Hooks([StopAfter(None)]), is_continued=True)
    compare_runs(whole_run, run)
    assert not (run_dir / "log.txt").read_text().startswith("before")


def test_a_finished_run_can_be_made_longer(whole, tmp_path: Path) -> None:
    config, whole_dir, whole_run, _ = whole
    run_dir = tmp_path / "run"
    shutil.copytree(whole_dir, run_dir)
    run = train(config, run_dir, device=CPU, hooks=Hooks([StopAfter(None)]), is_continued=True)
    assert run.cur_nimg == whole_run.cur_nimg
    assert "Nothing left to do" in (run_dir / "log.txt").read_text()
    longer = replace(config, total_kimg=0.096)
    run = train(longer, run_dir, device=CPU, hooks=Hooks([StopAfter(None)]), is_continued=True)
    assert (run.cur_nimg, run.iteration) == (96, 12)


def test_two_hooks_of_one_class_keep_a_state_each(data: Path, tmp_path: Path) -> None:
    """By class name alone the later one would overwrite the earlier."""
    config = toy_config(data, total_kimg=0.032)
    run_dir = toy_run_dir(tmp_path / "run", config)
    first, second = StopAfter(2), StopAfter(None)
    second.steps = 1000
    with pytest.raises(StoppedOnRequest):
        train(config, run_dir, device=CPU, hooks=[first, second])
    again = [StopAfter(None), StopAfter(None)]
    with pytest.raises(UserError, match="hook StopAfter 2"):
        train(config, run_dir, device=CPU, hooks=again[:1], is_continued=True)
    train(config, run_dir, device=CPU, hooks=again, is_continued=True)
    assert again[1].steps - again[0].steps == 1000
    assert again[0].steps > first.steps > 0


# What can go wrong.


@pytest.fixture
def stopped(whole, tmp_path: Path):
    config, whole_dir, _, _ = whole
    run_dir = tmp_path / "run"
    shutil.copytree(whole_dir, run_dir)
    return config, run_dir


def test_a_damaged_state_is_refused_and_the_one_before_continues(stopped) -> None:
    config, run_dir = stopped
    path = run_dir / STATE_FILE
    before = load_state(path.with_name(path.name + ".previous"))["counters"]["iteration"]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="damaged.*previous"):
        train(config, run_dir, device=CPU, is_continued=True)
    path.unlink()  # what the message asks for, or a kill between two renames
    state = resume.find(run_dir)
    assert state is not None
    assert state["counters"]["iteration"] == before


def test_another_data_set_is_refused(stopped, tmp_path: Path) -> None:
    config, run_dir = stopped
    other = toy_dataset(tmp_path / "other.zip", resolution=8, count=25)
    kwargs = config.training_set_kwargs | {"path": str(other), "max_size": None}
    moved = replace(config, training_set_kwargs=kwargs)
    with pytest.raises(UserError, match="--data"):
        train(moved, run_dir, device=CPU, hooks=Hooks([StopAfter(None)]), is_continued=True)


def test_a_moved_data_set_is_accepted(stopped, data: Path, tmp_path: Path) -> None:
    config, run_dir = stopped
    place = shutil.copy(data, tmp_path / "elsewhere.zip")
    moved = replace(config, training_set_kwargs=config.training_set_kwargs | {"path": str(place)})
    train(moved, run_dir, device=CPU, hooks=Hooks([StopAfter(None)]), is_continued=True)


def test_a_deleted_data_set_is_named(stopped, tmp_path: Path) -> None:
    config, run_dir = stopped
    kwargs = config.training_set_kwargs | {"path": str(tmp_path / "gone.zip")}
    gone = replace(config, training_set_kwargs=kwargs)
    with pytest.raises(UserError, match="--data.*gone.zip"):
        train(gone, run_dir, device=CPU, is_continued=True)


def test_a_full_disk_keeps_the_state_before(stopped, monkeypatch: pytest.MonkeyPatch) -> None:
    config, run_dir = stopped
    before = (run_dir / STATE_FILE).read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files, "os", SimpleNamespace(**{**vars(os), "fsync": full}))  # whole files; not events
        longer = replace(config, total_kimg=0.2)
        with pytest.raises(UserError, match="No space left.*--continue"):
            train(longer, run_dir, device=CPU, hooks=Hooks([StopAfter(11)]), is_continued=True)
    assert (run_dir / STATE_FILE).read_bytes() == before
    run = train(config, run_dir, device=CPU, hooks=Hooks([StopAfter(None)]), is_continued=True)
    assert run.is_done


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_rights_is_named(stopped) -> None:
    config, run_dir = stopped
    run_dir.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with pytest.raises(UserError, match="cannot write"):
            train(replace(config, total_kimg=0.2), run_dir, device=CPU, is_continued=True)
    finally:
        run_dir.chmod(stat.S_IRWXU)


def test_a_hook_with_a_state_must_be_there_again(stopped) -> None:
    config, run_dir = stopped
    with pytest.raises(UserError, match="hook StopAfter"):
        train(config, run_dir, device=CPU, is_continued=True)


def test_states_are_saved_by_the_clock(data: Path, tmp_path: Path) -> None:
    config = toy_config(data, total_kimg=0.04, state_minutes=1e-6, network_snapshot_ticks=None)
    run_dir = toy_run_dir(tmp_path / "run", config)
    saved: list[int] = []

    class Watch(Hook):
        def after_step(self, phase) -> None:
            path = run_dir / STATE_FILE
            if path.exists():
                saved.append(load_state(path)["counters"]["iteration"])

    train(config, run_dir, device=CPU, hooks=Hooks([Watch()]))
    assert sorted(set(saved)) == [1, 2, 3, 4]


def test_what_it_takes_with_another_number_of_ranks(stopped) -> None:
    """One saved rank stands for two: weights and counts are kept, draws are new, and the log says so."""
    config, run_dir = stopped
    state = resume.find(run_dir)
    assert state is not None
    state["ranks"] = state["ranks"] * 2
    from stylegan2ada.checkpoints.training_state import save_state

    save_state(run_dir / STATE_FILE, state)
    longer = replace(config, total_kimg=0.088)
    run = train(longer, run_dir, device=CPU, hooks=Hooks([StopAfter(None)]), is_continued=True)
    assert run.cur_nimg == 88
    assert "saved by 2 process(es), continued by 1" in (run_dir / "log.txt").read_text()
    line = json.loads((run_dir / "stats.jsonl").read_text().splitlines()[-1])
    assert line["Loss/signs/real"]["num"] > 0
    assert processes.world_size() == 1
    assert weights(run)


@pytest.fixture
def small_disk(tmp_path: Path):
    """mount(size or other options) makes or changes a disk of its own; needs root and the right to mount."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only root may mount a disk")

    def mount(options: str) -> Path:
        if disk.is_mount():
            subprocess.run(["mount", "-o", f"remount,{options}", str(disk)], check=True)
        elif subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]).returncode != 0:
            pytest.skip("this place does not allow mounts")
        return disk

    yield mount
    if disk.is_mount():
        subprocess.run(["umount", str(disk)], check=True)


def test_a_really_full_disk(stopped, small_disk) -> None:
    """The state does not fit beside the two that are there: the newest complete one still continues."""
    config, whole_dir = stopped
    used = sum(path.stat().st_size for path in whole_dir.rglob("*") if path.is_file())
    room = used + (whole_dir / STATE_FILE).stat().st_size // 2
    run_dir = shutil.copytree(whole_dir, small_disk(f"size={room}") / "run")
    longer = replace(config, total_kimg=0.2)
    with pytest.raises(UserError, match="No space left.*--continue"):
        train(longer, run_dir, device=CPU, hooks=Hooks([StopAfter(11)]), is_continued=True)
    small_disk(f"size={4 * room}")
    with pytest.raises(StoppedOnRequest):
        train(longer, run_dir, device=CPU, hooks=Hooks([StopAfter(12)]), is_continued=True)
    assert load_state(run_dir / STATE_FILE)["counters"]["iteration"] == 12


def test_a_read_only_disk(stopped, small_disk) -> None:
    config, whole_dir = stopped
    run_dir = shutil.copytree(whole_dir, small_disk("size=64m") / "run")
    small_disk("ro")
    longer = replace(config, total_kimg=0.2)
    with pytest.raises(UserError, match="Read-only file system.*--continue"):
        train(longer, run_dir, device=CPU, hooks=Hooks([StopAfter(11)]), is_continued=True)
    small_disk("rw")
    with pytest.raises(StoppedOnRequest):
        train(longer, run_dir, device=CPU, hooks=Hooks([StopAfter(11)]), is_continued=True)
