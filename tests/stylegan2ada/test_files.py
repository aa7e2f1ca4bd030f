"""Files that appear whole or not at all, tell nobody else, and leave nothing half-written behind."""

from __future__ import annotations

import csv
import io
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from stylegan2ada import files


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o077], ids="umask {:03o}".format)
def umask(request: pytest.FixtureRequest) -> object:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_private_is_private_whatever_the_umask_and_whatever_was_there(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"before")
    (tmp_path / "old").chmod(0o666)
    with files.private_file(tmp_path / "old") as file:
        assert mode(tmp_path / "old") == 0o600  # before the first byte
        file.write(b"x")
    (tmp_path / "open").mkdir(mode=0o777)
    for folder in ("open", "new", "deep/er"):
        assert mode(files.private_folder(tmp_path / folder)) == 0o700
    with files.atomic_write(tmp_path / "a.bin", private=True) as file:
        file.write(b"x")
        (half,) = tmp_path.glob(".a.bin.*.tmp")
        assert mode(half) == 0o600
    assert mode(tmp_path / "a.bin") == 0o600


def test_what_is_not_private_follows_the_umask(tmp_path: Path, umask: int) -> None:
    files.write_json(tmp_path / "a.json", {})
    assert mode(tmp_path / "a.json") == 0o666 & ~umask


def test_a_link_is_not_followed_by_what_is_private(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="link"):
        files.private_file(tmp_path / "link")


KILLED = """
import os, sys
from stylegan2ada import files
with files.atomic_write(sys.argv[1]) as file:
    file.write(b"half")
    file.flush()
    os._exit(9)
"""


def test_the_next_writer_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    for name in ("a.bin", "b.bin"):
        subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / name)], check=False)
    assert len(list(tmp_path.glob(".*.tmp"))) == 2
    with files.atomic_write(tmp_path / "a.bin") as file:  # whose own temporary file stays
        file.write(b"whole")
    assert [path.name[:6] for path in tmp_path.glob(".*.tmp")] == [".b.bin"]
    of_others = tmp_path / f".c.bin.another-computer.{2**22}.tmp"
    of_the_living = tmp_path / f".c.bin.{files._HOST}.{os.getppid()}.tmp"
    of_the_user = tmp_path / ".notes.tmp"
    for path in (of_others, of_the_living, of_the_user):
        path.touch()
    assert [name[:6] for name in files.sweep(tmp_path)] == [".b.bin"]
    assert all(path.exists() for path in (of_others, of_the_living, of_the_user))
    assert files.sweep(tmp_path / "nowhere") == []


def test_no_cell_is_a_formula() -> None:
    formulas = ["=1+1", "+1+1", "-x", "@SUM(1)", "\t=1", "\n=1"]
    harmless = ["-1.5", "+3", "-1e-3", "normal", "", "a=b", "a,b"]
    table = files.csv_bytes([*formulas, *harmless, "a\rb"], [[None, -2, 0.5]])
    header, row = csv.reader(io.StringIO(table.decode(), newline=""))
    assert header == [*(f"'{cell}" for cell in formulas), *harmless, "a\nb"]
    assert row == ["", "-2", "0.5"]


def test_a_line_is_appended_behind_a_torn_one(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    files.append_line(path, '{"a": 1}')
    with open(path, "a") as file:
        file.write('{"b": ')  # killed here
    files.append_line(path, '{"c": "\u2028"}', sync=True)
    assert path.read_bytes().decode().split("\n") == ['{"a": 1}', '{"b": ', '{"c": "\u2028"}', ""]


def test_a_scratch_folder_is_gone_afterwards_and_so_are_those_of_the_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files.tempfile, "tempdir", str(tmp_path))
    dead = tmp_path / f"spinegan-x-{files._HOST}-{2**22 + 1}-abc"
    alive = tmp_path / f"spinegan-x-{files._HOST}-{os.getpid()}-abc"
    for folder in (dead, alive):
        folder.mkdir()
    with files.scratch_folder("x") as scratch:
        assert scratch.stat().st_mode & 0o777 == 0o700
        (scratch / "file").touch()
        assert {path.name for path in tmp_path.iterdir()} == {alive.name, scratch.name}
    assert [path.name for path in tmp_path.iterdir()] == [alive.name]
