"""`spinegan report`: what it refuses, what it says to programs, and that it starts quickly."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from spine_plugins.report.command import Report, report
from tests.spine_plugins.runs.making import append, change_options, warn, write_run


def run_command(*args: object, code: int = 0) -> str:
    result = CliRunner().invoke(report, [str(arg) for arg in args])
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.output


def test_the_record_has_a_field_per_option() -> None:
    assert [f.name for f in dataclasses.fields(Report)] == [p.name for p in report.params]


def test_it_tells_programs_what_the_page_shows(run_dir: Path, place: Path) -> None:
    other = write_run(place / "runs" / "1", place / "spine-train.zip", place / "classifier.safetensors")
    change_options(other, total_kimg=1000)
    append(other / "metric-fid50k_full.jsonl", {"results": {"fid50k_full": 9}, "real_fingerprint": "z",
                                                "snapshot_pkl": "network-snapshot-000300.pkl"})  # fmt: skip
    warn(other, "collapse", "as in /home/mueller/x.png")
    out = place / "page.html"
    found = json.loads(run_command(run_dir, other, "--out", out, "--json", "-"))
    assert found["page"] == str(out) and found["bytes"] == out.stat().st_size
    first, second = found["runs"]
    assert (first["name"], first["state"], first["kimg"], first["total_kimg"]) == (
        "00000-spine",
        "finished",
        200,
        200,
    )
    assert second["metrics"] == {"fid50k_full": {"kimg": 300, "results": {"fid50k_full": 9}}}
    assert second["concerns"][:2] == [
        {"level": "serious", "title": "Curve of unlike values",
         "text": "The real images of fid50k_full changed within the run."},
        {"level": "serious", "title": "Mode collapse", "text": "as in \u2026/x.png"},
    ]  # fmt: skip
    assert [c["title"] for c in found["differences"]] == ["Not comparable"]


def test_numbers_go_to_a_file_and_words_stay(run_dir: Path, tmp_path: Path) -> None:
    said = run_command(run_dir, "--json", tmp_path / "x.json")
    assert "1 run(s), 0.1 MB" in said
    assert json.loads((tmp_path / "x.json").read_text())["differences"] == []


def test_wrong_folders_are_one_sentence(tmp_path: Path, run_dir: Path) -> None:
    for args, code, said in (
        ([tmp_path / "none"], 2, "is not a folder"),
        ([run_dir / "stats.jsonl"], 2, "is not a folder"),
        ([run_dir / "classes"], 4, "is no run"),
        ([run_dir.parent], 4, "give one of them: 00000-spine"),
        ([run_dir, "--out", tmp_path / "no" / "a.html"], 2, "existing folder"),
        ([run_dir, "--out", tmp_path], 2, "existing folder"),
        ([run_dir, "--synthetic", tmp_path / "x.zip"], 2, "is not a card"),
    ):
        output = run_command(*args, code=code)
        assert said in output and "Traceback" not in output and output.count("\n") <= 2


def test_it_starts_without_torch(run_dir: Path) -> None:
    code = ("import sys, runpy; sys.argv = ['spinegan', 'report', sys.argv[1]]\n"
            "try: runpy.run_module('spine_plugins', run_name='__main__')\n"
            "except SystemExit as e: assert not e.code, e.code\n"
            "assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules")  # fmt: skip
    subprocess.run([sys.executable, "-c", code, str(run_dir)], check=True, capture_output=True, timeout=60)
    assert (run_dir / "report.html").is_file()
