"""Clocks of a run: ticks and maintenance, phases of a step, memory."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import torch


class Clock:
    """Seconds of ticks (training) and of maintenance between them."""

    def __init__(self, elapsed_sec: float = 0.0) -> None:
        now = time.perf_counter()
        self._begin = now - elapsed_sec  # of the run, earlier parts included
        self._tick_start = now
        self._tick_end = now
        self._last_save = now
        self._waited = 0.0
        self.tick_sec = 0.0
        self.maintenance_sec = 0.0  # before the tick that ended last

    def end_tick(self) -> None:
        self._tick_end = time.perf_counter()
        self.tick_sec = self._tick_end - self._tick_start

    def start_tick(self) -> None:
        self._tick_start = time.perf_counter()
        self.maintenance_sec = self._tick_start - self._tick_end

    def total_sec(self) -> float:
        return time.perf_counter() - self._begin

    def share_of_tick(self, counter_sec: float) -> float:
        """How much of the tick went into something that is counted from the start on."""
        new, self._waited = counter_sec - self._waited, counter_sec
        return new / max(self.tick_sec, 1e-9)

    def saved(self) -> None:
        self._last_save = time.perf_counter()

    def since_save_sec(self) -> float:
        return time.perf_counter() - self._last_save


class PhaseTimer:
    """Milliseconds of the latest execution of each phase, without waiting for the device during the step."""

    def __init__(self, device: torch.device) -> None:
        self._is_cuda = device.type == "cuda"
        self._events: dict[str, tuple[torch.cuda.Event, torch.cuda.Event]] = {}
        self._ms: dict[str, float] = {}

    @contextlib.contextmanager
    def of(self, name: str) -> Iterator[None]:
        if not self._is_cuda:
            begin = time.perf_counter()
            yield
            self._ms[name] = (time.perf_counter() - begin) * 1000
            return
        # Events lie in the device's queue: recording waits for nothing, reading does.
        pair = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        pair[0].record()
        yield
        pair[1].record()
        self._events[name] = pair

    def latest(self) -> dict[str, float]:
        """{phase: ms} in the order of their first run; waits for the device."""
        for name, (begin, end) in self._events.items():
            end.synchronize()
            self._ms[name] = begin.elapsed_time(end)
        return dict(self._ms)


def memory_gb(device: torch.device) -> tuple[float, float]:
    """(memory of this process, peak on the GPU since the last call), GiB."""
    try:
        with open("/proc/self/statm") as file:
            # The second number is what is resident.
            pages = int(file.read().split()[1])
        cpu_gb = pages * 4096 / 2**30
    except (OSError, ValueError):
        cpu_gb = 0.0  # not Linux: no library is worth this one number
    if device.type != "cuda":
        return cpu_gb, 0.0
    peak = torch.cuda.max_memory_allocated(device) / 2**30
    torch.cuda.reset_peak_memory_stats(device)
    return cpu_gb, peak
