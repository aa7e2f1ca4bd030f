"""Whatever happens to the disk under a run: no line is lost, and what is left goes on or says why not."""

from __future__ import annotations

import datetime
import errno
import gc
import json
import os
import platform
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from stylegan2ada.config import TrainConfig
from stylegan2ada.errors import UserError
from stylegan2ada.metrics import registry
from stylegan2ada.training import run_files
from stylegan2ada.training.hooks import Hook
from stylegan2ada.training.loop import train
from tests.stylegan2ada.training.faults import DEAD, Faults
from tests.stylegan2ada.training.toy import compare_folders, toy_config, toy_dataset, toy_run_dir

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[3]


class Measure(Hook):
    """A measurement of every snapshot that costs nothing."""

    def on_snapshot(self, run, path: Path) -> None:
        record = {"metric": "toy", "results": {"toy": run.cur_nimg}}
        registry.report_metric(record, run_dir=run.run_dir, snapshot_pkl=path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainConfig, Path]:
    """A run that nothing happens to; it saves its state after every iteration."""
    place = tmp_path_factory.mktemp("whole")
    config = toy_config(
        toy_dataset(place / "toy.zip", resolution=8), total_kimg=0.032, kimg_per_tick=0.008,
        state_minutes=1e-6,
    )  # fmt: skip
    run_dir = toy_run_dir(place / "run", config)
    train(config, run_dir, device=CPU, hooks=[Measure()])
    return config, run_dir


def go_on(config: TrainConfig, run_dir: Path) -> None:
    train(config, run_dir, device=CPU, hooks=[Measure()], is_continued=True)


def same_lines(one: Path, other: Path) -> None:
    """Statistics, pictures, networks and measurements are those of the other run; no line is torn."""
    compare_folders(one, other)
    name = run_files.metric("toy")
    lines = [[json.loads(line) for line in (place / name).read_text().splitlines()] for place in (one, other)]
    for line in (*lines[0], *lines[1]):
        del line["timestamp"]
    assert lines[0] == lines[1]


