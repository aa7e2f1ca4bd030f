"""Damaged files of every syntax: one row each, no crash of the run, no hang, workers of bounded size."""
# ruff: noqa: E501 - tables

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from spine_plugins.dicom.reasons import STATUS
from tests.spine_plugins.dicom import fuzzing, making
from tests.spine_plugins.dicom.making import convert_bytes, report_rows


def _fuzz(tmp_path: Path, per_syntax: int, seed: int) -> Counter:
    n = fuzzing.write_mutations(tmp_path / "in", per_syntax, seed)
    start = time.monotonic()
    result = fuzzing.run_tool_apart(
        "--source", tmp_path / "in", "--dest", tmp_path / "x.zip", "--modality", "any", "--workers", 2, "--fail-over", 1,
        "--resolution", 32, "--timeout", 20, "--dedupe", "none",
    )  # fmt: skip
    assert result["exit"] == 0, result
    assert "Traceback" not in result["stderr"]
    assert "panicked" not in result["stderr"]
    rows = report_rows(tmp_path / "x.zip")
    assert [row["path"] for row in rows] == sorted(path.name for path in (tmp_path / "in").iterdir())
    assert len(rows) == n
    assert all((row["status"] == "ok") == (row["reason"] == "") for row in rows)
    assert all(row["status"] == STATUS[row["reason"]] for row in rows if row["reason"])
    assert result["rss_mb"] <= 400, result["rss_mb"]
    counts = Counter(row["reason"] for row in rows)
    print(
        f"{n} files in {time.monotonic() - start:.0f} s, {result['rss_mb']:.0f} MB: {dict(counts)}",
        file=sys.stderr,
    )
    return counts


def test_damaged_files_some(tmp_path):
    counts = _fuzz(tmp_path, 20, seed=1)
    assert counts[""] > 20  # much damage cannot be seen
    assert counts["decode_error"] > 10


@pytest.mark.slow
def test_damaged_files_many(tmp_path):
    _fuzz(tmp_path, 300, seed=2)


def test_a_panic_in_rust_is_one_row():
    """64 flipped bytes in RLE data make its decoder panic, which is no Exception."""
    made = making.dataset(making.radiograph(300, 300, bits=12), making.RLE, bits=12)
    data = bytearray(making.to_bytes(made))
    seen = set()
    for start in range(len(data) // 2, len(data) - 64, len(data) // 40):
        changed = (
            bytes(data[:start])
            + bytes(byte ^ 0xFF for byte in data[start : start + 64])
            + bytes(data[start + 64 :])
        )
        record = convert_bytes(changed)
        seen.add(record["reason"])
        assert record["reason"] in ("", "decode_error")
    assert "decode_error" in seen
