"""One input file -> one plain record: all that a worker does. No object or error of pydicom leaves."""

from __future__ import annotations

import contextlib
import hashlib
import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from spine_plugins.dicom import codecs, frame, labels, read, window
from spine_plugins.dicom.annotations import AnnotationTable
from spine_plugins.dicom.deidentify import keyed
from spine_plugins.dicom.header import check_header, open_dataset, value
from spine_plugins.dicom.likeness import difference_hash, thumbnail
from spine_plugins.dicom.reasons import OutOfTime, Rejected
from spine_plugins.dicom.record import Record
from spine_plugins.dicom.settings import IngestSettings
from spine_plugins.dicom.sources import Item
from spine_plugins.dicom.terms import OTHER
from spine_plugins.vindr import canonical
from stylegan2ada.data.pseudonyms import keyed_hash
from stylegan2ada.data.writer import encode_png

if TYPE_CHECKING:
    from pydicom import Dataset


def convert_item(settings: IngestSettings, key: bytes, item: Item) -> Record:
    """The record of one file; never raises for what the file contains."""
    codecs.load_pydicom()
    with codecs.quiet():
        return convert_file(settings, key, item)


def convert_file(settings: IngestSettings, key: bytes, item: Item) -> Record:
    """The record of one file. Every way to fail ends here as a reason."""
    record = Record(item.name)
    try:
        with _time_limit(settings.timeout_sec):
            _convert(settings, key, item, record)
    except Rejected as rejected:
        record.reason, record.detail = rejected.reason, rejected.detail
    except OutOfTime:
        record.reason, record.detail = "timeout", f"longer than {settings.timeout_sec:g} s"
    except MemoryError:
        record.reason, record.detail = "memory", "not enough memory for this file"
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # native code panics outside Exception; that may not end the run
        record.reason, record.detail = "decode_error", f"unexpected {type(error).__name__}"
    # A late failure may leave half of the picture behind, which nobody must take for a result.
    if record.reason:
        record.png = record.thumb = record.histogram = b""
    return record


def _convert(settings: IngestSettings, key: bytes, item: Item, record: Record) -> None:
    if item.reason:
        raise Rejected(item.reason)
    data = item.read(settings.max_file_bytes)
    if item.expected_sha256 and hashlib.sha256(data).hexdigest() != item.expected_sha256:
        raise Rejected("checksum_mismatch")
    dataset = open_dataset(data, settings, record.header)
    sop = str(value(dataset, "SOPInstanceUID") or "")
    annotation = _annotation(settings, key, item, sop, record)
    # Before the gates, so that the report can group what they turn away.
    _identify(key, dataset, sop, annotation, item, record)
    check_header(dataset, settings, record.header)
    label = _label(settings, annotation, record)
    if settings.headers_only:
        return
    radiograph = read.decode(dataset, settings, record.header)
    del dataset, data  # hundreds of megabytes at most, not needed beside the pixels
    _draw(settings, radiograph, annotation, label, record)


def _annotation(
    settings: IngestSettings, key: bytes, item: Item, sop: str, record: Record
) -> labels.Annotation | None:
    """Rows for the file's name, as in VinDr, or for its SOP instance UID."""
    if not settings.annotations:
        return None
    found = AnnotationTable(settings.annotations, key).find(item.stem, sop, item.name)
    if found is None:
        return None
    record.image, annotation = found
    return annotation


def _identify(
    key: bytes, dataset: Dataset, sop: str, annotation: labels.Annotation | None, item: Item, record: Record
) -> None:
    """Keyed hashes of whose picture this is; the identifiers themselves end here."""
    study = annotation.study if annotation else None
    study = study or keyed(key, "study", value(dataset, "StudyInstanceUID"))
    # Without any study the file is a group of its own.
    study = study or keyed(key, "file", item.name)
    patient = keyed(key, "patient", value(dataset, "PatientID")) or (
        annotation.patient if annotation else None
    )
    record.sop = keyed_hash(key, "sop", sop)
    if study:
        record.study, record.study_seal = study
    if patient:
        record.patient, record.patient_seal = patient


