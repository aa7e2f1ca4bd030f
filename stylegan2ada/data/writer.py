"""Pack: uint8 images and labels -> a zip or a folder of PNG files with a dataset.json.

The one writer of all dataset tools. A data set appears under its name only when it is complete.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

import numpy as np

from stylegan2ada.errors import NothingToDoError, UserError
from stylegan2ada.files import atomic_write, private_file, private_folder, sweep, temporary_path
from stylegan2ada.images import to_pil
from stylegan2ada.protocols import JsonObject

Label = int | float | list[int | float]

LABELS_FILE = "dataset.json"
MASKS = "masks/"  # before the name of an image: its mask, grey, 0 = background, k = kind k
_ARCHIVES = {".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"}
_STAGE = "partial"
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # a zip can date nothing earlier; a fixed date gives the same bytes twice
_PLAIN_FILE = 0o100644 << 16  # unix mode of a member: rw-r--r--


class DestinationError(UserError):
    """The place for the result cannot be used."""


def archive_name(index: int) -> str:
    """Name of image number `index` inside a data set: 12345678 -> 12345/img12345678.png."""
    digits = f"{index:08d}"
    return f"{digits[:5]}/img{digits}.png"


def encode_png(image: np.ndarray, compress_level: int = 0) -> bytes:
    """PNG bytes of a uint8 image [H, W], [H, W, 1] or [H, W, 3]; uncompressed decodes fastest."""
    with io.BytesIO() as buffer:
        to_pil(image).save(buffer, format="PNG", compress_level=compress_level, optimize=False)
        return buffer.getvalue()


class DatasetWriter:
    """Context manager that writes a data set to `dest`, a name ending in .zip or else a folder.

    On leaving without an error the data set is moved to its name; on an error nothing stays behind. Its files
    are for their owner alone (mode 600, folders 700), whatever the umask: pixels may be of patients.
    `overwrite` lets a finished zip replace an older one; a folder must always be absent or empty.
    """

    def __init__(self, dest: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        if not os.fspath(dest):
            raise DestinationError("the destination is empty; give a folder or a name that ends in .zip")
        self.dest = Path(dest)
        self.extra: JsonObject = {}  # further keys of dataset.json: label_names, groups, recipe
        self._is_zip = self.dest.suffix.lower() == ".zip"
        self._labels: dict[str, Label | None] = {}  # in the order of writing
        self._header: bytes | None = None  # size and kind of the first image
        self._put: Callable[[str, bytes], None] | None = None
        self._stack = contextlib.ExitStack()
        self._check_destination(overwrite)

    def __enter__(self) -> DatasetWriter:
        with self._saying_where(), contextlib.ExitStack() as stack:
            # Undone in reverse order: first what was written, then the folders made for it.
            stack.callback(self._remove_empty, _make_folders(self.dest.parent))
            self._put = self._open_zip(stack) if self._is_zip else self._open_folder(stack)
            # Held open until __exit__; an error above has undone everything already.
            self._stack = stack.pop_all()
        return self

    def add(self, image: np.ndarray, label: object = None, index: int | None = None) -> str:
        """Write one uint8 image [H, W] or [H, W, C]; returns its name in the data set."""
        return self.add_encoded(encode_png(image), label, index)

    def add_encoded(self, png_bytes: bytes, label: object = None, index: int | None = None) -> str:
        """Write one image that is PNG already; `index` defaults to the running number."""
        assert self._put is not None, "use the writer in a with statement"
        name = archive_name(len(self._labels) if index is None else index)
        if name in self._labels:
            raise UserError(
                f"image number {index} was written to {self.dest} before; every number may occur once"
            )
        # Checked before writing: a refused image leaves no trace.
        self._check_alike(name, png_bytes)
        plain = _plain_label(label, name)
        with self._saying_where():
            self._put(name, png_bytes)
        self._labels[name] = plain
        return name

    def add_mask(self, mask: np.ndarray, name: str) -> None:
        """Write the mask, uint8 [H, W], beside the image of that name."""
        assert self._put is not None and name in self._labels, name
        with self._saying_where():
            self._put(MASKS + name, encode_png(mask))

    def __len__(self) -> int:
        return len(self._labels)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            # On a full disk this fails, too (a zip writes its directory on closing); why we leave counts.
            with contextlib.suppress(OSError):
                self._stack.__exit__(kind, error, trace)  # removes what was written
            return
        with self._saying_where(), self._stack:
            if not self._labels:
                raise NothingToDoError(f"no image was found for {self.dest}; nothing was written")
            assert self._put is not None
            # Last of all: a folder with labels is a complete one.
            self._put(LABELS_FILE, json.dumps(self._description()).encode())

    def _description(self) -> JsonObject:
        is_labelled = all(label is not None for label in self._labels.values())
        labels = [[name, label] for name, label in self._labels.items()] if is_labelled else None
        return {"labels": labels, **self.extra}

    def _check_destination(self, overwrite: bool) -> None:
        if self._is_zip:
            if self.dest.is_dir():
                raise DestinationError(
                    f"{self.dest} is a folder, though its name ends in .zip; choose another name"
                )
            if self.dest.exists() and not overwrite:
                raise DestinationError(f"{self.dest} exists already; delete it or choose another name")
        elif self.dest.suffix.lower() in _ARCHIVES:
            raise DestinationError(
                f"{self.dest} cannot be written; give a folder or a name that ends in .zip"
            )
        elif self.dest.exists() and not self._is_empty_folder():
            raise DestinationError(f"{self.dest} is not an empty folder; empty it or choose another name")

    def _is_empty_folder(self) -> bool:
        if not self.dest.is_dir():
            return False
        sweep(self.dest, of=_STAGE)  # of a process that was killed
        return not any(self.dest.iterdir())

    def _check_alike(self, name: str, png_bytes: bytes) -> None:
        if not png_bytes.startswith(_PNG_SIGNATURE):
            raise UserError(f"{name} for {self.dest} is not a PNG image")
        # The first chunk of a PNG lies at a fixed place; images need not be decoded to be compared.
        header = png_bytes[16:26]  # width, height, bit depth, colour type
        if self._header is None:
            self._header = header
        elif header != self._header:
            raise UserError(
                f"{name} is {_describe(header)}, but the images before it in {self.dest} are "
                f"{_describe(self._header)}; all images of a data set must be alike"
            )

    def _open_zip(self, stack: contextlib.ExitStack) -> Callable[[str, bytes], None]:
        file = stack.enter_context(atomic_write(self.dest, private=True))
        # Stored as it is: reading at random must not wait for decompression.
        archive = stack.enter_context(zipfile.ZipFile(file, "w", zipfile.ZIP_STORED))

        def put(name: str, content: bytes) -> None:
            member = zipfile.ZipInfo(name, date_time=_EARLIEST)
            member.external_attr = _PLAIN_FILE
            member.create_system = 3  # unix, also when written on Windows
            archive.writestr(member, content)

        return put

    def _open_folder(self, stack: contextlib.ExitStack) -> Callable[[str, bytes], None]:
        stack.callback(self._remove_empty, _make_folders(self.dest, is_private=True))
        stage = stack.enter_context(_staged(self.dest))
        folders = {stage}

        def put(name: str, content: bytes) -> None:
            path = stage / name
            if path.parent not in folders:
                folders.add(private_folder(path.parent))
            with private_file(path) as file:
                file.write(content)

        return put

    @contextlib.contextmanager
    def _saying_where(self) -> Iterator[None]:
        """Turns a full disk or a missing permission into a sentence about the destination."""
        try:
            yield
        except OSError as error:
            if isinstance(error, UserError):
                raise
            raise DestinationError(
                f"{self.dest} cannot be written ({error}); choose another place"
            ) from error

    @staticmethod
    def _remove_empty(folders: list[Path]) -> None:
        for folder in reversed(folders):
            with contextlib.suppress(OSError):  # not empty: it holds the result
                folder.rmdir()


@contextlib.contextmanager
def _staged(dest: Path) -> Iterator[Path]:
    """A temporary folder inside `dest`; on success what is in it moves up, the labels last."""
    # Inside `dest`, so on the same file system: a rename then copies nothing.
    stage = private_folder(temporary_path(dest / _STAGE))
    try:
        yield stage
        for entry in sorted(stage.iterdir(), key=lambda entry: entry.name):  # digits before "dataset"
            os.replace(entry, dest / entry.name)
    finally:
        shutil.rmtree(stage)


def _make_folders(folder: Path, *, is_private: bool = False) -> list[Path]:
    """Create a folder and its parents; returns those that were not there, outermost first."""
    missing = [part for part in (folder, *folder.parents) if not part.exists()]
    if missing and is_private:
        private_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return missing[::-1]


def _plain_label(label: object, name: str) -> Label | None:
    """A label as JSON knows it: numpy numbers and arrays become plain ones, booleans 0 and 1."""
    if label is None:
        return None
    try:
        values = np.asarray(label)
    except ValueError:  # lists of different lengths inside a list
        values = np.asarray(None)
    if values.dtype.kind not in "biuf" or values.ndim > 1 or not np.isfinite(values).all():
        raise UserError(f"the label {label!r} of {name} is neither a number nor a list of finite numbers")
    return (values.astype(np.int64) if values.dtype.kind == "b" else values).tolist()


def _describe(header: bytes) -> str:
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    kind = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGBA"}.get(header[9], "unknown")
    return f"{width}x{height} {kind} of {header[8]} bits"
