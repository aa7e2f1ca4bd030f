"""`spinegan figures`: the paper's pictures; fig4 sets real images beside generated ones."""

from __future__ import annotations

from pathlib import Path

import click

from spine_plugins.experiments.figures import class_names, draw_sheet, fake_rows, real_rows
from stylegan2ada import options
from stylegan2ada.checkpoints import load_network
from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.processes import pick_device


@click.group()
def figures() -> None:
    """Pictures for papers and pages."""


@figures.command("fig4", cls=options.Command)
@click.option("--networks", required=True, metavar="A.pkl,B.pkl", help="One panel per network")
@click.option("--data", required=True, metavar="PATH", help="Real images, the first panel")
@click.option("--out", default="fig4.png", metavar="FILE", help="Picture to write [default: fig4.png]")
@click.option("--per-class", type=click.IntRange(1, 64), default=8, help="Images of each class [default: 8]")
@click.option("--seed", type=int, default=0, help="Which reals, and the first latent seed [default: 0]")
@click.option(
    "--trunc", type=float, default=1, help="Truncation psi; the paper's figure uses none [default: 1]"
)
@click.option("--device", default="auto", help="auto, cpu, cuda, mps [default: auto]")
def fig4(networks: str, data: str, out: str, per_class: int, seed: int, trunc: float, device: str) -> None:
    """Real radiographs and those of one or more networks, a row per class, nothing hand-picked.

    \b
    spinegan figures fig4 --networks ada.pkl,spine.pkl --data spine-train.zip --out fig4.png
    """
    dataset = ImageFolderDataset(data, use_labels=True)
    panels = [("Real radiographs", real_rows(dataset, per_class, seed))]
    for path in filter(None, networks.split(",")):
        G = load_network(path)["G_ema"].to(pick_device(device))
        panels.append((Path(path).stem, fake_rows(G, dataset, per_class, seed, trunc)))
    names = class_names(dataset)
    sheet = draw_sheet(panels, names, per_class)
    sheet.save(out)
    click.echo(
        f"{out}: {len(panels)} panels, {per_class} images of each of {len(names)} classes, psi {trunc:g}"
    )
