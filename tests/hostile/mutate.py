"""Seeded damage: to bytes, to JSON texts, to nested values. Nothing here knows a format."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Sequence
from typing import Any

Nested = Any  # what JSON, or a state of tensors, is made of

# Written in place of a value that json.dumps would refuse to nest so deep, or could not write at all.
_DEEP, _DIGITS = "@deep@", "@digits@"
_RAW = {
    f'"{_DEEP}"': "[" * 100_000 + "]" * 100_000,
    f'"{_DIGITS}"': "9" * 5000,
}
NUMBERS: tuple[object, ...] = (
    0, -1, -5, 1, 2, 3, 0.5, 7, 10**9, 2**31, 2**32, 2**63, 2**64, -(2**63), 10**20, 1e300, 1e308, -1e308,
    1e-320, float("nan"), float("inf"), float("-inf"),
)  # fmt: skip
TEXTS: tuple[object, ...] = (
    "", " ", "x", "0", "-1", "none", "null", "os.system", "this.s", "../../x", "/dev/full", "\x00", "\ud800",
    "a" * 70_000, "\n\n", "=1+1", "é\u2028", "http://127.0.0.1:1/x", "%s%n", "<script>alert(1)</script>", ".",
)  # fmt: skip
VALUES: tuple[object, ...] = (
    *NUMBERS, *TEXTS, None, True, False, [], {}, [[]], [None], {"": None}, {"x": {"y": []}}, [0] * 3000,
    _DEEP, _DIGITS,
)  # fmt: skip


def damaged(data: bytes, rng: random.Random, other: bytes = b"", *, head: int = 4096) -> bytes:
    """The bytes with one to four things done to them; `other` is spliced in, most damage is near the head."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if not data:
            return data
        data = rng.choice(_DAMAGES)(data, rng, other, _place(data, rng, head))
    return data


def _place(data: bytes, rng: random.Random, head: int) -> int:
    ends = (min(len(data), head), min(len(data), 200), len(data))
    at = rng.randrange(rng.choice(ends))
    return len(data) - 1 - at if rng.random() < 0.2 else at  # directories stand at the end


def _flip(data: bytes, rng: random.Random, _: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def _set(data: bytes, rng: random.Random, _: bytes, at: int) -> bytes:
    return data[:at] + bytes([rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))]) + data[at + 1 :]


def _cut(data: bytes, rng: random.Random, _: bytes, at: int) -> bytes:
    return data[:at]


def _lose(data: bytes, rng: random.Random, _: bytes, at: int) -> bytes:
    return data[:at] + data[at + rng.choice((1, 2, 4, 16, 200)) :]


def _noise(data: bytes, rng: random.Random, _: bytes, at: int) -> bytes:
    noise = rng.randbytes(rng.choice((1, 4, 16, 64)))
    return data[:at] + noise + data[at + len(noise) * rng.randrange(2) :]


def _number(data: bytes, rng: random.Random, _: bytes, at: int) -> bytes:
    """A whole number somewhere, at its limits: a length, a count, a size."""
    code = rng.choice("BHIQ")
    width = struct.calcsize(code)
    top = 2 ** (8 * width) - 1
    value = rng.choice(
        (0, 1, top, top // 2, top // 2 + 1, min(top, 10**9), min(top, 2**31), min(top, 65_500))
    )
    return data[:at] + struct.pack(rng.choice("<>") + code, value) + data[at + width :]


def _repeat(data: bytes, rng: random.Random, _: bytes, at: int) -> bytes:
    part = data[at : at + rng.choice((1, 8, 64, 1000))]
    return data[:at] + part * rng.choice((2, 3, 50)) + data[at:]


def _splice(data: bytes, rng: random.Random, other: bytes, at: int) -> bytes:
    other = other or data
    begin = rng.randrange(len(other))
    return data[:at] + other[begin : begin + rng.choice((8, 64, 1000, len(other)))] + data[at:]


def _graft(data: bytes, rng: random.Random, other: bytes, at: int) -> bytes:
    """The head of one, the tail of another."""
    other = other or data
    return data[:at] + other[rng.randrange(len(other)) :]


def _blank(data: bytes, rng: random.Random, _: bytes, at: int) -> bytes:
    return data[:at] + bytes(rng.choice((4, 64, 2000))) + data[at:]


_DAMAGES: tuple[Callable[[bytes, random.Random, bytes, int], bytes], ...] = (
    _flip, _flip, _set, _set, _cut, _lose, _noise, _number, _number, _number, _repeat, _splice, _graft,
    _blank,
)  # fmt: skip


def places(value: Nested, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """The way to every value inside, outermost first."""
    found = [path] if path else []
    if isinstance(value, dict):
        for key, item in value.items():
            found += places(item, (*path, key))
    elif isinstance(value, list | tuple) and len(value) <= 40:
        for i, item in enumerate(value):
            found += places(item, (*path, i))
    return found


def with_change(value: Nested, path: Sequence[object], change: Callable[[Nested, object], None]) -> Nested:
    """A copy in which `change` was done to (the container, the key) at the end of the path."""
    copy = dict(value) if isinstance(value, dict) else list(value)
    if len(path) == 1:
        change(copy, path[0])
    else:
        copy[path[0]] = with_change(copy[path[0]], path[1:], change)
    return tuple(copy) if isinstance(value, tuple) else copy


def twisted(
    value: Nested, rng: random.Random, values: Sequence[object] = VALUES, times: int = 1
) -> tuple[Nested, str]:
    """The nested value with something in it replaced, lost, added or renamed; and what was done."""
    told = []
    for _ in range(times):
        ways = places(value)
        if not ways:
            break
        path = rng.choice(ways)
        other = rng.choice(ways)
        new = rng.choice(values)
        kind = rng.choice(("set", "set", "set", "lose", "swap", "add", "wrap"))

        def change(
            inside: Nested, key: object, kind: str = kind, new: object = new, other: Any = other
        ) -> None:
            if kind == "lose":
                del inside[key]
            elif kind == "swap":
                inside[key] = _at(value, other)  # noqa: B023 - called at once
            elif kind == "add" and isinstance(inside, dict):
                inside[f"{key}x"] = inside[key]
            elif kind == "wrap":
                inside[key] = [inside[key]]
            else:
                inside[key] = new

        shown = repr(new)[:40] if kind == "set" else ""
        told.append(f"{'.'.join(map(str, path))}: {kind} {shown}".strip())
        value = with_change(value, path, change)
    return value, "; ".join(told)


def _at(value: Nested, path: Sequence[object]) -> Nested:
    for key in path:
        value = value[key]
    return value


def json_text(value: Nested) -> bytes:
    """As Python writes JSON (NaN and Infinity, too), with the values that only a text can hold."""
    text = json.dumps(value)
    for token, raw in _RAW.items():
        text = text.replace(token, raw)
    return text.encode("utf-8", "surrogatepass")


def bad_json(value: Nested, rng: random.Random) -> tuple[bytes, str]:
    """Mostly well-formed JSON that says something else; now and then damaged as a text."""
    kind = rng.random()
    if kind < 0.06:
        whole = rng.choice(VALUES)
        return json_text(whole), f"the whole is {whole!r:.40}"
    changed, told = twisted(value, rng, times=rng.choice((1, 1, 2, 3)))
    data = json_text(changed)
    if kind < 0.9:
        return data, told
    if kind < 0.93:
        return data.decode("utf-8", "replace").encode("utf-16"), f"UTF-16; {told}"
    return damaged(data, rng), f"damaged text; {told}"
