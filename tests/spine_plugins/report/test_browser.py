"""The page in a real browser: nothing fails, the slider and the theme work by keyboard, contrast suffices."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from spine_plugins.report.command import report
from tests.spine_plugins.runs.making import (
    append,
    change_options,
    warn,
    write_classifier,
    write_data_set,
    write_run,
)

pytestmark = pytest.mark.slow
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
         "--remote-debugging-port=0", "--window-size=1200,900")  # fmt: skip

# Contrast of every visible text with what is behind it, by WCAG's formula; a canvas resolves any colour.
CONTRAST = r"""
(() => {
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
  };
  const linear = (v) => (v / 255 <= .04045 ? v / 255 / 12.92 : ((v / 255 + .055) / 1.055) ** 2.4);
  const light = (c) => .2126 * linear(c[0]) + .7152 * linear(c[1]) + .0722 * linear(c[2]);
  const behind = (e) => {
    const colour = e ? rgba(getComputedStyle(e).backgroundColor) : [255, 255, 255, 255];
    return colour[3] > 250 ? colour : behind(e.parentElement);
  };
  const found = [];
  for (const e of document.querySelectorAll("body *")) {
    const has = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!has || !e.getClientRects().length || e.closest("script")) continue;
    const style = getComputedStyle(e);
    const [a, b] = [light(rgba(e instanceof SVGElement ? style.fill : style.color)), light(behind(e))];
    const name = e.className.baseVal ?? e.className;
    found.push([(Math.max(a, b) + .05) / (Math.min(a, b) + .05), name, e.textContent.slice(0, 40)]);
  }
  return found.sort((a, b) => a[0] - b[0]).slice(0, 3).concat([[found.length, "texts", ""]]);
})()
"""


class Browser:
    """One tab, driven over the DevTools protocol."""

    def __init__(self, address: str) -> None:
        import websocket

        self._socket = websocket.create_connection(address, suppress_origin=True, timeout=30)
        self._numbers = itertools.count(1)
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]
            self.events.append(message)

    def value(self, expression: str) -> Any:
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key: str, code: int, text: str = "") -> None:
        more = {"text": text} if text else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code,
                      **(more if kind == "keyDown" else {}))  # fmt: skip

    def open(self, path: Path) -> None:
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=path.as_uri())
        deadline = time.monotonic() + 20
        while self.value("document.readyState") != "complete" or self.value("location.href") != path.as_uri():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    pytest.importorskip("websocket", reason="no websocket-client (pip install websocket-client)")
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"NO BROWSER: none of {', '.join(NAMES)} is installed, so the page is not tested in one")
    profile = tmp_path_factory.mktemp("profile")
    process = subprocess.Popen(
        [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield (tab := Browser(_tab(profile, process)))
        with contextlib.suppress(Exception):
            tab.call("Browser.close")
        tab.close()
        process.wait(timeout=15)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _tab(profile: Path, process: subprocess.Popen) -> str:
    import urllib.request

    deadline = time.monotonic() + 30
    while not (profile / "DevToolsActivePort").is_file():
        assert process.poll() is None, "the browser ended at once"
        assert time.monotonic() < deadline, "the browser does not start"
        time.sleep(0.05)
    port = (profile / "DevToolsActivePort").read_text().split()[0]
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        with opener.open(f"http://127.0.0.1:{port}/json/list", timeout=10) as answer:
            tabs = [tab for tab in json.load(answer) if tab["type"] == "page"]
        if tabs:
            return tabs[0]["webSocketDebuggerUrl"]
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with every kind of part and every level of warning."""
    place = tmp_path_factory.mktemp("place")
    run = write_run(place / "00000-<b>x", write_data_set(place), write_classifier(place))
    change_options(run, spinegan__card__starts_from=[{"origin": "ffhq256.pkl", "sha256": "ab" * 32}])
    warn(run, "collapse", "<script>alert(1)</script>")
    append(run / "metric-fid1k_tiny.jsonl", {"results": {"fid1k_tiny": 0.1}, "is_comparable": False,
                                             "detector": "tiny", "snapshot_pkl": "n-000200.pkl"})  # fmt: skip
    (run / "x_card.json").write_text('{"is_synthetic": true, "images_per_class": 5}')
    result = CliRunner().invoke(report, [str(run)])
    assert result.exit_code == 0, result.output
    return run / "report.html"


@pytest.fixture
def tab(browser: Browser, written: Path) -> Browser:
    browser.events.clear()
    browser.open(written)
    return browser


