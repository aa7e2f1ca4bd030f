"""`spinegan recipe list | NAME train|apply|evaluate|demo`: the other GANs of the field on the command line."""
# ruff: noqa: E501 - the tables

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import click

from spine_plugins.recipes import anogan, asked, boxes, dcgan, inpaint, medgan, pix2pix, segan, toy8
from spine_plugins.recipes.pairs import read_pairs
from stylegan2ada import options
from stylegan2ada.errors import UserError
from stylegan2ada.flag_types import SEED, ClassChoice
from stylegan2ada.options import (
    DEVICE,
    OVERWRITE,
    Declared,
    Decorator,
    Voice,
    group,
    json_option,
    network_place,
    opt,
    stack,
)


@dataclass(frozen=True)
class _Row:
    """One recipe: its file, what it is, and what its training is asked beyond what all are."""

    module: ModuleType
    line: str
    steps: int  # default of --steps
    data: str  # what --data is; empty: it needs none
    own: Decorator
    of_apply: Declared | None = None  # likewise of `apply`, whose record is then the recipe's own


def _snapshot(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    return None if value is None else network_place(context, parameter, value)


_of_latents = stack(
    group("Network",
          opt("--network", metavar="FILE|RUN|URL", callback=_snapshot,
              help="Snapshot to use; a run folder: its newest [default: a small GAN, trained here first]"),
          opt("--class", "class_idx", type=ClassChoice(),
              help="Class to draw, of a conditional network [default: normal, else the first]"),
          opt("--gan-steps", type=click.IntRange(min=1), default=700, metavar="INT",
              help="Of that small GAN, ahead of the encoder's --steps [default: 700]")),
    group("Search",
          opt("--search", type=click.IntRange(0, 100_000), default=40, metavar="INT",
              help="Steps through the latents of each image, after the encoder's guess [default: 40]")),
)  # fmt: skip


def _nothing(function: Callable[..., object]) -> Callable[..., object]:
    return function


# fmt: off
RECIPES: Mapping[str, _Row] = {
    "toy8": _Row(
        toy8, "Eight Gaussians on a ring: what each objective does with modes.", 1600, "",
        group("Recipe",
              opt("--objective", type=click.Choice(toy8.OBJECTIVES), default="wgan-gp", help="[default: wgan-gp]"),
              opt("--gp-weight", type=click.FloatRange(min=0), default=0.1, metavar="FLOAT",
                  help="Gradient penalty of wgan-gp [default: 0.1]"),
              opt("--smoothing", type=click.FloatRange(0, 0.5), default=0, metavar="FLOAT",
                  help="Of the labels of reals, for ns [default: 0]"))),
    "dcgan": _Row(
        dcgan, "The bone-fracture blog's DCGAN, 64x64, per class or conditional.", 2000,
        "Images of 64x64, labelled or not (zip or folder)",
        group("Recipe",
              opt("--class", "class_idx", type=click.IntRange(min=0), metavar="INT",
                  help="Learn this class alone, as the blog does [default: all, conditional]"),
              opt("--width", type=click.FloatRange(0.05, 1), default=1.0, metavar="FLOAT",
                  help="Channels in units of the blog's networks [default: 1]"))),
    "medgan": _Row(
        medgan, "Tables of codes, 0/1 or counts, with their correlations.", 800,
        "CSV: a line of column names, then 0/1 or counts",
        group("Recipe",
              opt("--mode", type=click.Choice(list(medgan.MODES)), default="wgan-gp",
                  help="The paper's ablations, medgan as published, or its successor [default: wgan-gp]"))),
    "pix2pix": _Row(
        pix2pix, "Masks to radiographs, or images to masks. A draft: its gate is not reached.", 600,
        "Images with masks/ beside them (zip or folder)",
        group("Recipe",
              opt("--direction", type=click.Choice(pix2pix.DIRECTIONS), default="mask2img", help="[default: mask2img]"),
              opt("--l1", type=click.FloatRange(min=0), default=2.0, metavar="FLOAT",
                  help="Weight of L1, for masks of cross-entropy [default: 2]"),
              opt("--gan", type=click.FloatRange(min=0), default=1.0, metavar="FLOAT",
                  help="Weight of the critic's judgement; 0: L1 alone [default: 1]"))),
    "segan": _Row(
        segan, "Segmentation that a critic teaches. A draft: its gate is not reached.", 600,
        "Images with masks/ beside them (zip or folder)",
        group("Recipe",
              opt("--dice", type=click.FloatRange(min=0), default=0.0, metavar="FLOAT",
                  help="Weight of a Dice loss beside the critic [default: 0, as the paper says]"),
              opt("--critic", type=click.Choice(["trained", "none"]), default="trained",
                  help="none: the Dice loss alone, to compare with [default: trained]"))),
    "anogan": _Row(
        anogan, "Findings as what a network of normal images cannot draw.", 400,
        "Images (zip or folder); with classes, those of the normal one are learned",
        stack(_of_latents,
              group("Baseline",
                    opt("--classifier", metavar="FILE",
                        help="Its features for the baseline [default: the discriminator's]")))),
    "inpaint": _Row(
        inpaint, "Holes filled with what a network would draw there.", 400,
        "Images (zip or folder)",
        _of_latents,
        opt("--mask", metavar="FILE", help="Picture, not 0 where all images are to be filled [default: masks/]")),
}
# fmt: on


@click.group()
def recipe() -> None:
    """Other GANs of the field; which of them reach their gate stands in docs/recipes.md."""


@dataclass(frozen=True)
class List:
    """What `recipe list` was asked."""

    json_file: str | None


@options.command("list", parent=recipe, record=List)
@json_option
def list_(given: List) -> None:
    """The recipes, a line each."""
    voice = Voice(given.json_file)
    for name, row in RECIPES.items():
        voice.say(f"{name:<10} {row.line}")
    voice.numbers({name: row.line for name, row in RECIPES.items()})


@dataclass(frozen=True)
class MakePairs:
    """What `recipe pairs` was asked."""

    data: str
    boxes: str | None
    out: str | None
    sheet: str | None
    overwrite: bool
    json_file: str | None


@options.command("pairs", parent=recipe, record=MakePairs)
@group(
    "Images with masks",
    opt("--data", required=True, metavar="PATH", help="Data set; with --out without masks, else with them"),
    opt("--boxes", metavar="FILE", help="Boxes of its lesions [default: X_boxes.json beside it]"),
    opt("--out", metavar="PATH", help="Data set to write (X.zip or a folder): boxes as filled ellipses"),
    opt("--sheet", metavar="FILE", help="PNG to write: images, their masks, and both"),
    OVERWRITE,
)  # fmt: skip
@json_option
def pairs_(given: MakePairs) -> None:
    """Boxes to masks beside images, and a look at such pairs.

    \b
    spinegan recipe pairs --data=spine-train.zip --out=pairs.zip --sheet=s.png
    spinegan phantom --zip=pairs.zip --pairs=lesions       drawn with their masks
    spinegan dataset --source=X --masks=Y --dest=pairs.zip     masks of your own
    """
    if given.out is None and given.sheet is None:
        raise UserError("say what to make: --out=PAIRS.zip, --sheet=PICTURE.png, or both")
    if given.sheet is not None:
        options.check_writable("--sheet", given.sheet, overwrite=given.overwrite)
    found: asked.Numbers = {}
    if given.out is not None:
        place = given.boxes or boxes.boxes_beside(given.data)
        kinds = boxes.write_from_boxes(given.data, place, given.out, overwrite=given.overwrite)
        found |= {"out": given.out, "images_with": kinds}
    if given.sheet is not None:
        shown = boxes.show_pairs(read_pairs(given.out or given.data), Path(given.sheet))
        found |= {"sheet": given.sheet, "shown": shown}
    _say(given.json_file, found)


def _say(given_json: str | None, found: asked.Numbers) -> None:
    """A line per number for people, one object for programs."""
    voice = Voice(given_json)
    for name, value in found.items():
        voice.say(f"{name}: {f'{value:.4g}' if isinstance(value, float) else value}")
    voice.numbers(found)


_MODEL = opt("--model", required=True, metavar="DIR", help="Folder made by `train`")
_SEED = opt("--seed", type=SEED, default=0, metavar="INT", help="Start of all random numbers [default: 0]")


def _add(name: str, row: _Row) -> None:
    """`recipe NAME` with its four verbs."""
    verbs = click.Group(name, help=row.line, short_help=row.line)
    recipe.add_command(verbs)
    for add in (_add_train, _add_apply, _add_evaluate, _add_demo):
        add(verbs, row)


def _add_train(verbs: click.Group, row: _Row) -> None:
    data: Decorator = _nothing  # type: ignore[assignment]
    if row.data:
        data = group("Data",
                     opt("--data", required=True, metavar="PATH", help=row.data),
                     opt("--val", metavar="PATH", help="The same, to measure on [default: a part of --data]"))  # fmt: skip

    @options.command("train", parent=verbs, record=row.module.Train)
    @data
    @group(
        "Training",
        opt("--out", required=True, metavar="DIR", help="Folder for the model and its card"),
        opt("--steps", type=click.IntRange(min=1), default=row.steps, metavar="INT", help=f"[default: {row.steps}]"),
        _SEED,
        opt("--continue", "continue_run", is_flag=True, help="Finish an interrupted training, exactly"),
        DEVICE,
    )  # fmt: skip
    @row.own
    @json_option
    def train(given: asked.Train) -> None:
        """Train a model; exit code 75: stopped on request, --continue goes on."""
        _say(given.json_file, row.module.train(given))


def _add_apply(verbs: click.Group, row: _Row) -> None:
    own: tuple[Declared, ...] = () if row.of_apply is None else (row.of_apply,)

    @options.command("apply", parent=verbs, record=row.module.Apply if own else asked.Apply)
    @group(
        "What to make",
        _MODEL,
        opt("--out", required=True, metavar="PATH", help="File to write, or folder where there are many"),
        opt("--data", metavar="PATH", help="What to apply it to, where it is applied to something"),
        opt("--n", type=click.IntRange(1, 10_000_000), default=1000, metavar="INT",
            help="How many, where it draws [default: 1000]"),
        *own,
        _SEED,
        OVERWRITE,
        DEVICE,
    )  # fmt: skip
    @json_option
    def apply(given: asked.Apply) -> None:
        """Use a model: draw, translate, segment, score or fill in."""
        _say(given.json_file, row.module.apply(given))


def _add_evaluate(verbs: click.Group, row: _Row) -> None:
    @options.command("evaluate", parent=verbs, record=asked.Evaluate)
    @group(
        "What to measure",
        _MODEL,
        opt("--data", metavar="PATH", help="Data that it was not trained on"),
        _SEED,
        DEVICE,
    )
    @json_option
    def evaluate(given: asked.Evaluate) -> None:
        """Measure a model."""
        _say(given.json_file, row.module.evaluate(given))


def _add_demo(verbs: click.Group, row: _Row) -> None:
    @options.command("demo", parent=verbs, record=asked.Demo)
    @group(
        "Demo",
        opt("--out", required=True, metavar="DIR", help="New folder for data, model and picture"),
        _SEED,
    )
    @json_option
    def demo(given: asked.Demo) -> None:
        """Data, training and a picture."""
        _say(given.json_file, row.module.demo(given))


for _name, _row in RECIPES.items():
    _add(_name, _row)
