"""The identity of a data set: SHA-256 over image size, channels, then pixels and labels in reader order.

Decoding everything takes time, so the answer is kept under a cheap key. For a zip the key is name, size and
CRC-32 of every member: the archive itself vouches for the content, wherever it lies and whatever its date.
For a folder it is the place and, per file, name, size, inode and the times of last change, nanoseconds
included; files that changed only just now are not trusted. Plug-ins without `content_key` have no cheap key.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from pathlib import Path

import numpy as np

from stylegan2ada import files
from stylegan2ada.data.dataset import ContentKey, Dataset
from stylegan2ada.progress import Progress

_SETTLED_SEC = 2.0  # a file system may give two changes within this time the same stamp
_HOOKS = ("_load_raw_image", "_load_raw_labels")


def fingerprint(dataset: Dataset) -> str:
    """Hex SHA-256 of the items that the data set hands out, with the labels that are stored for them.

    It depends on subset and mirroring, not on use_labels, file names, compression, or zip versus folder.
    """
    source = source_fingerprint(dataset)
    n = dataset.raw_shape[0]
    # A full view is the source itself: one data set must not have two identities.
    if len(dataset) == n and not dataset.flips.any() and (dataset.raw_indices == np.arange(n)).all():
        return source
    view = hashlib.sha256(source.encode())
    view.update(dataset.raw_indices.astype("<i8").tobytes())
    view.update(dataset.flips.tobytes())
    return view.hexdigest()


def source_fingerprint(dataset: Dataset) -> str:
    """Hex SHA-256 of all that is stored, neither subset nor mirroring applied."""
    known = known_fingerprint(dataset)
    if known is not None:
        return known
    # Before reading: what changes meanwhile must not be remembered under the new key.
    before = cheap_key(dataset)
    hasher = Hasher(dataset)
    for raw_idx in Progress(dataset.raw_shape[0], f"fingerprint of {dataset.name}"):
        hasher.add(dataset.raw_image(raw_idx))
    found = hasher.finish()
    remember_fingerprint(dataset, before, found)
    return found


class Hasher:
    """Takes the stored images one after the other and ends in the fingerprint."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        n, channels, height, width = dataset.raw_shape
        # Sizes first, or equal bytes in another shape would be the same data set.
        self._hash = hashlib.sha256(json.dumps([height, width, channels, n]).encode())

    def add(self, images: np.ndarray) -> None:
        """uint8 [C, H, W], or several of them [n, C, H, W]"""
        self._hash.update(np.ascontiguousarray(images).data)

    def finish(self) -> str:
        labels = self._dataset.stored_labels()
        if labels is not None:
            kind = "<i8" if labels.dtype == np.int64 else "<f4"  # the same bytes on every machine
            self._hash.update(json.dumps([kind, list(labels.shape)]).encode())
            self._hash.update(labels.astype(kind).tobytes())
        return self._hash.hexdigest()


def cheap_key(dataset: Dataset) -> str | None:
    """Changes whenever the stored content does; None if nothing cheap can tell."""
    facts = _content_facts(dataset)
    return None if facts is None else hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def known_fingerprint(dataset: Dataset) -> str | None:
    """The fingerprint of the source if it was found before and the content is unchanged since."""
    key = cheap_key(dataset)
    if key is None:
        return dataset.__dict__.get("_source_fingerprint")
    try:
        text = _note(key).read_text()
    except (OSError, ValueError):  # absent, or no text
        return None
    # A damaged note costs a second reading, but never gives a wrong identity.
    return text if re.fullmatch("[0-9a-f]{64}", text) else None


def remember_fingerprint(dataset: Dataset, key_before: str | None, found: str) -> None:
    """Keep a fingerprint, unless the content changed while it was read or may still be changing."""
    if key_before is None:
        dataset.__dict__["_source_fingerprint"] = found  # as good as the object itself
        return
    if cheap_key(dataset) != key_before or not _has_settled(dataset):
        return
    note = _note(key_before)
    try:
        files.private_folder(note.parent.parent)
        files.private_folder(note.parent)
        with files.atomic_write(note, private=True) as file:
            file.write(found.encode())
    except OSError:
        pass  # nothing is lost but time


def _content_facts(dataset: Dataset) -> ContentKey | None:
    kinds = type(dataset).__mro__

    def origin(name: str) -> int:
        # Place in the order of inheritance: 0 is the class itself, its parents come later.
        return next(i for i, kind in enumerate(kinds) if name in kind.__dict__)

    # A subclass that reads differently must also describe differently, else its parent's key would lie.
    is_own = all(hook not in dataset.__dict__ and origin(hook) >= origin("content_key") for hook in _HOOKS)
    return dataset.content_key() if is_own else None


def _has_settled(dataset: Dataset) -> bool:
    facts = _content_facts(dataset)
    if not facts or facts[0] != "folder":
        return True
    # [name, size, mtime, ctime, inode] per file, behind the kind and the place.
    newest_ns = max(max(mtime, ctime) for _, _, mtime, ctime, _ in facts[2:])
    return newest_ns / 1e9 < time.time() - _SETTLED_SEC


def _note(key: str) -> Path:
    return files.cache_dir("datasets", "fingerprints", key)
