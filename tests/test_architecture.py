"""The two rules that users depend on: who may import whom, and which files can travel in a pickle."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# A room may import the rooms on its own floor or below.
FLOORS = [
    {"ops"},
    {"networks"},
    {"losses", "data", "checkpoints"},
    {"synthesis"},
    {"projection", "metrics"},
    {"training"},
]
GROUND = {"errors", "files", "processes", "stats", "images", "progress", "config"}  # used by all but networks
COMMANDS = {
    "train", "generate", "style_mixing", "projector", "calc_metrics", "dataset_tool", "legacy", "options",
}  # fmt: skip
PLUGIN_ROOTS = {"dataset_tool_dicom.py", "train_spine.py"}


def floor(room: str) -> int:
    return next((level for level, rooms in enumerate(FLOORS) if room in rooms), len(FLOORS))


def imports(path: Path) -> set[str]:
    """Dotted names that a file imports, wherever in the file; imports for type checkers do not count."""
    names: set[str] = set()
    tree = ast.parse(path.read_text())
    for_types_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in for_types_only:
            continue
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import; the house writes full names"
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def room_of(dotted: str) -> str:
    return dotted.split(".")[1] if dotted.count(".") else ""


ENGINE = sorted((ROOT / "stylegan2ada").rglob("*.py"))
PLUGINS = sorted((ROOT / "spine_plugins").rglob("*.py"))


@pytest.mark.parametrize("path", ENGINE, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_engine_imports_walk_downwards(path: Path) -> None:
    parts = path.relative_to(ROOT / "stylegan2ada").with_suffix("").parts
    room = parts[0]
    for name in imports(path):
        assert not name.startswith("spine_plugins"), f"{path} imports {name}: the engine knows no plugin"
        if not name.startswith("stylegan2ada."):
            continue
        target = room_of(name)
        if room == "networks":
            assert target in {"networks", "ops"}, f"{path} imports {name}: networks stand on ops alone"
        elif room in GROUND:
            assert target in GROUND, f"{path} imports {name}: the ground floor stands on nothing"
        elif target in COMMANDS and room not in COMMANDS and room != "__init__":
            pytest.fail(f"{path} imports {name}: rooms do not import commands")
        elif target not in GROUND and room not in COMMANDS and room != "__init__" and target != "__version__":
            assert floor(target) <= floor(room), f"{path} imports {name}: upwards"


@pytest.mark.parametrize("path", ENGINE + PLUGINS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_click_stays_in_commands(path: Path) -> None:
    is_command = (
        path.stem in COMMANDS
        or path.stem.endswith("command")
        or path.stem in {"__main__", "doctor", "demo", "train_spine"}
    )
    if not is_command:
        assert not {n for n in imports(path) if n.split(".")[0] == "click"}, (
            f"{path}: click belongs to commands"
        )


@pytest.mark.parametrize("name", ["stylegan2", "augment"])
def test_portable_files_need_only_the_seam(name: str) -> None:
    path = ROOT / "stylegan2ada" / "networks" / f"{name}.py"
    standard = ("math", "__future__", "typing", "collections", "functools", "warnings")
    allowed = (
        "torch",
        "numpy",
        "scipy",
        "stylegan2ada.ops",
        "stylegan2ada.networks",
        "torch_utils",
        *standard,
    )
    for dotted in imports(path):
        assert dotted.startswith(allowed), f"{path} imports {dotted}"


def test_nothing_names_the_place_it_was_made_in() -> None:
    """No absolute path of a maker's machine, and no file outside the repository, may stand in a text file."""
    banned = ["/wor" + "k/", "../sha" + "red", "/opt/py" + "pi", "/ro" + "ot/"]
    suffixes = {".py", ".md", ".toml", ".yml", ".txt", ".json", ".cff", ".cfg", ""}
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout: which files belong to the repository is unknown")
    for path in (ROOT / name for name in listed.stdout.split("\0") if name):
        if path.suffix in suffixes and path.is_file():
            text = path.read_text(errors="ignore")
            for word in banned:
                assert word not in text, f"{path} contains {word}"
