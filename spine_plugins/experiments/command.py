"""`spinegan figures`: the paper's pictures from formulas (fig1), run folders (fig2, fig3) and data (fig4)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from spine_plugins.compare import joined
from spine_plugins.experiments import curves, pictures, plots
from spine_plugins.experiments.figures import (
    Panel,
    class_names,
    draw_sheet,
    fake_panel,
    panel_of,
    real_rows,
    rows_of_classes,
)
from spine_plugins.runs import naming
from spine_plugins.runs.reading import read_run
from stylegan2ada import options, synthesis
from stylegan2ada.checkpoints import load_network
from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.errors import UserError
from stylegan2ada.flag_types import PSI, SEED
from stylegan2ada.processes import pick_device
from stylegan2ada.training import run_files


@click.group()
def figures() -> None:
    """Pictures for papers and pages."""


@dataclass(frozen=True)
class Fig1:
    """What `figures fig1` was asked."""

    out: str
    overwrite: bool
    json_file: str | None


@options.command("fig1", parent=figures, record=Fig1)
@options.group(
    "Where to",
    options.opt("--out", default="fig1.png", metavar="FILE.png",
                help="Picture to write, its numbers beside it as .csv [default: fig1.png]"),
    options.OVERWRITE,
)  # fmt: skip
@options.json_option
def fig1(asked: Fig1) -> None:
    """The paper's Figure 1, epsilon against noise, by its formulas (minutes); see `spinegan dp figure1`."""
    options.check_writable("--out", asked.out, overwrite=asked.overwrite)
    voice, out = options.Voice(asked.json_file), Path(asked.out)
    pictures.figure1(None, out)
    voice.say(f"{out} and {out.with_suffix('.csv')}; guarantee: none")
    voice.numbers({"file": out, "csv": out.with_suffix(".csv"), "guarantee": "none"})


@dataclass(frozen=True)
class Fig2:
    """What `figures fig2` was asked."""

    runs: str
    names: str | None
    out: str
    overwrite: bool
    json_file: str | None


@options.command("fig2", parent=figures, record=Fig2)
@options.group(
    "What to draw",
    options.opt("--runs", required=True, metavar="A,B,...",
                help="Run folders; those that differ in their seed alone make one curve with a band"),
    options.opt("--names", metavar="A,B", help="Titles of the curves [default: what differs]"),
)  # fmt: skip
@options.group(
    "Where to",
    options.opt("--out", default="fig2.png", metavar="FILE.png", help="Picture to write [default: fig2.png]"),
    options.OVERWRITE,
)
@options.json_option
def fig2(asked: Fig2) -> None:
    """The paper's Figure 2: FID, precision and recall over training, from the metrics of run folders.

    \b
    spinegan figures fig2 --runs runs/00000-ada,runs/00001-spine --out fig2.png
    """
    options.check_writable("--out", asked.out, overwrite=asked.overwrite)
    runs = naming.by_difference([read_run(place) for place in asked.runs.split(",") if place])
    groups = joined.arms(runs)
    titles = asked.names.split(",") if asked.names else [runs[g[0]].label or runs[g[0]].name for g in groups]
    if len(titles) != len(groups):
        raise UserError(
            f"--names={asked.names} has {len(titles)} names for {len(groups)} curves; give one each"
        )
    found = [
        t for title, group in zip(titles, groups) for t in curves.of_runs(title, [runs[i] for i in group])
    ]
    drawn = plots.figure2(found, curves.series_of(found), Path(asked.out))
    voice = options.Voice(asked.json_file)
    voice.say(f"{asked.out}: {', '.join(drawn)} of {', '.join(titles)}")
    arms = [{"title": title, "runs": len(group)} for title, group in zip(titles, groups)]
    voice.numbers({"file": asked.out, "drawn": drawn, "arms": arms})


