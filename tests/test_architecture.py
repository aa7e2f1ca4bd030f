"""What the structure promises: who may import whom, no circles, few floors, files that travel in pickles."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import scipy.sparse
import scipy.sparse.csgraph

ROOT = Path(__file__).parent.parent

# The engine: a room may import the rooms on its own floor or below.
FLOORS = [
    {"ops"},
    {"networks"},
    {"losses", "data", "checkpoints"},
    {"synthesis"},
    {"projection", "metrics"},
    {"drawing"},
    {"training"},
]
GROUND = {  # used by all but networks
    "errors", "files", "processes", "stats", "images", "progress", "config", "lazy", "protocols",
    "provenance", "registry", "official_names", "untrusted", "locks", "interrupts",
}  # fmt: skip
COMMANDS = {
    "from_python",
    "train", "generate", "style_mixing", "projector", "calc_metrics", "dataset_tool", "legacy", "options",
    "flag_types", "flag_files", "declaring", "as_script",
}  # fmt: skip

# The plugins: which rooms each room may import beside the engine and itself. Rooms to come stand here, too.
PLUGIN_GROUND = {"vindr", "uids", "statistics", "markup", "resumable", "executors"}  # import no room
ON_STATISTICS = {"clustered": {"statistics"}}  # more of it: images of patients, trainings of a method
READERS = {"runs", "statistics", "markup", "pages"}
MAY_IMPORT: dict[str, set[str]] = {
    **{room: set() for room in PLUGIN_GROUND},
    **ON_STATISTICS,
    "runs": PLUGIN_GROUND,
    "pages": {"runs", "statistics", "markup"},
    "privacy": PLUGIN_GROUND,
    "phantom": {"vindr", "uids", "executors"},
    "dicom": {"vindr", "uids", "phantom", "executors"},
    "classifier": {"statistics", "resumable"},
    "losses": {"classifier"},
    "official": {"privacy", "losses"},
    "training": {"losses", "classifier", "privacy", "audit", "official"},
    "recipes": {"vindr", "resumable", "statistics", "classifier", "phantom"},
    "audit": {"runs", "statistics", "classifier", "markup", "pages"},
    "report": READERS,
    "compare": READERS,
    "release": READERS,
    "experiments": {"vindr", "runs", "compare", "statistics", "clustered", "executors", "markup", "pages"},
    "demo_command": set(),
    "doctor_command": {"dicom"},
    "detectors_command": set(),
    "completion_command": set(),
    "card_command": {"runs"},
    "__main__": set(),  # names verbs; imports one only when it is asked for
    "__init__": set(),  # likewise; names public things for type checkers
}
MOST_PLUGIN_FLOORS = 6


def floor(room: str) -> int:
    return next((level for level, rooms in enumerate(FLOORS) if room in rooms), len(FLOORS))


@cache
def imports(path: Path, *, for_types: bool = False) -> set[str]:
    """Dotted names that a file imports, wherever in the file; those for type checkers only if asked for."""
    names: set[str] = set()
    tree = ast.parse(path.read_text())
    for_types_only: set[int] = (
        set()
        if for_types
        else {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.If)
            and isinstance(node.test, ast.Name)
            and node.test.id == "TYPE_CHECKING"
            for inner in ast.walk(node)
        }
    )
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
        elif target in COMMANDS and room not in {*COMMANDS, "library", "__init__"}:
            pytest.fail(f"{path} imports {name}: rooms do not import commands")
        elif target not in GROUND and room not in COMMANDS and room != "__init__" and target != "__version__":
            assert floor(target) <= floor(room), f"{path} imports {name}: upwards"


def plugin_room(dotted: str) -> str | None:
    """The room of spine_plugins that a dotted name belongs to; None for names of the package itself."""
    first = dotted.split(".")[1] if dotted.startswith("spine_plugins.") else None
    return first if first in MAY_IMPORT else None


def forbidden_imports(room: str, names: set[str]) -> set[str]:
    """The names among these that this room may not import."""
    allowed = MAY_IMPORT[room] | {room}
    return {name for name in names if (found := plugin_room(name)) is not None and found not in allowed}


@pytest.mark.parametrize("path", PLUGINS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_plugin_rooms_import_what_they_may(path: Path) -> None:
    room = path.relative_to(ROOT / "spine_plugins").with_suffix("").parts[0]
    assert room in MAY_IMPORT, f"{path}: a new room needs a row in MAY_IMPORT, and a reason in the docs"
    wrong = forbidden_imports(room, imports(path, for_types=room != "__init__"))
    assert not wrong, (
        f"{path} imports {', '.join(sorted(wrong))}: {room} may import {sorted(MAY_IMPORT[room])}"
    )


def test_a_planted_wrong_edge_is_found() -> None:
    assert forbidden_imports("report", {"spine_plugins.training.command"})
    assert forbidden_imports("classifier", {"spine_plugins.losses.spine", "stylegan2ada.stats"}) == {
        "spine_plugins.losses.spine"
    }
    assert not forbidden_imports("training", {"spine_plugins.losses.spine", "spine_plugins.training.judge"})
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [{"a", "b", "c"}]


def modules(paths: list[Path]) -> dict[str, Path]:
    """{dotted name: file}"""
    found = {}
    for path in paths:
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def arrows(paths: list[Path]) -> dict[str, set[str]]:
    """Which module imports which, those for type checkers included; faces of packages count as nobody."""
    here = modules(paths)
    bodies = {name: path for name, path in here.items() if path.stem != "__init__"}
    return {
        name: {target for target in imports(path, for_types=True) if target in bodies and target != name}
        for name, path in bodies.items()
    }


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Groups of modules that reach each other (strongly connected components of more than one)."""
    names = {name: i for i, name in enumerate(graph)}
    pairs = [(names[a], names[b]) for a, targets in graph.items() for b in targets if b in names]
    matrix = scipy.sparse.coo_array(
        ([1] * len(pairs), tuple(zip(*pairs)) or ([], [])), shape=(len(names), len(names))
    )
    _, label = scipy.sparse.csgraph.connected_components(matrix, connection="strong")
    groups: dict[int, set[str]] = {}
    for name, i in names.items():
        groups.setdefault(int(label[i]), set()).add(name)
    return [group for group in groups.values() if len(group) > 1]


