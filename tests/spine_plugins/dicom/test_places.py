"""What a conversion may write over or remove, and what a full or read-only disk leaves behind."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from spine_plugins.dicom import journal
from stylegan2ada.files import sha256_file
from tests.spine_plugins.dicom.making import report_rows, run_tool, write
from tests.spine_plugins.dicom.test_identifiers import run_and_die


@pytest.fixture
def words(small_tree: Path, tmp_path: Path, key_file: Path) -> tuple[object, ...]:
    return ("--source", small_tree, "--dest", tmp_path / "x.zip", "--resolution", 32, "--key-file", key_file)


def tree_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def own_folder(tmp_path: Path) -> None:
    (tmp_path / "x.parts").mkdir()
    (tmp_path / "x.parts" / "precious.txt").write_text("years of work")


def link_to_a_folder(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "journal.sqlite").write_bytes(b"")
    (tmp_path / "x.parts").symlink_to(tmp_path / "elsewhere")


def other_database(tmp_path: Path) -> None:
    (tmp_path / "x.parts").mkdir()
    connection = sqlite3.connect(tmp_path / "x.parts" / "journal.sqlite")
    connection.execute("create table diary (day text)")
    connection.close()


def plain_file(tmp_path: Path) -> None:
    (tmp_path / "x.parts").write_text("parts of a clock")


@pytest.mark.parametrize("flags", [(), ("--overwrite",), ("--resume",), ("--resume", "--overwrite")])
@pytest.mark.parametrize("make", [own_folder, link_to_a_folder, other_database, plain_file])
def test_parts_of_somebody_else_are_left_alone(
    words: tuple[object, ...], tmp_path: Path, make: Callable[[Path], None], flags: tuple[str, ...]
) -> None:
    make(tmp_path)
    before = tree_of(tmp_path)
    result = run_tool(*words, *flags)
    assert result.exit_code == 2, result.output
    assert "was not made by it" in result.output
    assert tree_of(tmp_path) == before


def test_what_is_put_beside_our_journal_stays(words: tuple[object, ...], tmp_path: Path) -> None:
    run_and_die(words)
    (tmp_path / "x.parts" / "notes.txt").write_text("mine")
    for flag in ("--overwrite", "--resume"):
        assert run_tool(*words, flag).exit_code == 2
    (tmp_path / "x.parts" / "notes.txt").unlink()
    assert run_tool(*words, "--overwrite").exit_code == 0
    assert not (tmp_path / "x.parts").exists()


def test_an_empty_folder_of_a_run_killed_at_once_is_in_nobodys_way(
    words: tuple[object, ...], tmp_path: Path
) -> None:
    (tmp_path / "x.parts").mkdir()
    (tmp_path / "x.parts" / "journal.sqlite").write_bytes(b"")
    assert run_tool(*words, "--overwrite").exit_code == 0


@pytest.mark.parametrize("flags", [(), ("--overwrite",)])
@pytest.mark.parametrize(
    "ending", ["_report.csv", "_summary.json", "_boxes.json", "_contact.png", "_hist.png"]
)
def test_files_of_somebody_else_are_left_alone(
    words: tuple[object, ...], tmp_path: Path, ending: str, flags: tuple[str, ...]
) -> None:
    path = tmp_path / f"x{ending}"
    path.write_text('{"mine": 1}')
    result = run_tool(*words, *flags)
    assert result.exit_code == 2
    assert f"{path.name} is in the way" in result.output
    assert tree_of(tmp_path) == {path.name: b'{"mine": 1}'}


def test_our_own_files_give_way(words: tuple[object, ...], tmp_path: Path) -> None:
    assert run_tool(*words).exit_code == 0
    first = {path.name for path in tmp_path.iterdir()}
    (tmp_path / "x.zip").unlink()
    assert run_tool(*words).exit_code == 0
    assert run_tool(*words, "--overwrite").exit_code == 0
    assert {path.name for path in tmp_path.iterdir()} == first
    # Sheets of earlier versions have no mark of their own.
    (tmp_path / "x_hist.png").write_bytes(b"an older picture")
    assert run_tool(*words, "--overwrite").exit_code == 0


def test_a_zip_that_is_no_data_set_is_not_overwritten(tmp_path: Path) -> None:
    """Source and destination exchanged: the radiographs themselves would be gone."""
    write(tmp_path / "in" / "a.dcm")
    raw = tmp_path / "raw.zip"
    with zipfile.ZipFile(raw, "w") as archive:
        archive.write(tmp_path / "in" / "a.dcm", "a.dcm")
    before = raw.read_bytes()
    for source in (raw, tmp_path / "in"):
        result = run_tool("--source", source, "--dest", raw, "--overwrite")
        assert result.exit_code == 2
        assert "was not made by this tool" in result.output
    (tmp_path / "x-train.zip").write_bytes(before)  # named by us, not by the user
    split = ("--split", "0.5/0.5", "--overwrite")
    assert run_tool("--source", tmp_path / "in", "--dest", tmp_path / "x.zip", *split).exit_code == 2
    assert raw.read_bytes() == (tmp_path / "x-train.zip").read_bytes() == before


def test_half_written_folders_are_known_by_what_is_in_them(small_tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / ".partial.4711" / "00000").mkdir(parents=True)  # a killed run's
    words = ("--source", small_tree, "--dest", out, "--resolution", 32)
    (out / ".partial.notes").mkdir()
    (out / ".partial.4712").mkdir()
    (out / ".partial.4712" / "thesis.tex").write_text("mine")
    assert run_tool(*words).exit_code == 2
    assert sorted(path.name for path in out.iterdir()) == [".partial.4712", ".partial.notes"]
    (out / ".partial.4712" / "thesis.tex").unlink()
    (out / ".partial.notes").rmdir()
    assert run_tool(*words).exit_code == 0


# Disks.


@pytest.fixture(scope="module")
def clean(small_tree: Path, key_file: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The hashes of what an undisturbed run writes."""
    folder = tmp_path_factory.mktemp("clean")
    words = ("--source", small_tree, "--dest", folder / "x.zip", "--resolution", 32, "--key-file", key_file)
    assert run_tool(*words).exit_code == 0
    return outputs(folder)


