"""Names of patients and studies -> keyed hashes, which tell who belongs together and not who it is."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path

from stylegan2ada.errors import UserError
from stylegan2ada.untrusted import read_file

_HASH_CHARACTERS = 32  # 128 bits
_MOST_BYTES = 1 << 10  # of a key file


def keyed_hash(key: bytes, kind: str, identifier: str) -> str:
    """HMAC-SHA256 of an identifier of a kind: study, patient."""
    # A plain hash of a short patient number is undone by trying them all; the key prevents that.
    text = identifier.strip().strip("\0")
    return hmac.new(key, f"{kind}:{text}".encode(), hashlib.sha256).hexdigest()[:_HASH_CHARACTERS]


def read_key(path: Path) -> bytes:
    """The key in a file that its owner alone can read."""
    content = read_file(path, _MOST_BYTES)
    # As ssh does: what others could read may be known to them.
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise UserError(
            f"--key-file={path} can be read by others (mode {path.stat().st_mode & 0o777:o}), who could find "
            f"out patients with it; chmod 600 {path}, or give another"
        )
    text = content.decode("latin1").strip()
    if not re.fullmatch(r"([0-9a-f]{2}){16,64}", text):
        raise UserError(
            f"--key-file={path} does not hold a key (32 to 128 hexadecimal digits); give another file"
        )
    return bytes.fromhex(text)


def create_key(path: Path) -> bytes:
    """A new random key in a file that was not there, for its owner alone."""
    key = secrets.token_bytes(32)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Nobody else may read it, not even for a moment, and of two runs only one creates it.
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(key.hex() + "\n")
    return key
