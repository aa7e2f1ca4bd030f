"""Progress: counts, rates, few lines where nobody watches."""

from __future__ import annotations

import io

import pytest

from stylegan2ada import progress
from stylegan2ada.progress import Progress


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


def test_a_log_gets_a_few_lines(clock):
    stream = io.StringIO()
    for _ in Progress(1000, "reading", stream=stream):
        clock.now += 1
    lines = stream.getvalue().splitlines()
    assert lines[0] == "reading: 10/1000 (1%), 1/s, 16m 30s left"
    assert lines[-1] == "reading: 1000/1000 (100%), 1/s, took 16m 40s"
    assert len(lines) <= 8


def test_short_work_says_nothing(clock):
    for stream in (io.StringIO(), Terminal()):
        assert list(Progress(3, "x", stream=stream)) == [0, 1, 2]
        assert stream.getvalue() == ""


def test_a_terminal_gets_one_moving_line(clock):
    stream = Terminal()
    items = []
    for item in Progress(4, "x", stream=stream).over("abcd"):
        items.append(item)
        clock.now += 2
    assert items == list("abcd")
    assert stream.getvalue().count("\n") == 1
    assert [part.strip() for part in stream.getvalue().split("\r")[1:]] == [
        "x: 1/4 (25%), 0.5/s, 6s left",
        "x: 2/4 (50%), 0.5/s, 4s left",
        "x: 3/4 (75%), 0.5/s, 2s left",
        "x: 4/4 (100%), 0.5/s, took 8s",
        "x: 4/4 (100%), 0.5/s, took 8s",
    ]


def test_unknown_total_and_error(clock):
    stream = io.StringIO()
    bar = Progress(None, "x", stream=stream)
    clock.now += 20
    bar.step(5)
    assert stream.getvalue() == "x: 5, 0.25/s, 20s so far\n"
    bar.close()
    bar.close()  # a second time says nothing more
    assert stream.getvalue().count("\n") == 2


def test_a_silent_one_counts(clock):
    stream = io.StringIO()
    bar = Progress(4, "measuring", stream=stream, is_silent=True)
    for _ in bar:
        clock.now += 1000
    assert bar.done == 4
    assert stream.getvalue() == ""
