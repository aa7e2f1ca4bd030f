"""Draw images from a network: `python stylegan2ada/generate.py --network=... --seeds=0-9 --outdir=...`."""

from __future__ import annotations

if __name__ == "__main__" and not __package__:
    import as_script  # noqa: F401
elif __name__ == "__main__":  # python -m
    import stylegan2ada.as_script  # noqa: F401

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import PIL.Image
import torch

from stylegan2ada import files, flag_types, latent_strips, options, provenance, synthesis
from stylegan2ada.checkpoints import load_network
from stylegan2ada.checkpoints.cards import derive_card
from stylegan2ada.checkpoints.readme import dataset_readme
from stylegan2ada.data.label_rows import read_label_rows
from stylegan2ada.data.writer import DatasetWriter
from stylegan2ada.errors import UserError
from stylegan2ada.images import captioned_tiles, save_png, tile, to_pil
from stylegan2ada.latent_arithmetic import Arithmetic
from stylegan2ada.lazy import is_command
from stylegan2ada.ops import choice
from stylegan2ada.processes import pick_device
from stylegan2ada.progress import Progress
from stylegan2ada.protocols import Card, Generator

_MOST_PER_CLASS = 1_000_000


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
    asked = dataclasses.replace(asked, class_idx=synthesis.class_number(asked.class_idx, loaded["card"]))
    device = pick_device(asked.device)
    choice.use_for_command(asked.ops, asked.graphs, device.type)
    G = synthesis.averaged_generator(loaded, device)
    if asked.projected_w is not None:
        if asked.seeds is not None:
            click.echo("Warning: --seeds is ignored, --projected-w says what to draw", err=True)
        ws = synthesis.read_w(asked.projected_w, G)
        _write_images(enumerate(_from_w(G, ws, asked)), "proj{:02d}.png", asked, voice, caption="w ")
    elif asked.expr is not None or asked.direction is not None:
        _write_strips(G, loaded["card"], asked, voice)
    elif asked.per_class is not None or asked.labels_from is not None:
        card = loaded["card"]
        assert card is not None, "a loaded file has one, if only of its origin"
        _write_dataset(G, card, asked, voice)
    elif asked.seeds is not None:
        if asked.class_idx is not None and G.c_dim == 0:
            click.echo("Warning: --class is ignored, this network has no classes", err=True)
        vector = flag_types.label_vector(asked.label)
        c = synthesis.labels(G, len(asked.seeds), class_idx=asked.class_number, vector=vector)
        images = zip(asked.seeds, _from_seeds(G, asked.seeds, c, asked))
        label = synthesis.label_text(loaded["card"], class_idx=asked.class_number, label=asked.label)
        about = f"\n{label}" if G.c_dim else ""
        _write_images(images, "seed{:04d}.png", asked, voice, caption="seed ", about=about)
    else:
        raise UserError(
            "say what to draw: --seeds=0-9, --per-class=N, --labels-from=FILE.csv, --expr=TEXT or "
            "--projected-w=FILE"
        )


def _write_strips(G: Generator, card: Card | None, asked: Generate, voice: options.Voice) -> None:
    """The pictures of --expr or --direction."""
    if asked.expr is not None and asked.direction is not None:
        raise UserError("--expr and --direction exclude each other; draw one after the other")
    vector = flag_types.label_vector(asked.label)
    is_named = vector is not None or asked.class_idx is not None
    c = synthesis.labels(G, 1, class_idx=asked.class_number, vector=vector) if is_named else None
    arithmetic = Arithmetic(G, card, asked.trunc, c)
    folder = Path(asked.outdir)
    if folder.suffix.lower() == ".zip":
        raise UserError(f"--outdir={folder}: pictures go into a folder")
    if asked.expr is not None:
        found = latent_strips.write_expression(arithmetic, asked.expr, folder, asked.noise_mode)
        if abs(float(str(found["sum_of_weights"])) - 1) > 1e-3:
            click.echo(
                f"Warning: the latents of --expr add up to {found['sum_of_weights']:g} of one; only with 1 "
                "is the sum a place among images",
                err=True,
            )
    else:
        assert asked.direction is not None
        if not asked.seeds:
            raise UserError("--direction moves images: say which, --seeds=0-7")
        found = latent_strips.write_direction(
            arithmetic, asked.seeds, asked.direction, asked.amount, folder, asked.noise_mode
        )
    files_written = found["files"]
    assert isinstance(files_written, list)
    voice.say(f"{len(files_written)} files in {folder}, {files_written[-1].name} shows all")
    voice.numbers(found)


