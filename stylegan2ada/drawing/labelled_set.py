"""A whole labelled data set from a network, with the seeds of its images one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stylegan2ada import files
from stylegan2ada.data.writer import DatasetWriter
from stylegan2ada.drawing import set_card, set_labels
from stylegan2ada.drawing.renderer import Renderer
from stylegan2ada.drawing.set_labels import Plan, Wanted
from stylegan2ada.progress import Progress
from stylegan2ada.protocols import Card


@dataclass(frozen=True)
class LabelledSet:
    """What was written."""

    images: int
    place: Path
    card_path: Path
    page: Path
    card: Card

    @property
    def files(self) -> list[Path]:
        return [self.place, self.card_path, self.page]


def write_set(
    renderer: Renderer,
    wanted: Wanted,
    dest: Path,  # folder or .zip
    *,
    network: str,  # where it was read
    network_card: Card,
) -> LabelledSet:
    """N images of every class (or N in all without classes), or one per label, as a set with a card."""
    names = set_card.label_names(network_card, renderer.G)
    plan = set_labels.plan(renderer.G, wanted, names)
    recipe = set_card.recipe(renderer, wanted, plan.drawn, network, network_card)
    named: Card = {"label_names": names} if names else {}
    _write_images(renderer, plan, dest, {**named, "recipe": recipe})
    card = recipe | named
    if dest.is_file():
        card["sha256"] = files.sha256_file(dest)
    card_path, page = set_card.write_beside(
        dest, card, images=plan.count, resolution=renderer.G.img_resolution
    )
    return LabelledSet(plan.count, dest, card_path, page, card)


def _write_images(renderer: Renderer, plan: Plan, dest: Path, extra: Card) -> None:
    with DatasetWriter(dest) as writer:
        writer.extra.update(extra)
        bar = Progress(plan.count, "generating")
        for run in plan.runs:
            images = renderer.of_seeds(run.seeds, set_labels.as_rows(renderer.G, run.labels))
            for image, label in zip(images, run.labels):
                writer.add(image, label=label)
                bar.step()
        bar.close()
