"""Phantoms as DICOM files laid out like VinDr-SpineXR, with the variety that real archives have."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from spine_plugins.phantom import series
from spine_plugins.phantom.damaged import write_bad_files, write_expected
from spine_plugins.phantom.dicom_file import (
    AnnotationRow,
    Identity,
    annotation_rows,
    import_pydicom,
    make_file,
    stored_pixels,
    traits_of,
)
from spine_plugins.phantom.series import Row, SeriesOptions, Sheet
from spine_plugins.phantom.syntaxes import syntaxes
from stylegan2ada import files
from stylegan2ada.errors import UserError
from stylegan2ada.images import save_png
from stylegan2ada.progress import Progress

# VinDr-SpineXR's columns.
ANNOTATION_COLUMNS = (
    "study_id", "series_id", "image_id", "rad_id", "lesion_type", "xmin", "ymin", "xmax", "ymax",
)  # fmt: skip
META_COLUMNS = (
    "patient_id", "image_id", "series_id", "study_id", "image_type", "image_height", "image_width",
    "body_part", "patient_sex", "patient_age", "modality", "protocol", "station_name", "file_size",
)  # fmt: skip
_FOLDERS = ("train_images", "test_images", "annotations", "masks")
_CONTENTS = (*_FOLDERS, "bad", "factors.csv", "expected.csv")


def write_dicom_tree(
    out: str | Path,
    n: int,
    seed: int = 0,
    size: tuple[int, int] = (512, 448),
    codecs: bool = False,
    with_bad: bool = False,
    label_noise: float = 0.0,
    confound: float = 0.0,
    difficulty: float = 1.0,
    workers: int | None = 1,
    *,
    lateral: float = 0.5,  # share of images from the side
    with_masks: bool = True,
    overwrite: bool = False,
) -> list[Row]:
    """Write `n` phantoms below `out`: train_images/, test_images/, annotations/, masks/, factors.csv.

    codecs adds compressed syntaxes (those that the installed packages can write), with_bad a folder of
    unusable files and expected.csv: path, status and reason of every file below `out`, for the tool's
    default limits.
    Returns the rows of factors.csv.
    """
    import_pydicom()
    options = SeriesOptions(seed, size, difficulty, confound, label_noise, lateral=lateral).checked()
    out = Path(out)
    was_there = out.exists()
    _make_room(out, overwrite)
    try:
        return _fill(out, options, n, _StudyWriter(str(out), syntaxes(codecs), with_masks), workers, with_bad)
    except BaseException:  # half a series looks like a whole one to those that read it
        _clear(out)
        if not was_there:
            with contextlib.suppress(OSError):  # something else was put there meanwhile
                out.rmdir()
        raise


def _fill(
    out: Path, options: SeriesOptions, n: int, work: _StudyWriter, workers: int | None, with_bad: bool
) -> list[Row]:
    written: list[_Written] = []
    progress = Progress(n, "phantom DICOM")
    for count, results in series.run_over_studies(work, options, n, workers):
        written += results
        progress.step(count)
    progress.close()
    bad_annotations, expected = write_bad_files(out, options.seed) if with_bad else ([], {})
    _write_annotations(out, "train", written, bad_annotations)
    _write_annotations(out, "test", written)
    rows = [one["factors"] for one in written]
    series.write_factors(out / "factors.csv", rows)
    if with_bad:
        write_expected(out, expected)
    return rows


def _write_annotations(
    out: Path, split: str, written: list[_Written], more: Iterable[AnnotationRow] = ()
) -> None:
    part = [one for one in written if one["split"] == split]
    rows = [*(row for one in part for row in one["annotations"]), *more]
    files.write_csv(out / "annotations" / f"{split}.csv", ANNOTATION_COLUMNS, rows)
    metas = ([one["meta"][column] for column in META_COLUMNS] for one in part)
    files.write_csv(out / "annotations" / f"{split}_meta.csv", META_COLUMNS, metas)


class _Written(TypedDict):
    """What the tables need to know of one file."""

    split: str
    factors: Row
    annotations: list[AnnotationRow]
    meta: dict[str, str | int]


@dataclass(frozen=True)
class _StudyWriter:
    """Writes the files of one study; plain values in and out, so that any process can do it."""

    out: str
    syntaxes: tuple[str, ...]
    with_masks: bool

    def __call__(self, options: SeriesOptions, number: int, first: int, count: int) -> list[_Written]:
        return [
            self._write(options, number, sheet)
            for sheet in series.sheets_of_study(options, number, first, count)
        ]

    def _write(self, options: SeriesOptions, number: int, sheet: Sheet) -> _Written:
        phantom, traits = sheet.phantom, traits_of(sheet.index, self.syntaxes)
        view = phantom.factors["view"]
        who = Identity(
            image=series.hashed(f"phantom image {options.seed} {sheet.index}"),
            study=sheet.study,
            series=series.hashed(f"phantom series {options.seed} {number} {view}"),
            patient=sheet.patient,
            name=f"Phantom^{number:03d}",
            vendor=phantom.factors["style"],
        )
        ds = make_file(stored_pixels(phantom.image, traits), traits, who, view)
        name = f"{sheet.split}_images/{who.image}.dicom"
        path = Path(self.out, name)
        ds.save_as(path, enforce_file_format=True)
        if self.with_masks:
            save_png(series.pack_masks(phantom.masks), Path(self.out, "masks", f"{who.image}.png"))
        meta: dict[str, str | int] = {
            "patient_id": who.patient,
            "image_id": who.image,
            "series_id": who.series,
            "study_id": who.study,
            "image_type": "DERIVED",
            "image_height": ds.Rows,
            "image_width": ds.Columns,
            "body_part": "LSPINE",
            "patient_sex": "O",
            "modality": ds.get("Modality", ""),
            "file_size": path.stat().st_size,
        }
        return {
            "split": sheet.split,
            "factors": sheet.row(name),
            "annotations": annotation_rows(who.study, who.series, who.image, sheet.boxes_read),
            "meta": {**dict.fromkeys(META_COLUMNS, ""), **meta},
        }


def _make_room(out: Path, overwrite: bool) -> None:
    """Create the folders; an older phantom is replaced on request, anything else is left alone."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        is_ours = (out / "factors.csv").is_file()
        if is_ours and not overwrite:
            raise UserError(f"{out} holds phantoms already; choose another name, or give --overwrite")
        if not is_ours:
            raise UserError(f"{out} is not an empty folder; empty it, or choose another name")
        _clear(out)
    for folder in _FOLDERS:
        (out / folder).mkdir(parents=True, exist_ok=True)


def _clear(out: Path) -> None:
    for name in _CONTENTS:
        entry = out / name
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)
