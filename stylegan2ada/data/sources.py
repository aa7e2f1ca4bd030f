"""What dataset_tool can read: folders, zips, LSUN databases, CIFAR-10 and MNIST -> named uint8 images."""

from __future__ import annotations

import functools
import gzip
import io
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from stylegan2ada.data.decode import decode_image, is_image_name
from stylegan2ada.data.labels import parse_description
from stylegan2ada.data.writer import LABELS_FILE, Label
from stylegan2ada.errors import MissingError, NothingToDoError, UserError
from stylegan2ada.protocols import JsonObject

CIFAR = "cifar-10-python.tar.gz"
MNIST_IMAGES, MNIST_LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
_KINDS = f"a folder or .zip of images, an LSUN folder NAME_lmdb, {CIFAR}, or {MNIST_IMAGES}"


_DICOM = (".dcm", ".dicom", ".dic")


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


def open_source(path: str, max_images: int | None = None) -> Source:
    """The first `max_images` images of anything we can read."""
    place = Path(path)
    if not place.exists():
        raise SourceError(f"--source={path} does not exist; give {_KINDS}")
    if place.is_dir():
        source = _open_lmdb(path) if place.name.endswith("_lmdb") else _open_folder(path)
    elif place.name == CIFAR:
        source = _open_cifar(path)
    elif place.name == MNIST_IMAGES:
        source = _open_mnist(path)
    elif place.suffix.lower() == ".zip":
        source = _open_zip(path)
    else:
        raise SourceError(f"--source={path} is of a kind that cannot be read; give {_KINDS}")
    if source.total == 0:
        raise NothingToDoError(f"--source={path} holds no images; give {_KINDS}")
    return source if max_images is None else _first(source, max_images)


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


def _open_folder(path: str) -> Source:
    root = Path(path)
    there = [Path(folder, name) for folder, _, names in os.walk(root) for name in names]
    found = [file for file in there if is_image_name(file.name)]
    dicoms = sum(file.suffix.lower() in _DICOM for file in there)
    if dicoms >= max(len(found), 2):  # a few pictures beside them are masks or thumbnails
        raise SourceError(
            f"--source={path} holds {dicoms} DICOM files; those are for dataset_tool_dicom.py "
            "(`spinegan convert`)"
        )
    # upstream: sorted by the parts of the path, so "a/z" comes before "a-b"
    names = ["/".join(parts) for parts in sorted(file.relative_to(root).parts for file in found)]
    label_file = root / LABELS_FILE
    return _of_files(
        path,
        names,
        lambda name: (root / name).read_bytes(),
        label_file.read_bytes() if label_file.is_file() else None,
    )


def _open_zip(path: str) -> Source:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise SourceError(f"--source={path} is not a usable zip ({error}); copy or make it again") from error
    members = archive.namelist()
    names = sorted(name for name in members if is_image_name(name))
    return _of_files(path, names, archive.read, archive.read(LABELS_FILE) if LABELS_FILE in members else None)


def _of_files(path: str, names: list[str], read: Callable[[str], bytes], description: bytes | None) -> Source:
    def pixels(name: str) -> np.ndarray:
        try:
            # A zip's CRC-32 is checked on reading: a damaged member shows here.
            content = read(name)
        except (OSError, zipfile.BadZipFile) as error:
            raise SourceError(f"{name} in {path} cannot be read ({error}); restore or remove it") from error
        return decode_image(content, f"{name} in {path}")

    def images() -> Iterator[SourceImage]:
        for name in names:
            yield SourceImage(name, functools.partial(pixels, name))

    parsed = {} if description is None else parse_description(description, path)
    return Source(path, len(names), images, names, parsed)


# Well-known sets.


