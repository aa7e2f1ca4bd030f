"""The only door for patient tags: a few technical terms pass as they are, identifiers only as keyed hashes.

PS3.15 Annex E lists what identifies; we turn it round and allow a short list instead. Outputs carry no DICOM
header at all. Burned-in text is in the pixels (PS3.15 E.3.1): a human looks at the contact sheet for it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
from pathlib import Path
from typing import NamedTuple

from stylegan2ada import untrusted
from stylegan2ada.errors import MissingError, UserError

_HASH_CHARACTERS = 32  # 128 bits
SCORE_BITS = 60  # a signed 64-bit number leaves a bit to rank kinds by
_KEY_BYTES = 4096  # more is no key


class Keyed(NamedTuple):
    """What a study or a patient is known by once its identifier is left behind."""

    hash: str  # keyed
    seal: int  # the score of open_seal, which without the key says nothing


def keyed_hash(key: bytes, kind: str, identifier: object) -> str | None:
    """HMAC-SHA256 of an identifier (study, patient, sop); None if there is none."""
    text = _plain(identifier)
    if not text:
        return None
    # A plain hash of a short patient number is undone by trying them all; the key prevents that.
    return hmac.new(key, f"{kind}:{text}".encode("utf-8", "backslashreplace"), hashlib.sha256).hexdigest()[
        :_HASH_CHARACTERS
    ]


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
    text = _plain(identifier)
    if not text:
        return None
    digest = hashlib.sha256(f"split:{kind}:{text}".encode("utf-8", "backslashreplace")).hexdigest()
    return int(digest[: SCORE_BITS // 4], 16)


def _pad(key: bytes, found: str) -> int:
    # Every identifier has a pad of its own, so no two seals tell of each other.
    return int(hmac.new(key, f"seal:{found}".encode(), hashlib.sha256).hexdigest()[: SCORE_BITS // 4], 16)


def _plain(identifier: object) -> str:
    return str(identifier if identifier is not None else "").strip().strip("\0")


def key_id(key: bytes) -> str:
    """Tells two keys apart without revealing either."""
    return hmac.new(key, b"key id", hashlib.sha256).hexdigest()[:12]


def new_key() -> bytes:
    """A key for one run, or for the first of many."""
    return secrets.token_bytes(32)


def load_key(path: Path) -> bytes | None:
    """The key in a file that nobody else can read; None if there is no file."""
    try:
        with untrusted.open_regular(path) as file:
            status = os.fstat(file.fileno())
            text = untrusted.read_bounded(file, _KEY_BYTES, str(path)).decode("ascii").strip()
    except MissingError:
        return None
    except UnicodeDecodeError:
        text = ""
    if not re.fullmatch(r"[0-9a-f]{32,128}", text) or len(text) % 2:
        raise UserError(
            f"--key-file={path} does not hold a key (32 to 128 hexadecimal digits); give another file"
        )
    _check_mode(path, status)
    return bytes.fromhex(text)


def _check_mode(path: Path, status: os.stat_result) -> None:
    """As ssh does: what others can read is no secret, and using it would only seem to protect."""
    if os.name == "posix" and status.st_mode & 0o077:
        raise UserError(
            f"--key-file={path} can be read by others (mode {stat.S_IMODE(status.st_mode):o}), who could "
            f"undo the hashes made with it; if nobody did, run `chmod 600 {path}`, else make a new key"
        )


def save_key(path: Path, key: bytes) -> None:
    """Write a new key, readable by its owner only."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Nobody else may read it, not even for a moment, and of two runs only one creates it.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(key.hex() + "\n")
                file.flush()
                # What is hashed with it lasts longer than a power cut.
                os.fsync(file.fileno())
        except BaseException:  # half a key would be taken for damage by the next run
            path.unlink()
            raise
    except FileExistsError as error:
        raise UserError(f"{path} was made by another run in the meantime; run again to use it") from error
    except OSError as error:
        raise UserError(
            f"--key-file={path} cannot be written ({error.strerror}); give a place that can"
        ) from error
