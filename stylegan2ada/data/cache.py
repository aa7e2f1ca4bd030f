"""Decoded once: all stored images of a data set as one memory-mapped uint8 file in the cache folder.

The file is named after the data set's fingerprint, appears complete or not at all, and is built by one of
several processes while the others wait. A stamp beside it tells whether anything touched it since.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stylegan2ada import files
from stylegan2ada.data.dataset import Dataset
from stylegan2ada.data.fingerprint import Hasher, cheap_key, known_fingerprint, remember_fingerprint
from stylegan2ada.errors import UserError
from stylegan2ada.progress import Progress

LIMIT_BYTES = 32 << 30
_CHUNK_BYTES = 64 << 20
_SPARE_BYTES = 1 << 30  # leave the user's disk so much


def cached_images(dataset: Dataset, *, limit_bytes: int = LIMIT_BYTES) -> np.ndarray | None:
    """Read-only uint8 [N, C, H, W] of all stored images (index it with `dataset.raw_indices`), or None.

    None means: read image by image. It is so for data above the limit, for plug-ins that cannot tell when
    their content changes, and, with a sentence on stderr, where the cache cannot be written.
    """
    key = cheap_key(dataset)
    if key is None or math.prod(dataset.raw_shape) > limit_bytes:
        return None
    folder = files.cache_dir("datasets")
    try:
        files.private_folder(folder)
        with _one_at_a_time(folder / f".{key[:32]}.lock") as is_alone:
            # Asked under the lock: whoever held it may have built this very file.
            known = known_fingerprint(dataset)
            if known is not None and _is_good(folder / f"{known}.npy", dataset, known):
                return _map(folder / f"{known}.npy")
            # Without a lock several may build at once: each then needs a name of its own.
            temporary = folder / (f".{key[:32]}.tmp" if is_alone else f".{key[:32]}.{os.getpid()}.tmp")
            return _map(_build(dataset, key, folder, temporary))
    except UserError:  # the data set itself is at fault
        raise
    except OSError as error:
        print(
            f"{dataset.name} is read image by image: its cache in {folder} failed ({error})", file=sys.stderr
        )
        return None


def cached_files() -> list[Path]:
    """What of data sets lies in the cache: decoded images, their stamps, fingerprints, and rests of kills."""
    folder = files.cache_dir("datasets")
    found = [
        *_matching(folder, r"[0-9a-f]{64}\.(npy|json)"),
        *_matching(folder / "fingerprints", "[0-9a-f]{64}"),
    ]
    for rest in _matching(folder, r"\.[0-9a-f]{32}(\.\d+)?\.tmp"):
        # The lock's file itself stays, see _one_at_a_time.
        if not _is_locked(folder / f"{rest.name[:33]}.lock"):
            found.append(rest)
    return found


def _matching(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if re.fullmatch(pattern, path.name))
    except OSError:  # no cache yet
        return []


def _build(dataset: Dataset, key: str, folder: Path, temporary: Path) -> Path:
    """Decode everything into a new file; returns its final name."""
    n, *shape = dataset.raw_shape
    free = shutil.disk_usage(folder).free
    # Before the work: a disk that a cache has filled would stop the run itself.
    if free < math.prod(dataset.raw_shape) + _SPARE_BYTES:
        raise OSError(f"only {free >> 20} MiB are free")
    hasher = Hasher(dataset)
    try:
        with files.private_file(temporary) as file:
            # Header first, then image by image: the whole set need not fit into memory.
            header = {"descr": "|u1", "fortran_order": False, "shape": (n, *shape)}
            np.lib.format.write_array_header_1_0(file, header)
            for raw_idx in Progress(n, f"decoding {dataset.name}"):
                image = np.ascontiguousarray(dataset.raw_image(raw_idx))
                # Hashed on the way, which saves reading the file again.
                hasher.add(image)
                file.write(image.data)
            file.flush()
            # Content before name: after a power cut the good name could stand for an empty file.
            os.fsync(file.fileno())
        found = hasher.finish()  # known only now, hence the temporary name
        target = folder / f"{found}.npy"
        try:
            os.replace(temporary, target)
        except PermissionError:  # Windows: another process has the same content open
            if not _is_good(target, dataset, found):
                raise
    finally:
        temporary.unlink(missing_ok=True)
    # After the rename, which moves the time of last change.
    _stamp(target)
    remember_fingerprint(dataset, key, found)
    return target


def _is_good(path: Path, dataset: Dataset, expected: str) -> bool:
    """Does the file hold these very images? Reads it through only if something touched it."""
    try:
        if path.stat().st_mode & 0o077 and os.name == "posix":  # of a version that left it to the umask
            path.chmod(0o600)
        images = _map(path)
    except (OSError, ValueError, EOFError):  # absent, cut off, or another kind of file
        return False
    if list(images.shape) != dataset.raw_shape or images.dtype != np.uint8:
        return False
    if _was_stamped(path):  # size, times and inode as we left them: no need to read gigabytes again
        return True
    hasher = Hasher(dataset)
    rows = max(1, _CHUNK_BYTES // math.prod(dataset.image_shape))
    for start in range(0, len(images), rows):
        hasher.add(images[start : start + rows])
    if hasher.finish() != expected:
        return False
    _stamp(path)
    return True


def _map(path: Path) -> np.ndarray:
    # Mapped: all processes of a machine share one copy, in the system's own cache.
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _stamp_of(path: Path) -> Path:
    return path.with_suffix(".json")


def _state_of(path: Path) -> dict[str, int]:
    stat = path.stat()
    # A copying tool can set mtime back; ctime and inode give it away.
    return {
        "size": stat.st_size,
        "mtime_ns": stat.st_mtime_ns,
        "ctime_ns": stat.st_ctime_ns,
        "inode": stat.st_ino,
    }


def _was_stamped(path: Path) -> bool:
    try:
        return json.loads(_stamp_of(path).read_text()) == _state_of(path)
    except (OSError, ValueError):
        return False


def _stamp(path: Path) -> None:
    files.write_json(_stamp_of(path), _state_of(path), private=True)


def _is_locked(path: Path) -> bool:
    """Is somebody building?"""
    try:
        import fcntl

        with path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, FileNotFoundError):
        return False
    except OSError:
        return True
    return False


@contextlib.contextmanager
def _one_at_a_time(path: Path) -> Iterator[bool]:
    """Waits for other processes; yields whether this really holds (not on Windows nor on all network disks).

    The system drops the lock with its process, so none is ever left behind; without locks each process
    builds for itself, and the last to finish wins with the same content.
    """
    try:
        import fcntl
    except ImportError:
        yield False
        return
    # Never deleted: two processes could then hold locks on two files of one name.
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            yield False
            return
        yield True
