"""The runner with a stand-in for the commands: what is done, done again, left alone, and said."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import namedtuple
from pathlib import Path

import pytest

from spine_plugins.experiments import folder, records, runner, work
from spine_plugins.experiments.estimate import Cost
from spine_plugins.experiments.folder import LOCK
from stylegan2ada import locks
from stylegan2ada.errors import StoppedOnRequest, UserError
from tests.spine_plugins.experiments.plans import SMALL, STAND_IN, TASKS, calls, opened, started


def outputs(out: Path) -> dict[str, dict[str, str]]:
    """{task: its outputs' hashes}"""
    found = {}
    for path in sorted(out.glob("tasks/*/task.json")):
        record = json.loads(path.read_bytes())
        found[record["id"]] = record["outputs"]
    return found


def state(out: Path, name: str) -> records.Record:
    record = records.read(out, name)
    assert record is not None
    return record


def test_everything_is_done_once(tmp_path: Path) -> None:
    experiment = opened(tmp_path)
    assert [task.id for task in experiment.tasks] == TASKS
    ended = started(experiment)
    assert ended.states == {"done": len(TASKS)} and len(calls(tmp_path)) == len(TASKS)
    record = json.loads((tmp_path / "out/tasks/predict-ada-8-s0-g0-d0/task.json").read_bytes())
    assert record["facts"]["row"] == "ada-8" and record["facts"]["on"] == "test"
    assert set(record["inputs"]) == {
        "tasks/fit-ada-8-s0-g0-d0/classifier.safetensors",
        "tasks/data-test/images.zip",
    }
    assert (record["state"], record["kind"]) == ("done", "predict") and record["seconds"] > 0
    assert (tmp_path / "out/tasks/gan-ada-0/run/network-snapshot-000001.pkl").exists()
    assert not (tmp_path / "out/tasks/gan-ada-0/work").exists()
    # Again: nothing is to do.
    assert started(opened(tmp_path)).states == {"done": len(TASKS)} and calls(tmp_path) == []


def test_what_changed_is_made_again_and_what_was_made_stays(tmp_path: Path) -> None:
    started(opened(tmp_path))
    calls(tmp_path)
    said: list[str] = []
    started(opened(tmp_path, SMALL.replace("kimg = 1", "kimg = 2")), said=said)
    # The network and all that follows from it; the row of true images stays.
    verbs = [line.split()[0:2] for line in calls(tmp_path)]
    assert [verb[0] for verb in verbs] == ["train", "generate", "classify", "classify"]
    assert (tmp_path / "out/old/gan-ada-0-1/run/network-snapshot-000001.pkl").exists()
    assert any("gan-ada-0 was made from something else" in line for line in said)


def test_a_failing_arm_stays_alone_and_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "fail").write_text("gan-ada-0/work")
    said: list[str] = []
    ended = started(opened(tmp_path), said=said)
    assert ended.states == {"done": 5, "failed": 1, "skipped": 3}
    assert ended.failed[0].why == "exit code 2: the stand-in was told to fail"
    assert [record.why for record in ended.skipped] == [
        "needs gan-ada-0, which failed",
        "needs draw-ada-0-0-8, which was skipped",
        "needs fit-ada-8-s0-g0-d0, which was skipped",
    ]
    assert any("gan-ada-0 FAILED: exit code 2" in line for line in said)
    assert state(tmp_path / "out", "draw-ada-0-0-8").state == "skipped"
    (tmp_path / "fail").unlink()
    calls(tmp_path)
    assert started(opened(tmp_path)).states == {"done": len(TASKS)}
    assert len(calls(tmp_path)) == 4