def outputs(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in folder.iterdir() if path.name != "x_report.csv"}


@pytest.mark.parametrize("pragma", ["max_page_count = 9", "query_only = 1"])
def test_a_disk_that_takes_no_more_of_the_journal(
    words: tuple[object, ...],
    clean: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pragma: str,
) -> None:
    """sqlite's own errors for a full disk, and for one that became read-only."""
    stored = journal.Journal.store

    def store(self: journal.Journal, *values: object) -> None:
        self.db.execute(f"pragma {pragma}")
        stored(self, *values)  # type: ignore[arg-type]

    with monkeypatch.context() as context:
        context.setattr(journal.Journal, "store", store)
        result = run_tool(*words)
    assert result.exit_code == 2, result.output
    assert "cannot be written" in result.output
    assert "full" in result.output or "readonly" in result.output
    assert not list(tmp_path.glob("*.zip"))
    again = run_tool(*words, *(("--resume",) if (tmp_path / "x.parts").exists() else ()))
    assert again.exit_code == 0, again.output
    assert outputs(tmp_path) == clean


@pytest.mark.parametrize("code", [errno.ENOSPC, pytest.param(errno.EROFS, marks=pytest.mark.slow)])
def test_a_disk_that_is_full_at_any_write(
    words: tuple[object, ...],
    clean: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
) -> None:
    """At the first file, at the second, ...: one sentence, nothing half written, and the next run goes on."""
    fsync, failures = os.fsync, 0
    for room in range(30):
        calls = 0

        def full(handle: int, room: int = room) -> None:
            nonlocal calls
            calls += 1
            if calls > room:
                raise OSError(code, os.strerror(code))
            fsync(handle)

        flags = ("--resume",) if (tmp_path / "x.parts").exists() else ()
        with monkeypatch.context() as context:
            context.setattr(os, "fsync", full)
            result = run_tool(*words, *flags)
        if result.exit_code == 0:
            break
        failures += 1
        assert result.exit_code == 2, result.output
        assert os.strerror(code) in result.output
        assert "Traceback" not in result.output
        assert not [path for path in tmp_path.iterdir() if path.name.endswith(".tmp")]
        for path in tmp_path.glob("*.json"):
            json.loads(path.read_text())
    assert failures >= 5
    assert outputs(tmp_path) == clean
    assert len(report_rows(tmp_path / "x.zip")) == 7


def test_a_key_is_whole_or_not_there(
    small_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    result = run_tool("--source", small_tree, "--dest", tmp_path / "x.zip", "--resolution", 32)
    assert result.exit_code == 2
    assert "No space left" in result.output
    assert list(tmp_path.iterdir()) == []
