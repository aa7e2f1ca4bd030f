"""The only door for patient tags: a few technical terms pass as they are, identifiers only as keyed hashes.

PS3.15 Annex E lists what identifies; we turn it round and allow a short list instead. Outputs carry no DICOM
header at all. Burned-in text is in the pixels (PS3.15 E.3.1): a human looks at the contact sheet for it.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import NamedTuple

from stylegan2ada.data.pseudonyms import keyed_hash, plain

SCORE_BITS = 60  # a signed 64-bit number leaves a bit to rank kinds by


class Keyed(NamedTuple):
    """What a study or a patient is known by once its identifier is left behind."""

    hash: str  # keyed
    seal: int  # the score of open_seal, which without the key says nothing


def keyed(key: bytes, kind: str, identifier: object) -> Keyed | None:
    """Hash and sealed score of an identifier; None if there is none."""
    found = keyed_hash(key, kind, identifier)
    score = split_score(kind, identifier)
    return None if found is None or score is None else Keyed(found, score ^ _pad(key, found))


def open_seal(key: bytes, found: Keyed) -> int:
    """The score of what was sealed with this key."""
    return found.seal ^ _pad(key, found.hash)


def split_score(kind: str, identifier: object) -> int | None:
    """A 60-bit number that depends on the identifier alone, so that splits do not change with the key.

    Never stored as it is: it is undone by trying all patient numbers.
    """
    text = plain(identifier)
    if not text:
        return None
    digest = hashlib.sha256(f"split:{kind}:{text}".encode("utf-8", "backslashreplace")).hexdigest()
    return int(digest[: SCORE_BITS // 4], 16)


def _pad(key: bytes, found: str) -> int:
    # Every identifier has a pad of its own, so no two seals tell of each other.
    return int(hmac.new(key, f"seal:{found}".encode(), hashlib.sha256).hexdigest()[: SCORE_BITS // 4], 16)


def key_id(key: bytes) -> str:
    """Tells two keys apart without revealing either."""
    return hmac.new(key, b"key id", hashlib.sha256).hexdigest()[:12]