def test_an_edited_output_is_said_and_not_lost(tmp_path: Path) -> None:
    started(opened(tmp_path))
    before = outputs(tmp_path / "out")
    path = tmp_path / "out/tasks/fit-ada-8-s0-g0-d0/classifier.safetensors"
    path.write_bytes(b"mine")
    calls(tmp_path)
    ended = started(opened(tmp_path))
    assert ended.states == {"done": 7, "failed": 1, "skipped": 1} and calls(tmp_path) == []
    why = ended.failed[0].why or ""
    assert f"{path} is not what the task wrote: put the old file back, or make it again with --redo" in why
    assert path.read_bytes() == b"mine"
    assert started(opened(tmp_path), redo=("fit-ada-8-s0-g0-d0",)).states == {"done": len(TASKS)}
    assert (tmp_path / "out/old/fit-ada-8-s0-g0-d0-1/classifier.safetensors").read_bytes() == b"mine"
    assert outputs(tmp_path / "out") == before
    path.unlink()  # not edited but gone: made again without a question
    assert started(opened(tmp_path)).states == {"done": len(TASKS)} and path.exists()


def test_only_known_tasks_are_made_again(tmp_path: Path) -> None:
    started(opened(tmp_path))
    with pytest.raises(UserError, match="--redo nothing: there is no such task"):
        started(opened(tmp_path), redo=("nothing",))


def test_a_full_disk_stops_before_the_next_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    real, asked = shutil.disk_usage, []

    def filling(path: Path) -> object:
        asked.append(path)
        return real(path) if len(asked) <= 3 else usage(100, 99, 1_000_000)

    monkeypatch.setattr(runner.shutil, "disk_usage", filling)
    with pytest.raises(
        UserError, match=r"has 1 MB left, and fit-real-s0 may need 200; make room and give the"
    ):
        started(opened(tmp_path))
    monkeypatch.undo()
    calls(tmp_path)
    assert started(opened(tmp_path)).states == {"done": len(TASKS)}
    assert len(calls(tmp_path)) == len(TASKS) - 3


def test_two_runners_in_one_folder(tmp_path: Path) -> None:
    experiment = opened(tmp_path)
    experiment.out.mkdir()
    with locks.hold(experiment.out / LOCK, "it"), pytest.raises(UserError) as refused:
        started(experiment)
    assert f"the experiment {experiment.out} is being written to by process {os.getpid()}" in str(
        refused.value
    )
    assert calls(tmp_path) == []


def test_a_stop_keeps_what_is_done(tmp_path: Path) -> None:
    (tmp_path / "stop").write_text("gan-ada-0/work")
    with pytest.raises(StoppedOnRequest, match="stopped; 5 of 9 tasks are done; the same command goes on"):
        started(opened(tmp_path))
    assert state(tmp_path / "out", "gan-ada-0").state == "running"
    (tmp_path / "stop").unlink()
    calls(tmp_path)
    assert started(opened(tmp_path)).states == {"done": len(TASKS)}
    assert [line.split()[0] for line in calls(tmp_path)] == ["train", "generate", "classify", "classify"]


def test_a_kill_between_the_last_word_and_the_record(tmp_path: Path) -> None:
    started(opened(tmp_path))
    record = state(tmp_path / "out", "gan-ada-0")
    records.write(tmp_path / "out", records.replace(record, state="running", outputs={}, stamps={}))
    calls(tmp_path)
    # The folder has its last name: it is taken as it is, not trained anew.
    assert started(opened(tmp_path)).states == {"done": len(TASKS)} and calls(tmp_path) == []
    assert state(tmp_path / "out", "gan-ada-0").outputs == record.outputs


def test_a_killed_runner_leaves_nobody_working(tmp_path: Path) -> None:
    folder = tmp_path / "tasks/gan-ada-0"
    folder.mkdir(parents=True)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "tasks/gan-ada-0/work"])
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "unrelated"])
    try:
        for process, is_ours in ((other, False), (child, True)):
            (folder / work.CHILD).write_text(f"{os.uname().nodename} {process.pid}")
            end = time.monotonic() + 20
            while b"sleep" not in Path(f"/proc/{process.pid}/cmdline").read_bytes():
                assert time.monotonic() < end
            assert work.end_orphan(folder) is is_ours
        assert child.wait(20) == -15 and other.poll() is None
    finally:
        child.kill()
        other.kill()
        child.wait()
        other.wait()


