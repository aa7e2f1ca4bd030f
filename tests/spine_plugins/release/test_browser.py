"""Audit page and card in a real browser: contrast in both themes, narrow screens, print, nothing fetched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spine_plugins.audit.report import page
from spine_plugins.release.pages import html
from tests.spine_plugins.release.making import TEST
from tests.spine_plugins.release.test_command import made
from tests.spine_plugins.report.test_browser import CONTRAST, Browser, browser

__all__ = ["browser"]  # a fixture, found by its name here
pytestmark = pytest.mark.slow
POWER = [
    {"kind": kind, "share": share, "detected": seen}
    for kind in ("exact", "zoom", "same_patient")
    for share, seen in ((0.001, 0.0), (0.01, 0.9), (0.1, 1.0))
]


@pytest.fixture(scope="module", params=["FAIL", "NO EVIDENCE", "UNDERPOWERED"])
def pages(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """audit.html and card.html of every verdict."""
    folder = tmp_path_factory.mktemp("pages")
    out, result = made(folder, "--accept-risk=Dr X, a demonstration", verdict=request.param)
    assert result.exit_code == 0, result.output
    found = json.loads((folder / "audit" / "audit.json").read_text())
    found["tests"]["copies"] |= TEST | {"power": POWER, "verdict": request.param}
    found["ratios"] = {"edges": [0, 0.5, 1], "train": [3, 40], "holdout": [0, 39]}
    found["compared"] = [{"features": {"name": "tiny"}, "tests": {"copies": TEST}}]
    (folder / "audit.html").write_text(page(found))
    assert html(json.loads((out / "card.json").read_text())) == (out / "card.html").read_text()
    return [folder / "audit.html", out / "card.html"]


def test_pages_work_in_both_themes_and_on_narrow_screens(browser: Browser, pages: list[Path]) -> None:  # noqa: F811
    for place in pages:
        browser.events.clear()
        browser.call("Emulation.clearDeviceMetricsOverride")
        browser.open(place)
        for theme in ("light", "dark"):
            browser.value(f"document.documentElement.dataset.theme = '{theme}'")
            *lowest, counted = browser.value(CONTRAST)
            assert counted[0] > 20
            assert lowest[0][0] >= 4.5, (place.name, theme, lowest)
        for width in (390, 800):
            screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
            browser.call("Emulation.setDeviceMetricsOverride", **screen)
            assert browser.value("document.documentElement.scrollWidth <= innerWidth"), (place.name, width)
        bad = [e for e in browser.events if e["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")]
        assert bad == []
        fetched = {
            e["params"]["request"]["url"]
            for e in browser.events
            if e["method"] == "Network.requestWillBeSent"
        }
        assert {url for url in fetched if not url.startswith("data:")} == {place.as_uri()}
        assert len(browser.call("Page.printToPDF")["data"]) > 10_000
