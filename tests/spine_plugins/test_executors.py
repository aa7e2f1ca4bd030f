"""Every item gets its result, whoever works on it and whatever happens to them meanwhile."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spine_plugins.executors import Limits, WorkerDiedError, run
from stylegan2ada.errors import UserError

ROOT = Path(__file__).parents[2]


def square(n: int) -> int:
    return n * n


def moody(n: int) -> str:
    """5 kills its process, as a crash in native code does; 11 hangs there, deaf to signals."""
    if n == 5:
        os.kill(os.getpid(), signal.SIGSEGV)
    if n == 11:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM, signal.SIGTERM})
        time.sleep(60)
    return f"did {n}"


def lost(n: int, seconds: float) -> str:
    return f"lost {n} {'late' if seconds >= 1 else 'early'}"


def refuse(n: int) -> int:
    raise KeyError(n)


def append(path: Path, n: int) -> int:
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"{n}\n")
    time.sleep(0.02)
    return n


def hungry(n: int) -> str:
    try:
        return f"{len(bytearray(n << 20)) >> 20} MB"
    except MemoryError:
        return "too much"


def own_interrupt(_: int) -> bool:
    """Would a program that this worker starts be deaf to Ctrl-C?"""
    return signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def flat(batches: Iterator[tuple[list[int], list[object]]]) -> dict[int, object]:
    return {item: result for items, results in batches for item, result in zip(items, results, strict=True)}


def test_serial_is_lazy_and_keeps_the_batches() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for n in range(7):
            taken.append(n)
            yield n

    results = run(square, items(), executor="serial", batch=3)
    assert next(results) == ([0, 1, 2], [0, 1, 4])
    assert taken == [0, 1, 2]
    assert list(results) == [([3, 4, 5], [9, 16, 25]), ([6], [36])]
    assert list(run(square, [], executor="serial")) == []


def test_processes_give_what_one_gives_and_a_bounded_number_of_items_is_in_flight(tmp_path: Path) -> None:
    taken = [0]

    def items() -> Iterator[int]:
        for n in range(40):
            taken[0] += 1
            yield n

    results = run(functools.partial(append, tmp_path / "done"), items(), workers=1, batch=5, in_order=True)
    assert next(results) == ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4])
    assert taken[0] <= 25
    assert [n for some, _ in results for n in some] == list(range(5, 40))


def test_an_exception_of_the_work_is_the_callers() -> None:
    for executor in ("serial", "process"):
        with pytest.raises(KeyError, match="3"):
            list(run(refuse, [3], executor=executor))


def test_an_unknown_executor_is_refused() -> None:
    with pytest.raises(UserError, match="use serial, process, or dask:ADDRESS"):
        list(run(square, [1], executor="spark"))


@pytest.mark.slow
def test_dying_and_hanging_workers_cost_one_item_each() -> None:
    found = flat(run(moody, range(14), workers=2, batch=3, limits=Limits(item_sec=1.2), when_lost=lost))
    assert found.pop(5) == "lost 5 early"
    assert found.pop(11) == "lost 11 late"
    assert found == {n: f"did {n}" for n in range(14) if n not in (5, 11)}


def test_results_stay_in_order_though_a_worker_dies() -> None:
    results = run(moody, range(4, 9), workers=2, in_order=True, when_lost=lost)
    assert [one for _, [one] in results] == ["did 4", "lost 5 early", "did 6", "did 7", "did 8"]


def test_a_death_that_nobody_expects_is_an_error() -> None:
    with pytest.raises(WorkerDiedError, match="died of 5"):
        list(run(moody, [5], workers=1))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits of memory need /proc")
def test_a_worker_has_no_more_memory_than_it_may() -> None:
    found = flat(run(hungry, [8, 900], limits=Limits(memory_bytes=400 << 20)))
    assert found == {8: "8 MB", 900: "too much"}


def test_programs_started_by_a_worker_feel_an_interrupt() -> None:
    assert flat(run(own_interrupt, [0])) == {0: False}


def test_who_stops_asking_leaves_no_process(tmp_path: Path) -> None:
    done = tmp_path / "done"
    results = run(functools.partial(append, done), range(500), workers=1)
    next(results)
    results.close()
    kept = done.read_text()
    time.sleep(0.2)
    assert done.read_text() == kept
    assert len(kept.splitlines()) < 50


_INTERRUPTED = """
import functools, pathlib, sys
from spine_plugins.executors import run
from tests.spine_plugins.test_executors import append
if __name__ == "__main__":
    for _ in run(functools.partial(append, pathlib.Path(sys.argv[1])), range(2000), workers=2):
        pass
"""


@pytest.mark.slow
def test_an_interrupt_ends_workers_too(tmp_path: Path) -> None:
    """As Ctrl-C does: to the whole group of processes at once."""
    done, script = tmp_path / "done", tmp_path / "script.py"
    script.write_text(_INTERRUPTED)
    running = subprocess.Popen(
        [sys.executable, str(script), str(done)],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while not (done.exists() and len(done.read_text().splitlines()) > 10) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(running.pid, signal.SIGINT)
    _, errors = running.communicate(timeout=30)
    assert running.returncode != 0
    assert errors.count("KeyboardInterrupt") == 1  # this process's, none of a worker's
    kept = done.read_text()
    time.sleep(0.2)
    assert done.read_text() == kept
    assert len(kept.splitlines()) < 2000


@pytest.mark.slow
def test_a_cluster_works_like_processes() -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        address = f"dask:{cluster.scheduler_address}"
        assert flat(run(square, range(20), executor=address, batch=3)) == {n: n * n for n in range(20)}
        with pytest.raises(KeyError):
            list(run(refuse, [3], executor=address))


INTERRUPTED_WHILE_STARTING = """
import multiprocessing.util as util, os, signal, sys
from spine_plugins import executors
plain, begun = util.spawnv_passfds, []

def start(path, args, fds):  # as multiprocessing starts its helpers and its workers
    pid = plain(path, args, fds)
    if "spawn_main" in str(args):
        begun.append(pid)
        os.kill(os.getpid(), signal.SIGINT)  # Ctrl-C, before the worker was told what to do
    return pid

util.spawnv_passfds = start
if __name__ == "__main__":
    try:
        for items, results in executors.run(abs, range(8), workers=2):
            pass
    except KeyboardInterrupt:
        print("interrupted", len(begun))
"""


def test_an_interrupt_while_a_worker_is_started_leaves_nobody_waiting(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(INTERRUPTED_WHILE_STARTING)
    ended = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, start_new_session=True,
    )  # fmt: skip
    assert ended.stdout.startswith("interrupted"), ended.stderr
    assert "Traceback" not in ended.stderr


class _Waits:
    """Numbers of which each may begin when the one before has come back."""

    def __init__(self, count: int) -> None:
        self.left, self.back = list(range(count)), -1

    def __iter__(self) -> _Waits:
        return self

    def __next__(self) -> int:
        if not self.left or self.left[0] > self.back + 1:
            raise StopIteration
        return self.left.pop(0)


@pytest.mark.parametrize("executor", ["serial", "process"])
def test_items_that_wait_for_results_come_later(executor: str) -> None:
    waits, came = _Waits(4), []
    for items, results in run(abs, waits, executor=executor, workers=2, in_flight=1):
        came += results
        waits.back = max(items)
    assert came == [0, 1, 2, 3]
