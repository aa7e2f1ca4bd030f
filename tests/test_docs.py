"""What the pages say exists: commands parse, flags are known, links, pictures, names and files resolve."""

from __future__ import annotations

import importlib
import re
import shlex
from functools import cache
from pathlib import Path

import click
import pytest

from spine_plugins.__main__ import main as spinegan

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
SCRIPTS = {  # file: where its click command is
    "dataset_tool_dicom.py": "spine_plugins.dicom.command",
    "train_spine.py": "spine_plugins.training.command",
    **{
        f"stylegan2ada/{name}.py": f"stylegan2ada.{name}"
        for name in "train generate style_mixing projector calc_metrics dataset_tool legacy".split()
    },
}
# Programs of others, whose flags are theirs.
FOREIGN = set("pip git cd . export python3 docker conda #SBATCH #!/bin/bash if".split())
# Flags of others that the text speaks of.
FOREIGN_FLAGS = {
    "--signal",
    "--rdzv-id",
    "--rdzv-endpoint",
    "--requeue",
    "--max-restarts",
    "--nproc-per-node",
}
SHELL_FENCE = re.compile(r"^```(?:sh|bash|console)\n(.*?)^```", re.DOTALL | re.MULTILINE)
ANY_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def page_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def script(name: str) -> click.Command:
    """The command of a script, given with or without its folder."""
    place = next(path for path in SCRIPTS if path == name or path.endswith("/" + name))
    assert (ROOT / place).is_file(), place
    return importlib.import_module(SCRIPTS[place]).main


def is_script(token: str) -> bool:
    return any(path == token or path.endswith("/" + token) for path in SCRIPTS)


