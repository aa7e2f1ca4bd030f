"""Progress with rate and time left on stderr: one moving line on a terminal, a few lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

T = TypeVar("T")
_TERMINAL_SEC = 0.2  # between updates of the moving line
_LOG_SEC = (10.0, 30.0, 60.0, 120.0, 300.0, 600.0)  # into a file: ever rarer, then every ten minutes


class Progress:
    """Counts up to `total` and says how far it is: `label: 120/400 (30%), 55.1/s, 5s left`.

    `for i in Progress(n, "label")` counts by itself, `.over(items)` counts while passing items on,
    `.step(k)` counts by hand. Work that is done within a second prints nothing.
    """

    def __init__(
        self, total: int | None, label: str, *, stream: TextIO | None = None, is_silent: bool = False
    ) -> None:
        self.total = total
        self.label = label
        self.done = 0
        self._stream = sys.stderr if stream is None else stream
        self._is_terminal = self._stream.isatty()
        self._start = time.monotonic()
        self._next = self._start + (1.0 if self._is_terminal else _LOG_SEC[0])
        if is_silent:  # counts, for callers that report elsewhere
            self._next = math.inf
        self._lines = 0

    def __iter__(self) -> Iterator[int]:
        return self.over(range(self.total or 0))

    def over(self, items: Iterable[T]) -> Iterator[T]:
        """The items themselves, counted as each has been worked on."""
        try:
            for item in items:
                yield item
                self.step()
        finally:
            self.close()

    def step(self, count: int = 1) -> None:
        """`count` more are done."""
        self.done += count
        now = time.monotonic()
        # Nearly every call ends here: counting must cost nothing.
        if now < self._next:
            return
        self._lines += 1
        self._write(self.text(now - self._start))
        pause_sec = _LOG_SEC[min(self._lines, len(_LOG_SEC) - 1)]
        self._next = now + (_TERMINAL_SEC if self._is_terminal else pause_sec)

    def close(self) -> None:
        """Ends the line, if one was begun, with the final count."""
        if self._lines:
            self._write(self.text(time.monotonic() - self._start))
            if self._is_terminal:
                print(file=self._stream, flush=True)
            self._lines = 0

    def text(self, elapsed_sec: float) -> str:
        """The line as it would read after so many seconds."""
        rate = self.done / max(elapsed_sec, 1e-9)
        count = f"{self.done}" if self.total is None else f"{self.done}/{self.total} ({self._percent()}%)"
        if self.total is None or self.done >= self.total or not self.done:
            rest = f"{_clock(elapsed_sec)} so far" if self.total is None else f"took {_clock(elapsed_sec)}"
        else:
            rest = f"{_clock((self.total - self.done) / rate)} left"
        return f"{self.label}: {count}, {rate:.3g}/s, {rest}"

    def _percent(self) -> int:
        return int(100 * self.done / self.total) if self.total else 100

    def _write(self, line: str) -> None:
        text = f"\r{line:<78}" if self._is_terminal else line + "\n"
        print(text, end="", file=self._stream, flush=True)


def _clock(seconds: float) -> str:
    """Rougher than stats.format_time, which would bring torch along."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02d}m" if hours else f"{minutes}m {rest:02d}s" if minutes else f"{rest}s"
