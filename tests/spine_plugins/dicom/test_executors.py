"""The same bytes whoever does the work, and whatever happens to them meanwhile."""
# ruff: noqa: E501 - tables

from __future__ import annotations

import dataclasses
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spine_plugins.dicom import executors
from spine_plugins.dicom.settings import IngestSettings
from spine_plugins.dicom.sources import Item
from stylegan2ada.files import sha256_file
from tests.spine_plugins.dicom.making import report_rows, run_tool, write, write_tree

TOOL = Path(__file__).parents[3] / "dataset_tool_dicom.py"


@pytest.fixture(scope="module")
def big_tree(tmp_path_factory) -> Path:
    return write_tree(tmp_path_factory.mktemp("big"), 64, size=(150, 150))


def arguments(tree: Path, dest: Path, key_file: Path) -> list[str]:
    return [
        str(word) for word in ("--source", tree, "--dest", dest, "--resolution", 64, "--key-file", key_file)
    ]


@pytest.fixture(scope="module")
def serial(big_tree, key_file, tmp_path_factory) -> Path:
    dest = tmp_path_factory.mktemp("serial") / "x.zip"
    assert run_tool(*arguments(big_tree, dest, key_file)).exit_code == 0
    return dest


def same(dest: Path, other: Path) -> bool:
    """Data set, boxes and pictures to the byte, the report but for its times."""
    rows = [[{**row, "ms_decode": ""} for row in report_rows(path)] for path in (dest, other)]
    endings = ("_boxes.json", "_contact.png", "_hist.png")
    pairs = [(dest, other)] + [
        (dest.with_name(dest.stem + end), other.with_name(other.stem + end)) for end in endings
    ]
    return rows[0] == rows[1] and all(sha256_file(a) == sha256_file(b) for a, b in pairs)


def run_apart(*words: str, **kwargs) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(TOOL), *words], capture_output=True, text=True, **kwargs)