def test_no_files_import_each_other_in_a_circle() -> None:
    assert circles(arrows(ENGINE + PLUGINS)) == []


def plugin_floors() -> list[set[str]]:
    """The rooms of each floor, lowest first: a room stands one floor above the highest that it imports."""
    graph: dict[str, set[str]] = {}
    for path in PLUGINS:
        room = path.relative_to(ROOT / "spine_plugins").with_suffix("").parts[0]
        if room != "__init__":  # the package's face names rooms for type checkers
            found = {plugin_room(name) for name in imports(path, for_types=True)} - {None, room}
            graph.setdefault(room, set()).update(filter(None, found))
    assert circles(graph) == []

    @cache
    def floor_of(room: str) -> int:
        return max((floor_of(below) + 1 for below in graph.get(room, ())), default=0)

    floors: list[set[str]] = [set() for _ in range(1 + max(map(floor_of, graph)))]
    for room in graph:
        floors[floor_of(room)].add(room)
    return floors


def test_the_house_of_the_plugins_has_few_floors() -> None:
    assert len(plugin_floors()) <= MOST_PLUGIN_FLOORS, plugin_floors()


def test_the_picture_in_the_docs_is_the_house() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    drawn = re.findall(r"^ {4}floor (\d)\s+(.*)$", page, flags=re.MULTILINE)
    assert [set(rooms.split()) for _, rooms in sorted(drawn)] == plugin_floors()


@pytest.mark.parametrize("path", ENGINE + PLUGINS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_click_stays_in_commands(path: Path) -> None:
    in_engine = path.is_relative_to(ROOT / "stylegan2ada")
    is_command = (
        path.stem in COMMANDS if in_engine else path.stem == "__main__" or path.stem.endswith("command")
    )
    if not is_command:
        assert not {n for n in imports(path) if n.split(".")[0] == "click"}, (
            f"{path}: click belongs to commands"
        )


@pytest.mark.parametrize("package", ["stylegan2ada", "spine_plugins"])
def test_importing_a_package_loads_no_torch(package: str) -> None:
    code = f"import sys, {package}; sys.exit(any(m in sys.modules for m in ('torch', 'scipy', 'PIL')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("module", ["stylegan2ada.training.run_files", "stylegan2ada.training.limits"])
def test_readers_of_runs_need_no_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


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
    suffixes = {".py", ".ipynb", ".md", ".toml", ".yml", ".txt", ".json", ".cff", ".cfg", ""}
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout: which files belong to the repository is unknown")
    for path in (ROOT / name for name in listed.stdout.split("\0") if name):
        if path.suffix in suffixes and path.is_file():
            text = path.read_text(errors="ignore")
            for word in banned:
                assert word not in text, f"{path} contains {word}"