def _open_lmdb(path: str) -> Source:
    try:
        import lmdb
    except ImportError as error:
        raise MissingError(f"{path} is an LSUN database, which needs a package: pip install lmdb") from error
    try:
        # Without a lock file: databases often lie where nobody may write.
        with lmdb.open(path, readonly=True, lock=False) as database:
            total = database.stat()["entries"]
    except lmdb.Error as error:
        raise SourceError(f"--source={path} is not a usable LMDB database ({error})") from error

    def images() -> Iterator[SourceImage]:
        with (
            lmdb.open(path, readonly=True, lock=False) as database,
            database.begin(write=False) as transaction,
        ):
            for key, value in transaction.cursor():
                name = key.decode("ascii", "replace")
                yield SourceImage(name, functools.partial(decode_image, value, f"{name} in {path}"))

    return Source(path, total, images, skips_unreadable=True)


class _NumbersOnly(pickle.Unpickler):
    """CIFAR-10 comes as pickles; of those we build arrays and nothing else."""

    _allowed = {
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        # Python 3 spells bytes so in protocol 2.
        ("_codecs", "encode"),
    }

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in self._allowed:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in it")
        return super().find_class(
            module.replace("numpy.core", "numpy._core") if _has_new_numpy() else module, name
        )


# Old files name numpy's private module as it was called before 2.0; importing that name today warns.
def _has_new_numpy() -> bool:
    return int(np.__version__.split(".")[0]) >= 2


def _open_cifar(path: str) -> Source:
    pixels, labels = [], []
    try:
        with tarfile.open(path, "r:gz") as archive:
            # The five training batches; the test batch is left for testing.
            for number in range(1, 6):
                member = archive.extractfile(f"cifar-10-batches-py/data_batch_{number}")
                assert member is not None
                # Written by Python 2, whose byte strings survive only as latin1.
                batch = _NumbersOnly(io.BytesIO(member.read()), encoding="latin1").load()
                pixels.append(np.asarray(batch["data"], dtype=np.uint8).reshape(-1, 3, 32, 32))
                labels += [int(label) for label in batch["labels"]]
    except (OSError, EOFError, tarfile.TarError, KeyError, ValueError, pickle.UnpicklingError) as error:
        raise SourceError(
            f"--source={path} is not the CIFAR-10 archive ({error}); download it again"
        ) from error
    # Stored plane by plane, [N, 3, 32, 32]; images here have channels last.
    return _of_arrays(path, np.concatenate(pixels).transpose(0, 2, 3, 1), labels)


def _open_mnist(path: str) -> Source:
    label_path = path.removesuffix(MNIST_IMAGES) + MNIST_LABELS
    if not os.path.isfile(label_path):
        raise SourceError(f"--source={path} needs {MNIST_LABELS} beside it; put it there")
    digits, labels = _read_idx(path), _read_idx(label_path)
    if digits.ndim != 3 or digits.shape[1:] != (28, 28) or labels.shape != digits.shape[:1]:
        raise SourceError(f"--source={path} holds {digits.shape} pixels and {labels.shape} labels, not MNIST")
    padded = np.pad(digits, [(0, 0), (2, 2), (2, 2)])  # 28x28 -> 32x32, black
    return _of_arrays(path, padded, labels.tolist())


def _read_idx(path: str) -> np.ndarray:
    """uint8 array of an IDX file: 0, 0, 8 for bytes, number of axes, big-endian lengths, then the data."""
    try:
        with gzip.open(path) as file:
            content = file.read()
    except (OSError, EOFError) as error:
        raise SourceError(f"{path} cannot be read ({error}); download it again") from error
    axes = content[3] if content[:3] == b"\0\0\x08" and len(content) > 3 else 0
    shape = np.frombuffer(content[4 : 4 + 4 * axes], dtype=">i4")
    # The file claims its lengths: believed only if they add up exactly to its size.
    if axes == 0 or len(content) != 4 + 4 * axes + int(np.prod(shape)):
        raise SourceError(f"{path} is not a complete IDX file of bytes; download it again")
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * axes).reshape(shape)


def _of_arrays(path: str, pixels: np.ndarray, labels: list[int]) -> Source:
    if len(pixels) != len(labels):
        raise SourceError(
            f"--source={path} has {len(pixels)} images but {len(labels)} labels; download it again"
        )

    def images() -> Iterator[SourceImage]:
        for index, label in enumerate(labels):
            yield SourceImage(f"number {index}", functools.partial(pixels.__getitem__, index), label)

    return Source(path, len(labels), images)
