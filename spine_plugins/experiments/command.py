"""`spinegan figures`: the paper's pictures; fig4 sets real images beside generated ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from spine_plugins.experiments.figures import class_names, draw_sheet, fake_rows, real_rows
from stylegan2ada import options, synthesis
from stylegan2ada.checkpoints import load_network
from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.errors import UserError
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
    data: str
    out: str
    per_class: int
    seed: int
    trunc: float
    device: str
    json_file: str | None


@options.command("fig4", parent=figures, record=Fig4)
@options.group(
    "What to draw",
    options.opt("--networks", required=True, metavar="A,B", help="A panel each: files, run folders, URLs"),
    options.opt("--data", required=True, metavar="PATH", help="Real images, the first panel"),
    options.opt("--per-class", type=click.IntRange(1, 64), default=8,
                help="Images of each class [default: 8]"),
    options.opt("--seed", type=int, default=0,
                help="Which reals, and the first latent seed [default: 0]"),
    options.opt("--trunc", type=float, default=1,
                help="Truncation psi; the paper's figure uses none [default: 1]"),
    options.DEVICE,
)  # fmt: skip
@options.group(
    "Where to",
    options.opt("--out", default="fig4.png", metavar="FILE", help="Picture to write [default: fig4.png]"),
)
@options.json_option
def fig4(asked: Fig4) -> None:
    """Real radiographs and those of one or more networks, a row per class, nothing hand-picked.

    \b
    spinegan figures fig4 --networks ada.pkl,spine.pkl --data spine-train.zip --out fig4.png
    """
    voice = options.Voice(asked.json_file)
    _check_target(asked.out)
    paths = [path for path in asked.networks.split(",") if path]
    if not paths:
        raise UserError(
            f"--networks={asked.networks} names no network; give one or more, with commas between"
        )
    dataset = ImageFolderDataset(asked.data, use_labels=True)
    panels = [("Real radiographs", real_rows(dataset, asked.per_class, asked.seed))]
    for path in paths:
        loaded = load_network(run_files.network_in(path), log=voice.say)
        G = synthesis.averaged_generator(loaded, pick_device(asked.device))
        panels.append((Path(path).stem, fake_rows(G, dataset, asked.per_class, asked.seed, asked.trunc)))
    names = class_names(dataset)
    try:
        draw_sheet(panels, names, asked.per_class).save(asked.out)
    except OSError as error:
        raise UserError(
            f"--out={asked.out} cannot be written ({error.strerror or error}); give another"
        ) from error
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


def _check_target(out: str) -> None:
    """Before anything is computed: a kind of picture that can be written, in a folder that is there."""
    path = Path(out)
    if path.suffix.lower() not in _KINDS:
        raise UserError(f"--out={out} is no kind of picture; let it end in {', '.join(_KINDS)}")
    if not path.parent.is_dir():
        raise UserError(f"--out={out}: the folder {path.parent} does not exist; create it")
