"""One table of upstream's names: nowhere else does the code spell them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import stylegan2ada
from stylegan2ada import official_names
from stylegan2ada.checkpoints import official_names as with_torch

ROOT = Path(stylegan2ada.__file__).parent.parent
_DOTTED = re.compile(r"""["'](training\.(dataset|networks|loss|augment)\.|torch_utils\.|dnnlib\.)""")


def test_no_other_file_spells_them() -> None:
    paths = [path for package in ("stylegan2ada", "spine_plugins") for path in (ROOT / package).rglob("*.py")]
    found = {path.name for path in paths if _DOTTED.search(path.read_text())}
    assert found == {"official_names.py"}


def test_the_readers_of_pickles_see_the_same_table() -> None:
    public = {name for name in vars(official_names) if not name.startswith("_")}
    assert {"RECONSTRUCT", "OPTION_CLASSES", "CLASS_HOMES"} <= public
    assert all(getattr(with_torch, name) is getattr(official_names, name) for name in public)
    assert set(with_torch.STORAGE_DTYPES) >= {"FloatStorage", "HalfStorage"}


def test_the_table_needs_no_torch() -> None:
    code = "import sys, stylegan2ada.official_names; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