def _label(settings: IngestSettings, annotation: labels.Annotation | None, record: Record) -> labels.Label:
    label = labels.label_of(annotation, settings)
    record.kinds = list(label.kinds)
    record.n_boxes = len(annotation.boxes) if annotation else 0
    if label.reason:
        raise Rejected(label.reason)
    record.label = list(label.label) if isinstance(label.label, tuple) else label.label
    return label


def _draw(
    settings: IngestSettings,
    radiograph: read.Radiograph,
    annotation: labels.Annotation | None,
    label: labels.Label,
    record: Record,
) -> None:
    """Crop and reduce, window, invert, round: the documented order."""
    stored = radiograph.stored
    if stored.min() == stored.max():
        raise Rejected("constant_image", f"every pixel is {stored.flat[0]}")
    if settings.hash_pixels:
        # Of the whole picture: the same duplicates are found whatever the crop.
        record.pixels = read.pixel_hash(radiograph)
    boxes = annotation.boxes if annotation else ()
    crop = frame.crop_box(stored, settings.crop, [box for _, box in boxes])
    record.crop = [int(edge) for edge in crop]
    if crop.width < settings.resolution:
        record.header.warn("enlarged")
    _map_boxes(settings, boxes, crop, label, record)
    shown = _shown(settings, radiograph, crop, record)
    _keep(frame.padded(shown, crop, settings.resolution), settings.channels, record)


def _map_boxes(
    settings: IngestSettings,
    boxes: tuple[tuple[str, frame.Box], ...],
    crop: frame.Box,
    label: labels.Label,
    record: Record,
) -> None:
    parts = []
    for kind, box in boxes:
        cut, inside = frame.mapped_box(box, crop, settings.resolution)
        parts.append(inside)
        name = canonical(kind, settings.class_map) or (kind if kind in settings.values else OTHER)
        x0, y0, x1, y1 = (round(edge, 2) for edge in cut)
        record.boxes.append((name, x0, y0, x1, y1, round(inside, 4)))
    if parts:
        record.boxes_inside = round(sum(parts) / len(parts), 4)
    if label.is_abnormal and parts and max(parts) == 0 and not settings.keep_lost_labels:
        raise Rejected("label_lost_by_crop", "every lesion lies outside the crop")


def _shown(
    settings: IngestSettings, radiograph: read.Radiograph, crop: frame.Box, record: Record
) -> np.ndarray:
    """uint8 [h, w]: the crop, reduced and windowed."""
    x0, y0, x1, y1 = record.crop
    # Every fourth pixel of the file, not of the reduced image: averaging takes the extremes away.
    sample = radiograph.stored[max(0, y0) : y1 : 4, max(0, x0) : x1 : 4]
    if sample.min() == sample.max():
        raise Rejected("constant_image", "nothing but one value inside the crop")
    small = frame.resized(radiograph.stored, crop, settings.resolution, settings.resize)
    # Affine, so it commutes with the mean, and costs nothing on the small image.
    values = radiograph.slope * small + radiograph.intercept
    shown = window.show(values, sample, radiograph, settings.window, settings.percentiles, settings.polarity)
    if settings.window == "voi" and shown.window != "voi":
        record.header.warn("no_voi")
    record.window, record.low, record.high = shown.window, shown.low, shown.high
    record.inverted, record.clipped = shown.is_inverted, shown.clipped
    return shown.image


def _keep(image: np.ndarray, channels: int, record: Record) -> None:
    """The finished picture, and what lets others judge it without opening it."""
    record.dhash = difference_hash(image)
    # A fixed byte order: another machine may resume from this journal.
    record.histogram = np.bincount(image.ravel(), minlength=256).astype("<u4").tobytes()
    record.thumb = thumbnail(image)
    record.png = encode_png(image if channels == 1 else np.repeat(image[:, :, None], 3, axis=2))


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """OutOfTime after so many seconds, as soon as Python code runs; native code is left to the watchdog."""
    # Only the main thread gets signals, and Windows has no such timer.
    has_alarm = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if not has_alarm or seconds <= 0:
        yield
        return

    def stop(*_: object) -> None:
        raise OutOfTime

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        # The timer goes first: an alarm under the old handler would end the process.
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
