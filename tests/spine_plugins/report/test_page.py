"""The page is complete, keeps to itself, and no text from a file can become markup."""

from __future__ import annotations

import html.parser
import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from spine_plugins.markup import Safe, tag
from spine_plugins.pages.pictures import thumbnail
from spine_plugins.report import page as room
from spine_plugins.report.command import report
from spine_plugins.runs.documents import cell, read_json
from stylegan2ada.training import run_files
from tests.spine_plugins.runs.making import (
    append,
    change_options,
    forget_end,
    grid_png,
    mean,
    stats_row,
    warn,
    write_run,
)

VOID = {"meta", "link", "img", "input"}
EVIL = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'&amp;</svg>\u202e\x00"


class Reader(html.parser.HTMLParser):
    """Elements, visible text, and whether every element is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert not self._open, self._open

    def handle_starttag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"<{name}> repeats an attribute"
        self.elements.append((name, dict(attrs)))
        if name not in VOID:
            self._open.append(name)

    def handle_endtag(self, name: str) -> None:
        assert self._open.pop() == name

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("script", "style"):
            self.text += data + " "

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attrs for found, attrs in self.elements if found == name]


def make(*args: object, code: int = 0) -> str:
    result = CliRunner().invoke(report, [str(arg) for arg in args])
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.output


def page_of(run: Path, *args: object) -> Reader:
    make(run, *args)
    return Reader((run / "report.html").read_text(encoding="utf-8"))


def test_it_shows_every_part(run_dir: Path) -> None:
    page = page_of(run_dir)
    titles = "Summary Warnings Images Metrics Independent Training Data Classifier How".split()
    assert [t for t in titles if t not in page.text] == []
    assert "200 kimg" in page.text and "of 200, 100%" in page.text and "finished" in page.text
    assert "30.85" in page.text  # 123.4 / 4, the last FID
    assert "80.0%" in page.text  # of the judge
    assert "0.727 (0.551 \u2013 0.898)" in page.text  # the classifier's AUC
    assert "numpy 2.4.6" in page.text and "torch 2.13.0" in page.text
    assert "5 of 480 source files failed to convert" in page.text
    assert re.search(r"normal\s+250", page.text)
    assert len(page.all("figure")) == 14 + 1 + 4 + 8 + 2  # charts, reals, fakes, classes, data set


def test_figures_are_the_expected_ones(run_dir: Path) -> None:
    """Charts: FID, three of the judge, ten of the statistics; and one picture for each file."""
    text = (page_of(run_dir), (run_dir / "report.html").read_text())[1]
    titles = re.findall(r'<h3 id="[smj]\d+-title">([^<]*)', text)
    assert len(titles) == len(set(titles)) == 1 + 3 + 10
    assert "Loss/G/mine" in titles  # a plug-in's loss, unknown here
    assert "Loss/G/reg" not in titles


def test_it_loads_nothing_from_anywhere(run_dir: Path) -> None:
    page = page_of(run_dir)
    for name, attrs in page.elements:
        for key in ("src", "srcset", "href", "data", "action", "poster", "xlink:href"):
            value = attrs.get(key)
            if value is None:
                continue
            is_inside = value.startswith(("data:", "#"))
            assert is_inside or (name == "a" and value.startswith("./")), (name, key, value)
        assert not [key for key in attrs if key.startswith("on") or key == "style"], attrs
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv"))
    assert policy is not None and policy.startswith("default-src 'none'; img-src data:;")
    text = (run_dir / "report.html").read_text()
    assert not re.search(r"@import|url\(|https?://", text)


def test_links_lead_to_the_originals(run_dir: Path, place: Path) -> None:
    target = place / "elsewhere"
    target.mkdir()
    make(run_dir, "--out", target / "page.html")
    page = Reader((target / "page.html").read_text())
    links = [a["href"] for a in page.all("a") if a.get("class") == "original"]
    assert len(links) == 1 + 4 + 8 + 2
    assert all((target / str(link)).is_file() for link in links)


def test_no_text_becomes_markup(place: Path) -> None:
    """Names and options full of markup stay text, and the tree of elements stays the same."""
    name = "<img src=x onerror=alert(1)>\"'&amp;"
    plain = write_run(place / "plain", place / "spine-train.zip", place / "classifier.safetensors")
    evil = write_run(place / name, place / "spine-train.zip", place / "classifier.safetensors")
    before = [found for found, _ in page_of(plain).elements]
    change_options(evil, training_set_kwargs__class_name=EVIL, spinegan__desc=EVIL,
                   spinegan__provenance__version=EVIL, spinegan__provenance__command=["a.py", EVIL],
                   spinegan__provenance__libraries={EVIL: EVIL})  # fmt: skip
    page = page_of(evil)
    assert [found for found, _ in page.elements] == before
    assert len(page.all("script")) == 1
    assert name in page.text and "<script>alert(1)" in page.text
    text = (evil / "report.html").read_text()
    assert "\x00" not in text and "\u202e" not in text
    # Further places: names of statistics, metrics, classes, log lines, cards.
    append(evil / "stats.jsonl", {f"Loss/{EVIL}": mean(1), "Progress/kimg": mean(201)})
    append(
        evil / f"metric-{name.replace('/', '')}.jsonl",
        {"results": {EVIL: 1.5}, "detector": EVIL, "is_comparable": False, "snapshot_pkl": "a-000200.pkl"},
    )
    append(
        evil / "judge.jsonl", {"kimg": 200, "accuracy": 0.5, EVIL: 0.5, "classes": {EVIL: {"accuracy": 1}}}
    )
    warn(evil, "disk", EVIL)
    warn(evil, EVIL, "text")
    run_files.add_event(evil, "diverged", kimg=200, text=EVIL)
    grid_png(evil / "classes" / "fakes000200-class2-'><b>.png", 8, 4, 0)
    (evil / "x_card.json").write_text(json.dumps({"is_synthetic": True, "network": EVIL, "tool": EVIL}))
    full = page_of(evil)
    assert len(full.all("script")) == 1 and not full.all("b><")
    assert all(not key.startswith("on") for _, attrs in full.elements for key in attrs)


def test_folders_are_left_out_unless_asked_for(run_dir: Path) -> None:
    warn(run_dir, "disk", "see /home/mueller/patients/list.csv for more")
    page_of(run_dir)
    text = (run_dir / "report.html").read_text()
    assert "mueller" not in text and str(run_dir.parent.parent) not in text
    assert "python train_spine.py" in text and "--data=\u2026/spine-train.zip" in text
    assert "see \u2026/list.csv for more" in text
    full = page_of(run_dir, "--paths")
    assert "/home/mueller/spine/train_spine.py" in full.text


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite(run_dir: Path, value: float) -> None:
    append(run_dir / "stats.jsonl", stats_row(210, 1) | {"Loss/D/loss": mean(value)})
    page = page_of(run_dir)
    assert "Loss/D/loss is not a finite number in 1 tick(s), first at 210 kimg" in page.text
    for plot in page.all("div"):
        if "data-lines" in plot:
            json.loads(str(plot["data-lines"]), parse_constant=lambda word: pytest.fail(word))
    paths = [p["d"] or "" for p in page.all("path")]
    assert paths and not [d for d in paths if re.search("nan|inf", d, re.IGNORECASE)]


def test_a_run_in_progress(run_dir: Path) -> None:
    forget_end(run_dir)
    for name in ("stats.jsonl", "metric-fid50k_full.jsonl", "judge.jsonl"):
        with open(run_dir / name, "a") as file:
            file.write('{"Loss/G/loss": {"num": 1, "me')  # being written just now
    (run_dir / "fakes000200.png").write_bytes((run_dir / "fakes000200.png").read_bytes()[:90])
    change_options(run_dir, total_kimg=400)
    page = page_of(run_dir)
    assert "in progress" in page.text and "Still to go" in page.text
    assert "fakes000200.png cannot be read" in page.text
    assert "Damaged" not in page.text


def test_a_run_without_an_end(run_dir: Path) -> None:
    """Nobody can say how long it still takes."""
    forget_end(run_dir)
    change_options(run_dir, total_kimg=float("inf"), ada_target=float("inf"))
    page = page_of(run_dir)
    assert "200 kimg" in page.text and "Still to go" not in page.text and "target inf" not in page.text
    change_options(run_dir, total_kimg=1e308)  # so many seconds are no number
    assert re.search("Still to go\\s+\u2013", page_of(run_dir).text)


def test_damage_in_the_middle_is_told(run_dir: Path) -> None:
    lines = (run_dir / "stats.jsonl").read_bytes().split(b"\n")
    (run_dir / "stats.jsonl").write_bytes(b"\n".join([*lines[:3], b"\xff\xfe{", b"[1]", *lines[3:]]))
    assert "stats.jsonl: 2 unreadable line(s)" in page_of(run_dir).text


def test_files_may_be_missing(run_dir: Path, place: Path) -> None:
    for path in [
        *run_dir.rglob("*.png"),
        *run_dir.glob("*.jsonl"),
        *place.glob("spine*"),
        *place.glob("class*"),
    ]:
        path.unlink()
    page = page_of(run_dir)
    assert "No tick is finished yet" in page.text and "Nothing was measured yet" in page.text
    assert "spine-train.zip is not where the run recorded it" in page.text
    (run_dir / "training_options.json").write_text("{")
    assert "neither training_options.json nor stats.jsonl" in make(run_dir, code=4)


def test_a_foreign_run(place: Path) -> None:
    """A run of another program: upstream's keys only."""
    run = write_run(place / "00000-x", place / "spine-train.zip", place / "classifier.safetensors")
    options = json.loads((run / "training_options.json").read_text())
    del options["spinegan"]
    options["loss_kwargs"] = {"class_name": "training.loss.StyleGAN2Loss", "r1_gamma": 1}
    (run / "training_options.json").write_text(json.dumps(options))
    page = page_of(run)
    assert "not started by this program" in page.text and "stylegan2 loss" in page.text


