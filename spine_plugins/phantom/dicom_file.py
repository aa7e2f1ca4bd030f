"""One phantom as one DICOM file: how it is stored, and the rows that annotate it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from spine_plugins import uids
from spine_plugins.phantom.scene import Box
from spine_plugins.phantom.syntaxes import put_pixels
from spine_plugins.vindr import NO_FINDING
from stylegan2ada.errors import MissingError

if TYPE_CHECKING:
    from pydicom import Dataset

AnnotationRow = tuple[str | float, ...]  # in the order of dicom_tree.ANNOTATION_COLUMNS


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
    """How file number `index` is stored: each trait has a period of its own, so that they mix."""
    syntax = syntaxes[index % len(syntaxes)]
    # Shifted by one each round, or a period common with the syntaxes would always pair the same values.
    turn = index + index // len(syntaxes)
    slope, intercept = ((1.0, 0.0), (1.0, 0.0), (2.0, -100.0), (0.5, 12.0))[index // 3 % 4]
    return Traits(
        syntax=syntax,
        bits_stored=12 if syntax == uids.JPEG_EXTENDED_12BIT else (8, 10, 12, 14, 16)[turn % 5],
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
    # Both ends of the range stay free, so that windowing has something to do.
    values = np.rint((0.03 + 0.92 * image) * top)
    dtype = np.uint8 if traits.bits_stored <= 8 else np.uint16
    return (top - values if traits.inverted else values).astype(dtype)


def import_pydicom() -> ModuleType:
    """pydicom, or a sentence on how to get it."""
    try:
        import pydicom
    except ImportError as error:
        raise MissingError("writing DICOM phantoms needs pydicom; pip install 'spinegan[dicom]'") from error
    return pydicom


@dataclass(frozen=True)
class Identity:
    """Of what and whom a file says to be; UIDs are made of these texts, so that the same ones come again."""

    image: str
    study: str
    series: str
    patient: str
    name: str
    vendor: str = ""


def make_file(pixels: np.ndarray, traits: Traits, who: Identity, view: str = "AP") -> Dataset:
    """A complete pydicom dataset."""
    pydicom = import_pydicom()
    from pydicom.uid import UID

    ds: Dataset = pydicom.Dataset()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = UID(traits.syntax)
    _identify(ds, who)
    ds.BodyPartExamined, ds.ViewPosition = "LSPINE", "LL" if view == "lateral" else "AP"
    ds.ImageType = ["DERIVED", "PRIMARY"]
    if traits.has_modality:
        ds.Modality = "DX"
    if traits.has_spacing:
        ds.PixelSpacing = [0.4, 0.4]
    _describe(ds, pixels, traits)
    put_pixels(ds, pixels)
    return ds


def _identify(ds: Dataset, who: Identity) -> None:
    from pydicom.uid import UID, generate_uid

    ds.SOPClassUID = UID(uids.DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION)
    ds.SOPInstanceUID = generate_uid(entropy_srcs=["image", who.image])
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.StudyInstanceUID = generate_uid(entropy_srcs=["study", who.study])
    ds.SeriesInstanceUID = generate_uid(entropy_srcs=["series", who.series])
    ds.PatientID, ds.PatientName = who.patient, who.name
    ds.PatientBirthDate, ds.PatientSex = "", "O"
    ds.StudyDate, ds.StudyTime, ds.StudyID = "20200101", "120000", "1"
    ds.AccessionNumber, ds.ReferringPhysicianName, ds.Manufacturer = "", "", who.vendor


def _describe(ds: Dataset, pixels: np.ndarray, traits: Traits) -> None:
    """What the stored values mean: image pixel module, rescale, window."""
    ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel, ds.PixelRepresentation = 1, 0
    ds.PhotometricInterpretation = "MONOCHROME1" if traits.inverted else "MONOCHROME2"
    ds.BitsAllocated = 8 if pixels.dtype == np.uint8 else 16
    ds.BitsStored, ds.HighBit = traits.bits_stored, traits.bits_stored - 1
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = traits.slope, traits.intercept, "US"
    low, high = (float(edge) * traits.slope + traits.intercept for edge in (pixels.min(), pixels.max()))
    if traits.window == "present":
        ds.WindowCenter, ds.WindowWidth = round((low + high) / 2, 2), round(max(high - low, 1), 2)
    elif traits.window == "absurd":  # shows nothing: who obeys it gets a uniform picture
        ds.WindowCenter, ds.WindowWidth = round(high * 40 + 1e5, 2), 1


def annotation_rows(study: str, series_id: str, image: str, boxes: Iterable[Box]) -> list[AnnotationRow]:
    """One row per box; a normal image has one row without a box."""
    start = (study, series_id, image, "rad1")
    rows: list[AnnotationRow] = [(*start, kind, *map(float, edges)) for kind, *edges in boxes]
    return rows or [(*start, NO_FINDING, "", "", "", "")]
