"""Small DICOM files made for one test each; every value is written here, so tests know what to expect."""
# ruff: noqa: E501 - tables of tags

from __future__ import annotations

import csv
import dataclasses
import io
import tempfile
import warnings
from pathlib import Path

import click.testing
import numpy as np
import PIL.Image
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian

from spine_plugins.dicom.sources import Item

IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
RLE = "1.2.840.10008.1.2.5"
BASELINE = "1.2.840.10008.1.2.4.50"
EXTENDED = "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.57"
JPEG_LOSSLESS_SV1 = "1.2.840.10008.1.2.4.70"
JPEG_LS = "1.2.840.10008.1.2.4.80"
J2K = "1.2.840.10008.1.2.4.90"
J2K_LOSSY = "1.2.840.10008.1.2.4.91"
HTJ2K = "1.2.840.10008.1.2.4.201"
MPEG4 = "1.2.840.10008.1.2.4.102"
LOSSLESS = (
    IMPLICIT,
    EXPLICIT,
    DEFLATED,
    BIG_ENDIAN,
    RLE,
    JPEG_LOSSLESS,
    JPEG_LOSSLESS_SV1,
    JPEG_LS,
    J2K,
    HTJ2K,
)


def radiograph(
    height: int = 160, width: int = 192, bits: int = 12, seed: int = 0, noise: float = 0.01
) -> np.ndarray:
    """A smooth picture with some noise, uint16, using about 5 to 95 % of the range."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    phase = rng.uniform(0, 3, size=4)
    body = (
        0.5 + 0.3 * np.sin(5 * x + phase[0]) * np.cos(4 * y + phase[1]) + 0.1 * np.sin(17 * x * y + phase[2])
    )
    body += noise * rng.standard_normal((height, width))
    return np.round(np.clip(body, 0.02, 0.98) * (2**bits - 1)).astype(np.uint16)


def dataset(pixels: np.ndarray, syntax: str = EXPLICIT, *, bits: int | None = None, **tags) -> FileDataset:
    """A minimal radiograph; a tag given as None is left out."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(syntax)
    meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.1")
    values = {
        "SOPClassUID": meta.MediaStorageSOPClassUID, "Modality": "CR", "PhotometricInterpretation": "MONOCHROME2",
        "PatientName": "Secret^Person", "PatientID": "PID-4711", "StudyInstanceUID": "1.2.3.4", "SeriesInstanceUID": "1.2.3.4.5",
        "SOPInstanceUID": pydicom.uid.generate_uid(entropy_srcs=[pixels.tobytes().hex()[:4000], str(sorted(tags.items()))]),
        "InstitutionName": "Secret Hospital", "StudyDate": "20010203", "AccessionNumber": "ACC-99",
        "Rows": pixels.shape[0], "Columns": pixels.shape[1], "SamplesPerPixel": 1 if pixels.ndim == 2 else pixels.shape[2],
        "BitsAllocated": 8 * pixels.dtype.itemsize, "BitsStored": bits or 8 * pixels.dtype.itemsize,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
    } | tags  # fmt: skip
    values.setdefault("HighBit", values["BitsStored"] - 1 if values["BitsStored"] else None)
    made = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, value in values.items():
            if value is not None:
                setattr(made, name, value)
        if pixels.ndim == 3:
            made.PlanarConfiguration = 0
        made.file_meta.MediaStorageSOPInstanceUID = made.get("SOPInstanceUID", "1.2.3")
        if UID(syntax).is_encapsulated:
            made.PixelData = encapsulate([encoded(pixels, made, syntax)])
            made["PixelData"].VR = "OB"
        else:
            order = ">" if syntax == BIG_ENDIAN else "<"
            made.PixelData = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
            made["PixelData"].VR = "OW" if pixels.dtype.itemsize > 1 else "OB"
    return made


