"""The site: every page is in its menu, and where mkdocs is installed it builds without a dead link."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import spine_plugins
import stylegan2ada

ROOT = Path(__file__).parent.parent
MENU = re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
JOINED = {"index.md", "reference.md", "benchmarks/README.md", "CONTRIBUTING.md", "CHANGELOG.md"}


def test_every_page_is_in_the_menu() -> None:
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert set(MENU) == pages | JOINED
    assert len(MENU) == len(set(MENU))


def test_no_link_between_pages_is_dead_in_the_site() -> None:
    """Pages from outside docs/ lie elsewhere there; mkdocs is not needed to find where a link leads."""
    spec = importlib.util.spec_from_file_location("site_pages", ROOT / "docs" / "site_pages.py")
    assert spec is not None
    assert spec.loader is not None
    pages = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pages)
    sources = {path.relative_to(ROOT / "docs").as_posix(): path for path in (ROOT / "docs").rglob("*")}
    sources |= {place: ROOT / source for place, source in pages.JOINED.items()}
    found = 0
    for place, source in sources.items():
        if source.suffix != ".md":
            continue
        for link in re.findall(r"\]\(([^)#\s:]+)[^):]*\)", pages.site_links(source.read_text())):
            target = os.path.normpath(os.path.join(os.path.dirname(place), link))
            assert target in sources, f"{source.name}: {link}"
            found += 1
    assert found > 50


@pytest.mark.slow
def test_the_site_builds_and_names_every_export(tmp_path: Path) -> None:
    python = ROOT / ".venv-docs" / "bin" / "python"  # of `make docs`
    if importlib.util.find_spec("mkdocs") is not None:
        python = Path(sys.executable)
    elif not python.is_file():
        pytest.skip("mkdocs is not installed; `make docs` makes an environment with it")
    done = subprocess.run(
        [str(python), "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    reference = (tmp_path / "reference.html").read_text()
    for package in (stylegan2ada, spine_plugins):
        for home, names in package._HOMES.items():
            for name in names:
                assert f'id="{package.__name__}.{home}.{name}"' in reference, name
    parts = re.compile(r'<(?:script|link|img)[^>]*(?:src|href)="(https?://[^"]*)"')
    fetched = [url for path in tmp_path.rglob("*.html") for url in parts.findall(path.read_text())]
    assert not fetched, "a page of ours fetches nothing"