def descend(group: click.Command, words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that the first words name, and the words behind it."""
    while isinstance(group, click.Group):
        assert words, "a verb is missing"
        with click.Context(group) as context:
            found = group.get_command(context, words[0])
        assert found is not None, f"there is no verb {words[0]!r}"
        group, words = found, words[1:]
    return group, words


def find_command(words: list[str]) -> tuple[click.Command, list[str]] | None:
    """Our command in a command line and its arguments; None for what belongs to others."""
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words = words[1:]
    if not words or words[0] in FOREIGN:
        return None
    if words[0] == "make":
        assert words[1] in make_targets(), f"the Makefile has no target {words[1]}"
        return None
    if words[0] == "spinegan":
        return descend(spinegan, words[1:])
    if words[0] in ("torchrun", "srun"):
        at = next(i for i, word in enumerate(words) if word.endswith(".py"))
        words = ["python", *words[at:]]
    assert words[0] == "python", f"{words[0]!r} is no program that the pages may use"
    if words[1] == "-m":
        if words[2] == "stylegan2ada.ops.build":  # no click: it runs where nothing but Python is
            return None
        assert words[2] == "spine_plugins", words
        return descend(spinegan, words[3:])
    if is_script(words[1]):
        return script(words[1]), words[2:]
    assert (ROOT / words[1]).is_file(), f"there is no script {words[1]}"
    return None


@cache
def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def joined_lines(text: str) -> list[str]:
    return re.sub(r"\\\n\s*", " ", text).splitlines()


def command_lines(path: Path) -> list[str]:
    """Every line of shell blocks; of indented blocks, those that begin like one of our commands."""
    text = path.read_text()
    lines = [line for block in SHELL_FENCE.findall(text) for line in joined_lines(block)]
    rest = ANY_FENCE.sub("", text)
    indented = "\n".join(line[4:] for line in rest.splitlines() if line.startswith("    "))
    ours = re.compile(r"([A-Z_]+=\S+ )*(python|spinegan|torchrun|srun|make) ")
    lines += [line for line in joined_lines(indented) if ours.match(line)]
    return [line for line in lines if line.strip() and not line.startswith("#")]


LINES = sorted({(page_id(page), line) for page in PAGES for line in command_lines(page)})


@pytest.mark.parametrize(("page", "line"), LINES)
def test_command_lines_parse(page: str, line: str) -> None:
    found = find_command(shlex.split(line, comments=True))
    if found is not None:
        command, words = found
        try:
            command.make_context(command.name or "", list(words))  # parses and checks; runs nothing
        except click.exceptions.Exit:
            pass  # --help and its like answer at once


def test_there_is_something_to_parse() -> None:
    assert len(LINES) > 25
    with pytest.raises(click.NoSuchOption):
        test_command_lines_parse("", "python stylegan2ada/train.py --outdri=x")
    with pytest.raises(AssertionError, match="no verb"):
        test_command_lines_parse("", "spinegan classfy train")


def flags_of(command: click.Command) -> set[str]:
    found = {"--help"}
    for parameter in command.params:
        found.update([*parameter.opts, *parameter.secondary_opts])
    return found


@cache
def all_flags() -> set[str]:
    """Every flag of every command."""
    found, groups = set(), [spinegan]
    for name in SCRIPTS:
        found |= flags_of(script(name))
    while groups:
        group = groups.pop()
        with click.Context(group) as context:
            for name in group.list_commands(context):
                inner = group.get_command(context, name)
                assert inner is not None
                groups += [inner] if isinstance(inner, click.Group) else []
                found |= flags_of(inner)
    return found


def inline_code(path: Path) -> list[str]:
    spans = re.findall(r"`([^`]+)`", ANY_FENCE.sub("", path.read_text()))
    return [" ".join(span.split()) for span in spans]


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_flags_in_the_text_exist(page: Path) -> None:
    for span in inline_code(page):
        words = [word for word in span.split() if word != "..."]
        named = {word.split("=")[0] for word in words if re.match(r"--[a-z]", word)}
        if not named or named & FOREIGN_FLAGS or words[0] in FOREIGN:
            continue
        known = all_flags()
        first = words[0].removeprefix("stylegan2ada/")
        if is_script(words[0]) or is_script(first + ".py"):
            known = flags_of(script(words[0] if is_script(words[0]) else first + ".py"))
        elif words[0] == "spinegan":
            known = flags_of(descend(spinegan, words[1:])[0])
        assert named <= known, f"{page_id(page)}: `{span}`: {named - known} does not exist"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_verbs_and_targets_in_the_text_exist(page: Path) -> None:
    for span in inline_code(page):
        words = span.split()
        if words[0] == "make" and len(words) > 1:
            assert words[1] in make_targets(), span
        if words[0] == "spinegan" and len(words) > 1 and re.fullmatch(r"[a-z]+", words[1]):
            with click.Context(spinegan) as context:
                assert spinegan.get_command(context, words[1]) is not None, span


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_and_pictures_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", ANY_FENCE.sub("", page.read_text())):
        if not re.match(r"[a-z]+://|mailto:", target):
            place = page.parent / target.split("#")[0]
            assert place.exists(), f"{page_id(page)} points to {target}, which is not there"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_names_and_files_in_the_text_exist(page: Path) -> None:
    near = [ROOT, ROOT / "tests" / "stylegan2ada", ROOT / "stylegan2ada"]
    for span in inline_code(page):
        path = span.split()[-1] if span.startswith("python ") else span
        if re.fullmatch(r"[\w/]+/\w+\.py", path):
            assert any((place / path).is_file() for place in near), f"{page_id(page)}: {path} is not there"
        dotted = re.match(r"(?:stylegan2ada|spine_plugins)(?:\.\w+)+", span)
        if dotted and ":" not in span:
            assert resolves(dotted[0]), f"{page_id(page)}: {dotted[0]} is not there"


def resolves(dotted: str) -> bool:
    module, _, attribute = dotted.rpartition(".")
    try:
        importlib.import_module(dotted)
        return True
    except ModuleNotFoundError:
        return hasattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_python_blocks_compile(page: Path) -> None:
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
        compile(block, page_id(page), "exec")


def test_the_readme_shows_the_loss_of_the_plugins_page() -> None:
    loss = re.compile(r"```python\n(# my_loss\.py\n.*?)```", re.DOTALL)
    shown = [loss.findall((ROOT / name).read_text()) for name in ("README.md", "docs/plugins.md")]
    assert len(shown[0]) == 1
    assert shown[0] == shown[1]


def test_every_known_option_of_the_presets_is_in_the_quickstart() -> None:
    from spine_plugins.training.command import PRESETS

    text = (ROOT / "docs" / "quickstart.md").read_text()
    assert all(f"`{name}`" in text for name in PRESETS)
