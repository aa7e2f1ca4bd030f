"""Names of patients and studies -> keyed hashes, which tell who belongs together and not who it is."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
from pathlib import Path

from stylegan2ada import untrusted
from stylegan2ada.errors import MissingError, UserError

_HASH_CHARACTERS = 32  # 128 bits
_KEY_BYTES = 4096  # more is no key


def keyed_hash(key: bytes, kind: str, identifier: object) -> str | None:
    """HMAC-SHA256 of an identifier (study, patient, sop); None if there is none."""
    text = plain(identifier)
    if not text:
        return None
    # A plain hash of a short patient number is undone by trying them all; the key prevents that.
    content = f"{kind}:{text}".encode("utf-8", "backslashreplace")
    return hmac.new(key, content, hashlib.sha256).hexdigest()[:_HASH_CHARACTERS]


def plain(identifier: object) -> str:
    """An identifier without the blanks and zeros that fill its field; empty if there is none."""
    return str(identifier if identifier is not None else "").strip().strip("\0")


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
