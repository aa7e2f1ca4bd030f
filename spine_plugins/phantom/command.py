"""`spinegan phantom`: synthetic spine radiographs as DICOM, as a training set, or as one contact sheet."""

from __future__ import annotations

import re
from pathlib import Path

import click

from stylegan2ada.errors import UserError


@click.command()
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder for DICOM files, laid out like VinDr-SpineXR"
)
@click.option(
    "--zip", "zip_path", type=click.Path(path_type=Path), help="Training set (X.zip or a folder), no DICOM"
)
@click.option(
    "--sheet", type=click.Path(path_type=Path), help="Contact sheet: a PNG with a row per kind of lesion"
)
@click.option("--n", default=96, show_default=True, type=click.IntRange(min=1), help="Number of images")
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Same seed, same phantoms"
)
@click.option("--size", default="512x448", show_default=True, help="Height x width, for --out and --sheet")
@click.option(
    "--resolution", default=64, show_default=True, type=click.IntRange(32, 2048), help="Side, for --zip"
)
@click.option("--classes", type=click.Choice(["binary", "spine8"]), default="binary", show_default=True,
              help="Labels, for --zip")  # fmt: skip
@click.option(
    "--difficulty", default=1.0, show_default=True, help="Lesions look severity / difficulty strong"
)
@click.option(
    "--label-noise", default=0.0, show_default=True, help="Share of labels that the reader gets wrong"
)
@click.option("--confound", default=0.0, show_default=True,
              help="How strongly marker, collimation and vendor follow the class, 0 to 1")  # fmt: skip
@click.option("--codecs", is_flag=True, help="Also compressed DICOM: JPEG 2000, JPEG-LS, JPEG lossless, ...")
@click.option("--with-bad", is_flag=True, help="Also unusable DICOM files, with expected.csv")
@click.option("--masks/--no-masks", default=None, help="Masks beside the images  [default: with --out only]")
@click.option("--outlines", is_flag=True, help="Draw the outlines of the lesions into --sheet")
@click.option("--workers", type=click.IntRange(min=1), help="Processes  [default: all cores]")
@click.option("--overwrite", is_flag=True, help="Replace an older result")
def phantom(
    out,
    zip_path,
    sheet,
    n,
    seed,
    size,
    resolution,
    classes,
    difficulty,
    label_noise,
    confound,
    codecs,
    with_bad,
    masks,
    outlines,
    workers,
    overwrite,
) -> None:
    """Draw synthetic spine radiographs with known truth: labels, boxes, masks and factors.

    \b
    spinegan phantom --out raw --n 96                      DICOM with annotations
    spinegan phantom --zip train.zip --n 1600              training set at 64x64
    spinegan phantom --sheet sheet.png --outlines          what they look like
    """
    try:
        if out is None and zip_path is None and sheet is None:
            raise UserError(
                "say what to write: --out FOLDER (DICOM), --zip X.zip (training set) or --sheet X.png"
            )
        look = {"difficulty": difficulty, "confound": confound, "label_noise": label_noise}
        look |= {"workers": workers, "overwrite": overwrite}
        if out is not None:
            _write_tree(
                out, n, seed, _parse_size(size), codecs, with_bad, with_masks=masks is not False, **look
            )
        if zip_path is not None:
            from spine_plugins.phantom.dataset import side_file, write_dataset_zip

            rows = write_dataset_zip(zip_path, n, seed, resolution, classes, with_masks=bool(masks), **look)
            click.echo(f"{len(rows)} images of {resolution}x{resolution} in {zip_path}, {_balance(rows)}")
            click.echo(f"factors in {side_file(zip_path, 'factors.csv')}")
        if sheet is not None:
            from spine_plugins.phantom.dataset import contact_sheet

            contact_sheet(
                seed, _parse_size(size), outlines=outlines, difficulty=difficulty, confound=confound
            ).save(sheet, format="PNG")
            click.echo(f"contact sheet in {sheet}")
    except UserError as error:
        failure = click.ClickException(str(error))
        failure.exit_code = error.exit_code  # type: ignore[misc]
        raise failure from error


def _write_tree(out, n, seed, size, codecs, with_bad, **options) -> None:
    from spine_plugins.phantom.dicom_tree import write_dicom_tree
    from spine_plugins.phantom.syntaxes import missing_codecs

    for line in missing_codecs() if codecs else []:
        click.echo(line)
    rows = write_dicom_tree(out, n, seed, size, codecs, with_bad, **options)
    click.echo(f"{len(rows)} DICOM files in {out}, {_balance(rows)}")
    if with_bad:
        click.echo(
            f"unusable files in {out / 'bad'}, what a reader should say of them in {out / 'expected.csv'}"
        )


def _balance(rows: list[dict[str, object]]) -> str:
    abnormal = sum(row["label"] != 0 for row in rows)
    return f"{len(rows) - abnormal} normal and {abnormal} abnormal"


def _parse_size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if not found:
        raise UserError(f"--size={text} is not HEIGHTxWIDTH; for example --size=512x448")
    return int(found[1]), int(found[2])
