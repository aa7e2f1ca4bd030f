"""The Dockerfile as a text: nothing here can build it, but what it names must be there."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path

from spine_plugins.__main__ import VERBS

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "Dockerfile").read_text()


def instructions() -> list[tuple[str, str]]:
    """[(instruction, its arguments)], comments left out and lines joined."""
    text = re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", TEXT, flags=re.MULTILINE))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines)]


def those(name: str) -> list[str]:
    return [rest for found, rest in instructions() if found == name]


def test_it_is_made_of_instructions() -> None:
    known = {"FROM", "ARG", "ENV", "RUN", "WORKDIR", "COPY", "USER", "ENTRYPOINT", "CMD"}
    assert {name for name, _ in instructions()} <= known
    assert instructions()[0][0] == "FROM"


def test_it_stands_on_a_python_that_the_package_supports() -> None:
    (base,) = those("FROM")
    found = re.fullmatch(r"python:3\.(\d+)-slim", base)
    assert found is not None, base
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    least = re.fullmatch(r">=3\.(\d+)", project["requires-python"])
    assert least is not None
    assert int(found[1]) >= int(least[1])


def test_what_it_copies_and_installs_is_there() -> None:
    for rest in those("COPY"):
        *sources, _ = shlex.split(rest)
        assert all((ROOT / source).exists() for source in sources), rest
    (install,) = [rest for rest in those("RUN") if "[" in rest]
    extras = re.findall(r"\.\[([\w,]+)\]", install)[0].split(",")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(extras) <= set(project["optional-dependencies"])
    assert re.search(r"^torch==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)


def test_programs_run_as_an_ordinary_user_who_may_write() -> None:
    names = [name for name, _ in instructions()]
    assert those("USER") == ["spine"]
    assert "RUN" not in names[names.index("USER") :], "everything is installed before"
    assert any("useradd" in rest and "chown spine /data" in rest for rest in those("RUN"))
    assert those("WORKDIR")[-1] == "/data"


def test_it_starts_our_command() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert json.loads(those("ENTRYPOINT")[0])[0] in project["scripts"]
    assert json.loads(those("CMD")[0]) == ["--help"]


def test_the_pages_start_a_verb_and_say_that_it_was_not_built() -> None:
    readme = (ROOT / "README.md").read_text()
    for text in (readme, TEXT):
        runs = re.findall(r"docker run .* spinegan (\w+)", text)
        assert runs, "nobody says how to run it"
        assert set(runs) <= set(VERBS)
        assert "not built by us" in " ".join(text.split())
