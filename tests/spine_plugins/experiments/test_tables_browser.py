"""The page of an experiment in a browser: nothing fails, nothing is fetched, all is legible on any screen."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from spine_plugins.experiments.tables_command import tables
from tests.spine_plugins.experiments.tree import Tree
from tests.spine_plugins.report.test_browser import CONTRAST, Browser, browser

__all__ = ["browser"]  # the fixture
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = Tree(tmp_path_factory.mktemp("out")).data().row("real", 1.6, paper=0.856)
    tree.row("spine-500", 1.7, gans=3, arm="spine", paper=0.85, title="True images + SpineGAN (500) " * 3)
    tree.row("b1", 2.0, group="blog", paper=0.92, against=None).row("oracle", 3.2, group="control")
    tree.gan("ada", [[90, 60, 40], [95, 62, 43]]).gan("spine", [[80, 50, 35], [84, 52, 36]])
    tree.consistency("spine", 0, 0.8).plan(figures=["fig2"])
    result = CliRunner().invoke(tables, [str(tree.folder)])
    assert result.exit_code == 0, result.output
    return tree.folder / "index.html"


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everything_is_legible_and_inside_the_screen(
    browser: Browser,  # noqa: F811
    page: Path,
    width: int,
    theme: str,
) -> None:
    browser.events.clear()
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.call("Emulation.setDeviceMetricsOverride", **screen)
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
    browser.open(page)
    browser.value("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert browser.value("document.documentElement.scrollWidth") <= width
    (worst, *_), *_, (count, *_) = browser.value(CONTRAST)
    assert worst >= 4.5 and count > 200
    told = [e for e in browser.events if e["method"] in ("Log.entryAdded", "Runtime.exceptionThrown")]
    asked = [
        e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"
    ]
    assert told == [] and all(url.startswith(("data:", page.as_uri())) for url in asked)
