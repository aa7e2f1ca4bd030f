"""JSON in any state: what it says is taken, what it does not say is missing, nothing raises."""

from __future__ import annotations

import math
from pathlib import Path

from spine_plugins.runs.documents import (
    as_dict,
    as_list,
    cell,
    finite,
    number,
    parsed,
    read_json,
    read_lines,
    whole,
)


def test_values_of_another_kind_are_missing() -> None:
    values: list[object] = [None, True, 3, 2.5, 10**400, math.inf, math.nan, "x", [1], {"a": 1}]
    assert [as_dict(v) for v in values] == [{}] * 9 + [{"a": 1}]
    assert [as_list(v) for v in values] == [[]] * 8 + [[1], []]
    assert [number(v) for v in values[:6]] == [None, None, 3.0, 2.5, None, math.inf]
    assert isinstance(number(3), float) and math.isnan(number(math.nan) or 0)
    assert [finite(v) for v in values[:7]] == [None, None, 3.0, 2.5, None, None, None]
    assert [whole(v) for v in values] == [None, None, 3, 2, None, None, None, None, None, None]
    assert [cell(v) for v in values] == [None, *values[1:6], values[6], "x", None, None]


def test_text_that_is_no_json() -> None:
    for text in ("", "{", "[" * 100_000, b"\xff", "1" * 5000):
        assert parsed(text) is None


def test_files(tmp_path: Path) -> None:
    assert read_json(tmp_path / "none.json") == {}
    assert read_json(tmp_path) == {}
    (tmp_path / "a.json").write_bytes(b'{"a": "\xff"}')
    assert read_json(tmp_path / "a.json") == {"a": "\ufffd"}


def test_lines(tmp_path: Path) -> None:
    """Damage in the middle is counted; the end of a file that is being written is not."""
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n\n[1]\n{\n{"a": 2}\n{"a": ')
    damaged: dict[str, int] = {}
    assert list(read_lines(tmp_path / "a.jsonl", damaged)) == [{"a": 1}, {"a": 2}]
    assert damaged == {"a.jsonl": 2}