@pytest.mark.slow
def test_two_processes_give_the_bytes_of_one(big_tree, serial, key_file, tmp_path):
    done = run_apart(*arguments(big_tree, tmp_path / "x.zip", key_file), "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert same(serial, tmp_path / "x.zip")


def n_results(work: Path) -> int:
    try:
        connection = sqlite3.connect(f"file:{work / 'journal.sqlite'}?mode=ro", uri=True)
        try:
            return connection.execute("select count(*) from results").fetchone()[0]
        finally:
            connection.close()
    except sqlite3.Error:
        return 0


@pytest.mark.parametrize("executor", ["serial", pytest.param("process", marks=pytest.mark.slow)])
def test_killed_and_resumed_gives_the_same_bytes(big_tree, serial, key_file, tmp_path, executor):
    words = [*arguments(big_tree, tmp_path / "x.zip", key_file), "--executor", executor, "--workers", "2"]
    running = subprocess.Popen([sys.executable, str(TOOL), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               start_new_session=True)  # fmt: skip
    work, deadline = tmp_path / "x.parts", time.monotonic() + 60
    while n_results(work) < 16 and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    kept = n_results(work)
    assert 16 <= kept <= 65
    assert not (tmp_path / "x.zip").exists()
    refused = run_apart(*words)
    assert refused.returncode == 2
    assert "--resume" in refused.stderr
    resumed = run_apart(*words, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert f"{kept} of 65 files are done" in resumed.stdout
    assert same(serial, tmp_path / "x.zip")
    assert not work.exists()


def test_a_changed_file_or_setting_is_done_again(tree, key_file, tmp_path):
    root = tmp_path / "in"
    write_tree(root, 8)
    words = [*arguments(root, tmp_path / "x.zip", key_file), "--fail-over", "0"]
    victim = sorted((root / "train_images").iterdir())[0]
    intact = victim.read_bytes()
    victim.write_bytes(intact[:-3000])
    assert run_tool(*words).exit_code == 5
    victim.write_bytes(intact)
    second = run_tool(*words, "--resume")
    assert second.exit_code == 0, second.output
    assert "resuming: 8 of 9" in second.output
    victim.write_bytes(intact[:-3000])
    assert run_tool(*words, "--overwrite").exit_code == 5
    third = run_tool(*words, "--resume", "--overwrite", "--crop", "center", "--fail-over", "1")
    assert "resuming" not in third.output  # the settings changed, so nothing is valid


def _crash_or_hang(item: Item) -> None:
    if "crash" in item.name:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "hang" in item.name:  # as native code does: no Python, no signals
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        time.sleep(60)


_SABOTAGE = """
import sys
from spine_plugins.dicom import convert
from tests.spine_plugins.dicom.test_executors import _crash_or_hang
plain = convert._convert
def sabotaged(settings, key, item, record):
    _crash_or_hang(item)
    return plain(settings, key, item, record)
convert._convert = sabotaged
from spine_plugins.dicom.command import main
if __name__ == "__main__":
    main(sys.argv[1:], prog_name="tool")
"""


def test_asked_to_stop_it_keeps_what_is_done(big_tree, serial, key_file, tmp_path):
    words = [*arguments(big_tree, tmp_path / "x.zip", key_file), "--executor", "serial"]
    running = subprocess.Popen(
        [sys.executable, str(TOOL), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while n_results(tmp_path / "x.parts") < 8 and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    running.terminate()
    _, errors = running.communicate()
    assert running.returncode == 75
    assert "--resume" in errors
    assert "Traceback" not in errors
    assert run_tool(*words, "--resume").exit_code == 0
    assert same(serial, tmp_path / "x.zip")


@pytest.mark.slow
def test_dying_and_hanging_workers_cost_one_file_each(tmp_path):
    """The main module is imported again by every spawned worker, and so sabotages those as well."""
    from tests.spine_plugins.dicom.making import radiograph

    names = [f"{i:02d}{'_crash' if i == 5 else '_hang' if i == 11 else ''}.dcm" for i in range(20)]
    for i, name in enumerate(names):
        write(tmp_path / "in" / name, radiograph(seed=i), bits=12)
    script = tmp_path / "sabotage.py"
    script.write_text(_SABOTAGE)
    done = subprocess.run(
        [sys.executable, str(script), "--source", str(tmp_path / "in"), "--dest", str(tmp_path / "x.zip"), "--workers", "2",
         "--timeout", "2", "--resolution", "32"],
        capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": str(TOOL.parent)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    reasons = {row["path"]: row["reason"] for row in report_rows(tmp_path / "x.zip")}
    assert list(reasons) == names
    assert reasons.pop("05_crash.dcm") == "worker_crash"
    assert reasons.pop("11_hang.dcm") == "timeout"
    assert set(reasons.values()) == {""}


def test_records_are_plain_values(tree):
    """Nothing of pydicom crosses between processes: only numbers, text, bytes and containers of them."""
    items = [
        Item(path.name, str(path), size=path.stat().st_size)
        for path in sorted((tree / "train_images").iterdir())
    ]

    def check(value):
        if isinstance(value, dict):
            assert all(type(key) is str for key in value)
            value = list(value.values())
        if isinstance(value, list | tuple):
            for part in value:
                check(part)
        else:
            assert type(value) in (str, int, float, bool, bytes, type(None)), type(value)

    found = list(executors.convert_all(iter(items), IngestSettings(resolution=32), b"key", "serial", 1))
    assert [len(records) for _, records in found] == [8, 8, 8]
    for _, records in found:
        check([dataclasses.asdict(record) for record in records])


@pytest.mark.slow
def test_a_dask_cluster_gives_the_same_bytes(big_tree, serial, key_file, tmp_path):
    """A scheduler and two workers in processes of their own, as they would run elsewhere."""
    pytest.importorskip("distributed")
    environment = {**os.environ, "PYTHONPATH": str(TOOL.parent), "OMP_NUM_THREADS": "1"}
    script = tmp_path / "cluster.py"
    script.write_text(
        "import sys\nfrom distributed import LocalCluster\n"
        "if __name__ == '__main__':\n"
        "    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:\n"
        "        print(cluster.scheduler_address, flush=True)\n"
        "        sys.stdin.read()\n"
    )
    cluster = subprocess.Popen([sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True, env=environment, cwd=tmp_path)  # fmt: skip
    try:
        address = cluster.stdout.readline().strip()
        assert address.startswith("tcp://")
        done = run_apart(
            *arguments(big_tree, tmp_path / "x.zip", key_file), "--executor", f"dask:{address}", timeout=180
        )
        assert done.returncode == 0, done.stderr
        assert same(serial, tmp_path / "x.zip")
    finally:
        cluster.stdin.close()
        cluster.wait(timeout=60)
        cluster.stdout.close()
    unreachable = run_apart(
        *arguments(big_tree, tmp_path / "y.zip", key_file), "--executor", "dask:tcp://127.0.0.1:9"
    )
    assert unreachable.returncode == 2
    assert "cannot be reached" in unreachable.stderr