def _from_seeds(
    G: Generator,
    seeds: list[int],
    c: torch.Tensor,  # [len(seeds), c_dim]
    asked: Generate,
) -> Iterator[np.ndarray]:
    """uint8 [H, W, C] of each seed."""
    batches = synthesis.images_from_z(
        G,
        synthesis.seed_latents(seeds, G.z_dim),
        c,
        device=next(G.parameters()).device,
        psi=asked.trunc,
        noise_mode=asked.noise_mode,
        batch=asked.batch,
    )
    return (image for img in batches for image in synthesis.pixels(img))


def _from_w(G: Generator, ws: torch.Tensor, asked: Generate) -> Iterator[np.ndarray]:
    """uint8 [H, W, C] of each w."""
    device = next(G.parameters()).device
    batches = synthesis.images_from_w(G, ws, device=device, noise_mode=asked.noise_mode, batch=asked.batch)
    return (image for img in batches for image in synthesis.pixels(img))


def _write_images(
    images: Iterator[tuple[int, np.ndarray]],  # number of the file, uint8 [H, W, C]
    name: str,
    asked: Generate,
    voice: options.Voice,
    *,
    caption: str,  # of --captions, before the number
    about: str = "",  # behind it
) -> None:
    folder = Path(asked.outdir)
    if folder.suffix.lower() == ".zip":
        raise UserError(f"--outdir={folder}: single images go into a folder; a .zip needs --per-class=N")
    folder.mkdir(parents=True, exist_ok=True)
    written, shown = [], []
    for number, image in images:
        written.append(folder / name.format(number))
        save_png(image, written[-1])
        if asked.grid or asked.captions:
            shown.append((f"{caption}{number}{about}", image))
    if shown:
        written.append(folder / "grid.png")
        _squarish(shown, has_captions=asked.captions).save(written[-1], format="PNG")
    count = len(written) - bool(shown)
    voice.say(f"{count} images in {folder}")
    seeds = asked.seeds if asked.projected_w is None else None
    voice.numbers({"images": count, "files": written, "seeds": seeds})


def _squarish(shown: list[tuple[str, np.ndarray]], *, has_captions: bool) -> PIL.Image.Image:
    """[H, W, C] each -> one picture, row by row, about as wide as high; places left over stay black."""
    captions, images = zip(*shown)
    columns = math.ceil(math.sqrt(len(images)))
    if has_captions:
        return captioned_tiles(images, captions, columns)
    empty = [np.zeros_like(images[0])] * (-len(images) % columns)
    return to_pil(tile(np.stack([*images, *empty]).transpose(0, 3, 1, 2), columns))


# A synthetic data set.

Label = int | list[float] | None  # a class, a vector for a network of classes, or neither


@dataclass(frozen=True)
class _Run:
    """Images of consecutive seeds, drawn together."""

    first_seed: int
    labels: list[Label]  # one per image


def _write_dataset(G: Generator, network_card: Card, asked: Generate, voice: options.Voice) -> None:
    """N images of every class (or N in all without classes), or one per label, as a set with a card."""
    names = _label_names(network_card, G)
    first_seed = asked.seeds[0] if asked.seeds else 0
    if asked.labels_from is None:
        drawn = _labels_to_draw(G, asked)
        n = asked.per_class or 0
        runs = [_Run(first_seed + k * n, [label] * n) for k, label in enumerate(drawn)]
    else:
        drawn = []
        runs = [_Run(first_seed, _labels_of_table(G, asked.labels_from, names, asked))]
    count = sum(len(run.labels) for run in runs)
    if (last := first_seed + count - 1) > flag_types.LAST_SEED:
        raise UserError(f"--seeds={first_seed} leads to the seed {last}; the last is {flag_types.LAST_SEED}")
    recipe = _recipe(network_card, drawn, first_seed, asked)
    dest = Path(asked.outdir)
    with DatasetWriter(dest) as writer:
        if names:
            writer.extra["label_names"] = names
        writer.extra["recipe"] = recipe
        bar = Progress(count, "generating")
        for run in runs:
            seeds = list(range(run.first_seed, run.first_seed + len(run.labels)))
            images = _from_seeds(G, seeds, _as_rows(G, run.labels), asked)
            for image, label in zip(images, run.labels):
                writer.add(image, label=label)
                bar.step()
        bar.close()

    card = recipe | ({"label_names": names} if names else {})
    if dest.is_file():
        card["sha256"] = files.sha256_file(dest)
    card_path = files.beside(dest, dest.stem + "_card.json")
    files.write_json(card_path, card)
    page = files.beside(dest, dest.stem + "_README.md")  # rename it where the set gets a place of its own
    text = dataset_readme(card, name=dest.name, images=count, resolution=G.img_resolution)
    with files.atomic_write(page) as file:
        file.write(text.encode(errors="backslashreplace"))  # names of files need not be text
    voice.say(f"{count} images in {dest}, described by {card_path} and, for people, {page.name}")
    facts = {key: card.get(key) for key in ("images_per_class", "classes", "first_seed", "sha256")}
    voice.numbers({"images": count, "files": [dest, card_path, page], **facts})


