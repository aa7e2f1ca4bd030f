"""One small VinDr-like tree, and one conversion of it, for the tests that only look."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.spine_plugins.dicom.making import run_tool, write_tree


@pytest.fixture(scope="session")
def tree(tmp_path_factory) -> Path:
    return write_tree(tmp_path_factory.mktemp("vindr"), 24)


@pytest.fixture(scope="session")
def small_tree(tmp_path_factory) -> Path:
    return write_tree(tmp_path_factory.mktemp("small"), 6)


@pytest.fixture(scope="session")
def key_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("key") / "shared.key"
    path.write_text("00112233445566778899aabbccddeeff" * 2)
    path.chmod(0o600)
    return path


@pytest.fixture(scope="session")
def converted(tree, key_file, tmp_path_factory) -> Path:
    """The finished X.zip; its side files lie beside it."""
    dest = tmp_path_factory.mktemp("out") / "x.zip"
    result = run_tool("--source", tree, "--dest", dest, "--resolution", 64, "--key-file", key_file)
    assert result.exit_code == 0, result.output
    return dest
