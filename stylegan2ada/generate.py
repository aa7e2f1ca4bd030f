"""Draw images from a network: `python stylegan2ada/generate.py --network=... --seeds=0-9 --outdir=...`."""

if __name__ == "__main__" and not __package__:
    import as_script  # noqa: F401

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from stylegan2ada import __version__, files, options, synthesis
from stylegan2ada.checkpoints import load_network
from stylegan2ada.data.writer import DatasetWriter
from stylegan2ada.errors import MissingError, UserError
from stylegan2ada.images import save_png
from stylegan2ada.processes import pick_device
from stylegan2ada.progress import Progress

network_option = options.group(
    "Network",
    options.opt("--network", required=True, metavar="FILE|URL", help="Network pickle or .safetensors"),
    options.opt("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, mps [default: auto]"),
)
label_options = options.group(
    "Label of a conditional network",
    options.opt("--class", "class_idx", type=int, metavar="INT", help="Class number, from 0"),
    options.opt("--label", metavar="N,N,...", help="Label vector, one number per class: 0.2,1,0"),
)
image_options = options.group(
    "Image",
    options.opt("--trunc", type=float, default=1, metavar="PSI", help="Truncation psi [default: 1, none]"),
    options.opt("--noise-mode", type=click.Choice(synthesis.NOISE_MODES), default="const",
                help="Noise inputs [default: const]"),
)  # fmt: skip


@options.command()
@network_option
@options.group(
    "What to draw",
    options.opt("--seeds", type=options.NumRange(), help="One image per seed"),
    options.opt("--projected-w", metavar="FILE", help="Draw the w of this .npz instead of seeds"),
    options.opt("--per-class", type=int, metavar="INT", help="A labelled data set: this many of every class"),
)
@label_options
@image_options
@options.group(
    "Where to",
    options.opt("--outdir", required=True, metavar="DIR|ZIP", help="Folder, or the .zip of --per-class"),
    options.opt("--batch", type=int, default=16, metavar="INT", help="Images at once [default: 16]"),
)
def main(**given: Any) -> None:
    """Draw images, or a whole labelled data set, from a trained network.

    \b
    python stylegan2ada/generate.py --network=net.pkl --seeds=0-63 --class=1 --trunc=0.7 --outdir=out
    python stylegan2ada/generate.py --network=net.pkl --per-class=5000 --outdir=synthetic.zip
    """
    loaded = load_network(given["network"])
    device = pick_device(given["device"])
    G = loaded["G_ema"].to(device)
    if given["projected_w"] is not None:
        if given["seeds"] is not None:
            click.echo("Warning: --seeds is ignored, --projected-w says what to draw", err=True)
        _write(_from_file(G, given, device), given, "proj{:02d}.png")
    elif given["per_class"] is not None:
        write_dataset(loaded, given, device)
    elif given["seeds"] is not None:
        if given["class_idx"] is not None and G.c_dim == 0:
            click.echo("Warning: --class is ignored, this network has no classes", err=True)
        _write(_from_seeds(G, given, device), given, "seed{:04d}.png")
    else:
        raise UserError("say what to draw: --seeds=0-9, --per-class=N or --projected-w=FILE")


Numbered = Iterator[tuple[int, np.ndarray]]  # number of the file, uint8 [H, W, C]


def _from_seeds(G: Any, given: dict[str, Any], device: torch.device) -> Numbered:
    seeds = given["seeds"]
    c = chosen_labels(G, len(seeds), given)
    z = synthesis.seed_latents(seeds, G.z_dim)
    batches = synthesis.images_from_z(
        G, z, c, device=device, psi=given["trunc"], noise_mode=given["noise_mode"], batch=given["batch"]
    )
    return zip(seeds, (image for img in batches for image in synthesis.pixels(img)))


def _from_file(G: Any, given: dict[str, Any], device: torch.device) -> Numbered:
    ws = read_w(given["projected_w"], G).to(device)
    batches = synthesis.images_from_w(
        G, ws, device=device, noise_mode=given["noise_mode"], batch=given["batch"]
    )
    return enumerate(image for img in batches for image in synthesis.pixels(img))


def _write(images: Numbered, given: dict[str, Any], name: str) -> None:
    folder = Path(given["outdir"])
    if folder.suffix.lower() == ".zip":
        raise UserError(f"--outdir={folder}: single images go into a folder; a .zip needs --per-class=N")
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for number, image in images:
        save_png(image, folder / name.format(number))
        count += 1
    click.echo(f"{count} images in {folder}")


