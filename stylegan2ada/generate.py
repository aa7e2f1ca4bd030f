"""Draw images from a network: `python stylegan2ada/generate.py --network=... --seeds=0-9 --outdir=...`."""

from __future__ import annotations

if __name__ == "__main__" and not __package__:
    import as_script  # noqa: F401
elif __name__ == "__main__":  # python -m
    import stylegan2ada.as_script  # noqa: F401

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch

from stylegan2ada import flag_types, options, synthesis
from stylegan2ada.checkpoints import load_network
from stylegan2ada.drawing import strips
from stylegan2ada.drawing.arithmetic import Arithmetic
from stylegan2ada.drawing.labelled_set import write_set
from stylegan2ada.drawing.numbered import write_images
from stylegan2ada.drawing.renderer import Renderer
from stylegan2ada.drawing.set_labels import Wanted
from stylegan2ada.errors import UserError
from stylegan2ada.lazy import is_command
from stylegan2ada.ops import choice
from stylegan2ada.processes import pick_device
from stylegan2ada.protocols import Card, Generator


@dataclass(frozen=True)
class Generate:
    """What `generate` was asked."""

    network: str
    device: str
    seeds: list[int] | None
    projected_w: str | None
    per_class: int | None
    labels_from: str | None
    expr: str | None
    direction: str | None
    amount: str
    class_idx: int | str | None
    label: str | None
    trunc: float
    noise_mode: str
    outdir: str
    grid: bool
    captions: bool
    batch: int
    ops: str | None
    graphs: str | None
    json_file: str | None

    @property
    def class_number(self) -> int | None:
        """Once the network has been asked for its names."""
        assert not isinstance(self.class_idx, str), self.class_idx
        return self.class_idx


@options.command(record=Generate)
@options.network_option
@options.group(
    "What to draw",
    options.opt("--seeds", type=flag_types.Seeds(), help="One image per seed"),
    options.opt("--projected-w", metavar="FILE", help="Draw the w of this .npz instead of seeds"),
    options.opt("--per-class", type=int, metavar="INT", help="A labelled data set: this many of every class"),
    options.opt("--labels-from", metavar="FILE.csv",
                help="A labelled data set: an image per row, its label in the columns of the classes"),
)  # fmt: skip
@options.group(
    "Arithmetic with latents",
    options.opt("--expr", metavar="TEXT",
                help="Draw a sum, and what it is made of: w(3)-w(7)+w(12); w(0-99) is the mean of seeds, "
                "w(3,'abnormal') has a class, mean('abnormal') is a class's own"),
    options.opt("--direction", metavar="CLASS:CLASS",
                help="Move the --seeds of the first class towards the second"),
    options.opt("--amount", default="-2..2", metavar="A..B|A,B,C",
                help="How far, 1 being the second class's mean [default: -2..2]"),
)  # fmt: skip
@options.label_options
@options.image_options
@options.group(
    "Where to",
    options.opt("--outdir", required=True, metavar="DIR|ZIP", help="Folder, or the .zip of --per-class"),
    options.opt("--grid", is_flag=True, help="Also one picture of all, grid.png"),
    options.opt("--captions", is_flag=True, help="The same with the seed and class of every image on it"),
    options.opt(
        "--batch", type=click.IntRange(1), default=16, metavar="INT", help="Images at once [default: 16]"
    ),
)
@options.speed_options
@options.json_option
def main(asked: Generate) -> None:
    """Draw images, or a whole labelled data set, from a trained network.

    \b
    generate.py --network=net.pkl --seeds=0-63 --class=1 --trunc=0.7 --outdir=out
    generate.py --network=net.pkl --per-class=5000 --outdir=synthetic.zip
    generate.py --network=net.pkl --seeds=0-7 --direction=0:1 --outdir=strips
    """
    voice = options.Voice(asked.json_file)
    loaded = load_network(asked.network, log=voice.say)
    card = loaded["card"]
    assert card is not None, "a loaded file has one, if only of its origin"
    asked = dataclasses.replace(asked, class_idx=synthesis.class_number(asked.class_idx, card))
    device = pick_device(asked.device)
    choice.use_for_command(asked.ops, asked.graphs, device.type)
    G = synthesis.averaged_generator(loaded, device)
    # torch begins every process with another seed: random noise shall come from the seeds that were given.
    torch.manual_seed(asked.seeds[0] if asked.seeds else 0)
    renderer = Renderer(G, asked.trunc, asked.noise_mode, asked.batch)
    if asked.projected_w is not None:
        _draw_projected(renderer, asked.projected_w, asked, voice)
    elif asked.expr is not None or asked.direction is not None:
        _draw_strips(G, card, asked, voice)
    elif asked.per_class is not None or asked.labels_from is not None:
        _draw_set(renderer, card, asked, voice)
    elif asked.seeds is not None:
        _draw_seeds(renderer, asked.seeds, card, asked, voice)
    else:
        raise UserError(
            "say what to draw: --seeds=0-9, --per-class=N, --labels-from=FILE.csv, --expr=TEXT or "
            "--projected-w=FILE"
        )


