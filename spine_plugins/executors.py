"""Who does the work: this process, processes of this computer, or a Dask cluster. The results are the same.

    for items, results in run(work, items, executor="process", workers=4):
        store(items, results)

`work` turns one item into one result; for anything but `serial` both must be picklable, and so must `work`
(a function of a module, a functools.partial of one, an instance of a class with `__call__`). Items travel in
batches, in their order, a bounded number of batches at a time; results come back as they are ready. `items`
may be an iterator that has nothing now and more later, as tasks that wait for others: it is asked again after
each result, and what ends the work is that it has nothing while nothing is being worked on.

What goes wrong, and whose business it is:

- an exception in `work` is the caller's: it comes out of `run` as it is, and nothing more is started;
- a worker that dies (a crash in native code, the system out of memory, `Limits.item_sec` over) takes nothing
  with it: what it had in hand is tried again item by item, each in a process that may die of it, and for the
  item that does, `when_lost` makes the result;
- an interrupt of this process, or a caller that stops asking, waits for the batches that are being worked on
  and drops the rest. Workers leave interrupts of the keyboard to this process; programs that `work` starts
  feel them as ever.
"""

from __future__ import annotations

import concurrent.futures as futures
import contextlib
import faulthandler
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, TypeVar

from stylegan2ada import interrupts
from stylegan2ada.errors import MissingError, UserError

T = TypeVar("T")
R = TypeVar("R")
LocalPool = futures.ProcessPoolExecutor
_IN_FLIGHT = 4  # batches per worker: none waits for this process to catch up, and memory stays bounded


@dataclass(frozen=True)
class Limits:
    """What one local worker may use. A cluster has limits of its own, and its workers are not ours to end."""

    memory_bytes: int | None = None  # beyond what a fresh worker has; more than that is a MemoryError in it
    item_sec: float = 0.0  # on one item, then the worker is ended even inside native code; 0: no limit


def run(
    work: Callable[[T], R],  # one item -> its result
    items: Iterable[T],  # taken as they are needed
    *,
    executor: str = "process",  # serial | process | dask:ADDRESS of a scheduler
    workers: int = 1,  # processes; a cluster has the workers that it has
    batch: int = 1,  # items that travel together: more where an item takes less than some milliseconds
    in_flight: int = _IN_FLIGHT,  # batches per worker
    in_order: bool = False,  # results in the order of the items, not as they are ready
    limits: Limits = Limits(),
    when_lost: Callable[[T, float], R] | None = None,  # (item, seconds it had); None: WorkerDiedError
) -> Iterator[tuple[list[T], list[R]]]:
    """(items, their results) batch by batch, for every item, whatever happens to the workers."""
    batches = _Batches(items, batch)
    if executor == "serial":
        for some in batches:
            yield some, [work(item) for item in some]
    elif executor == "process":
        local = _Local(max(1, workers), limits)
        yield from _over_pool(local, work, batches, in_flight, in_order, limits, when_lost)
    elif executor.startswith("dask:"):
        with _cluster(executor.removeprefix("dask:")) as pool:
            yield from _over_pool(pool, work, batches, in_flight, in_order, limits, when_lost)
    else:
        raise UserError(
            f"--executor={executor} is unknown; use serial, process, or dask:ADDRESS of a scheduler"
        )


class WorkerDiedError(RuntimeError):
    """A worker died of an item, and nobody said what that item's result is then."""


class _Batches(Iterator[list[T]]):
    """No generator: those that ended once have ended, and these items may have more later."""

    def __init__(self, items: Iterable[T], size: int) -> None:
        self._source, self._size = iter(items), size

    def __next__(self) -> list[T]:
        batch = list(islice(self._source, self._size))
        if not batch:
            raise StopIteration
        return batch


def _over_pool(
    pool: _Pool, work: Callable[[T], R], batches: Iterator[list[T]], in_flight: int, in_order: bool,
    limits: Limits, when_lost: Callable[[T, float], R] | None,
) -> Iterator[tuple[list[T], list[R]]]:  # fmt: skip
    """Keep the pool busy with a bounded number of batches in flight; survive the death of workers."""
    running: dict[futures.Future[list[R]], list[T]] = {}  # in the order of submitting
    try:
        while True:
            # In this order: items are taken only when there is room for them.
            while len(running) < in_flight * pool.workers and (batch := next(batches, None)):
                running[pool.submit(work, batch)] = batch
            if not running:
                return
            for future in _ready(running, in_order):
                batch = running.pop(future)
                error = future.exception()
                if error is None:
                    yield batch, future.result()
                elif _is_worker_death(error):  # one death breaks a pool of processes: all in flight come here
                    yield batch, _one_by_one(work, batch, limits, when_lost)
                else:
                    # From here `finally` stops the rest before the caller hears of it.
                    raise error
    finally:
        pool.close(running)


def _ready(running: dict[futures.Future[list[R]], list[T]], in_order: bool) -> list[futures.Future[list[R]]]:
    """Waits for one of them to be done, or for the eldest; what it waits for still counts as in flight."""
    if in_order:
        eldest = next(iter(running))
        futures.wait([eldest])
        return [eldest]
    return list(futures.wait(running, return_when=futures.FIRST_COMPLETED).done)


