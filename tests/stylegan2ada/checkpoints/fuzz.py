"""Valid files, broken at random: bytes flipped, ends cut off, pieces of two files joined."""

from __future__ import annotations

import multiprocessing
import random
import resource
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

from stylegan2ada.errors import UserError

_MEMORY = 600 << 20  # bytes that a child may take beyond what it has


def broken(rng: random.Random, *valid: bytes) -> bytes:
    """One of the files with a few things changed; mostly at its ends, where structure is."""
    data = bytearray(rng.choice(valid))
    kind = rng.randrange(4)
    if kind == 0:
        del data[rng.randrange(len(data)) :]
    elif kind == 1:
        other = rng.choice(valid)
        return bytes(data[: rng.randrange(len(data))]) + other[rng.randrange(len(other)) :]
    elif kind == 2:
        start = _place(rng, len(data))
        data[start : start + rng.choice([1, 2, 4, 8])] = rng.randbytes(rng.choice([0, 1, 4, 8]))
    for _ in range(rng.choice([1, 1, 2, 8]) if kind == 3 else 0):
        data[_place(rng, len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def _place(rng: random.Random, size: int) -> int:
    near = rng.randrange(min(size, 4000))
    return rng.choice([near, size - 1 - near, rng.randrange(size)])


def check(read: Callable[[Path], object], files: Iterator[bytes], folder: Path, name: str) -> int:
    """Every file is read or refused in one sentence that names it -> how many were refused.

    In a child with little memory, which is looked at from outside: a hang is an answer, too.
    """
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    path = folder / name
    child = context.Process(target=_read_all, args=(read, files, path, answers))
    child.start()
    child.join(120)
    if child.exitcode is None:
        child.kill()
    assert child.exitcode == 0, f"{path} is the file that ended or stopped the reader ({child.exitcode})"
    refused, slowest, wrong = answers.get()
    assert not wrong, wrong
    assert slowest < 5, f"a file took {slowest:.1f} s"
    return refused


def _read_all(read: Callable[[Path], object], files: Iterator[bytes], path: Path, answers) -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY,) * 2)
    refused, slowest, wrong = 0, 0.0, ""
    for number, data in enumerate(files):
        path.write_bytes(data)
        start = time.process_time()
        try:
            read(path)
        except UserError as error:
            refused += 1
            text = str(error)
            if path.name not in text or "\n" in text or len(text) > 1000:
                wrong = f"file {number}: {text[:1000]}"
        except BaseException as error:
            wrong = f"file {number}: {type(error).__name__}: {error}"[:1000]
        slowest = max(slowest, time.process_time() - start)
        if wrong:
            break
    answers.put((refused, slowest, wrong))


def peak_of(work: Callable[[], object]) -> int:
    """Bytes that Python's own objects take at most during some work."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
