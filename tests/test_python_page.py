"""docs/python.md: every block of the page runs, in order, in one session; its table names what there is."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import spine_plugins as sp
import stylegan2ada as sg

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "python.md"
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```", re.DOTALL | re.MULTILINE)
ROW = re.compile(r"^\| (`s[gp]\..*?) \| (.+?) \| `(\S+)` \|$", re.MULTILINE)


def as_program(text: str) -> str:
    """The blocks one below the other, each on the line it has in the page; commands as calls of them."""
    program: list[str] = []
    for block in BLOCK.finditer(text):
        kind, body = block.groups()
        program += [""] * (text.count("\n", 0, block.start()) + 1 - len(program))
        for line in body.splitlines():
            words = shlex.split(line, comments=True) if kind == "sh" else []
            assert kind == "python" or words[0] == "spinegan", line
            program.append(f"main({words[1:]}, standalone_mode=False)" if words else line)
    return "\n".join(program)


@pytest.mark.slow
def test_every_block_runs(tmp_path: Path) -> None:
    """In a process of its own, as a reader would: nothing is imported, nothing lies in the folder."""
    program = "from spine_plugins.__main__ import main" + as_program(PAGE.read_text())
    (tmp_path / "page.py").write_text(program)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "DNNLIB_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-W", "error::DeprecationWarning:__main__", "page.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_wrong_block_would_be_noticed(tmp_path: Path) -> None:
    broken = as_program("text\n\n```python\nx = 1\n```\nmore\n```python\nassert x == 2\n```\n")
    assert broken.splitlines()[7] == "assert x == 2", "each on its own line of the page"
    with pytest.raises(AssertionError):
        exec(broken, {})


def rows() -> list[tuple[str, str]]:
    """(name with sg. or sp., file) of the table."""
    return [
        (name, file)
        for names, _, file in ROW.findall(PAGE.read_text())
        for name in re.findall(r"`(\S+?)`", names)
    ]


def test_the_table_lists_every_public_name_once() -> None:
    listed = [name for name, _ in rows()]
    assert sorted(listed) == sorted([f"sg.{n}" for n in sg.__all__] + [f"sp.{n}" for n in sp.__all__])


@pytest.mark.parametrize(("name", "file"), rows())
def test_the_table_says_where_a_name_lives(name: str, file: str) -> None:
    package = {"sg": sg, "sp": sp}[name.partition(".")[0]]
    homes = {public: home for home, names in package._HOMES.items() for public in names}
    public = name.partition(".")[2]
    module = importlib.import_module(f"{package.__name__}.{homes.get(public, public)}")
    assert module.__file__ is not None
    place = Path(module.__file__)
    assert ROOT / file == (place.parent if place.name == "__init__.py" else place)


def test_lines_are_no_wider_than_elsewhere() -> None:
    wide = [line for line in PAGE.read_text().splitlines() if len(line) > 110 and line[:1] != "|"]
    assert not wide
