"""`spinegan phantom`: synthetic spine radiographs as DICOM, as a training set, or as one contact sheet."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stylegan2ada import files, options
from stylegan2ada.errors import UserError
from stylegan2ada.flag_types import SEED

if TYPE_CHECKING:
    from spine_plugins.phantom.series import Row


@dataclass(frozen=True)
class Draw:
    """What `phantom` was asked."""

    out: Path | None
    zip_path: Path | None
    sheet: Path | None
    overwrite: bool
    n: int
    seed: int
    difficulty: float
    label_noise: float
    confound: float
    views: str
    masks: bool | None
    size: str
    codecs: bool
    with_bad: bool
    outlines: bool
    resolution: int
    pairs: str | None
    classes: str
    workers: int | None
    json_file: str | None


_LEAST_SIDE = 32  # pixels, of --size
_path = {"type": click.Path(path_type=Path)}


@options.command(record=Draw)
@options.group(
    "What to write, one or more",
    options.opt("--out", **_path, help="Folder for DICOM files, laid out like VinDr-SpineXR"),
    options.opt("--zip", "zip_path", **_path, help="Training set (X.zip or a folder), no DICOM"),
    options.opt("--sheet", **_path, help="Contact sheet: a PNG with a row per kind of lesion"),
    options.OVERWRITE,
)
@options.group(
    "What to draw",
    options.opt("--n", default=96, show_default=True, type=click.IntRange(min=1), help="Number of images"),
    options.opt("--seed", default=0, show_default=True, type=SEED,
                help="Same seed, same phantoms"),
    options.opt("--difficulty", default=1.0, show_default=True,
                help="Lesions look severity / difficulty strong"),
    options.opt("--label-noise", default=0.0, show_default=True,
                help="Share of labels that the reader gets wrong"),
    options.opt("--confound", default=0.0, show_default=True,
                help="How strongly marker, collimation and vendor follow the class, 0 to 1"),
    options.opt("--views", default="AP=1,lateral=1", show_default=True, metavar="VIEWS",
                help="AP, lateral or shares of both, for --out and --zip"),
    options.opt("--masks/--no-masks", default=None,
                help="Masks beside the images  [default: with --out only]"),
)  # fmt: skip
@options.group(
    "DICOM files and contact sheet",
    options.opt("--size", default="512x448", show_default=True, help="Height x width, for --out and --sheet"),
    options.opt(
        "--codecs", is_flag=True, help="Also compressed DICOM: JPEG 2000, JPEG-LS, JPEG lossless, ..."
    ),
    options.opt("--with-bad", is_flag=True, help="Also unusable DICOM files, with expected.csv"),
    options.opt("--outlines", is_flag=True, help="Draw the outlines of the lesions into --sheet"),
)
@options.group(
    "Training set",
    options.opt("--resolution", default=64, show_default=True, type=click.IntRange(32, 2048),
                help="Side, for --zip"),
    options.opt("--pairs", type=click.Choice(["vertebrae", "lesions"]),
                help="Masks inside --zip, of numbered kinds: what recipes that learn from pairs read"),
    options.opt("--classes", type=click.Choice(["binary", "spine8"]), default="binary", show_default=True,
                help="Labels, for --zip"),
)  # fmt: skip
@options.group(
    "Work",
    options.opt("--workers", type=click.IntRange(min=1), help="Processes  [default: all cores]"),
)
@options.json_option
def phantom(asked: Draw) -> None:
    """Draw synthetic spine radiographs with known truth: labels, boxes, masks and factors.

    \b
    spinegan phantom --out raw --n 96                      DICOM with annotations
    spinegan phantom --zip train.zip --n 1600              training set at 64x64
    spinegan phantom --sheet sheet.png --outlines          what they look like
    """
    if asked.out is None and asked.zip_path is None and asked.sheet is None:
        raise UserError(
            "say what to write: --out FOLDER (DICOM), --zip X.zip (training set) or --sheet X.png"
        )
    if asked.zip_path is not None and asked.zip_path.suffix == ".zip":
        options.check_writable("--zip", asked.zip_path, overwrite=asked.overwrite)
    if asked.sheet is not None:
        options.check_writable("--sheet", asked.sheet, overwrite=asked.overwrite)
    voice = options.Voice(asked.json_file)
    written: dict[str, Any] = {}
    if asked.out is not None:
        with _saying_where(asked.out):
            written["dicom"] = _write_tree(asked, asked.out, voice)
    if asked.zip_path is not None:
        with _saying_where(asked.zip_path):
            written["zip"] = _write_zip(asked, asked.zip_path, voice)
    if asked.sheet is not None:
        with _saying_where(asked.sheet):
            written["sheet"] = _write_sheet(asked, asked.sheet, voice)
    voice.numbers(written)


@contextlib.contextmanager
def _saying_where(place: Path) -> Iterator[None]:
    """Turns a full disk or a missing permission into a sentence."""
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{place} cannot be written ({error}); choose another place") from error


def _write_tree(asked: Draw, out: Path, voice: options.Voice) -> dict[str, Any]:
    from spine_plugins.phantom.dicom_tree import write_dicom_tree
    from spine_plugins.phantom.syntaxes import missing_codecs

    left_out = missing_codecs() if asked.codecs else []
    for line in left_out:
        voice.say(line)
    with _told(out):
        rows = write_dicom_tree(
            out,
            asked.n,
            asked.seed,
            _parse_size(asked.size),
            asked.codecs,
            asked.with_bad,
            asked.label_noise,
            asked.confound,
            asked.difficulty,
            asked.workers,
            lateral=_parse_views(asked.views),
            with_masks=asked.masks is not False,
            overwrite=asked.overwrite,
        )
    voice.say(f"{len(rows)} DICOM files in {out}, {_balance_text(rows)}")
    found: dict[str, Any] = {"path": out, **_balance(rows), "codecs_left_out": left_out}
    if asked.with_bad:
        bad, expected = out / "bad", out / "expected.csv"
        voice.say(f"unusable files in {bad}, what a reader should say of them in {expected}")
        found |= {"unusable": bad, "expected": expected}
    return found


@contextlib.contextmanager
def _told(out: Path) -> Iterator[None]:
    """A full disk, or one that may not be written, as one sentence."""
    try:
        yield
    except OSError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{out} cannot be written ({error.strerror}); choose another place") from error


def _write_zip(asked: Draw, dest: Path, voice: options.Voice) -> dict[str, Any]:
    from spine_plugins.phantom.dataset import side_file, write_dataset_zip

    rows = write_dataset_zip(
        dest,
        asked.n,
        asked.seed,
        asked.resolution,
        asked.classes,
        difficulty=asked.difficulty,
        confound=asked.confound,
        label_noise=asked.label_noise,
        lateral=_parse_views(asked.views),
        with_masks=bool(asked.masks),
        pairs=asked.pairs,
        workers=asked.workers,
        overwrite=asked.overwrite,
    )
    factors = side_file(dest, "factors.csv")
    side = f"{asked.resolution}x{asked.resolution}"
    voice.say(f"{len(rows)} images of {side} in {dest}, {_balance_text(rows)}")
    voice.say(f"factors in {factors}")
    found = {"path": dest, **_balance(rows), "resolution": asked.resolution, "classes": asked.classes}
    masks = {"masks": side_file(dest, "masks.zip")} if asked.masks else {}
    return found | {"factors": factors} | masks


def _write_sheet(asked: Draw, path: Path, voice: options.Voice) -> dict[str, Any]:
    from spine_plugins.phantom.dataset import contact_sheet

    picture = contact_sheet(
        asked.seed,
        _parse_size(asked.size),
        outlines=asked.outlines,
        difficulty=asked.difficulty,
        confound=asked.confound,
    )
    with files.atomic_write(path) as file:
        picture.save(file, format="PNG")
    voice.say(f"contact sheet in {path}")
    return {"path": path, "width": picture.width, "height": picture.height}


def _balance(rows: list[Row]) -> dict[str, int]:
    abnormal = sum(row["label"] != 0 for row in rows)
    return {"images": len(rows), "normal": len(rows) - abnormal, "abnormal": abnormal}


def _balance_text(rows: list[Row]) -> str:
    return "{normal} normal and {abnormal} abnormal".format(**_balance(rows))


def _parse_size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,4})x(\d{1,4})", text)
    if not found:
        raise UserError(f"--size={text} is not HEIGHTxWIDTH, up to 9999x9999; for example --size=512x448")
    height, width = int(found[1]), int(found[2])
    if min(height, width) < _LEAST_SIDE:
        raise UserError(f"--size={text}: no side may be smaller than {_LEAST_SIDE} pixels")
    return height, width


def _parse_views(text: str) -> float:
    """The share of images from the side: `lateral` is 1, `AP` is 0, `AP=1,lateral=3` is 0.75."""
    if text in ("AP", "lateral"):
        return float(text == "lateral")
    parts = dict(re.findall(r"(?:^|,)(AP|lateral)=(\d{1,6}(?:\.\d{1,6})?)(?=,|$)", text))
    shares = {view: float(share) for view, share in parts.items()}
    if ",".join(f"{view}={share}" for view, share in parts.items()) != text or sum(shares.values()) == 0:
        raise UserError(
            f"--views={text} names no views; give AP, lateral or shares of both: --views=AP=1,lateral=3"
        )
    return shares.get("lateral", 0.0) / sum(shares.values())
