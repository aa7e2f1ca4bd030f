"""What dataset_tool can read: folders, zips, LSUN databases, CIFAR-10 and MNIST -> named uint8 images."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from stylegan2ada.data import lmdb_pages, well_known
from stylegan2ada.data.decode import DICOM_ENDINGS, FILE_LIMIT, decode_grey, decode_image, is_image_name
from stylegan2ada.data.labels import description_limit, parse_description
from stylegan2ada.data.window import Window
from stylegan2ada.data.writer import LABELS_FILE, Label
from stylegan2ada.errors import NothingToDoError, UserError
from stylegan2ada.protocols import JsonObject
from stylegan2ada.untrusted import is_regular, open_regular, open_zip, read_file, read_member

CIFAR = "cifar-10-python.tar.gz"
MNIST_IMAGES, MNIST_LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
_KINDS = f"a folder or .zip of images, an LSUN folder NAME_lmdb, {CIFAR}, or {MNIST_IMAGES}"
_DICOM_TOOL = "those are for dataset_tool_dicom.py (`spinegan convert`)"
_DICOM_AT, _DICOM_MAGIC = 128, b"DICM"  # PS3.10 7.1
_LOOKED_AT = 20  # files without an ending that are asked whether they are DICOM

Decode = Callable[[bytes, str], np.ndarray]  # content of a file and its name in messages -> uint8 pixels


class SourceError(UserError):
    """The source cannot be used."""

    exit_code = 1  # as scripts written for the original expect


@dataclass(frozen=True)
class SourceImage:
    """One image that can be read when its turn comes."""

    name: str  # relative, with forward slashes
    read: Callable[[], np.ndarray]  # -> uint8 [H, W] or [H, W, 3]
    label: Label | None = None  # for sources that carry their own


@dataclass
class Source:
    """Images in their fixed order."""

    path: str
    total: int
    images: Callable[[], Iterator[SourceImage]]
    names: list[str] = field(default_factory=list)  # of folders and zips: labels can be given for them
    description: JsonObject = field(default_factory=dict)  # their dataset.json
    skips_unreadable: bool = False  # as if they were not there
    passed_over: str = ""  # what else is there, for a sentence


@contextlib.contextmanager
def open_source(
    path: str,
    max_images: int | None = None,
    window: Window | None = None,  # makes deep grey images 8-bit
    flag: str = "--source",  # that named the path, for sentences
) -> Iterator[Source]:
    """The first `max_images` images of anything we can read."""
    place, named = Path(path), f"{flag}={path}"
    if not place.exists():
        raise SourceError(f"{named} does not exist; give {_KINDS}")
    decode = decode_image if window is None else functools.partial(_windowed, window)
    if window is not None and place.name in (CIFAR, MNIST_IMAGES):
        raise SourceError(f"--window is for files of grey images; {path} holds 8-bit images already")
    with contextlib.ExitStack() as stack:
        if place.is_dir():
            is_lmdb = place.name.endswith("_lmdb")
            source = _open_lmdb(path, named, decode, stack) if is_lmdb else _open_folder(path, named, decode)
        elif not is_regular(place):
            raise SourceError(f"{named} is a pipe, socket or device; give {_KINDS}")
        elif place.name == CIFAR:
            source = _of_arrays(path, *_asking(well_known.read_cifar, path, named))
        elif place.name == MNIST_IMAGES:
            source = _open_mnist(path, named)
        elif place.suffix.lower() == ".zip":
            source = _open_zip(path, named, decode, stack)
        elif _is_dicom(place):
            raise SourceError(f"{named} is a DICOM file; {_DICOM_TOOL}")
        else:
            raise SourceError(f"{named} is of a kind that cannot be read; give {_KINDS}")
        if source.total == 0:
            raise NothingToDoError(f"{named} holds no images; give {_KINDS}")
        yield source if max_images is None else _first(source, max_images)


def _windowed(window: Window, content: bytes, name: str) -> np.ndarray:
    return window(decode_grey(content, name), name)


def _asking(
    read: Callable[[str], tuple[np.ndarray, list[int]]], path: str, named: str
) -> tuple[np.ndarray, list[int]]:
    try:
        return read(path)
    except well_known.DamagedError as error:
        raise SourceError(f"{named}: {error}; download it again") from error


def _first(source: Source, count: int) -> Source:
    everything = source.images

    def images() -> Iterator[SourceImage]:
        # The range comes first, so that zip stops without fetching one image too many.
        for _, image in zip(range(min(count, source.total)), everything()):
            yield image

    source.images = images
    source.total = min(count, source.total)
    source.names = source.names[:count]
    return source


# Folders and zips: files with names.


def _open_folder(path: str, named: str, decode: Decode) -> Source:
    root = Path(path)
    there = [Path(folder, name) for folder, _, names in os.walk(root) for name in names]
    found = [file for file in there if is_image_name(file.name)]
    dicoms = sum(file.suffix.lower() in DICOM_ENDINGS for file in there)
    if not found and not dicoms:  # as scanners and disks for patients name them, without an ending
        dicoms = len(there) * any(_is_dicom(file) for file in sorted(there)[:_LOOKED_AT])
    _refuse_dicom(named, dicoms, len(found))
    # upstream: sorted by the parts of the path, so "a/z" comes before "a-b"
    names = ["/".join(parts) for parts in sorted(file.relative_to(root).parts for file in found)]
    label_file = root / LABELS_FILE
    described = None
    # Also where it is no file: that the labels cannot be read must not mean that there are none.
    if os.path.lexists(label_file):
        described = read_file(label_file, description_limit(len(names)), error=SourceError)
    source = _of_files(
        path, names, lambda name: read_file(root / name, FILE_LIMIT, error=SourceError), decode, described
    )
    if dicoms:
        source.passed_over = f"{path} also holds {dicoms} DICOM files; {_DICOM_TOOL}"
    return source


def _open_zip(path: str, named: str, decode: Decode, stack: contextlib.ExitStack) -> Source:
    archive = stack.enter_context(open_zip(path, error=SourceError))
    members = archive.namelist()
    names = sorted(name for name in members if is_image_name(name))
    _refuse_dicom(named, sum(Path(name).suffix.lower() in DICOM_ENDINGS for name in members), len(names))
    described = None
    if LABELS_FILE in members:
        described = read_member(archive, LABELS_FILE, description_limit(len(names)), error=SourceError)

    def read(name: str) -> bytes:
        return read_member(archive, name, FILE_LIMIT, error=SourceError)

    return _of_files(path, names, read, decode, described)


def _refuse_dicom(named: str, dicoms: int, images: int) -> None:
    # A few pictures beside them are masks or thumbnails; a single file beside a picture may be anything.
    if dicoms > images or dicoms == images > 1:
        raise SourceError(f"{named} holds {dicoms} DICOM files; {_DICOM_TOOL}")


def _is_dicom(place: Path) -> bool:
    if not is_regular(place):
        return False
    try:
        with open_regular(place) as file:
            return file.read(_DICOM_AT + len(_DICOM_MAGIC))[_DICOM_AT:] == _DICOM_MAGIC
    except UserError:
        return False


def _of_files(
    path: str, names: list[str], read: Callable[[str], bytes], decode: Decode, description: bytes | None
) -> Source:
    def pixels(name: str) -> np.ndarray:
        # A zip's CRC-32 is checked on reading: a damaged member shows here.
        return decode(read(name), f"{name} in {path}")

    def images() -> Iterator[SourceImage]:
        for name in names:
            yield SourceImage(name, functools.partial(pixels, name))

    parsed = {} if description is None else parse_description(description, path)
    return Source(path, len(names), images, names, parsed)


# Well-known sets.


def _open_lmdb(path: str, named: str, decode: Decode, stack: contextlib.ExitStack) -> Source:
    file = stack.enter_context(open_regular(Path(path, "data.mdb"), error=SourceError))
    try:
        database = lmdb_pages.Database(file)
    except lmdb_pages.DamagedError as error:
        raise SourceError(f"{named} is not a usable LMDB database ({error})") from error

    def images() -> Iterator[SourceImage]:
        try:
            for key, value in database:
                name = key.decode("ascii", "replace")
                yield SourceImage(name, functools.partial(decode, value, f"{name} in {path}"))
        except lmdb_pages.DamagedError as error:
            raise SourceError(f"{named} is damaged ({error}); download it again") from error

    return Source(path, database.entries, images, skips_unreadable=True)


def _open_mnist(path: str, named: str) -> Source:
    label_path = path.removesuffix(MNIST_IMAGES) + MNIST_LABELS
    if not is_regular(label_path):
        raise SourceError(f"{named} needs {MNIST_LABELS} beside it; put it there")
    return _of_arrays(path, *_asking(lambda path: well_known.read_mnist(path, label_path), path, named))


def _of_arrays(path: str, pixels: np.ndarray, labels: list[int]) -> Source:
    def images() -> Iterator[SourceImage]:
        for index, label in enumerate(labels):
            yield SourceImage(f"number {index}", functools.partial(pixels.__getitem__, index), label)

    return Source(path, len(labels), images)
