"""Our names of UIDs are pydicom's keywords, and nobody else spells a UID."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydicom.uid import UID

from spine_plugins import uids

OURS = {name: value for name, value in vars(uids).items() if name.isupper()}


@pytest.mark.parametrize("name", OURS)
def test_each_is_what_pydicom_calls_so(name: str) -> None:
    assert UID(OURS[name]).keyword.upper() == name.replace("_", "")


def test_no_other_file_of_the_plugins_spells_one() -> None:
    spelled = re.compile(r"\b1\.2\.840\.10008\.")
    root = Path(uids.__file__).parent
    found = {path for path in root.rglob("*.py") if spelled.search(path.read_text())}
    assert found == {Path(uids.__file__)}
