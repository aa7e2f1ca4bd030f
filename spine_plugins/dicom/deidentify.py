"""The only door for patient tags: a few technical values pass as they are, identifiers only as keyed hashes.

PS3.15 Annex E lists what identifies; we turn it round and allow a short list instead. Outputs carry no DICOM
header at all. Burned-in text is in the pixels (PS3.15 E.3.1): a human looks at the contact sheet for it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path

from stylegan2ada.errors import UserError

# Technical values that may appear in the report, with the form that each must have (CS: PS3.5 6.2).
_CODE_STRING = re.compile(r"[A-Z0-9_ ]{1,16}")
_UID = re.compile(r"[0-9.]{1,64}")
_HASH_CHARACTERS = 32  # 128 bits


def plain_code(value: object) -> str:
    """A code string such as CR or CSPINE; anything that is not one becomes `other`, so no free text leaks."""
    text = str(value or "").strip().upper()
    if not text:
        return ""
    return text if _CODE_STRING.fullmatch(text) else "other"


def plain_uid(value: object) -> str:
    """A transfer syntax UID, which names a format and no person."""
    text = str(value or "").strip("\0 ")
    return text if _UID.fullmatch(text) else ("other" if text else "")


def keyed_hash(key: bytes, kind: str, identifier: object) -> str | None:
    """HMAC-SHA256 of an identifier (study, patient, sop); None if there is none."""
    text = str(identifier if identifier is not None else "").strip().strip("\0")
    if not text:
        return None
    # A plain hash of a short patient number is undone by trying them all; the key prevents that.
    return hmac.new(key, f"{kind}:{text}".encode(), hashlib.sha256).hexdigest()[:_HASH_CHARACTERS]


def split_score(kind: str, identifier: object) -> int | None:
    """A 60-bit number that depends on the identifier alone, so that splits do not change with the key."""
    text = str(identifier if identifier is not None else "").strip().strip("\0")
    if not text:
        return None
    # 15 hexadecimal digits: in a signed 64-bit number a bit is left to rank kinds by.
    return int(hashlib.sha256(f"split:{kind}:{text}".encode()).hexdigest()[:15], 16)


def key_id(key: bytes) -> str:
    """Tells two keys apart without revealing either."""
    return hmac.new(key, b"key id", hashlib.sha256).hexdigest()[:12]


def load_or_create_key(path: Path) -> bytes:
    """The key in `path`; a new random one is written there, readable by its owner only, if there is none."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return _create_key(path)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"--key-file={path} cannot be read as a key; give a file that this tool wrote"
        ) from error
    if not re.fullmatch(r"[0-9a-f]{32,128}", text) or len(text) % 2:
        raise UserError(
            f"--key-file={path} does not hold a key (32 to 128 hexadecimal digits); give another file"
        )
    return bytes.fromhex(text)


def _create_key(path: Path) -> bytes:
    key = secrets.token_bytes(32)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Nobody else may read it, not even for a moment, and of two runs only one creates it.
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(key.hex() + "\n")
    return key
