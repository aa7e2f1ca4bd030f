"""The notebooks below docs/notebooks: small, clean, and still true when run from top to bottom."""

from __future__ import annotations

import getpass
import importlib.util
import json
import re
import socket
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MOST_BYTES = 400_000
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def kinds(notebook: Any) -> list[list[tuple[str, ...]]]:
    """Of each code cell, what it shows: printed text, a value, a picture."""
    return [
        [(out["output_type"], out.get("name", ""), *sorted(out.get("data", {}))) for out in cell["outputs"]]
        for cell in code_cells(notebook)
    ]


def shown_text(notebook: Any) -> str:
    """Everything in the outputs but the bytes of pictures."""
    return "\n".join(
        json.dumps({k: v for k, v in (out.get("data") or {"text": out["text"]}).items() if k != "image/png"})
        for cell in code_cells(notebook)
        for out in cell["outputs"]
    )


def test_there_is_a_notebook() -> None:
    assert FOLDER / "phantom_to_pictures.ipynb" in NOTEBOOKS


@each_notebook
def test_it_is_small_and_was_run_in_order(path: Path) -> None:
    assert path.stat().st_size < MOST_BYTES
    counts = [cell["execution_count"] for cell in code_cells(read(path))]
    assert counts == list(range(1, len(counts) + 1))


@each_notebook
def test_it_shows_pictures_and_no_noise(path: Path) -> None:
    found = [kind for cell in kinds(read(path)) for kind in cell]
    assert sum("image/png" in kind for kind in found) >= 4
    assert not [kind for kind in found if "stderr" in kind or kind[0] == "error"]
    text = shown_text(read(path))
    assert "\\r" not in text and "\\u001b" not in text, "progress lines or colours"
    assert "Warning" not in text


@each_notebook
def test_it_says_nothing_about_the_machine(path: Path) -> None:
    notebook = read(path)
    assert set(notebook["metadata"]) == {"kernelspec"}
    assert not [cell for cell in notebook["cells"] if cell["metadata"]]
    text = shown_text(notebook)
    assert not re.findall(r"(?<![\w.])/\w[\w.-]*/[\w./-]*", text), "an absolute path"
    for name in (getpass.getuser(), socket.gethostname()):
        assert not re.search(rf"\b{re.escape(name)}\b", text), name


@each_notebook
def test_its_links_resolve(path: Path) -> None:
    text = "\n".join(
        "".join(cell["source"]) for cell in read(path)["cells"] if cell["cell_type"] == "markdown"
    )
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        assert (path.parent / target).exists(), target


@pytest.fixture(scope="module")
def runner() -> ModuleType:
    """docs/notebooks/execute.py, which wrote the outputs."""
    pytest.importorskip("nbclient")
    spec = importlib.util.spec_from_file_location("execute_notebooks", FOLDER / "execute.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@each_notebook
@pytest.mark.filterwarnings("default")  # of the notebook's machinery, which is not ours
def test_it_runs_and_shows_the_same_kinds_of_things(path: Path, runner: ModuleType) -> None:
    """Every cell as it is, but a longer training cut to 1,000 images."""
    kept = read(path)
    length = re.search(r"KIMG = \d+ ", "".join(code_cells(kept)[0]["source"]))
    assert length is not None
    again = runner.executed(path, {length[0]: "KIMG = 1 "})
    assert kinds(again) == kinds(kept)
    sources = ["".join(cell["source"]) for cell in kept["cells"]]
    changed = [i for i, cell in enumerate(again["cells"]) if cell["source"] != sources[i]]
    assert len(changed) == (length[0] != "KIMG = 1 ")
