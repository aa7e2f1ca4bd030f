"""The commands of a bare clone: as files from any folder, as modules, and in the processes they start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = ("train", "generate", "style_mixing", "projector", "calc_metrics", "dataset_tool", "legacy")
HEADER = """if __name__ == "__main__" and not __package__:
    import as_script  # noqa: F401
"""
# What Python does for `python FILE --help` and `python -m MODULE --help`, in one process: that saves seconds.
AS_FILES_AND_MODULES = """
import pathlib, runpy, sys
clone = pathlib.Path(sys.argv.pop(1))

def helps(run, what, **settings):
    sys.argv = [what, "--help"]
    try:
        run(what, run_name="__main__", **settings)
    except SystemExit as ended:
        assert not ended.code, (what, ended.code)

for name in sys.argv[1:]:
    file = clone / "stylegan2ada" / f"{name}.py"
    sys.path[0] = str(file.parent)
    helps(runpy.run_path, str(file))
    assert sys.path[0] == str(clone), (name, sys.path[0])
    del sys.modules["as_script"]
    before = list(sys.path)
    helps(runpy.run_module, f"stylegan2ada.{name}", alter_sys=True)
    assert sys.path == before and "as_script" not in sys.modules, name
import stylegan2ada
assert stylegan2ada.__file__ == str(clone / "stylegan2ada" / "__init__.py"), stylegan2ada.__file__
"""


def python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter that knows nothing of the clone."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_header_is_the_same_and_comes_before_our_imports(name: str) -> None:
    text = (ROOT / "stylegan2ada" / f"{name}.py").read_text()
    assert text.count(HEADER) == 1
    assert text.index(HEADER) < text.index("from stylegan2ada")


@pytest.mark.slow
def test_all_commands_start_as_files_from_another_folder_and_as_modules(tmp_path: Path) -> None:
    warnings = ("-W", "error::RuntimeWarning")  # of runpy: a command that another one imports
    done = python(*warnings, "-c", AS_FILES_AND_MODULES, str(ROOT), *SCRIPTS, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage: ") == 2 * len(SCRIPTS)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_each_command_starts_as_python_starts_it(name: str, tmp_path: Path) -> None:
    as_file = python(os.path.relpath(ROOT / "stylegan2ada" / f"{name}.py", tmp_path), "--help", cwd=tmp_path)
    as_module = python("-m", f"stylegan2ada.{name}", "--help", cwd=ROOT)
    for done in (as_file, as_module):
        assert (done.returncode, done.stderr) == (0, "")
        assert "Usage: " in done.stdout
    assert as_file.stdout.partition("\n")[2] == as_module.stdout.partition("\n")[2]