def test_several_runs_share_curves_and_show_what_differs(run_dir: Path, place: Path) -> None:
    other = write_run(
        place / "runs" / "00001-b", place / "spine-train.zip", place / "classifier.safetensors", ticks=10
    )
    change_options(other, loss_kwargs__r1_gamma=7.5)
    append(
        other / "metric-fid50k_full.jsonl",
        {
            "results": {"fid50k_full": 9},
            "detector_sha256": "z",
            "snapshot_pkl": "network-snapshot-000100.pkl",
        },
    )
    make(run_dir, other)
    text = (run_dir / "report.html").read_text()
    page = Reader(text)
    assert "2 runs compared" in page.text
    losses = next(
        json.loads(str(d["data-lines"])) for d in page.all("div") if d.get("aria-describedby") == "s0-out"
    )
    assert [(line["n"], len(line["p"]), line["c"]) for line in losses] == [
        ("A gamma 0.05: generator", 20, 0), ("B gamma 7.5: generator", 10, 1),
        ("A gamma 0.05: discriminator", 20, 0), ("B gamma 7.5: discriminator", 10, 1)]  # fmt: skip
    differing = text[text.index("Options that differ") :].split("</table>")[0]
    assert "loss_kwargs.r1_gamma" in differing and "batch_size" not in differing
    assert "fid50k_full was measured with different detectors" in page.text
    assert len([i for i in page.all("input") if i["type"] == "range"]) == 2


