"""Commands and paths as a page may show them: names of files, not the folders (people name folders)."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

_URL = re.compile(r"(https?|s3|gs)://")
_WIDTH = 84  # columns of a command, roughly
# A drive, `~` or `/` with a folder behind it, but not from the middle of an address or longer path.
_IN_TEXT = re.compile(r"(?<![\w/.:\\])(?:[A-Za-z]:[\\/]|~?/)[^\s'\",;()]*[\\/][^\s'\",;()]+")


def file_name(path: object) -> str:
    """The last part of a path, whichever system wrote it; a web address stays whole."""
    text = str(path)
    return text if _URL.match(text) else re.split(r"[\\/]", text.rstrip("\\/"))[-1]


def short_value(text: str) -> str:
    """`/a/b/c.zip` -> `\u2026/c.zip`; also behind `NAME=`, and in lists; other texts as they are."""
    head, equals, rest = text.partition("=")
    # With a folder before it, the `=` belongs to a path and not to NAME=VALUE.
    if equals and not _has_folder(head):
        return f"{head}={short_value(rest)}"
    if "," in text and not _URL.match(text):
        return ",".join(short_value(part) for part in text.split(","))
    return f"\u2026/{file_name(text)}" if _has_folder(text) else text


def short_text(text: str) -> str:
    """A sentence without the folders of absolute paths in it."""
    return _IN_TEXT.sub(lambda match: f"\u2026/{file_name(match[0].rstrip('.:'))}", text)


def command_text(argv: Sequence[object], *, is_full: bool = False) -> str:
    """What to type, on lines that break before flags."""
    words = [str(word) for word in argv]
    if not words:
        return ""
    if not is_full:
        words = [_program(words[0]), *map(short_value, words[1:])]
    if words[0].endswith(".py"):
        words = ["python", *words]
    lines = [""]
    for word in map(_quoted, words):
        # A flag with a blank in its value comes back in quotes, and is still a flag.
        if word.startswith(("-", "'-")) and len(lines[-1]) + len(word) > _WIDTH:
            lines.append(f"  {word}")
        else:
            lines[-1] += f" {word}" if lines[-1] else word
    return " \\\n".join(lines)


def _quoted(word: str) -> str:
    # shlex would quote `…` and `~` as well, and a shortened command would be all quotes.
    return word if re.fullmatch(r"[\w@%+=:,./\u2026~-]+", word) else shlex.quote(word)


def _has_folder(text: str) -> bool:
    return not _URL.match(text) and ("/" in text or bool(re.match(r"[A-Za-z]:\\|\\\\|~", text)))


def _program(path: str) -> str:
    parts = re.split(r"[\\/]", path)
    if parts[-1] == "__main__.py":
        return "spinegan"
    return "/".join(parts[-2:]) if parts[-2:-1] == ["stylegan2ada"] else parts[-1]
