"""Load: a zip or folder of images with a dataset.json -> uint8 [C, H, W] and float32 labels.

`Dataset` holds what every data set shares (subset, mirroring, labels); subclass it to read another format.
"""

from __future__ import annotations

import contextlib
import copy
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from stylegan2ada.data.decode import DICOM_ENDINGS, FILE_LIMIT, DatasetError, decode_image, is_image_name
from stylegan2ada.data.labels import MOST_CLASSES, description_limit, labels_in_order, parse_description
from stylegan2ada.data.writer import LABELS_FILE
from stylegan2ada.errors import MissingError, UserError
from stylegan2ada.protocols import JsonObject, State
from stylegan2ada.untrusted import open_zip, read_file, read_member

ContentKey = list[Any]  # facts for JSON: a kind, its place or members, and what tells that they changed


@dataclass(frozen=True)
class DatasetInfo:
    """What a command needs to know before anything is built."""

    name: str
    path: str | None  # None: a plug-in without a place
    num_images: int  # after max_size and mirroring
    image_shape: tuple[int, int, int]  # [C, H, W]
    label_dim: int
    has_labels: bool
    label_names: tuple[str, ...] | None


@dataclass(frozen=True)
class ItemDetails:
    """Where an item comes from."""

    raw_idx: int
    xflip: bool
    raw_label: np.ndarray


