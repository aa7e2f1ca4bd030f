"""Names that are imported when they are first used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from stylegan2ada.lazy import exports

FILES = {
    "__init__.py": """
from stylegan2ada.lazy import exports

__getattr__, __dir__ = exports(
    __name__, {"value": f"{__name__}.heavy", "absent": f"{__name__}.heavy", "room": "", "broken": ""}
)
""",
    "heavy.py": "value, times = object(), []\n",
    "room.py": "",
    "broken.py": "import a_module_that_is_not_there\n",
    "plain.py": "",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A package with a value in a file of its own, a room, and a file that it says nothing about."""
    (tmp_path / "lazily").mkdir()
    for name, text in FILES.items():
        (tmp_path / "lazily" / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("lazily")
    for name in [name for name in sys.modules if name.split(".")[0] == "lazily"]:
        del sys.modules[name]


def test_nothing_is_imported_before_it_is_used(package: ModuleType) -> None:
    assert not [name for name in sys.modules if name.startswith("lazily.")]
    assert {"value", "room"} <= set(dir(package)), "to list names is not to use them"
    assert not [name for name in sys.modules if name.startswith("lazily.")]


def test_a_name_leads_to_its_home(package: ModuleType) -> None:
    assert package.value is importlib.import_module("lazily.heavy").value


def test_what_was_found_stays(package: ModuleType) -> None:
    first = package.value
    del sys.modules["lazily.heavy"]
    assert package.value is first, "the second look imports nothing"
    assert vars(package)["value"] is first


def test_a_name_without_a_home_is_the_module_itself(package: ModuleType) -> None:
    assert package.room is importlib.import_module("lazily.room")


def test_from_package_import_works_for_names_and_for_files_it_says_nothing_about(package: ModuleType) -> None:
    found: dict[str, object] = {}
    exec("from lazily import plain, room, value", found)
    assert found["value"] is package.value
    assert found["plain"] is sys.modules["lazily.plain"]


def test_an_unknown_name_is_told_like_any_other(package: ModuleType) -> None:
    with pytest.raises(AttributeError, match="module 'lazily' has no attribute 'unknown'"):
        _ = package.unknown
    assert not hasattr(package, "plain"), "a file that is not listed is no attribute until it is imported"
    assert getattr(package, "__wrapped__", None) is None


def test_a_promise_that_its_home_does_not_keep_is_an_error(package: ModuleType) -> None:
    with pytest.raises(AttributeError, match="'lazily.heavy' has no attribute 'absent'"):
        _ = package.absent


def test_a_home_that_cannot_be_imported_says_what_is_missing(package: ModuleType) -> None:
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_not_there"):
        _ = package.broken


def test_dir_is_sorted_and_has_each_name_once(package: ModuleType) -> None:
    _ = package.value
    names = dir(package)
    assert names == sorted(set(names))
    assert exports("lazily", {"zebra": ""})[1]()[-1] == "zebra"
