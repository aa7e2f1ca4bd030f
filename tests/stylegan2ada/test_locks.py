"""One writer per folder: who is kept out, who may come in, and what the sentences say."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stylegan2ada import locks
from stylegan2ada.errors import UserError

HOLDER = """
import sys, time
from pathlib import Path
from stylegan2ada import locks
with locks.hold(Path(sys.argv[1]), "the run"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".lock"


def test_a_second_one_is_kept_out_and_told_by_whom(path: Path) -> None:
    with locks.hold(path, "the run"):
        written = json.loads(path.read_text())
        assert (written["host"], written["pid"]) == (platform.node(), os.getpid())
        with pytest.raises(UserError, match=f"the run is being written to by process {os.getpid()} .*kill"):
            with locks.hold(path, "the run"):
                pass
        assert json.loads(path.read_text()) == written
    assert not path.exists()
    with locks.hold(path, "the run"):
        pass


def test_the_system_drops_the_lock_of_a_killed_process(path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(UserError, match=f"process {holder.pid}"), locks.hold(path, "the run"):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    assert json.loads(path.read_text())["pid"] == holder.pid
    with locks.hold(path, "the run"):
        assert json.loads(path.read_text())["pid"] == os.getpid()


def test_of_another_computer_a_person_decides_unless_it_is_the_same_job(path: Path) -> None:
    left = {"host": "node7", "pid": 12, "started": "2026-01-02 03:04:05", "job": "4711"}
    path.write_text(json.dumps(left))
    with pytest.raises(UserError, match="process 12 on node7 .since 2026.*remove .*lock"):
        with locks.hold(path, "the run"):
            pass
    assert json.loads(path.read_text()) == left
    with locks.hold(path, "the run", job="4711"):  # a scheduler does not run a job twice at once
        pass
    assert not path.exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"host": 1}', "[" * 100_000])
def test_what_a_power_cut_left_holds_nobody_up(path: Path, content: str) -> None:
    path.write_text(content)
    with locks.hold(path, "the run"):
        pass


def test_who_is_let_in_keeps_the_others_out(path: Path) -> None:
    """A launcher and the process that it starts: as long as one of them lives."""
    with locks.hold(path, "the run") as lock:
        with pytest.raises(UserError), locks.hold(path, "the run", joins=True):
            pass  # not yet shared
        lock.share()
        with locks.hold(path, "the run", joins=True):
            with pytest.raises(UserError), locks.hold(path, "the run"):
                pass
        assert path.exists()
        with pytest.raises(UserError), locks.hold(path, "the run"):
            pass


def test_a_lock_on_a_removed_file_does_not_count(path: Path) -> None:
    """Opened before its holder removed it, locked after."""
    plain = locks._flock

    def late(handle: int, kind: int) -> bool:
        locks._flock = plain
        path.unlink()
        return plain(handle, kind)

    locks._flock = late
    with locks.hold(path, "the run"):
        assert path.exists()
        with pytest.raises(UserError), locks.hold(path, "the run"):
            pass


def test_a_disk_without_locks_still_has_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(handle: int, kind: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(locks.fcntl, "flock", unknown)
    with locks.hold(path, "the run"):
        assert json.loads(path.read_text())["pid"] == os.getpid()


def test_a_disk_that_went_read_only_hides_no_reason(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    def work() -> None:
        with locks.hold(path, "the run"):
            monkeypatch.setattr(Path, "unlink", refuse)
            raise UserError("the reason")

    with pytest.raises(UserError, match="the reason"):
        work()
