"""Phantoms as DICOM files laid out like VinDr-SpineXR, with the variety that real archives have."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spine_plugins import phantom_series as series
from spine_plugins.phantom_codecs import JPEG_EXTENDED, put_pixels, syntaxes
from spine_plugins.phantom_series import NORMAL, SeriesOptions, Sheet
from stylegan2ada.errors import MissingError, UserError
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


@dataclass(frozen=True)
class Traits:
    """How one file is stored; goes round-robin, so that every value occurs."""

    syntax: str
    bits_stored: int
    inverted: bool  # MONOCHROME1
    window: str  # present | absent | absurd
    slope: float
    intercept: float
    has_modality: bool
    has_spacing: bool


def traits_of(index: int, syntaxes: tuple[str, ...]) -> Traits:
    syntax = syntaxes[index % len(syntaxes)]
    # Shifted by one each round, or a period common with the syntaxes would always pair the same values.
    turn = index + index // len(syntaxes)
    slope, intercept = ((1.0, 0.0), (1.0, 0.0), (2.0, -100.0), (0.5, 12.0))[index // 3 % 4]
    return Traits(
        syntax=syntax,
        bits_stored=12 if syntax == JPEG_EXTENDED else (8, 10, 12, 14, 16)[turn % 5],
        inverted=bool((index + index // 10) % 2),
        window=("present", "absent", "absurd")[index // 2 % 3],
        slope=slope,
        intercept=intercept,
        has_modality=index % 11 != 5,
        has_spacing=index % 7 != 3,
    )


def stored_pixels(image: np.ndarray, traits: Traits) -> np.ndarray:
    """float 0..1 -> uint8 or uint16 as they lie in the file, MONOCHROME1 turned round."""
    top = 2**traits.bits_stored - 1
    values = np.rint((0.03 + 0.92 * image) * top)
    return (top - values if traits.inverted else values).astype(
        np.uint8 if traits.bits_stored <= 8 else np.uint16
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
        from spine_plugins.phantom_bad import write_bad_files

        write_bad_files(out, seed)
    return rows


def import_pydicom() -> Any:
    """pydicom, or a sentence on how to get it."""
    try:
        import pydicom
    except ImportError as error:
        raise MissingError("writing DICOM phantoms needs pydicom; pip install 'spinegan[dicom]'") from error
    return pydicom


def make_file(pixels: np.ndarray, traits: Traits, ids: dict[str, str], view: str = "AP") -> Any:
    """A complete pydicom dataset; `ids` gives image, study, series, patient and name."""
    pydicom = import_pydicom()
    from pydicom.uid import UID, generate_uid

    ds = pydicom.Dataset()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = UID(traits.syntax)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = UID(
        "1.2.840.10008.5.1.4.1.1.1.1"
    )  # digital X-ray
    ds.SOPInstanceUID = generate_uid(entropy_srcs=["image", ids["image"]])
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.StudyInstanceUID = generate_uid(entropy_srcs=["study", ids["study"]])
    ds.SeriesInstanceUID = generate_uid(entropy_srcs=["series", ids["series"]])
    ds.PatientID, ds.PatientName = ids["patient"], ids["name"]
    ds.PatientBirthDate, ds.PatientSex = "", "O"
    ds.StudyDate, ds.StudyTime, ds.StudyID = "20200101", "120000", "1"
    ds.AccessionNumber, ds.ReferringPhysicianName, ds.Manufacturer = "", "", ids.get("vendor", "")
    ds.BodyPartExamined, ds.ViewPosition = "LSPINE", "LL" if view == "lateral" else "AP"
    ds.ImageType = ["DERIVED", "PRIMARY"]
    if traits.has_modality:
        ds.Modality = "DX"
    if traits.has_spacing:
        ds.PixelSpacing = [0.4, 0.4]
    ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel, ds.PixelRepresentation = 1, 0
    ds.PhotometricInterpretation = "MONOCHROME1" if traits.inverted else "MONOCHROME2"
    ds.BitsAllocated = 8 if pixels.dtype == np.uint8 else 16
    ds.BitsStored, ds.HighBit = traits.bits_stored, traits.bits_stored - 1
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = traits.slope, traits.intercept, "US"
    low, high = (float(edge) * traits.slope + traits.intercept for edge in (pixels.min(), pixels.max()))
    if traits.window == "present":
        ds.WindowCenter, ds.WindowWidth = round((low + high) / 2, 2), round(max(high - low, 1), 2)
    elif traits.window == "absurd":
        ds.WindowCenter, ds.WindowWidth = round(high * 40 + 1e5, 2), 1
    put_pixels(ds, pixels)
    return ds


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


def annotation_rows(study: str, series_id: str, image: str, boxes: Iterable[tuple]) -> list[tuple]:
    """One row per box; a normal image has one row without a box."""
    start = (study, series_id, image, "rad1")
    return [(*start, *(box[0], *map(float, box[1:]))) for box in boxes] or [(*start, NORMAL, "", "", "", "")]


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
