"""Nothing of another licence is needed, and nothing in the working folder gets in the way."""
# ruff: noqa: E501 - tables

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from spine_plugins.dicom import codecs
from tests.spine_plugins.dicom import making


def test_the_gpl_decoder_is_not_there_and_never_named():
    installed = {dist.metadata["Name"].lower() for dist in importlib.metadata.distributions()}
    assert "pylibjpeg-libjpeg" not in installed
    jpeg = [
        uid
        for uid, codec in codecs.CODECS.items()
        if "JPEG" in codec.name and "2000" not in codec.name and "2K" not in codec.name
    ]
    assert len(jpeg) == 6
    for uid in jpeg:  # under this label pydicom would run it
        assert "pylibjpeg" not in codecs.CODECS[uid].plugins


def test_conversion_imports_neither_gpl_nor_torch(tmp_path):
    for i, syntax in enumerate(making.LOSSLESS):
        making.write(tmp_path / f"{i}.dcm", making.radiograph(bits=12, seed=i), syntax, bits=12)
    code = (
        "import sys; from pathlib import Path\n"
        "from spine_plugins.dicom.convert import convert_item\n"
        "from spine_plugins.dicom.settings import IngestSettings\n"
        "from spine_plugins.dicom.sources import Item\n"
        f"items = [Item(p.name, str(p)) for p in sorted(Path({str(tmp_path)!r}).iterdir())]\n"
        "print([convert_item(IngestSettings(), b'k', item).reason for item in items])\n"
        "print(sorted({name.split('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    reasons, modules = (eval(line) for line in done.stdout.strip().splitlines())
    assert set(reasons) == {""}
    assert not {"libjpeg", "torch"} & set(modules)


def test_help_and_the_first_look_need_no_pydicom():
    """The command explains itself, and says what to install, where pydicom is not installed."""
    code = (
        "import sys; sys.modules['pydicom'] = None\n"
        "from spine_plugins.dicom import codecs, command, record, sniff\n"
        "assert not {'numpy', 'torch', 'scipy', 'PIL'} & set(sys.modules)\n"
        "command.main(sys.argv[1:], prog_name='tool')\n"
    )
    for words, exit_code, says in ((["--help"], 0, "--list-decoders"), (["--demo"], 3, "spinegan[dicom]")):
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
        assert done.returncode == exit_code, done.stderr
        assert says in done.stdout + done.stderr


@pytest.mark.slow
def test_a_folder_called_dl_does_not_break_the_command(tmp_path):
    """GDCM's package imports a module `dl` that no longer exists; a folder of that name once broke everything."""
    making.write(tmp_path / "in" / "x.dcm", making.radiograph(bits=12), making.JPEG_LOSSLESS, bits=12)
    (tmp_path / "dl").mkdir()
    (tmp_path / "dl" / "x.txt").write_text("")
    tool = Path(__file__).parents[3] / "dataset_tool_dicom.py"
    # Run as a module from that folder, which then comes first in the search path.
    for words in ((tool,), ("-m", "dataset_tool_dicom")):
        done = subprocess.run(
            [sys.executable, *words, "--source", "in", "--dest", "x.zip", "--overwrite", "--executor", "serial"],
            cwd=tmp_path, capture_output=True, text=True, env={"PYTHONPATH": str(tool.parent), "PATH": ""},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "kept 1 of 1" in done.stdout
