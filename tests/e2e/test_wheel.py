"""The wheel is all that a pipx user has: built, installed in an empty environment, used without a clone."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def call(*command: str | Path, cwd: Path) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SPINEGAN"))}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=clean | {"DNNLIB_CACHE_DIR": str(cwd / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `make wheel` builds it, but with the setuptools that is here, so that nothing is downloaded."""
    folder = tmp_path_factory.mktemp("wheel")
    # From a copy of what is tracked: setuptools leaves build folders, and picks up stale ones.
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout: which files belong to the wheel is unknown")
    source = folder / "source"
    wanted = ("stylegan2ada/", "spine_plugins/", "pyproject.toml", "README.md", "LICENSE", "NOTICE")
    for name in filter(None, listed.stdout.split("\0")):
        if name.startswith(wanted) and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet")
    call(sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", folder, source, cwd=folder)
    (found,) = folder.glob("spinegan-*.whl")
    return found


@pytest.fixture(scope="module")
def bin_folder(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, which sees the other packages of this one, but no clone."""
    place = tmp_path_factory.mktemp("environment") / "venv"
    venv.create(place, with_pip=False)
    (site,) = place.glob("lib/python*/site-packages")
    base = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    (site / "packages_of_the_tests.pth").write_text("\n".join(dict.fromkeys(base)) + "\n")
    options = ("--no-deps", "--no-index", "--quiet", "--ignore-installed")
    # Run by the new interpreter, so that the scripts start with it.
    call(place / "bin" / "python", "-m", "pip", "install", *options, wheel, cwd=place)
    return place / "bin"


@pytest.mark.slow
def test_the_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {
        "stylegan2ada",
        "spine_plugins",
        "spinegan",
    }
    modules = {f"{package}/{path.relative_to(ROOT / package).as_posix()}"
               for package in ("stylegan2ada", "spine_plugins")
               for path in (ROOT / package).rglob("*.py")}  # fmt: skip
    assert modules <= set(names)
    assert {f"{package}/py.typed" for package in ("stylegan2ada", "spine_plugins")} <= set(names)


@pytest.mark.slow
def test_the_demo_of_the_wheel_needs_no_clone(bin_folder: Path, tmp_path: Path) -> None:
    where = "import stylegan2ada, spine_plugins; print(stylegan2ada.__file__, spine_plugins.__file__)"
    printed = call(bin_folder / "python", "-c", where, cwd=tmp_path).split()
    assert all(path.startswith(str(bin_folder.parent)) for path in printed), printed
    assert "First steps" in call(bin_folder / "spinegan", "--help", cwd=tmp_path)
    # Two steps of it; all of them are the slow test of the demo.
    program = """
from pathlib import Path
from spine_plugins import demo_command as room
from stylegan2ada.options import Voice

phantoms, dataset = room.steps(1)[:2]
few = room.Step("phantoms", "", (*phantoms.command, "--n=16", "--workers=1"), 1, ("dicom",))
Path("demo/done").mkdir(parents=True)
room.run_steps([few, dataset], Path("demo"), Voice(None))
"""
    call(bin_folder / "python", "-c", program, cwd=tmp_path)
    data = "--data=demo/spine-train.zip"
    call(bin_folder / "spinegan", "train", "--outdir=runs", data, "--kimg=1", "--dry-run", cwd=tmp_path)
