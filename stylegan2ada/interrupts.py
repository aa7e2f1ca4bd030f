"""Ctrl-C of a command is quiet, whenever it comes: exit code 130, no traceback, nobody left behind.

A program calls `listen` before its heavy imports. While modules are loaded an interrupt ends the process at
once: an exception would come out of half-loaded native code, which may abort. Later it is the usual
KeyboardInterrupt, so that files and workers are put away. Training listens for itself, by
`processes.StopRequest`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

EXIT_CODE = 130
_KINDS = (signal.SIGINT, signal.SIGTERM)


class _Process:
    """Where this process is: between these an exception has somebody who catches it."""

    is_running = False


def listen() -> None:
    """From now on an interrupt is quiet, and heard; called by programs, not by what others import."""
    is_plain = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # nobody else's, and not ignored
    if is_plain and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _interrupt)
    hear()


@contextlib.contextmanager
def running() -> Iterator[None]:
    """Inside, a command catches KeyboardInterrupt; what follows is only the end of the process."""
    was, _Process.is_running = _Process.is_running, True
    try:
        yield
    finally:
        _Process.is_running = was


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Signals that come inside act at its end: for what must be done whole or not at all."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals act in the main thread only
        return
    came: list[int] = []
    before = {kind: handler for kind in _KINDS if (handler := signal.getsignal(kind)) is not None}
    for kind in before:
        signal.signal(kind, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
        for number in dict.fromkeys(came):
            signal.raise_signal(number)


@contextlib.contextmanager
def born_deaf(*, by_multiprocessing: bool = True) -> Iterator[None]:
    """Processes that are started inside feel no Ctrl-C until they call `hear`: none could catch it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    if by_multiprocessing:
        from multiprocessing import resource_tracker

        # It starts this helper with its first process, and unblocks Ctrl-C after it.
        resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def hear() -> None:
    """In a process that was born deaf, once its handler is set; a signal that came meanwhile acts now."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _interrupt(number: int, frame: FrameType | None) -> None:
    if not _Process.is_running or (_is_importing(frame) and not _has_children()):
        os._exit(EXIT_CODE)
    raise KeyboardInterrupt


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _has_children() -> bool:
    # Only if it is loaded: a process that never started one shall not load it in a signal.
    multiprocessing = sys.modules.get("multiprocessing")
    return bool(multiprocessing and multiprocessing.active_children())