def _one_by_one(
    work: Callable[[T], R], batch: list[T], limits: Limits, when_lost: Callable[[T, float], R] | None
) -> list[R]:
    """Results of a lost batch: each item in a process that may die of it, so that the guilty one is known."""
    results: list[R] = []
    # One process serves until it dies; submit replaces it then.
    pool = _Local(1, limits)
    try:
        for item in batch:
            start = time.monotonic()
            try:
                results += pool.submit(work, [item]).result()
            except BrokenProcessPool as error:
                if when_lost is None:
                    raise WorkerDiedError(
                        f"a worker process died of {item!r} (should all of them: a script that starts "
                        'processes does so below `if __name__ == "__main__"`)'
                    ) from error
                results.append(when_lost(item, time.monotonic() - start))
    finally:
        pool.close(())
    return results


def _is_worker_death(error: BaseException) -> bool:
    # Dask's errors by name: it need not be installed.
    return isinstance(error, BrokenProcessPool) or type(error).__name__ in ("KilledWorker", "CommClosedError")


class _Pool(Protocol):
    """Where batches can be sent."""

    workers: int

    def submit(self, work: Callable[[T], R], batch: list[T]) -> futures.Future[list[R]]: ...

    def close(self, running: Iterable[futures.Future[list[R]]]) -> None: ...


# Processes of this computer.


class _Local:
    """Fresh processes (spawn: no locks or threads are inherited); new ones after one has died."""

    def __init__(self, workers: int, limits: Limits) -> None:
        self.workers = workers
        self._limits = limits
        self._pool = self._new()

    def submit(self, work: Callable[[T], R], batch: list[T]) -> futures.Future[list[R]]:
        # Submitting starts workers. An interrupt in its middle would leave one that waits for its first word,
        # or a pool that waits for such a worker, for ever; and a new worker would die of it.
        with interrupts.deferred(), interrupts.born_deaf():
            try:
                return self._pool.submit(_guarded, work, batch, self._limits.item_sec)
            except BrokenProcessPool:  # one death ends them all
                self._pool.shutdown(wait=True)
                self._pool = self._new()
                return self._pool.submit(_guarded, work, batch, self._limits.item_sec)

    def close(self, running: Iterable[futures.Future[list[R]]]) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _new(self) -> LocalPool:
        spawn = multiprocessing.get_context("spawn")
        return LocalPool(self.workers, spawn, _start_worker, (self._limits.memory_bytes,))


def _start_worker(memory_bytes: int | None) -> None:
    # Not SIG_IGN, which programs started by the worker would inherit.
    signal.signal(signal.SIGINT, lambda *_: None)
    interrupts.hear()  # what it starts itself is not deaf
    # Threads of libraries in every worker would fight over the same cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if memory_bytes is None:
        return
    with contextlib.suppress(ImportError, OSError, ValueError):  # no such limits on this system
        import resource

        with open("/proc/self/statm", encoding="ascii") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        # On top of what the imports have mapped: libraries reserve far more than they use.
        resource.setrlimit(resource.RLIMIT_AS, (used + memory_bytes, used + memory_bytes))
        # Crashes are expected here, and their core dumps would fill the disk.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _guarded(work: Callable[[T], R], batch: list[T], item_sec: float) -> list[R]:
    """Results of a batch in a worker that ends itself should one item take too long.

    The watchdog is a thread of C: it needs no interpreter lock, so native code that hangs cannot stop it.
    """
    if item_sec <= 0:
        return [work(item) for item in batch]
    results = []
    with open(os.devnull, "w", encoding="ascii") as nowhere:
        for item in batch:
            # Its exit is what is wanted; the traceback goes nowhere.
            faulthandler.dump_traceback_later(item_sec, exit=True, file=nowhere)
            try:
                results.append(work(item))
            finally:
                faulthandler.cancel_dump_traceback_later()
    return results


# A cluster.


class _Cluster:
    """The workers of a Dask cluster behind Dask's own executor."""

    def __init__(self, pool: futures.Executor, workers: int) -> None:
        self.workers = workers
        self._pool = pool

    def submit(self, work: Callable[[T], R], batch: list[T]) -> futures.Future[list[R]]:
        # No watchdog: it ends the process, and these are not ours to end.
        return self._pool.submit(_guarded, work, batch, 0.0)

    def close(self, running: Iterable[futures.Future[list[R]]]) -> None:
        for future in running:
            future.cancel()


@contextlib.contextmanager
def _cluster(address: str) -> Iterator[_Cluster]:
    """The cluster at `address`; its workers need this project and the same file system."""
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingError("--executor=dask needs Dask; pip install distributed") from error
    try:
        client = Client(address, timeout=10)
    except (OSError, ValueError, TimeoutError) as error:
        raise UserError(
            f"--executor=dask:{address} cannot be reached; give the scheduler's address, as tcp://host:8786"
        ) from error
    with client:
        workers = len(client.scheduler_info(n_workers=-1)["workers"])
        if not workers:
            raise UserError(
                f"the Dask cluster at {address} has no workers; start some with `dask worker {address}`"
            )
        # Pure calls with equal arguments are run once; work with a side effect must run each time.
        yield _Cluster(client.get_executor(pure=False), workers)
