"""The files of a run for spine_plugins/executors.py: limits of a worker, and what becomes of a lost file."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from spine_plugins import executors
from spine_plugins.dicom.convert import convert_item
from spine_plugins.dicom.record import Record
from spine_plugins.dicom.settings import IngestSettings
from spine_plugins.dicom.sources import Item

BATCH = 8  # files per task
_GRACE = 1.5  # the watchdog waits this many times --timeout before it ends a worker stuck in native code


def convert_all(
    items: Iterator[Item], settings: IngestSettings, key: bytes, executor: str, workers: int
) -> Iterator[tuple[list[Item], list[Record]]]:
    """(items, their records) for every item, batch by batch, whatever happens to the workers."""
    timeout = settings.timeout_sec
    limits = executors.Limits(
        memory_bytes=12 * settings.max_pixels + (1 << 30),  # the largest picture a few times over, and a GiB
        item_sec=timeout * _GRACE + 1 if timeout > 0 else 0.0,
    )
    return executors.run(
        functools.partial(convert_item, settings, key),
        items,
        executor=executor,
        workers=workers,
        batch=BATCH,
        limits=limits,
        when_lost=functools.partial(_lost, timeout),
    )


def _lost(timeout: float, item: Item, seconds: float) -> Record:
    if 0 < timeout <= seconds:
        return Record(item.name, reason="timeout", detail="a decoder hung")
    return Record(item.name, reason="worker_crash", detail="a decoder crashed")