def _draw_seeds(
    renderer: Renderer, seeds: list[int], card: Card, asked: Generate, voice: options.Voice
) -> None:
    G, number = renderer.G, asked.class_number
    if number is not None and G.c_dim == 0:
        click.echo("Warning: --class is ignored, this network has no classes", err=True)
    vector = synthesis.label_vector(asked.label)
    c = synthesis.labels(G, len(seeds), class_idx=number, vector=vector)
    about = f"\n{synthesis.label_text(card, class_idx=number, label=asked.label)}" if G.c_dim else ""
    images = zip(seeds, renderer.of_seeds(seeds, c))
    _write(images, "seed{:04d}.png", lambda seed: f"seed {seed}{about}", asked, voice, seeds=seeds)


def _draw_projected(renderer: Renderer, file: str, asked: Generate, voice: options.Voice) -> None:
    if asked.seeds is not None:
        click.echo("Warning: --seeds is ignored, --projected-w says what to draw", err=True)
    images = enumerate(renderer.of_w(synthesis.read_w(file, renderer.G)))
    _write(images, "proj{:02d}.png", lambda number: f"w {number}", asked, voice, seeds=None)


def _write(
    images: Iterator[tuple[int, np.ndarray]],  # number, uint8 [H, W, C]
    name: str,  # of a file
    caption: Callable[[int], str],
    asked: Generate,
    voice: options.Voice,
    *,
    seeds: list[int] | None,
) -> None:
    has_grid = asked.grid or asked.captions
    written = write_images(
        images, Path(asked.outdir), name, has_grid=has_grid, caption=caption if asked.captions else None
    )
    voice.say(f"{len(written.images)} images in {Path(asked.outdir)}")
    voice.numbers({"images": len(written.images), "files": written.files, "seeds": seeds})


def _draw_strips(G: Generator, card: Card, asked: Generate, voice: options.Voice) -> None:
    """The pictures of --expr or --direction."""
    if asked.expr is not None and asked.direction is not None:
        raise UserError("--expr and --direction exclude each other; draw one after the other")
    vector = synthesis.label_vector(asked.label)
    is_named = vector is not None or asked.class_idx is not None
    c = synthesis.labels(G, 1, class_idx=asked.class_number, vector=vector) if is_named else None
    arithmetic, folder = Arithmetic(G, card, asked.trunc, c), Path(asked.outdir)
    if folder.suffix.lower() == ".zip":
        raise UserError(f"--outdir={folder}: pictures go into a folder")
    drawn: strips.DrawnSum | strips.DrawnDirection
    if asked.expr is not None:
        drawn = strips.write_expression(arithmetic, asked.expr, folder, asked.noise_mode)
        if abs(drawn.sum_of_weights - 1) > 1e-3:
            click.echo(
                f"Warning: the latents of --expr add up to {drawn.sum_of_weights:g} of one; only with 1 "
                "is the sum a place among images",
                err=True,
            )
    else:
        assert asked.direction is not None
        if not asked.seeds:
            raise UserError("--direction moves images: say which, --seeds=0-7")
        drawn = strips.write_direction(
            arithmetic, asked.seeds, asked.direction, asked.amount, folder, asked.noise_mode
        )
    voice.say(f"{len(drawn.files)} files in {folder}, {drawn.files[-1].name} shows all")
    voice.numbers(vars(drawn))


def _draw_set(renderer: Renderer, card: Card, asked: Generate, voice: options.Voice) -> None:
    wanted = Wanted(
        per_class=asked.per_class,
        labels_from=asked.labels_from,
        class_idx=asked.class_number,
        label=asked.label,
        first_seed=asked.seeds[0] if asked.seeds else 0,
    )
    written = write_set(renderer, wanted, Path(asked.outdir), network=asked.network, network_card=card)
    voice.say(
        f"{written.images} images in {written.place}, described by {written.card_path} and, for people, "
        f"{written.page.name}"
    )
    facts = {key: written.card.get(key) for key in ("images_per_class", "classes", "first_seed", "sha256")}
    voice.numbers({"images": written.images, "files": written.files, **facts})


is_command(__name__, 'sg.generate_images(G, seeds) draws from Python, G = sg.load_network(file)["G_ema"]')
if __name__ == "__main__":
    main()
