"""Who does the work: this process, processes of this computer, or a Dask cluster. The results are the same.

Batches go out in order, a bounded number at a time; results come back in any order and as plain records.
A worker that dies takes nothing with it: its files are tried again one by one in a process of their own,
and the one that kills it is reported.
"""

from __future__ import annotations

import concurrent.futures as futures
import contextlib
import faulthandler
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from spine_plugins.dicom.convert import Record, convert_batch
from spine_plugins.dicom.settings import IngestSettings
from spine_plugins.dicom.sources import Item
from stylegan2ada.errors import MissingError, UserError

BATCH = 8  # files per task
_IN_FLIGHT = 4  # batches per worker
_GRACE = 1.5  # the watchdog waits this many times --timeout before it ends a worker stuck in native code

Result = tuple[list[Item], list[dict[str, Any]]]


def convert_all(
    items: Iterator[Item], settings: IngestSettings, key: bytes, executor: str, workers: int
) -> Iterator[Result]:
    """(items, their records) for every item, batch by batch, whatever happens to the workers."""
    batches = _batches(items)
    if executor == "serial":
        for batch in batches:
            yield batch, convert_batch(settings, key, batch)
    elif executor == "process":
        yield from _over_pool(batches, settings, key, lambda: process_pool(workers, settings), workers)
    elif executor.startswith("dask:"):
        with _dask_pool(executor.removeprefix("dask:")) as (pool, n_workers):
            yield from _over_pool(batches, settings, key, lambda: pool, n_workers)
    else:
        raise UserError(
            f"--executor={executor} is unknown; use serial, process, or dask:ADDRESS of a scheduler"
        )


def process_pool(workers: int, settings: IngestSettings) -> futures.ProcessPoolExecutor:
    """Fresh processes (spawn: no locks or threads are inherited) with limits of their own."""
    return futures.ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(12 * settings.max_pixels + (1 << 30),),
    )


def _start_worker(extra_bytes: int) -> None:
    """Limits of one worker: a size beyond which allocations fail; no interrupt from the keyboard."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        with open("/proc/self/statm", encoding="ascii") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + extra_bytes, used + extra_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def guarded_batch(settings: IngestSettings, key: bytes, batch: list[Item]) -> list[dict[str, Any]]:
    """convert_batch in a worker process, which ends itself should native code hang on one of the files."""
    records = []
    with open(os.devnull, "w") as nowhere:
        for item in batch:
            if settings.timeout_sec > 0:
                faulthandler.dump_traceback_later(settings.timeout_sec * _GRACE + 1, exit=True, file=nowhere)
            try:
                records += convert_batch(settings, key, [item])
            finally:
                faulthandler.cancel_dump_traceback_later()
    return records


def _over_pool(
    batches: Iterator[list[Item]], settings: IngestSettings, key: bytes, make_pool: Any, workers: int
) -> Iterator[Result]:
    """Keep `workers` busy with a bounded number of batches in flight; survive the death of workers."""
    pool = make_pool()
    # A worker of a cluster is not ours to end, so the watchdog is for local processes only.
    work = guarded_batch if isinstance(pool, futures.ProcessPoolExecutor) else convert_batch
    running: dict[futures.Future, list[Item]] = {}
    try:
        while True:
            while len(running) < _IN_FLIGHT * workers and (batch := next(batches, None)):
                try:
                    running[pool.submit(work, settings, key, batch)] = batch
                except BrokenProcessPool:  # noticed while submitting: handle it with those in flight
                    running[_failed_future()] = batch
                    break
            if not running:
                return
            done, _ = futures.wait(running, return_when=futures.FIRST_COMPLETED)
            lost = []
            for future in done:
                batch = running.pop(future)
                error = future.exception()
                if error is None:
                    yield batch, future.result()
                elif _is_worker_death(error):
                    lost.append(batch)
                else:
                    raise error
            if not lost:
                continue
            if isinstance(pool, futures.ProcessPoolExecutor):  # a broken pool loses all that was in flight
                for future, batch in running.items():
                    if future.done() and future.exception() is None:
                        yield batch, future.result()
                    else:
                        lost.append(batch)
                running.clear()
                pool.shutdown(wait=True, cancel_futures=True)
                pool = make_pool()
            for batch in lost:
                yield batch, _one_by_one(batch, settings, key)
    finally:
        if isinstance(pool, futures.ProcessPoolExecutor):
            pool.shutdown(wait=True, cancel_futures=True)
        else:
            for future in running:
                future.cancel()


def _one_by_one(batch: list[Item], settings: IngestSettings, key: bytes) -> list[dict[str, Any]]:
    """Records of a lost batch: each file in a process that may die of it."""
    records: list[dict[str, Any]] = []
    pool = process_pool(1, settings)
    try:
        for item in batch:
            start = time.monotonic()
            try:
                records += pool.submit(guarded_batch, settings, key, [item]).result()
            except BrokenProcessPool:
                is_late = 0 < settings.timeout_sec <= time.monotonic() - start
                reason, detail = (
                    ("timeout", "a decoder hung") if is_late else ("worker_crash", "a decoder crashed")
                )
                records.append(Record(item.name, reason=reason, detail=detail).plain())
                pool.shutdown(wait=True)
                pool = process_pool(1, settings)
    finally:
        pool.shutdown(wait=True)
    return records


def _is_worker_death(error: BaseException) -> bool:
    return isinstance(error, BrokenProcessPool) or type(error).__name__ in ("KilledWorker", "CommClosedError")


def _failed_future() -> futures.Future:
    future: futures.Future = futures.Future()
    future.set_exception(BrokenProcessPool())
    return future


def _batches(items: Iterator[Item]) -> Iterator[list[Item]]:
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


@contextlib.contextmanager
def _dask_pool(address: str) -> Iterator[tuple[futures.Executor, int]]:
    """The cluster at `address` as an executor; its workers need this project and the same file system."""
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
        yield client.get_executor(pure=False), workers