def chosen_labels(G: Any, n: int, given: dict[str, Any]) -> torch.Tensor:
    """[n, c_dim] from --class and --label."""
    return synthesis.labels(G, n, class_idx=given["class_idx"], vector=parse_vector(given["label"]))


def parse_vector(text: str | None) -> list[float] | None:
    """`0.2,1,0` -> [0.2, 1.0, 0.0]."""
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"--label={text} must be numbers between commas, such as 0.2,1,0") from None


def read_w(path: str, G: Any) -> torch.Tensor:
    """The array `w` of an .npz, [n, num_ws, w_dim]."""
    if not Path(path).is_file():
        raise MissingError(f"--projected-w={path} is not there; projector.py writes such a file")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            w = torch.as_tensor(arrays["w"], dtype=torch.float32)
    except (KeyError, ValueError, OSError) as error:
        raise UserError(f"--projected-w={path} is no .npz with an array named w ({error})") from error
    if tuple(w.shape[1:]) != (G.num_ws, G.w_dim):
        raise UserError(
            f"--projected-w={path} holds w of shape {list(w.shape)}, but this network takes "
            f"[n, {G.num_ws}, {G.w_dim}]; was it projected with another network?"
        )
    return w


# A synthetic data set.


def write_dataset(loaded: dict[str, Any], given: dict[str, Any], device: torch.device) -> None:
    """N images of every class (or N in all without classes) as a data set with a card beside it."""
    G, n = loaded["G_ema"], given["per_class"]
    if n < 1:
        raise UserError(f"--per-class={n} draws nothing; give at least 1")
    if given["label"] is not None and given["class_idx"] is not None:
        raise UserError("--class and --label exclude each other")
    if given["class_idx"] is not None:
        chosen_labels(G, 1, given)  # refuses a class that does not exist
    classes: list[Any] = list(range(G.c_dim)) if G.c_dim else [None]
    if given["class_idx"] is not None and G.c_dim:
        classes = [given["class_idx"]]
    vector = parse_vector(given["label"]) if G.c_dim else None
    if vector is not None:
        classes = [vector]

    start = given["seeds"][0] if given["seeds"] else 0
    dest = Path(given["outdir"])
    card = _card(loaded, given, classes, start)
    with DatasetWriter(dest) as writer:
        bar = Progress(n * len(classes), "generating")
        names = (loaded.get("card") or {}).get("label_names")
        if names:
            writer.extra["label_names"] = names
        writer.extra["recipe"] = card
        for position, label in enumerate(classes):
            first = start + position * n
            z = synthesis.seed_latents(range(first, first + n), G.z_dim)
            is_vector = isinstance(label, list)
            c = synthesis.labels(
                G, n, class_idx=None if is_vector else label, vector=label if is_vector else None
            )
            batches = synthesis.images_from_z(
                G,
                z,
                c,
                device=device,
                psi=given["trunc"],
                noise_mode=given["noise_mode"],
                batch=given["batch"],
            )
            for img in batches:
                for image in synthesis.pixels(img):
                    writer.add(image, label=label)
                    bar.step()
        bar.close()
    if dest.is_file():
        card = card | {"sha256": files.sha256_file(dest)}
    card_path = dest.with_name(dest.stem + "_card.json")
    card_path.write_text(json.dumps(card, indent=2))
    click.echo(f"{n * len(classes)} images in {dest}, described by {card_path}")


def _card(loaded: dict[str, Any], given: dict[str, Any], classes: list[Any], start: int) -> dict[str, Any]:
    network = given["network"]
    return {
        "tool": "generate",
        "version": __version__,
        "is_synthetic": True,
        "network": Path(network).name if not files.is_url(network) else network,
        "network_sha256": files.sha256_file(files.local_copy(network)),
        "provenance": (loaded.get("card") or {}).get("provenance"),
        "truncation_psi": given["trunc"],
        "noise_mode": given["noise_mode"],
        "images_per_class": given["per_class"],
        "classes": classes,
        "first_seed": start,  # image i of class number k has the seed first_seed + k * images_per_class + i
        "resize_filter": None,
    }


if __name__ == "__main__":
    main()