def in_a_fork(work: Callable[[], None]) -> int:
    """The exit code of a process of its own that does this."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def dies(config: TrainConfig, run_dir: Path, at: int) -> int:
    def work() -> None:
        with Faults(run_dir, at).installed():
            go_on(config, run_dir)

    return in_a_fork(work)


def kill_inside_changes(whole: tuple[TrainConfig, Path], place: Path, kills: int, seed: int) -> int:
    """Kill, go on, kill, ... -> how often really; what comes out in the end equals the whole."""
    config, whole_dir = whole
    run_dir, rnd = toy_run_dir(place / "run", config), random.Random(seed)
    for kill in range(kills):
        code = dies(config, run_dir, rnd.randrange(3, 45))
        assert code in (0, DEAD), (kill, code)
        if code == 0:
            break  # it came through
    go_on(config, run_dir)
    same_lines(whole_dir, run_dir)
    assert not list(run_dir.rglob(".*.tmp")), "temporaries of the dead are swept"
    return kill + (code == DEAD)


@pytest.mark.slow
def test_twenty_kills_inside_changes_lose_no_line(whole, tmp_path: Path) -> None:
    done = 0
    for seed in range(20):
        done += kill_inside_changes(whole, tmp_path / str(seed), 20 - done, seed)
        if done >= 20:
            return
    pytest.fail(f"only {done} kills")


@pytest.mark.slow
def test_one_kill_inside_the_line_of_a_measurement(whole, tmp_path: Path) -> None:
    config, whole_dir = whole
    run_dir = toy_run_dir(tmp_path / "run", config)
    with Faults(run_dir).installed() as watched:
        shutil.copytree(run_dir, tmp_path / "copy")
        train(config, run_dir, device=CPU, hooks=[Measure()])
    at = [i for i, what in enumerate(watched.what) if what == "write metric-toy.jsonl"][1]
    copy = tmp_path / "copy"

    def work() -> None:
        with Faults(copy, at).installed():
            train(config, copy, device=CPU, hooks=[Measure()])

    assert in_a_fork(work) == DEAD
    assert not (copy / "metric-toy.jsonl").read_text().endswith("\n")
    go_on(config, copy)
    same_lines(whole_dir, copy)


class PowerCut(Hook):
    """Ends the run in the middle of an iteration."""

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def on_start(self, run) -> None:
        self.run = run

    def after_step(self, phase) -> None:
        if self.run.iteration == self.iteration:
            raise SystemError("no power")


def power_cut(whole: tuple[TrainConfig, Path], place: Path, seed: int) -> None:
    """Every file loses any part of what was not forced onto the disk; nothing is lost all the same."""
    config, whole_dir = whole
    rnd = random.Random(seed)
    config = replace(config, state_minutes=rnd.choice([1e-6, None]))
    run_dir = toy_run_dir(place / "run", config)
    with Faults(run_dir).installed() as faults, pytest.raises(SystemError):
        train(config, run_dir, device=CPU, hooks=[Measure(), PowerCut(rnd.randrange(1, 4))])
    for path in run_dir.rglob("*"):
        if path.is_file() and path.name != run_files.OPTIONS:  # written before the layer was there
            kept = faults.synced.get(os.path.realpath(path), 0)
            os.truncate(path, rnd.choice([kept, rnd.randint(kept, max(path.stat().st_size, kept))]))
    go_on(config, run_dir)
    same_lines(whole_dir, run_dir)
    assert not any(event.code == "gap" for event in run_files.read_events(run_dir))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_power_cuts(whole, tmp_path: Path, seed: int) -> None:
    power_cut(whole, tmp_path, seed)


@pytest.mark.parametrize("length", [0, 700, None], ids=str)
def test_logs_that_are_shorter_than_the_state_says_are_a_gap(
    whole, tmp_path: Path, length: int | None
) -> None:
    """A state that an older version saved, or a folder that was changed by hand. None: they are gone."""
    config, whole_dir = whole
    run_dir = shutil.copytree(whole_dir, tmp_path / "run")
    for name in ("stats.jsonl", "metric-toy.jsonl", "log.txt", "events.jsonl"):
        if length is None:
            (run_dir / name).unlink()
        elif (run_dir / name).stat().st_size > length:
            os.truncate(run_dir / name, length)
    go_on(replace(config, total_kimg=0.048), run_dir)
    codes = [(event.code, event.text.partition(" ")[0]) for event in run_files.read_events(run_dir)]
    assert {("gap", "stats.jsonl"), ("gap", "log.txt")} <= set(codes)
    assert "stats.jsonl" in (run_dir / "log.txt").read_text()
    lines = (run_dir / "stats.jsonl").read_text().splitlines()
    assert [json.loads(line)["Progress/tick"]["mean"] for line in lines[-2:]] == [
        4,
        5,
    ]  # on lines of their own


def disk_fails(whole: tuple[TrainConfig, Path], place: Path, at: int, error: int, lasts: bool) -> str:
    """A run whose n-th change fails: it goes on, or ends with one sentence; then it goes on to its end."""
    config, whole_dir = whole
    run_dir = toy_run_dir(place / "run", config)
    said = ""
    with Faults(run_dir, at, error=error, lasts=lasts).installed() as faults:
        try:
            train(config, run_dir, device=CPU, hooks=[Measure()])
        except UserError as refused:
            said = str(refused)
            assert os.strerror(error) in said and "--continue=" in said and "\n" not in said, said
    if lasts:
        assert said, "nothing could be written, and nobody heard of it"
    if faults.count > at:
        go_on(config, run_dir)
        same_lines(whole_dir, run_dir)
    return said


def changes_of(whole: tuple[TrainConfig, Path], place: Path) -> int:
    run_dir = toy_run_dir(place / "counted", whole[0])
    with Faults(run_dir).installed() as faults:
        train(whole[0], run_dir, device=CPU, hooks=[Measure()])
    return faults.count


@pytest.mark.slow
def test_a_disk_that_is_full_at_some_write(whole, tmp_path: Path) -> None:
    count = changes_of(whole, tmp_path)
    for at in sorted(random.Random(3).sample(range(count), 10)):
        disk_fails(whole, tmp_path / str(at), at, errno.ENOSPC, lasts=False)


@pytest.mark.slow
@pytest.mark.parametrize("at", range(3))
def test_a_disk_that_is_full_from_the_start_leaves_no_file_open(whole, tmp_path: Path, at: int) -> None:
    disk_fails(whole, tmp_path, at, errno.ENOSPC, lasts=False)
    gc.collect()  # a file that was left open is a warning here, and that an error


@pytest.mark.slow
def test_a_disk_that_becomes_read_only(whole, tmp_path: Path) -> None:
    count = changes_of(whole, tmp_path)
    for at in sorted(random.Random(4).sample(range(count), 5)):
        disk_fails(whole, tmp_path / str(at), at, errno.EROFS, lasts=True)


@pytest.mark.proof
def test_a_disk_that_fails_at_every_write_and_a_kill_at_every_change(whole, tmp_path: Path) -> None:
    count = changes_of(whole, tmp_path)
    config, whole_dir = whole
    ended: dict[str, list[str]] = {}
    for at in range(count):
        for name, error, lasts in (("full", errno.ENOSPC, False), ("read-only", errno.EROFS, True)):
            place = tmp_path / f"{name}-{at}"
            ended.setdefault(name, []).append(disk_fails(whole, place, at, error, lasts))
            shutil.rmtree(place)
        run_dir = toy_run_dir(tmp_path / f"dead-{at}", config)
        code = dies(config, run_dir, at)
        if code == DEAD:
            go_on(config, run_dir)
        same_lines(whole_dir, run_dir)
        ended.setdefault("killed", []).append(str(code))
        shutil.rmtree(run_dir)
    today = datetime.date.today().isoformat()
    facts = {"date": today, "machine": platform.machine(), "cores": os.cpu_count(),
             "python": platform.python_version(), "torch": torch.__version__, "changes": count}  # fmt: skip
    told = {name: {text: texts.count(text) for text in dict.fromkeys(t.split(";")[0] for t in texts)}
            if name == "killed" else {"sentences": sum(map(bool, texts)), "went on": texts.count("")}
            for name, texts in ended.items()}  # fmt: skip
    folder = ROOT / "benchmarks" / "proofs"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"faults-{today}.json").write_text(json.dumps(facts | told, indent=1) + "\n")
