"""Phantoms as DICOM files laid out like VinDr-SpineXR, with the variety that real archives have."""

from __future__ import annotations

import csv
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spine_plugins.phantom import series
from spine_plugins.phantom.damaged import write_bad_files
from spine_plugins.phantom.dicom_file import (
    annotation_rows,
    import_pydicom,
    make_file,
    stored_pixels,
    traits_of,
)
from spine_plugins.phantom.series import SeriesOptions, Sheet
from spine_plugins.phantom.syntaxes import syntaxes
from stylegan2ada.errors import UserError
from stylegan2ada.images import save_png
from stylegan2ada.progress import Progress

ANNOTATION_COLUMNS = (
    "study_id",
    "series_id",
    "image_id",
    "rad_id",
    "lesion_type",
    "xmin",
    "ymin",
    "xmax",
    "ymax",
)
META_COLUMNS = (
    *(
        "patient_id",
        "image_id",
        "series_id",
        "study_id",
        "image_type",
        "image_height",
        "image_width",
        "body_part",
    ),
    *("patient_sex", "patient_age", "modality", "protocol", "station_name", "file_size"),
)
_CONTENTS = (
    "train_images",
    "test_images",
    "annotations",
    "masks",
    "bad",
    "factors.csv",
    "expected.csv",
    "recipe.json",
)


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
    with_masks: bool = True,
    overwrite: bool = False,
) -> list[dict[str, object]]:
    """Write `n` phantoms below `out`: train_images/, test_images/, annotations/, masks/, factors.csv.

    codecs adds compressed syntaxes (those that the installed packages can write), with_bad a folder of
    unusable files and expected.csv: path, status and reason of every file below `out`, for the tool's
    default limits.
    Returns the rows of factors.csv.
    """
    import_pydicom()
    options = SeriesOptions(seed, size, difficulty, confound, label_noise).checked()
    out = Path(out)
    _make_room(out, overwrite)
    work = _StudyWriter(str(out), syntaxes(codecs), with_masks)
    written: list[dict[str, Any]] = []
    progress = Progress(n, "phantom DICOM")
    for count, results in series.run_over_studies(work, options, n, workers):
        written += results
        progress.step(count)
    progress.close()
    for split in ("train", "test"):
        part = [result for result in written if result["split"] == split]
        annotations = [row for result in part for row in result["annotations"]]
        _write_csv(out / "annotations" / f"{split}.csv", ANNOTATION_COLUMNS, annotations)
        _write_csv(
            out / "annotations" / f"{split}_meta.csv", META_COLUMNS, [result["meta"] for result in part]
        )
    rows = [result["factors"] for result in written]
    series.write_factors(out / "factors.csv", rows)
    if with_bad:
        write_bad_files(out, seed)
    return rows


@dataclass(frozen=True)
class _StudyWriter:
    """Writes the files of one study; plain values in and out, so that any process can do it."""

    out: str
    syntaxes: tuple[str, ...]
    with_masks: bool

    def __call__(self, options: SeriesOptions, number: int, first: int, count: int) -> list[dict[str, Any]]:
        return [
            self._write(options, number, sheet)
            for sheet in series.sheets_of_study(options, number, first, count)
        ]

    def _write(self, options: SeriesOptions, number: int, sheet: Sheet) -> dict[str, Any]:
        traits = traits_of(sheet.index, self.syntaxes)
        image_id = series.hashed(f"phantom image {options.seed} {sheet.index}")
        series_id = series.hashed(f"phantom series {options.seed} {number} {sheet.phantom.factors['view']}")
        ids = {"image": image_id, "study": sheet.study, "series": series_id, "patient": sheet.patient}
        ids |= {"name": f"Phantom^{number:03d}", "vendor": str(sheet.phantom.factors["style"])}
        ds = make_file(
            stored_pixels(sheet.phantom.image, traits), traits, ids, str(sheet.phantom.factors["view"])
        )
        name = f"{sheet.split}_images/{image_id}.dicom"
        path = Path(self.out, name)
        ds.save_as(path, enforce_file_format=True)
        if self.with_masks:
            save_png(series.pack_masks(sheet.phantom.masks), Path(self.out, "masks", f"{image_id}.png"))
        who = {
            "patient_id": sheet.patient,
            "image_id": image_id,
            "series_id": series_id,
            "study_id": sheet.study,
        }
        meta: dict[str, Any] = dict.fromkeys(META_COLUMNS, "") | who
        meta |= {
            "image_type": "DERIVED",
            "image_height": ds.Rows,
            "image_width": ds.Columns,
            "body_part": "LSPINE",
        }
        meta |= {"patient_sex": "O", "modality": ds.get("Modality", ""), "file_size": path.stat().st_size}
        return {
            "split": sheet.split,
            "factors": sheet.row(name),
            "annotations": annotation_rows(sheet.study, series_id, image_id, sheet.boxes_read),
            "meta": meta,
        }


def _write_csv(path: Path, columns: tuple[str, ...], rows: list) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(
            row if isinstance(row, tuple) else [row[column] for column in columns] for row in rows
        )


def _make_room(out: Path, overwrite: bool) -> None:
    """Create the folders; an older phantom is replaced on request, anything else is left alone."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        if not overwrite or not (out / "factors.csv").is_file():
            raise UserError(f"{out} is not an empty folder; empty it, or choose another name")
        for name in _CONTENTS:
            entry = out / name
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)
    for folder in ("train_images", "test_images", "annotations", "masks"):
        (out / folder).mkdir(parents=True, exist_ok=True)