def encoded(pixels: np.ndarray, made: FileDataset, syntax: str) -> bytes:
    """One compressed frame."""
    import imagecodecs

    bits = made.BitsStored
    if syntax == RLE:
        from pydicom.pixels import get_encoder

        made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        frame = get_encoder(UID(RLE)).encode(
            np.ascontiguousarray(pixels), rows=made.Rows, columns=made.Columns, samples_per_pixel=1,
            bits_allocated=made.BitsAllocated, bits_stored=bits, pixel_representation=made.PixelRepresentation,
            photometric_interpretation=made.PhotometricInterpretation, number_of_frames=1, encoding_plugin="pydicom",
        )  # fmt: skip
        made.file_meta.TransferSyntaxUID = UID(RLE)
        return frame
    if syntax in (JPEG_LOSSLESS, JPEG_LOSSLESS_SV1):
        return imagecodecs.ljpeg_encode(pixels, bitspersample=bits)
    if syntax == JPEG_LS:
        return imagecodecs.jpegls_encode(pixels)
    if syntax in (J2K, J2K_LOSSY):
        level = 0 if syntax == J2K else 40
        return imagecodecs.jpeg2k_encode(
            pixels, level=level, codecformat="j2k", reversible=syntax == J2K, bitspersample=bits
        )
    if syntax == HTJ2K:
        return imagecodecs.htj2k_encode(pixels, reversible=True)
    if syntax == BASELINE:
        return imagecodecs.jpeg8_encode(pixels.astype(np.uint8), level=95)
    if syntax == EXTENDED:
        return imagecodecs.jpeg_encode(pixels, level=95, bitspersample=12)
    raise AssertionError(syntax)


def to_bytes(made: FileDataset) -> bytes:
    """The file's bytes."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        syntax = made.file_meta.TransferSyntaxUID
        pydicom.dcmwrite(
            buffer, made, implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian,
            enforce_file_format=True,
        )  # fmt: skip
    return buffer.getvalue()


def write(path: Path, pixels: np.ndarray | None = None, syntax: str = EXPLICIT, **tags) -> Path:
    """A DICOM file at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(to_bytes(dataset(radiograph() if pixels is None else pixels, syntax, **tags)))
    return path


def write_csv(path: Path, rows: list[dict], columns: list[str] | None = None) -> Path:
    """A CSV table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns or list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_tree(root: Path, n: int = 24, *, size: tuple[int, int] = (160, 192), per_study: int = 2) -> Path:
    """VinDr's layout in small: n radiographs of n / per_study studies, half of them abnormal, in mixed syntaxes."""
    rows = []
    for i in range(n):
        study = i // per_study
        name = f"{i * 7919 % 10007:032x}"
        syntax = (EXPLICIT, IMPLICIT, DEFLATED, BIG_ENDIAN, RLE, JPEG_LS, J2K, JPEG_LOSSLESS_SV1)[i % 8]
        pixels = radiograph(*size, seed=i)
        write(
            root / "train_images" / f"{name}.dicom", pixels, syntax, bits=12, PatientID=f"PID-{study}",
            StudyInstanceUID=f"1.2.3.{study}", SOPInstanceUID=f"1.2.3.{study}.{i}",
            PhotometricInterpretation="MONOCHROME1" if i % 3 == 0 else "MONOCHROME2",
        )  # fmt: skip
        base = {"study_id": f"study{study}", "series_id": "s", "image_id": name, "rad_id": "R1"}
        if i % 2:
            box = {"xmin": 60.5, "ymin": 50, "xmax": 100, "ymax": 90.25}
            rows.append(base | {"lesion_type": "Osteophytes"} | box)
            rows.append(base | {"lesion_type": "Osteophytes"} | {k: v + 3 for k, v in box.items()})
        else:
            rows.append(base | {"lesion_type": "No finding", "xmin": "", "ymin": "", "xmax": "", "ymax": ""})
    write_csv(root / "annotations" / "train.csv", rows)
    return root


def convert_bytes(data: bytes, name: str = "x.dcm", **settings):
    """The record of one file given as bytes; defaults fit the small pictures of this module."""
    from spine_plugins.dicom.convert import convert_item
    from spine_plugins.dicom.settings import IngestSettings

    chosen = IngestSettings(**{"resolution": 64, "timeout_sec": 20.0} | settings)
    with tempfile.NamedTemporaryFile(suffix=".dcm") as file:
        file.write(data)
        file.flush()
        return dataclasses.asdict(convert_item(chosen, b"key", Item(name, file.name, size=len(data))))


def convert_dataset(made: FileDataset, **settings):
    """The record of one made data set."""
    return convert_bytes(to_bytes(made), **settings)


def image_of(record: dict) -> np.ndarray:
    """The pixels of a record that is ok."""
    assert record["reason"] == "", (record["reason"], record["detail"])
    return np.asarray(PIL.Image.open(io.BytesIO(record["png"])))


def run_tool(*arguments) -> click.testing.Result:
    """The command in this process; the executor is serial unless said."""
    from spine_plugins.dicom.command import main

    words = [str(word) for word in arguments]
    if "--executor" not in words and "--demo" not in words:
        words += ["--executor", "serial"]
    result = click.testing.CliRunner().invoke(main, words)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def report_rows(dest: Path) -> list[dict[str, str]]:
    """The rows of X_report.csv."""
    with open(dest.with_name(dest.stem + "_report.csv"), newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
