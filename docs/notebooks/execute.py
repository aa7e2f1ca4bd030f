"""Run the notebooks of this folder top to bottom and keep what they show: `python docs/notebooks/execute.py`.

Each runs in an empty folder; only outputs, and the kernel's name, are written back.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path

import nbclient
import nbformat
from traitlets.config import Config

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
KEPT = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}


def executed(path: Path, changes: dict[str, str] | None = None) -> nbformat.NotebookNode:
    """The notebook with new outputs; `changes` are put into the text of its cells before it runs."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        for old, new in (changes or {}).items():
            cell.source = cell.source.replace(old, new)
    with tempfile.TemporaryDirectory() as folder:
        before = dict(os.environ)
        # The kernel is a child: it inherits this checkout, and a cache of its own.
        os.environ |= {"PYTHONPATH": str(ROOT), "DNNLIB_CACHE_DIR": str(Path(folder, "cache"))}
        try:
            # Sockets are files in a folder of ours, not ports that anybody on the machine could listen at.
            kernel = {"transport": "ipc", "ip": str(Path(folder, "kernel"))}
            place = {"metadata": {"path": folder}}
            nbclient.NotebookClient(
                notebook,
                config=Config(KernelManager=kernel),
                timeout=None,
                resources=place,
                record_timing=False,
            ).execute()
        finally:
            os.environ.clear()
            os.environ |= before
    notebook.metadata = nbformat.from_dict(KEPT)
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number:02d}", nbformat.from_dict({})
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not is_progress(output)]
            for output in cell.outputs:
                output.get("data", {}).pop("image/jpeg", None)  # the same picture as the PNG, once more
    return notebook


def is_progress(output: nbformat.NotebookNode) -> bool:
    """Lines such as `phantoms: 536/640 (83%), ...`, which slow machines show and fast ones do not."""
    lines = output.get("text", "").splitlines()
    return output.get("name") == "stderr" and all(re.match(r".+: \d+/\d+ \(\d+%\), ", line) for line in lines)


def main() -> None:
    for path in sorted(HERE.glob("*.ipynb")):
        print(f"{path.name} ...", file=sys.stderr)
        nbformat.write(executed(path), path)


if __name__ == "__main__":
    main()