def test_no_two_tasks_share_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "cards", lambda: ["0", "1"])
    monkeypatch.setattr(work.tempfile, "gettempdir", lambda: str(tmp_path))
    held, seen, most = [], [], []
    lock = threading.Lock()

    def use() -> None:
        with work.a_card(tmp_path, 1) as card:
            with lock:
                held.append(card)
                seen.append(card)
                most.append(max(held.count("0"), held.count("1")))
            time.sleep(0.02)
            with lock:
                held.remove(card)

    threads = [threading.Thread(target=use) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(seen) == {"0", "1"} and max(most) == 1
    monkeypatch.setattr(work, "cards", list)
    with work.a_card(tmp_path, 1) as card:
        assert card is None


def test_cards_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,MIG-abc")
    assert work.cards() == ["2", "MIG-abc"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert work.cards() == []


def test_commands_share_cores_and_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "cards", lambda: ["0"])
    monkeypatch.setattr(runner.os, "cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    def first(device: str, **means: object) -> tuple[runner.Queue, work.Job]:
        experiment = opened(tmp_path, SMALL.replace('"cpu"', f'"{device}"'))
        shutil.rmtree(experiment.out, ignore_errors=True)
        costs = {task.id: runner.Cost(1, 1) for task in experiment.tasks}
        queue = runner.Queue(experiment, runner.Means(**means), costs, lambda line: None)  # type: ignore[arg-type]
        experiment.out.mkdir()
        return queue, next(queue)

    assert first("cpu", executor="local", workers=2)[1].threads == 4
    assert first("cpu", executor="local")[1].threads == 8
    assert first("cpu")[1].threads == 0
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert first("cpu", executor="local", workers=2)[1].threads == 3
    # One card: one command that computes at a time, however many workers there are.
    for device, most in (("cpu", len(TASKS)), ("auto", 1)):
        assert first(device, executor="local", workers=4)[0].most_on_cards == most


def test_what_is_missing_is_left_out_with_its_reason(tmp_path: Path) -> None:
    ended = started(opened(tmp_path), unable={"gan-ada-0": "the detector x is nowhere"})
    assert ended.states == {"done": 5, "skipped": 4}
    assert ended.skipped[0].why == "the detector x is nowhere"


def test_sets_are_compared_when_they_are_drawn_and_not_before(tmp_path: Path) -> None:
    """With two workers, one set is done while another is half written."""
    experiment = opened(tmp_path)
    folder.write(experiment)
    costs = {task.id: Cost(1.0, 1000.0) for task in experiment.tasks}
    queue = runner.Queue(experiment, runner.Means(program=STAND_IN), costs, lambda text: None)
    train, val, test = (next(queue) for _ in range(3))
    val_zip = tmp_path / "out/tasks/data-val/images.zip"
    val_zip.write_bytes(b"PK half of a set")
    for job in (train, test):
        queue.take_back(job, work.do(job))
    assert [queue.records[job.id].state for job in (train, val, test)] == ["done", "running", "done"]
    # Drawn at last, with the patients of the test set.
    shutil.copy(tmp_path / "out/tasks/data-test/images.zip", val_zip)
    with pytest.raises(UserError, match="leakage: 1 of the 1 patients of the test set are also in val"):
        queue.take_back(val, work.Outcome(0, 1.0, None))


@pytest.mark.slow
def test_two_workers_leave_the_same_as_one(tmp_path: Path) -> None:
    found = {}
    for name, means in (("serial", {}), ("local", {"executor": "local", "workers": 2})):
        (tmp_path / name).mkdir()
        assert started(opened(tmp_path / name), **means).states == {"done": len(TASKS)}
        found[name] = outputs(tmp_path / name / "out")
    assert found["serial"] == found["local"] and len(found["local"]) == len(TASKS)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_cluster_leaves_the_same_as_this_process(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    found = {}
    (tmp_path / "serial").mkdir()
    started(opened(tmp_path / "serial"))
    found["serial"] = outputs(tmp_path / "serial/out")
    (tmp_path / "dask").mkdir()
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        assert started(opened(tmp_path / "dask"), executor=f"dask:{address}").states == {"done": len(TASKS)}
    assert outputs(tmp_path / "dask/out") == found["serial"]