def _as_rows(G: Generator, labels: list[Label]) -> torch.Tensor:
    """[n, c_dim] of labels that are all of one kind."""
    if G.c_dim == 0:
        return torch.zeros([len(labels), 0])
    if isinstance(labels[0], int):
        return torch.nn.functional.one_hot(torch.tensor(labels), G.c_dim).float()
    return torch.tensor(labels, dtype=torch.float32)


def _labels_of_table(G: Generator, path: str, names: list[str] | None, asked: Generate) -> list[Label]:
    """A vector per row; where every row names one class, that class."""
    if G.c_dim == 0:
        raise UserError(f"--labels-from={path}: this network has no classes, so labels change nothing")
    if asked.per_class is not None or asked.label is not None or asked.class_idx is not None:
        raise UserError("--labels-from says all labels; leave out --per-class, --class and --label")
    return list(read_label_rows(path, G.c_dim, names))


def _labels_to_draw(G: Generator, asked: Generate) -> list[Label]:
    """Every class, or the one that was asked for, or one vector, or nothing to choose from."""
    if asked.per_class is None or asked.per_class < 1:
        raise UserError(f"--per-class={asked.per_class} draws nothing; give at least 1")
    if asked.per_class > _MOST_PER_CLASS:
        raise UserError(f"--per-class={asked.per_class} is more than {_MOST_PER_CLASS:,}; draw several sets")
    if asked.label is not None and asked.class_idx is not None:
        raise UserError("--class and --label exclude each other")
    if G.c_dim == 0:
        return [None]
    vector = flag_types.label_vector(asked.label)
    if vector is None and asked.class_number is None:
        return list(range(G.c_dim))
    synthesis.labels(G, 1, class_idx=asked.class_number, vector=vector)  # refuses what does not exist
    return [asked.class_number if vector is None else vector]


def _recipe(network_card: Card, drawn: list[Label], first_seed: int, asked: Generate) -> Card:
    """How the set was made; the keys beside `flags` are those that the report shows."""
    flags = {
        "per_class": asked.per_class,
        "class": asked.class_idx,
        "label": asked.label,
        "labels_from": None if asked.labels_from is None else Path(asked.labels_from).name,
        "trunc": asked.trunc,
        "noise_mode": asked.noise_mode,
        "first_seed": first_seed,
        "batch": asked.batch,
    }
    return provenance.recipe(
        "generate",
        flags,
        resize_filter=None,  # drawn at its size
        packages=(*provenance.PACKAGES, "torch"),
        is_synthetic=True,
        network=_without_folder(asked.network),
        network_sha256=network_card["sha256"],
        provenance=_origin(network_card),
        truncation_psi=asked.trunc,
        noise_mode=asked.noise_mode,
        images_per_class=asked.per_class,
        classes=drawn,
        first_seed=first_seed,  # image i of class number k has the seed first_seed + k * images_per_class + i
    )


def _origin(network_card: Card) -> Card:
    """What the network was trained on and by, and whose weights and licence are in it."""
    known: Card = {key: network_card[key] for key in ("dataset", "trained_by", "kimg") if key in network_card}
    derived = derive_card(network_card)  # names the file itself where it is from elsewhere
    starts_from = [root | {"origin": _without_folder(root["origin"])} for root in derived["starts_from"]]
    return {**known, "starts_from": starts_from, "licence": derived["licence"]}


def _without_folder(network: str) -> str:
    """Folders name people and places, and the set travels; an address is kept whole."""
    return network if files.is_url(network) else Path(network).name


def _label_names(network_card: Card, G: Generator) -> list[str] | None:
    """The names of the classes that the network was trained on, if it knows one for each."""
    names = network_card.get("label_names")
    is_usable = isinstance(names, list | tuple) and len(names) == G.c_dim > 0
    return [str(name) for name in names] if names and is_usable else None


is_command(__name__, 'sg.generate_images(G, seeds) draws from Python, G = sg.load_network(file)["G_ema"]')
if __name__ == "__main__":
    main()
