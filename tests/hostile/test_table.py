"""The table of attacks in docs/security.md names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_attack_of_the_table_has_its_test() -> None:
    text = (ROOT / "docs" / "security.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ") and "::test_" in line]
    assert len(rows) >= 20
    for row in rows:
        file = ""
        named = re.findall(r"`([\w/.]*)::(test_\w+)`", row)
        assert named, row
        for place, name in named:
            file = place or file
            assert f"def {name}(" in (ROOT / file).read_text(), f"{file} has no {name}"