_KINDS = (".png", ".jpg", ".jpeg", ".pdf", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class Fig4:
    """What `figures fig4` was asked."""

    networks: str
    names: str | None
    data: tuple[str, ...]
    out: str
    overwrite: bool
    captions: bool
    per_class: int
    seed: int
    trunc: float
    device: str
    json_file: str | None


@options.command("fig4", parent=figures, record=Fig4)
@options.group(
    "What to draw",
    options.opt("--networks", required=True, metavar="A,B", help="A panel each: files, run folders, URLs"),
    options.opt("--names", metavar="A,B", help="Titles of their panels [default: names of the files]"),
    options.opt("--data", required=True, multiple=True, metavar="PATH",
                help="Real images, a panel each; they name the classes of networks (repeatable)"),
    options.opt("--per-class", type=click.IntRange(1, 64), default=8,
                help="Images of each class [default: 8]"),
    options.opt("--seed", type=SEED, default=0,
                help="Which reals, and the first latent seed [default: 0]"),
    options.opt("--trunc", type=PSI, default=1,
                help="Truncation psi; the paper's figure uses none [default: 1]"),
    options.DEVICE,
)  # fmt: skip
@options.group(
    "Where to",
    options.opt("--out", default="fig4.png", metavar="FILE", help="Picture to write [default: fig4.png]"),
    options.OVERWRITE,
    options.opt("--captions", is_flag=True, help="Also the seeds of every panel"),
)
@options.json_option
def fig4(asked: Fig4) -> None:
    """Real radiographs and those of one or more networks, a row per class, nothing hand-picked.

    Networks of two and of eight classes may stand on one sheet: each panel has its own.

    \b
    spinegan figures fig4 --networks ada.pkl,spine.pkl --data spine-train.zip
    spinegan figures fig4 --networks spine.pkl,multi.pkl --data two.zip \\
        --data eight.zip
    """
    options.check_writable("--out", asked.out, overwrite=asked.overwrite)
    _check_kind(asked.out)
    paths = [path for path in asked.networks.split(",") if path]
    if not paths:
        raise UserError(f"--networks={asked.networks} names none; give one or more, with commas between")
    titles = _titles(asked.names, "networks", paths) or [Path(path).stem for path in paths]
    voice = options.Voice(asked.json_file)
    datasets = [ImageFolderDataset(path, use_labels=True) for path in asked.data]
    panels = [_reals(dataset, asked, len(datasets) > 1) for dataset in datasets]
    for path, title in zip(paths, titles):
        loaded = load_network(run_files.network_in(path), log=voice.say)
        G = synthesis.averaged_generator(loaded, pick_device(asked.device))
        known = (loaded.get("card") or {}).get("label_names") or ()
        panel = fake_panel(G, title, datasets, asked.per_class, asked.seed, asked.trunc, known)
        last = asked.seed + asked.per_class * len(panel.names) - 1
        said = f"{title}, seeds {asked.seed} to {last}" if asked.captions else title
        panels.append(panel._replace(title=said))
    draw_sheet(panels, asked.per_class).save(asked.out)
    counts = sorted({len(panel.names) for panel in panels})
    voice.say(
        f"{asked.out}: {len(panels)} panels, {asked.per_class} images of each of "
        f"{' or '.join(map(str, counts))} classes, psi {asked.trunc:g}"
    )
    voice.numbers({
        "file": asked.out,
        "panels": [panel.title for panel in panels],
        "images_per_class": asked.per_class,
        "classes": panels[0].names,
        "classes_of_panels": [panel.names for panel in panels],
        "truncation_psi": asked.trunc,
        "first_seed": asked.seed,
    })  # fmt: skip


def _titles(names: str | None, of_what: str, paths: list[str]) -> list[str] | None:
    titles = None if names is None else names.split(",")
    if titles is not None and len(titles) != len(paths):
        raise UserError(f"--names={names} has {len(titles)} names for {len(paths)} {of_what}; give one each")
    return titles


def _reals(dataset: ImageFolderDataset, asked: Fig4, are_several: bool) -> Panel:
    names = class_names(dataset)
    title = f"Real radiographs, {len(names)} classes" if are_several else "Real radiographs"
    return Panel(title, real_rows(dataset, asked.per_class, asked.seed), names)


def _check_kind(out: str) -> None:
    if Path(out).suffix.lower() not in _KINDS:
        raise UserError(f"--out={out} is no kind of picture; let it end in {', '.join(_KINDS)}")


@dataclass(frozen=True)
class Fig3:
    """What `figures fig3` was asked."""

    runs: str
    names: str | None
    out: str
    per_class: int
    seed: int
    device: str
    json_file: str | None


@options.command("fig3", parent=figures, record=Fig3)
@options.group(
    "What to draw",
    options.opt("--runs", required=True, metavar="A,B,...", help="A panel each: run folders, newest network"),
    options.opt("--names", metavar="A,B,...", help="What to call them [default: folder, or its noise]"),
    options.opt("--per-class", type=click.IntRange(1, 64), default=8,
                help="Images of each class [default: 8]"),
    options.opt("--seed", type=SEED, default=0, help="The first latent seed [default: 0]"),
    options.DEVICE,
)  # fmt: skip
@options.group(
    "Where to",
    options.opt("--out", default="fig3.png", metavar="FILE", help="Picture to write [default: fig3.png]"),
)
@options.json_option
def fig3(asked: Fig3) -> None:
    """The paper's Figure 3 from its runs: fakes without and with clipping and noise; guarantee: none.

    \b
    spinegan figures fig3 --runs runs/00000-spine,runs/00001-dp-b \\
        --out fig3.png
    """
    voice = options.Voice(asked.json_file)
    panels, guarantees = [], []
    places = [place for place in asked.runs.split(",") if place]
    titles = _titles(asked.names, "runs", places)
    for k, place in enumerate(places):
        loaded = load_network(run_files.network_in(place), log=voice.say)
        G = synthesis.averaged_generator(loaded, pick_device(asked.device))
        title, guarantee = panel_of(Path(place), None if titles is None else titles[k])
        guarantees.append(guarantee)
        card = loaded.get("card") or {}
        names = list(card.get("label_names") or [f"class {k}" for k in range(max(G.c_dim, 1))])
        panels.append(Panel(title, rows_of_classes(G, asked.per_class, asked.seed), names))
    shapes = {panel.images.shape for panel in panels}
    if len(shapes) != 1:
        raise UserError("--runs: the networks differ in classes or size; give runs on the same data")
    draw_sheet(panels, asked.per_class).save(asked.out)
    voice.say(f"{asked.out}: {', '.join(panel.title for panel in panels)}")
    voice.numbers({
        "file": asked.out,
        "panels": [panel.title for panel in panels],
        "guarantees": guarantees,
        "images_per_class": asked.per_class,
        "first_seed": asked.seed,
    })  # fmt: skip