class Dataset(torch.utils.data.Dataset):
    """Images and labels by index; plug-ins implement `_load_raw_image`, `_load_raw_labels`, maybe `close`."""

    def __init__(
        self,
        name: str,
        raw_shape: Sequence[int],  # [N, C, H, W] of all that is stored
        max_size: int | None = None,  # take a random subset of so many; None = all
        use_labels: bool = False,  # False: labels of zero width
        xflip: bool = False,  # append every image a second time, mirrored
        random_seed: int = 0,  # of the subset
    ) -> None:
        self.name = name
        self.raw_shape = [int(size) for size in raw_shape]
        self.use_labels = use_labels
        self._labels: np.ndarray | None = None  # raw labels, once looked at
        self._label_shape: list[int] = []
        # int64 [len]: item -> stored image; bool [len]: is it mirrored?
        self.raw_indices, self.flips = _items(self.raw_shape[0], max_size, random_seed, xflip)

    # What a plug-in provides.

    def _load_raw_image(self, raw_idx: int) -> np.ndarray:  # uint8 [C, H, W]
        raise NotImplementedError(f"{type(self).__name__} must implement _load_raw_image(raw_idx)")

    def _load_raw_labels(self) -> np.ndarray | None:  # int64 [N], float32 [N, c], or None
        raise NotImplementedError(f"{type(self).__name__} must implement _load_raw_labels()")

    def close(self) -> None:
        """Give back open files; reading afterwards opens them again."""

    def content_key(self) -> ContentKey | None:
        """Cheap facts for JSON that change whenever the content does; None: nothing is known, never cache."""
        return None

    # What everybody uses.

    def __len__(self) -> int:
        return len(self.raw_indices)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """(uint8 [C, H, W], float32 [label_dim]) as copies of their own."""
        image = self.raw_image(int(self.raw_indices[index]))
        # Copied, also because torch takes no negative strides, which mirroring makes.
        return (image[:, :, ::-1] if self.flips[index] else image).copy(), self.get_label(index)

    def raw_image(self, raw_idx: int) -> np.ndarray:
        """A stored image, checked: uint8 [C, H, W], neither subset nor mirroring applied."""
        image = self._load_raw_image(raw_idx)
        if list(image.shape) != self.image_shape or image.dtype != np.uint8:
            raise DatasetError(
                f"image {raw_idx} of {self.name} is {image.dtype} {list(image.shape)}, "
                f"but the data set has uint8 {self.image_shape}; all images must be alike"
            )
        return image

    def get_label(self, index: int) -> np.ndarray:
        """float32 [label_dim]; class indices come one-hot."""
        return self.get_labels(np.asarray([index]))[0]

    def get_labels(self, indices: np.ndarray | None = None) -> np.ndarray:
        """float32 [n, label_dim] of many items (default: all) at once."""
        raw = self.item_labels() if indices is None else self.raw_labels()[self.raw_indices[indices]]
        if raw.dtype != np.int64:
            return raw.copy()
        one_hot = np.zeros((len(raw), *self.label_shape), dtype=np.float32)
        one_hot[np.arange(len(raw)), raw] = 1
        return one_hot

    def draw_labels(
        self, count: int, rng: np.random.RandomState | np.random.Generator | None = None
    ) -> np.ndarray:
        """float32 [count, label_dim] of items drawn uniformly, by default with numpy's global generator.

        A RandomState is used up exactly as by `count` single draws of `randint(len(dataset))`.
        """
        if isinstance(rng, np.random.Generator):
            return self.get_labels(rng.integers(len(self), size=count))
        return self.get_labels((np.random if rng is None else rng).randint(len(self), size=count))

    def get_details(self, index: int) -> ItemDetails:
        """Which stored image an item is, and its label as stored."""
        raw_idx = int(self.raw_indices[index])
        return ItemDetails(raw_idx, bool(self.flips[index]), self.raw_labels()[raw_idx].copy())

    def raw_labels(self) -> np.ndarray:
        """int64 [N] class indices or float32 [N, c] vectors of all stored images; read once."""
        if self._labels is None:
            labels = self._load_raw_labels() if self.use_labels else None
            self._labels = np.zeros((self.raw_shape[0], 0), dtype=np.float32) if labels is None else labels
            self._label_shape = _checked_shape(self._labels, self.raw_shape[0], self.name)
        return self._labels

    def item_labels(self) -> np.ndarray:
        """int64 [len] class indices or float32 [len, c] vectors as stored, in the order of the items."""
        return self.raw_labels()[self.raw_indices]

    def view(self, indices: np.ndarray | Sequence[int], flips: np.ndarray | None = None) -> Self:
        """A data set of the same kind whose items are these stored images, mirrored where `flips` says so.

        It opens files of its own. The order is that of `indices`; flips is bool [len], default: none.
        """
        chosen = np.array(indices, dtype=np.int64)
        mirrored = np.zeros(len(chosen), dtype=bool) if flips is None else np.array(flips, dtype=bool)
        assert chosen.ndim == 1 and mirrored.shape == chosen.shape, (chosen.shape, mirrored.shape)
        assert len(chosen) == 0 or 0 <= chosen.min() <= chosen.max() < self.raw_shape[0], self.raw_shape
        seen = copy.copy(self)  # by __getstate__, which leaves out what is open
        seen.raw_indices, seen.flips = chosen, mirrored
        seen._labels = self._labels  # of all that is stored, so the same; read once
        return seen

    def as_if_opened(
        self,
        *,
        max_size: int | None = None,
        use_labels: bool = False,
        xflip: bool = False,
        random_seed: int = 0,
    ) -> Self:
        """The data set that these arguments of the constructor make, without reading again what is known."""
        seen = self.view(*_items(self.raw_shape[0], max_size, random_seed, xflip))
        # The width of a label depends on the choice, so it has to be found anew.
        if use_labels != self.use_labels:
            seen.use_labels, seen._labels, seen._label_shape = use_labels, None, []
        return seen

    def stored_labels(self) -> np.ndarray | None:
        """The labels that are stored, also when this reader was told not to use them; None if unusable."""
        if self.use_labels:
            return self.raw_labels() if self.has_labels else None
        try:
            return self._load_raw_labels()
        except UserError:  # nobody asked for them: then a bad label file is no obstacle
            return None

    @property
    def image_shape(self) -> list[int]:
        """[C, H, W]"""
        return self.raw_shape[1:]

    @property
    def num_channels(self) -> int:
        return self.raw_shape[1]

    @property
    def resolution(self) -> int:
        """Side of the square images, in pixels."""
        _, height, width = self.image_shape
        if height != width:
            raise DatasetError(
                f"the images of {self.name} are {width}x{height}; only square images can be used, "
                "make them so with dataset_tool.py --transform"
            )
        return height

    @property
    def label_shape(self) -> list[int]:
        self.raw_labels()
        return list(self._label_shape)

    @property
    def label_dim(self) -> int:
        assert len(self.label_shape) == 1, self.label_shape
        return self.label_shape[0]

    @property
    def has_labels(self) -> bool:
        return any(size != 0 for size in self.label_shape)

    @property
    def has_onehot_labels(self) -> bool:
        return self.raw_labels().dtype == np.int64

    # Further facts; readers that know them override these.

    label_names: list[str] | None = None  # of the classes, or of the columns of a label vector
    groups: dict[str, dict[str, str | None]] | None = None  # image name -> hashes of its study and patient
    recipe: JsonObject | None = None  # how the images were made; None = unknown
    path: str | None = None

    def info(self) -> DatasetInfo:
        """The facts that commands hand on."""
        channels, height, width = self.image_shape
        names = tuple(self.label_names) if self.label_names and self.has_labels else None
        shape = (channels, height, width)
        return DatasetInfo(self.name, self.path, len(self), shape, self.label_dim, self.has_labels, names)

    def __getstate__(self) -> State:
        return {**self.__dict__, "_labels": None}  # workers read them again rather than receive copies

    def __del__(self) -> None:
        self.close()


