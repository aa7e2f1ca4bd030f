"""HTML by function calls: every text and attribute is escaped, so a name can never become markup."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import TypeAlias

_VOID = frozenset({"img", "input", "meta", "br", "link", "hr"})
# Control characters, bidirectional overrides and halves of surrogate pairs: invisible, or not UTF-8.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Safe(str):
    """Markup that was made by this file."""

    __slots__ = ()


# None and False are nothing, so that `condition and tag(...)` reads well; other values are text.
Child: TypeAlias = "str | float | None | Iterable[Child]"
Attribute: TypeAlias = "str | float | None"  # None and False: left out; True: without a value


def tag(name: str, /, *children: Child, **attributes: Attribute) -> Safe:
    """`<name attributes>children</name>`; None and False attributes vanish, `_` becomes `-`."""
    parts = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        parts.append(key if value is True else f'{key}="{escaped(value)}"')
    opening = f"<{' '.join(parts)}>"
    return Safe(opening if name in _VOID else f"{opening}{join(children)}</{name}>")


def join(children: Iterable[Child]) -> Safe:
    """Children one after the other; what is not markup is escaped."""
    return Safe("".join(_one(child) for child in children))


def _one(child: Child) -> str:
    if child is None or child is False:
        return ""
    if isinstance(child, Safe):
        return child
    # A text is also an iterable of texts: it must be asked for first.
    if isinstance(child, str | int | float):
        return escaped(child)
    return join(child)


def escaped(value: object) -> str:
    """Text that means itself, in an element as in a quoted attribute."""
    return html.escape(_UNPRINTABLE.sub("\ufffd", str(value)), quote=True)


def trusted(text: str) -> Safe:
    """Our own constant text (style, script) as markup; never for anything that was read."""
    return Safe(text)
