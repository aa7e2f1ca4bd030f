"""`spinegan figures`: the paper's pictures; fig3 shows what noise does, fig4 reals beside fakes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from spine_plugins.experiments.figures import (
    class_names,
    draw_sheet,
    fake_rows,
    panel_of,
    real_rows,
    rows_of_classes,
)
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


_KINDS = (".png", ".jpg", ".jpeg", ".pdf", ".tif", ".tiff", ".webp")


@dataclass(frozen=True)
class Fig4:
    """What `figures fig4` was asked."""

    networks: str
    names: str | None
    data: str
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
    options.opt("--data", required=True, metavar="PATH", help="Real images, the first panel"),
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

    \b
    spinegan figures fig4 --networks ada.pkl,spine.pkl --data spine-train.zip
    """
    options.check_writable("--out", asked.out, overwrite=asked.overwrite)
    if Path(asked.out).suffix.lower() not in _KINDS:
        raise UserError(f"--out={asked.out} is no kind of picture; let it end in {', '.join(_KINDS)}")
    paths = [path for path in asked.networks.split(",") if path]
    if not paths:
        raise UserError(f"--networks={asked.networks} names none; give one or more, with commas between")
    titles = [Path(path).stem for path in paths] if asked.names is None else asked.names.split(",")
    if len(titles) != len(paths):
        raise UserError(
            f"--names={asked.names} has {len(titles)} names for {len(paths)} networks; give one each"
        )
    voice = options.Voice(asked.json_file)
    dataset = ImageFolderDataset(asked.data, use_labels=True)
    panels = [("Real radiographs", real_rows(dataset, asked.per_class, asked.seed))]
    for path, title in zip(paths, titles):
        loaded = load_network(run_files.network_in(path), log=voice.say)
        G = synthesis.averaged_generator(loaded, pick_device(asked.device))
        panels.append((title, fake_rows(G, dataset, asked.per_class, asked.seed, asked.trunc)))
    names = class_names(dataset)
    if asked.captions:
        last = asked.seed + asked.per_class * len(names) - 1
        fakes = [(f"{title}, seeds {asked.seed} to {last}", rows) for title, rows in panels[1:]]
        panels = [panels[0], *fakes]
    draw_sheet(panels, names, asked.per_class).save(asked.out)
    voice.say(
        f"{asked.out}: {len(panels)} panels, {asked.per_class} images of each of {len(names)} classes, "
        f"psi {asked.trunc:g}"
    )
    voice.numbers({
        "file": asked.out,
        "panels": [title for title, _ in panels],
        "images_per_class": asked.per_class,
        "classes": names,
        "truncation_psi": asked.trunc,
        "first_seed": asked.seed,
    })  # fmt: skip


@dataclass(frozen=True)
class Fig3:
    """What `figures fig3` was asked."""

    runs: str
    out: str
    per_class: int
    seed: int
    device: str
    json_file: str | None


@options.command("fig3", parent=figures, record=Fig3)
@options.group(
    "What to draw",
    options.opt("--runs", required=True, metavar="A,B,...", help="A panel each: run folders, newest network"),
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
    names: list[str] = []
    for place in filter(None, asked.runs.split(",")):
        loaded = load_network(run_files.network_in(place), log=voice.say)
        G = synthesis.averaged_generator(loaded, pick_device(asked.device))
        title, guarantee = panel_of(Path(place))
        panels.append((title, rows_of_classes(G, asked.per_class, asked.seed)))
        guarantees.append(guarantee)
        card = loaded.get("card") or {}
        names = names or list(card.get("label_names") or [f"class {k}" for k in range(max(G.c_dim, 1))])
    shapes = {rows.shape for _, rows in panels}
    if len(shapes) != 1:
        raise UserError("--runs: the networks differ in classes or size; give runs on the same data")
    draw_sheet(panels, names, asked.per_class).save(asked.out)
    voice.say(f"{asked.out}: {', '.join(title for title, _ in panels)}")
    voice.numbers({
        "file": asked.out,
        "panels": [title for title, _ in panels],
        "guarantees": guarantees,
        "images_per_class": asked.per_class,
        "first_seed": asked.seed,
    })  # fmt: skip
