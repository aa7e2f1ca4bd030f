"""One input file -> one plain record: all that a worker does. No object or error of pydicom leaves."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from spine_plugins.dicom import codecs, frame, labels, read, window
from spine_plugins.dicom.annotations import AnnotationTable
from spine_plugins.dicom.deidentify import keyed_hash, split_score
from spine_plugins.dicom.header import Header, check_header, open_dataset, value
from spine_plugins.dicom.likeness import difference_hash, thumbnail
from spine_plugins.dicom.reasons import OutOfTime, Rejected, status_of
from spine_plugins.dicom.settings import IngestSettings
from spine_plugins.dicom.sources import Item
from spine_plugins.vindr import canonical
from stylegan2ada.data.writer import encode_png


@dataclasses.dataclass
class Record:
    """Outcome of one file; fields are numbers, strings, bytes and lists of these."""

    path: str
    reason: str = ""
    detail: str = ""
    header: dict[str, Any] = dataclasses.field(default_factory=dict)
    image_id: str = ""  # under which the annotations know it; empty if they do not
    label: Any = None
    kinds: list[str] = dataclasses.field(default_factory=list)
    n_boxes: int = 0
    boxes: list[list[Any]] = dataclasses.field(
        default_factory=list
    )  # [kind, x0, y0, x1, y1, inside] in output pixels
    boxes_inside: float | None = None
    study: str | None = None  # keyed hashes
    patient: str | None = None
    sop: str | None = None
    study_score: int | None = None
    patient_score: int | None = None
    pixels: str = ""  # SHA-256 of shape and values
    dhash: str = ""
    window: str = ""
    low: float | None = None
    high: float | None = None
    inverted: bool = False
    clipped: float = 0.0
    crop: list[int] = dataclasses.field(default_factory=list)
    png: bytes = b""
    thumb: bytes = b""
    histogram: bytes = b""  # 256 little-endian uint32

    def plain(self) -> dict[str, Any]:
        return dict(self.__dict__)


def convert_batch(settings: IngestSettings, key: bytes, items: list[Item]) -> list[dict[str, Any]]:
    """Plain records of some files, in their order; never raises for what a file contains."""
    codecs.load_pydicom()
    with codecs.quiet():
        return [convert_file(settings, key, item).plain() for item in items]


def convert_file(settings: IngestSettings, key: bytes, item: Item) -> Record:
    """The record of one file. Every way to fail ends here as a reason."""
    record, header = Record(item.name), Header()
    try:
        with _time_limit(settings.timeout_sec):
            _convert(settings, key, item, record, header)
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
    if record.reason and status_of(record.reason) != "ok":
        record.png = record.thumb = record.histogram = b""
    record.header = dataclasses.asdict(header)
    return record


def _convert(settings: IngestSettings, key: bytes, item: Item, record: Record, header: Header) -> None:
    if item.reason:
        raise Rejected(item.reason)
    data = item.read(settings.max_file_bytes)
    if item.expected_sha256 and hashlib.sha256(data).hexdigest() != item.expected_sha256:
        raise Rejected("checksum_mismatch")
    dataset = open_dataset(data, settings, header)
    sop = str(value(dataset, "SOPInstanceUID") or "")
    annotation = _annotation(settings, item, sop, record)
    _identify(key, dataset, sop, annotation, item, record)
    check_header(dataset, settings, header)
    label = _label(settings, annotation, record)
    if settings.headers_only:
        return
    radiograph = read.decode(dataset, settings, header)
    del dataset, data
    _draw(settings, radiograph, annotation, label, record, header)


def _annotation(settings: IngestSettings, item: Item, sop: str, record: Record) -> labels.Annotation | None:
    """Rows for the file's name, as in VinDr, or for its SOP instance UID."""
    if not settings.annotations:
        return None
    found = AnnotationTable(settings.annotations).find(item.stem, sop, item.name)
    if found is None:
        return None
    record.image_id, annotation = found
    return annotation


