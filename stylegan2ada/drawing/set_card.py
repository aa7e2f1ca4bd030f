"""How a synthetic set was made: the recipe inside it, its card beside it, and a page for people."""

from __future__ import annotations

from pathlib import Path

from stylegan2ada import files, provenance
from stylegan2ada.checkpoints.cards import derive_card
from stylegan2ada.checkpoints.readme import dataset_readme
from stylegan2ada.drawing.renderer import Renderer
from stylegan2ada.drawing.set_labels import Label, Wanted
from stylegan2ada.protocols import Card, Generator


def label_names(network_card: Card, G: Generator) -> list[str] | None:
    """The names of the classes that the network was trained on, if it knows one for each."""
    names = network_card.get("label_names")
    is_usable = isinstance(names, list | tuple) and len(names) == G.c_dim > 0
    return [str(name) for name in names] if names and is_usable else None


def recipe(
    renderer: Renderer,
    wanted: Wanted,
    drawn: list[Label],
    network: str,  # where it was read
    network_card: Card,
) -> Card:
    """How the set was made; the keys beside `flags` are those that the report shows."""
    flags = {
        "per_class": wanted.per_class,
        "class": wanted.class_idx,
        "label": wanted.label,
        "labels_from": None if wanted.labels_from is None else Path(wanted.labels_from).name,
        "trunc": renderer.psi,
        "noise_mode": renderer.noise_mode,
        "first_seed": wanted.first_seed,
        "batch": renderer.batch,
    }
    return provenance.recipe(
        "generate",
        flags,
        resize_filter=None,  # drawn at its size
        packages=(*provenance.PACKAGES, "torch"),
        is_synthetic=True,
        network=_without_folder(network),
        network_sha256=network_card["sha256"],
        provenance=_origin(network_card),
        truncation_psi=renderer.psi,
        noise_mode=renderer.noise_mode,
        images_per_class=wanted.per_class,
        classes=drawn,
        # image i of class number k has the seed first_seed + k * images_per_class + i
        first_seed=wanted.first_seed,
    )


def write_beside(dest: Path, card: Card, *, images: int, resolution: int) -> tuple[Path, Path]:
    """The card of a set that is written, and its page."""
    card_path = files.beside(dest, dest.stem + "_card.json")
    files.write_json(card_path, card)
    page = files.beside(dest, dest.stem + "_README.md")  # rename it where the set gets a place of its own
    text = dataset_readme(card, name=dest.name, images=images, resolution=resolution)
    with files.atomic_write(page) as file:
        file.write(text.encode(errors="backslashreplace"))  # names of files need not be text
    return card_path, page


def _origin(network_card: Card) -> Card:
    """What the network was trained on and by, and whose weights and licence are in it."""
    known: Card = {key: network_card[key] for key in ("dataset", "trained_by", "kimg") if key in network_card}
    derived = derive_card(network_card)  # names the file itself where it is from elsewhere
    starts_from = [root | {"origin": _without_folder(root["origin"])} for root in derived["starts_from"]]
    return {**known, "starts_from": starts_from, "licence": derived["licence"]}


def _without_folder(network: str) -> str:
    """Folders name people and places, and the set travels; an address is kept whole."""
    return network if files.is_url(network) else Path(network).name