def test_a_part_of_a_later_room_slots_in_by_file(
    run_dir: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function that reads a file of the run folder, and a line in PARTS; without the file, nothing."""

    def audit(content: room.Content) -> Safe | None:
        found = [read_json(run.folder / "audit.json").get("verdict") for run in content.runs]
        return tag("p", f"Verdict: {cell(found[0])}") if any(found) else None

    before = [part["id"] for part in page_of(run_dir).all("section")]
    assert before == ["summary", "warnings", "images", "metrics", "judge", "training", "data", "classifier",
                      "making"]  # fmt: skip
    monkeypatch.setattr(room, "PARTS", [*room.PARTS[:2], ("audit", "Audit", audit), *room.PARTS[2:]])
    assert [part["id"] for part in page_of(run_dir).all("section")] == before
    (run_dir / "audit.json").write_text('{"verdict": "<NO EVIDENCE>"}')
    page = page_of(run_dir)
    assert [part["id"] for part in page.all("section")] == [*before[:2], "audit", *before[2:]]
    assert "Verdict: <NO EVIDENCE>" in page.text and {"href": "#audit"} in page.all("a")


@pytest.mark.parametrize("budget", [400e3, 100e3, 30e3])
def test_a_small_copy_keeps_to_its_budget(tmp_path: Path, budget: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (384, 768), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    found = thumbnail(tmp_path / "a.png", budget, cell=64)
    assert found is not None and budget / 20 < len(found.data) <= budget
    assert (found.columns, found.rows, found.of) == (10, 6, (12, 6))
    assert (found.width, found.height) == (640, 384)


@pytest.mark.slow
def test_twenty_five_snapshots_stay_small(place: Path) -> None:
    """Noise, which nothing compresses, at the size of real grids."""
    run = write_run(
        place / "00000-x", place / "spine-train.zip", place / "classifier.safetensors", snapshots=0
    )
    change_options(run, training_set_kwargs__resolution=128)
    noise = np.random.default_rng(0).integers(0, 256, (1024, 1536), dtype=np.uint8)
    Image.fromarray(noise).save(run / "fakes000000.png", compress_level=0)
    for i in range(1, 25):
        (run / f"fakes{i:06d}.png").hardlink_to(run / "fakes000000.png")
    make(run)
    size = (run / "report.html").stat().st_size
    assert 1e6 < size < 15e6
    page = Reader((run / "report.html").read_text())
    assert "first 10 \u00d7 6 of 12 \u00d7 8" in page.text


def test_synthetic_sets_are_described(run_dir: Path, place: Path) -> None:
    card = {
        "tool": "generate",
        "version": "0.1.0",
        "is_synthetic": True,
        "network": "/a/b/n-000200.pkl",
        "images_per_class": 321,
        "classes": [0, 1],
        "truncation_psi": 0.7,
        "sha256": "ef" * 32,
    }
    (place / "syn_card.json").write_text(json.dumps(card))
    assert "Synthetic data" not in page_of(run_dir).text
    page = page_of(run_dir, "--synthetic", place / "syn.zip")
    assert "Synthetic data" in page.text and "321" in page.text and "n-000200.pkl" in page.text


def test_reading_and_seeing_are_for_all(run_dir: Path) -> None:
    """Alternative texts, labels, one h1, heads of tables, ids used once and pointing somewhere."""
    page = page_of(run_dir)
    assert all(image["alt"] for image in page.all("img"))
    assert len(page.all("h1")) == 1 and len(page.all("main")) == 1
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    for _, attrs in page.elements:
        for key in ("for", "aria-labelledby", "aria-describedby"):
            assert attrs.get(key) in (None, *ids), (key, attrs)
        if (attrs.get("href") or "").startswith("#"):
            assert str(attrs["href"])[1:] in ids
    labelled = {attrs["for"] for attrs in page.all("label")}
    assert all(control["id"] in labelled for control in page.all("input"))
    assert all(svg.get("aria-hidden") or svg.get("aria-label") for svg in page.all("svg"))
    assert all("scope" in th for th in page.all("th"))