class ImageFolderDataset(Dataset):
    """Images of a folder (searched recursively) or a zip, in the order of their names.

    >>> dataset = sg.ImageFolderDataset("images.zip", use_labels=True)
    >>> len(dataset), dataset.image_shape, dataset.label_dim
    (16, [1, 8, 8], 2)
    >>> image, label = dataset[0]
    >>> image.dtype, label
    (dtype('uint8'), array([1., 0.], dtype=float32))
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        resolution: int | None = None,  # demanded side in pixels; None = whatever the images have
        *,
        max_size: int | None = None,
        use_labels: bool = False,
        xflip: bool = False,
        random_seed: int = 0,
    ) -> None:
        self.path = os.fspath(path)
        if not self.path:  # which would mean the current folder
            raise DatasetError("the path of the data set is empty; give a folder or .zip")
        # Process id, open archive, and what closes it.
        self._zip: tuple[int, zipfile.ZipFile, contextlib.ExitStack] | None = None
        self._is_zip = _is_zip_name(self.path)
        self._description: JsonObject | None = None  # dataset.json, once looked at
        # By name: a file system's own order differs between machines, and subsets and seeds rest on it.
        self.image_names = sorted(name for name in self._stored_names() if is_image_name(name))
        if not self.image_names:
            raise DatasetError(
                f"{self.path} holds no images; give a folder or .zip with PNG, JPEG or similar files"
                + self._hint_of_dicom()
            )
        # One image stands for all; `raw_image` refuses one that differs when its turn comes.
        channels, height, width = self._decode(self.image_names[0]).shape
        shape = (len(self.image_names), channels, height, width)
        super().__init__(Path(self.path).stem, shape, max_size, use_labels, xflip, random_seed)
        if resolution is not None and (height, width) != (resolution, resolution):
            raise DatasetError(
                f"the images of {self.path} are {width}x{height}, not {resolution}x{resolution}; "
                "leave the resolution out, or make the data set again with --width and --height"
            )

    def _load_raw_image(self, raw_idx: int) -> np.ndarray:
        name = self.image_names[raw_idx]
        image = self._decode(name)
        if list(image.shape) != self.image_shape:
            raise DatasetError(
                f"{name} in {self.path} is {_size(image.shape)}, "
                f"but the first image is {_size(self.image_shape)}; all images must be alike"
            )
        return image

    def _load_raw_labels(self) -> np.ndarray | None:
        return self.labels_of(self.image_names)

    def labels_of(self, names: Sequence[str]) -> np.ndarray | None:
        """The stored labels of some images; others, such as masks beside them, may have none."""
        entries = self._described().get("labels")
        return None if entries is None else labels_in_order(entries, names, str(self.path))

    @property
    def label_names(self) -> list[str] | None:  # type: ignore[override]
        return self._described().get("label_names")

    @property
    def mask_names(self) -> list[str]:
        """What the kinds 1, 2, ... in the masks beside the images are called, where that is known."""
        named = self._described().get("mask_names")
        return [str(name) for name in named] if isinstance(named, list) else []

    @property
    def groups(self) -> dict[str, dict[str, str | None]] | None:  # type: ignore[override]
        return self._described().get("groups")

    @property
    def recipe(self) -> JsonObject | None:  # type: ignore[override]
        return self._described().get("recipe")

    def read_bytes(self, name: str) -> bytes:
        """A stored file as it is, by its name with forward slashes."""
        limit = description_limit(len(self.image_names)) if name == LABELS_FILE else FILE_LIMIT
        try:
            if self._is_zip:
                return read_member(self._archive(), name, limit, error=DatasetError)
            return read_file(Path(str(self.path), name), limit, error=DatasetError)
        except MissingError as missing:
            raise DatasetError(str(missing)) from missing

    def content_key(self) -> ContentKey:
        """What the directory of the zip, or the file system, says of every file (see data/fingerprint.py)."""
        if self._is_zip:
            # Tools list the same members in different orders.
            members = sorted(self._archive().infolist(), key=lambda member: member.filename)
            # The directory keeps each member's CRC-32: new content shows without being read.
            return ["zip", *([m.filename, m.file_size, m.CRC] for m in members if self._matters(m.filename))]
        # A changed file keeps its name and often its size; times and inode give it away.
        stats = [(name, self._stat(name)) for name in self._stored_names() if self._matters(name)]
        facts = ([name, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino] for name, s in sorted(stats))
        return ["folder", os.path.abspath(str(self.path)), *facts]

    def close(self) -> None:
        # Also called by __del__ of an object whose constructor failed before there was a _zip.
        opened, self._zip = getattr(self, "_zip", None), None
        if opened is not None:
            opened[2].close()

    def __getstate__(self) -> State:
        return {**super().__getstate__(), "_zip": None}

    def _stat(self, name: str) -> os.stat_result:
        place = Path(str(self.path), name)
        try:
            return os.stat(place)
        except OSError as error:  # a link to nothing, or removed meanwhile
            raise DatasetError(f"{place} cannot be read ({error.strerror}); restore or remove it") from error

    def _hint_of_dicom(self) -> str:
        is_dicom = any(name.lower().endswith(DICOM_ENDINGS) for name in self._stored_names())
        return "; DICOM files become a data set with dataset_tool_dicom.py (spinegan convert)" * is_dicom

    def _matters(self, name: str) -> bool:
        return name == LABELS_FILE or is_image_name(name)

    def _stored_names(self) -> list[str]:
        if self._is_zip:
            return [name for name in self._archive().namelist() if not name.endswith("/")]
        root = Path(str(self.path))
        if not root.is_dir():
            problem = "is neither a folder nor a .zip" if root.exists() else "does not exist"
            raise DatasetError(f"the data set {self.path} {problem}; make one with dataset_tool.py")
        found = (Path(folder, name) for folder, _, names in os.walk(root) for name in names)
        return [path.relative_to(root).as_posix() for path in found]

    def _archive(self) -> zipfile.ZipFile:
        # A file handle shared with a forked process would be moved by both: every process opens its own.
        if self._zip is None or self._zip[0] != os.getpid():
            if not os.path.exists(str(self.path)):
                raise DatasetError(f"the data set {self.path} does not exist; make one with dataset_tool.py")
            stack = contextlib.ExitStack()
            archive = stack.enter_context(open_zip(str(self.path), error=DatasetError))
            self._zip = (os.getpid(), archive, stack)
        return self._zip[1]

    def _described(self) -> JsonObject:
        if self._description is None:
            if self._is_zip:
                exists = LABELS_FILE in self._archive().NameToInfo
            else:
                # Also where it is no file: that the labels cannot be read must not mean that there are none.
                exists = os.path.lexists(Path(str(self.path), LABELS_FILE))
            content = self.read_bytes(LABELS_FILE) if exists else b"{}"
            self._description = parse_description(content, str(self.path))
        return self._description

    def _decode(self, name: str) -> np.ndarray:  # uint8 [C, H, W]
        pixels = decode_image(self.read_bytes(name), f"{name} in {self.path}")
        return pixels[np.newaxis] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _checked_shape(labels: np.ndarray, n: int, name: str) -> list[int]:
    """The shape of one label, as the networks see it."""
    if labels.dtype not in (np.int64, np.float32) or labels.ndim != (1 if labels.dtype == np.int64 else 2):
        raise DatasetError(f"the labels of {name} must be int64 [N] or float32 [N, c], not {labels.dtype}")
    if len(labels) != n:
        raise DatasetError(f"{name} has {n} images but {len(labels)} labels")
    if labels.dtype == np.int64 and labels.min() < 0:
        raise DatasetError(f"the labels of {name} contain the class {labels.min()}; classes count from 0")
    if labels.dtype == np.int64 and labels.max() >= MOST_CLASSES:
        raise DatasetError(
            f"the labels of {name} contain the class {labels.max()}, which would make as many columns; "
            f"number classes from 0 without gaps, to {MOST_CLASSES - 1} at most"
        )
    # upstream: as many classes as the largest number says, empty ones included.
    return [int(labels.max()) + 1] if labels.dtype == np.int64 else list(labels.shape[1:])


def _items(n: int, max_size: int | None, seed: int, xflip: bool) -> tuple[np.ndarray, np.ndarray]:
    """Which stored images are the items, and which items are mirrored."""
    # Originals first, then all mirror images: upstream's order, on which samplers and recordings rest.
    chosen = _choose(n, max_size, seed)
    indices = np.tile(chosen, 2) if xflip else chosen
    return indices, np.arange(len(indices)) >= len(chosen)


def _choose(n: int, max_size: int | None, seed: int) -> np.ndarray:
    """int64, ascending: which of n stored images to use."""
    indices = np.arange(n, dtype=np.int64)
    if max_size is None or max_size >= n:
        return indices
    if max_size < 1:
        raise UserError(f"a data set cannot be cut down to {max_size} images; give at least 1")
    # upstream: shuffled, cut and sorted, so that a seed means the same subset there and here.
    np.random.RandomState(seed).shuffle(indices)
    return np.sort(indices[:max_size])


def _is_zip_name(path: str | None) -> bool:
    return str(path).lower().endswith(".zip") and not os.path.isdir(str(path))


def _size(shape: Sequence[int]) -> str:
    channels, height, width = shape
    return f"{width}x{height} {'grey' if channels == 1 else 'RGB'}"