def test_nothing_fails_and_nothing_is_fetched(tab: Browser, written: Path) -> None:
    parts = tab.value("[...document.querySelectorAll('main > section')].map((s) => s.id)")
    assert parts == ["summary", "warnings", "images", "metrics", "judge", "training", "data", "classifier",
                     "synthetic", "making"]  # fmt: skip
    assert tab.value("[...document.images].every((i) => i.complete && i.naturalWidth > 0)")
    assert tab.value("document.querySelectorAll('.chart').length") == 15
    assert tab.value("document.documentElement.scrollWidth <= innerWidth")
    bad = [
        e
        for e in tab.events
        if e["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")
        or (e["method"] == "Runtime.consoleAPICalled" and e["params"]["type"] in ("error", "warning"))
    ]
    assert bad == []
    fetched = {
        e["params"]["request"]["url"] for e in tab.events if e["method"] == "Network.requestWillBeSent"
    }
    assert {url for url in fetched if not url.startswith("data:")} == {written.as_uri()}


def test_the_slider_turns_images_and_label_by_keyboard(tab: Browser) -> None:
    shown = ("[...document.querySelectorAll('#frames0 > *, #classes0 > *')].filter((f) => !f.hidden)"
             ".map((f) => f.dataset.label)")  # fmt: skip
    source = "[...document.querySelectorAll('#frames0 img')].find((i) => i.getClientRects().length).src"
    tab.value("document.getElementById('slider0').focus()")
    assert tab.value(shown) == ["200 kimg", "200 kimg"]
    last = tab.value(source)
    tab.press("ArrowLeft", 37)
    assert tab.value(shown) == ["133 kimg", "133 kimg"]
    assert tab.value("document.getElementById('slider0-label').textContent") == "133 kimg (3 of 4)"
    assert (
        tab.value("document.getElementById('slider0').getAttribute('aria-valuetext')") == "133 kimg (3 of 4)"
    )
    assert tab.value(source) != last
    tab.press("Home", 36)
    assert tab.value(shown) == ["before training", "before training"]
    tab.press("End", 35)
    assert tab.value(source) == last


def test_curves_are_read_by_keyboard(tab: Browser) -> None:
    tab.value("document.querySelector('#s0-title').closest('figure').querySelector('.plot').focus()")
    out = "document.getElementById('s0-out').textContent"
    assert "Latest" in tab.value(out)
    tab.press("Home", 36)
    assert tab.value(out) == "10 kimg: generator 1.2 \u00b7 discriminator 0.9"
    tab.press("ArrowRight", 39)
    assert tab.value(out).startswith("20 kimg: generator 1.253")


def test_the_first_stop_of_the_keyboard_skips_to_the_content(tab: Browser) -> None:
    tab.press("Tab", 9)
    assert tab.value("document.activeElement.className") == "skip"
    assert tab.value("document.activeElement.getBoundingClientRect().left") >= 0
    tab.press("Enter", 13, "\r")
    assert tab.value("location.hash") == "#content"


@pytest.mark.parametrize("system", ["light", "dark"])
def test_theme_follows_the_system_and_the_button(tab: Browser, system: str) -> None:
    tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": system}])
    background = "getComputedStyle(document.body).backgroundColor"
    colours = {"light": "rgb(246, 247, 249)", "dark": "rgb(16, 20, 26)"}
    other = {"light": "dark", "dark": "light"}[system]
    tab.value("localStorage.removeItem('spinegan-theme'); delete document.documentElement.dataset.theme")
    assert tab.value(background) == colours[system]
    tab.value("document.getElementById('theme').focus()")
    tab.press("Enter", 13, "\r")
    assert tab.value(background) == colours[other]
    assert tab.value("document.getElementById('theme').textContent") == f"{system.capitalize()} theme"
    tab.press("Enter", 13, "\r")
    assert tab.value(background) == colours[system]


@pytest.mark.parametrize("system", ["light", "dark"])
def test_contrast(tab: Browser, system: str) -> None:
    tab.value(f"document.documentElement.dataset.theme = '{system}'")
    tab.value("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    *lowest, counted = tab.value(CONTRAST)
    assert counted[0] > 300
    assert lowest[0][0] >= 4.5, lowest


@pytest.mark.parametrize("width", [360, 760])
def test_narrow_windows_do_not_scroll_sideways(tab: Browser, width: int) -> None:
    tab.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
    try:
        assert tab.value("document.documentElement.scrollWidth") <= width
    finally:
        tab.call("Emulation.clearDeviceMetricsOverride")