def _identify(
    key: bytes, dataset: Any, sop: str, annotation: labels.Annotation | None, item: Item, record: Record
) -> None:
    """Keyed hashes of whose picture this is; the identifiers themselves end here."""
    study = (annotation.study_id if annotation else "") or value(dataset, "StudyInstanceUID")
    patient = value(dataset, "PatientID") or (annotation.patient_id if annotation else "")
    record.sop = keyed_hash(key, "sop", sop)
    # Without any study the file is a group of its own.
    record.study = keyed_hash(key, "study", study) or keyed_hash(key, "file", item.name)
    record.study_score = split_score("study", study) or split_score("file", item.name)
    record.patient = keyed_hash(key, "patient", patient)
    record.patient_score = split_score("patient", patient)


def _label(settings: IngestSettings, annotation: labels.Annotation | None, record: Record) -> labels.Label:
    label = labels.label_of(annotation, settings)
    record.kinds = list(label.kinds)
    record.n_boxes = len(annotation.boxes) if annotation else 0
    if label.reason:
        raise Rejected(label.reason)
    record.label = list(label.label) if isinstance(label.label, tuple) else label.label
    return label


def _draw(settings: IngestSettings, radiograph: read.Radiograph, annotation: labels.Annotation | None,
          label: labels.Label, record: Record, header: Header) -> None:  # fmt: skip
    """Crop and reduce, window, invert, round: the documented order."""
    stored = radiograph.stored
    if stored.min() == stored.max():
        raise Rejected("constant_image", f"every pixel is {stored.flat[0]}")
    if settings.hash_pixels:
        record.pixels = read.pixel_hash(radiograph)
    boxes = annotation.boxes if annotation else ()
    crop = frame.crop_box(stored, settings.crop, [box for _, box in boxes])
    record.crop = [int(edge) for edge in crop]
    if crop.width < settings.resolution:
        header.warn("enlarged")
    _map_boxes(settings, boxes, crop, label, record)
    sample = stored[max(0, record.crop[1]) : record.crop[3] : 4, max(0, record.crop[0]) : record.crop[2] : 4]
    if sample.min() == sample.max():
        raise Rejected("constant_image", "nothing but one value inside the crop")
    small = frame.resized(stored, crop, settings.resolution, settings.resize)
    values = radiograph.slope * small + radiograph.intercept
    shown = window.show(values, sample, radiograph, settings.window, settings.percentiles, settings.polarity)
    if settings.window == "voi" and shown.window != "voi":
        header.warn("no_voi")
    image = frame.padded(shown.image, crop, settings.resolution)
    record.window, record.low, record.high = shown.window, shown.low, shown.high
    record.inverted, record.clipped = shown.is_inverted, shown.clipped
    record.dhash = difference_hash(image)
    record.histogram = np.bincount(image.ravel(), minlength=256).astype("<u4").tobytes()
    record.thumb = thumbnail(image)
    pixels = image if settings.channels == 1 else np.repeat(image[:, :, None], 3, axis=2)
    record.png = encode_png(pixels)


def _map_boxes(settings: IngestSettings, boxes: tuple[tuple[str, frame.Box], ...], crop: frame.Box,
               label: labels.Label, record: Record) -> None:  # fmt: skip
    parts = []
    for kind, box in boxes:
        cut, inside = frame.mapped_box(box, crop, settings.resolution)
        parts.append(inside)
        name = canonical(kind, settings.class_map) or kind
        record.boxes.append([name, *(round(edge, 2) for edge in cut), round(inside, 4)])
    if parts:
        record.boxes_inside = round(sum(parts) / len(parts), 4)
    if label.is_abnormal and parts and max(parts) == 0 and not settings.keep_lost_labels:
        raise Rejected("label_lost_by_crop", "every lesion lies outside the crop")


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """OutOfTime after so many seconds, as soon as Python code runs; native code is left to the watchdog."""
    has_alarm = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if not has_alarm or seconds <= 0:
        yield
        return

    def stop(*_: Any) -> None:
        raise OutOfTime

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
