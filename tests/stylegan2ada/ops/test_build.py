"""The library of kernels: built once, complete or not at all, and never in anybody's way."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stylegan2ada.errors import MissingError
from stylegan2ada.ops import build, choice, compiling
from stylegan2ada.ops.compiled import library

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def real_library() -> Path:
    """One that a real compiler made."""
    try:
        return build.ensure("cpu", may_build=True, seconds=300)
    except build.Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real_library: Path) -> Path:
    """A compiler that takes a moment, hands out the real library, and notes what it was asked."""
    log, script = tmp_path / "log", tmp_path / "fake-c++"
    script.write_text(
        "#!/bin/sh\n"
        'if [ "$1" = --version ]; then echo "fake 1"; exit 0; fi\n'
        f'echo "$@" >> {log}\n'
        "for word; do last=$word; done\n"  # the target
        "sleep 0.2\n"
        f'case "$*" in *-shared*) cp {real_library} "$last" ;; *) touch "$last" ;; esac\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    monkeypatch.setenv("DNNLIB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv(choice.ENVIRONMENT, raising=False)
    monkeypatch.setattr(build, "_loaded", {})
    monkeypatch.setattr(build, "_missing", {})
    return log


def links(log: Path) -> int:
    return log.read_text().count("-shared") if log.exists() else 0


def compiler_that(script: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "other-c++"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("CXX", str(path))


def test_it_is_built_once_and_then_found(log: Path) -> None:
    said: list[str] = []
    with pytest.raises(build.Unavailable, match="doctor --build"):
        build.ensure("cpu")
    assert links(log) == 0  # asking compiles nothing
    path = build.ensure("cpu", may_build=True, say=said.append)
    assert path.is_file() and len(said) == 1 and "built in" in said[0]
    build.forget()
    assert build.ensure("cpu", say=said.append) == path
    assert links(log) == 1 and len(said) == 1
    assert [entry for entry in path.parent.iterdir() if entry != path] == []  # no scratch, no lock
    assert build.clean() == 1
    with pytest.raises(build.Unavailable):
        build.ensure("cpu")


def test_without_ninja_too(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "ninja" else found(name))
    assert build.ensure("cpu", may_build=True).is_file()


def test_four_processes_build_one_library(log: Path) -> None:
    code = "from stylegan2ada.ops import build; print(build.ensure('cpu', may_build=True))"
    started = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    places = {process.communicate(timeout=60)[0] for process in started}
    assert all(process.returncode == 0 for process in started)
    assert len(places) == 1 and links(log) == 1


def lock_of(host: str) -> Path:
    folder = build.folder_of("cpu", compiling.recipe("cpu"))
    folder.mkdir(parents=True)
    lock = folder / "building"
    lock.write_text(json.dumps({"host": host, "pid": 2**22 + 1, "started": "2026-01-01", "job": ""}))
    return lock


def test_a_lock_of_a_process_that_was_killed_is_taken_over(log: Path) -> None:
    lock = lock_of(os.uname().nodename)
    assert build.ensure("cpu", may_build=True).is_file()
    assert not lock.exists()


def test_a_lock_from_another_computer_is_waited_for_and_named(log: Path) -> None:
    lock = lock_of("elsewhere")
    start = time.monotonic()
    with pytest.raises(build.Unavailable) as reason:
        build.ensure("cpu", may_build=True, seconds=0.3)
    assert time.monotonic() - start < 20
    assert str(lock) in str(reason.value) and "elsewhere" in str(reason.value)
    assert links(log) == 0


def test_a_broken_compiler_is_one_line(log: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compiler_that('echo "x.cpp:1: note"; echo "x.cpp:2: error: boom"; exit 1', monkeypatch, tmp_path)
    said: list[str] = []
    assert choice.settle("auto", "cpu", may_build=True, say=said.append) == "plain"
    assert len(said) == 1 and "boom" in said[0] and "\n" not in said[0]
    with pytest.raises(MissingError, match="boom.*--ops=plain"):
        choice.settle("compiled", "cpu", may_build=True)
    assert not list((tmp_path / "cache").rglob("*.so"))


def test_a_compiler_that_hangs_is_stopped(log: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compiler_that('[ "$1" = --version ] && exit 0; exec sleep 60', monkeypatch, tmp_path)
    with pytest.raises(build.Unavailable, match="too long"):
        build.ensure("cpu", may_build=True, seconds=0.5)


def test_without_a_compiler_what_is_there_serves(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = build.ensure("cpu", may_build=True)
    monkeypatch.setenv("CXX", "/nowhere/c++")
    build.forget()
    assert build.ensure("cpu") == path
    build.clean()
    said: list[str] = []
    assert choice.settle("auto", "cpu", may_build=True, say=said.append) == "plain"
    assert said == ["Operations are plain: there is no compiler (c++, or nvcc for CUDA)"]
    assert choice.settle("auto", "cpu", say=said.append) == "plain"
    assert len(said) == 1  # commands that never compile say nothing


def test_a_cache_that_cannot_be_written(log: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DNNLIB_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(build.Unavailable, match="cannot write to"):
        build.ensure("cpu", may_build=True)
    assert not build.is_ready("cpu")


def test_a_changed_source_is_another_library(
    log: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sources = tmp_path / "sources"
    shutil.copytree(compiling.SOURCES, sources)
    monkeypatch.setattr(compiling, "SOURCES", sources)
    before = build.ensure("cpu", may_build=True)
    with (sources / "elements.h").open("a") as header:
        header.write("// changed\n")
    build.forget()
    after = build.ensure("cpu", may_build=True)
    assert before != after and before.is_file() and links(log) == 2


def test_another_compiler_makes_another_library(
    log: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = build.ensure("cpu", may_build=True)
    newer = tmp_path / "newer-c++"
    newer.write_text((tmp_path / "fake-c++").read_text().replace("fake 1", "fake 2"))
    newer.chmod(0o755)
    monkeypatch.setenv("CXX", str(newer))
    build.forget()
    assert build.ensure("cpu", may_build=True) != before


def test_one_library_serves_every_version_of_torch(log: Path, real_library: Path) -> None:
    """It is found and loaded by a process that has another torch, and refers to nothing of any."""
    path = build.ensure("cpu", may_build=True)
    code = (
        "import sys, types\n"
        "fake = sys.modules['torch'] = types.ModuleType('torch'); fake.__version__ = '9.9'\n"
        "from stylegan2ada.ops import build; print(build.ensure('cpu'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == str(path), done.stderr
    text = real_library.read_bytes()
    assert b"libtorch" not in text and b"libc10" not in text


def test_a_file_that_was_cut_off_is_built_again(log: Path) -> None:
    path = build.ensure("cpu", may_build=True)
    whole = path.read_bytes()
    path.unlink()  # this process has it mapped
    path.write_bytes(whole[: len(whole) // 2])
    build.forget()
    assert not build.is_ready("cpu")
    build.forget()
    assert build.ensure("cpu", may_build=True) == path and links(log) == 2


def test_records_are_those_of_the_headers() -> None:
    """Field by field; a record that differs from its header would read other memory."""
    header = "".join(
        (compiling.SOURCES / name).read_text() for name in ("epilogue.h", "elements.h", "resample.cpp")
    )
    for record, name in (
        (library.Sizes, "Sizes"), (library.Forward, "Forward"), (library.Backward, "Backward"),
        (library.Second, "Second"), (library.Shape, "Shape"), (library.Image, "Image"),
        (library.AxisRecord, "Axis"),
    ):  # fmt: skip
        body = header.partition(f"struct {name} {{")[2].partition("};")[0]
        lines = [line.partition("//")[0] for line in body.splitlines()]
        declared = [
            word.strip(" *").split()[-1].strip("*") for line in lines for word in line.strip(" ;").split(",")
            if word.strip()
        ]  # fmt: skip
        assert declared == [field[0] for field in record._fields_], name


def test_the_command(log: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "nvcc" else found(name))
    assert build.main([]) == 0
    assert "cpu: " in capsys.readouterr().out
    assert build.main(["--cuda-arch", "80,90"]) == 3
    assert "cuda: there is no compiler" in capsys.readouterr().out
    assert build.main(["--clean"]) == 0
    assert "deleted 1 libraries" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        build.main(["--cuda-arch", "ampere"])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="there is no nvcc")
def test_nvcc_compiles_every_kernel_without_a_warning(tmp_path: Path) -> None:
    made_by = compiling.recipe("cuda", ("80", "86", "89", "90"))
    command = [
        made_by.compiler,
        *made_by.flags,
        "-shared",
        *map(str, made_by.files),
        "-o",
        str(tmp_path / "k.so"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    assert "warning" not in (done.stdout + done.stderr).lower()
    assert sum("sm_" in flag for flag in command) == 4 and any("code=compute_90" in flag for flag in command)
