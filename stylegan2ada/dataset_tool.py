"""Turn images into a data set: `python stylegan2ada/dataset_tool.py --source=FOLDER --dest=SET.zip`."""

from __future__ import annotations

if __name__ == "__main__" and not __package__:
    import as_script  # noqa: F401

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np

from stylegan2ada import files, options, provenance
from stylegan2ada.data import transforms
from stylegan2ada.data.decode import DatasetError
from stylegan2ada.data.source_labels import SourceLabels, class_table, find_labels
from stylegan2ada.data.sources import Source, SourceError, SourceImage, open_source
from stylegan2ada.data.writer import DatasetWriter, DestinationError
from stylegan2ada.errors import NothingToDoError
from stylegan2ada.progress import Progress

_SIDE = click.IntRange(1, transforms.LARGEST)
_SHOWN = 10  # bad images named on the screen; the list names them all


@dataclass(frozen=True)
class DatasetTool:
    """What `dataset_tool` was asked."""

    source: str
    dest: str
    max_images: int | None
    labels: str | None
    skip_bad: bool
    width: int | None
    height: int | None
    transform: str | None
    resize_filter: str
    json_file: str | None


@options.command(record=DatasetTool)
@options.group(
    "Data",
    options.opt("--source", required=True, metavar="PATH",
                help="Folder, .zip or download to read, see above"),
    options.opt("--dest", required=True, metavar="PATH", help="Empty folder or .zip to write"),
    options.opt("--max-images", type=click.IntRange(min=1), metavar="INT",
                help="Only so many [default: all]"),
    options.opt("--labels", metavar="folders|CSV",
                help="Where labels are [default: dataset.json of the source]"),
    options.opt("--skip-bad", is_flag=True, help="Leave out images that cannot be used, and list them"),
)  # fmt: skip
@options.group(
    "Size",
    options.opt("--width", type=_SIDE, metavar="INT", help="Width of the result"),
    options.opt("--height", type=_SIDE, metavar="INT", help="Height of the result"),
    options.opt("--transform", type=click.Choice(transforms.TRANSFORMS), help="Crop [default: none]"),
    options.opt("--resize-filter", type=click.Choice(list(transforms.FILTERS)), default="lanczos",
                help="How pixels are mixed [default: lanczos]"),
)  # fmt: skip
@options.json_option
def main(asked: DatasetTool) -> None:
    """Turn images into a data set for training.

    \b
    --source may be
      a folder or .zip of images, with a dataset.json if there are labels
      NAME_lmdb                    LSUN database (needs: pip install lmdb)
      cifar-10-python.tar.gz       CIFAR-10
      train-images-idx3-ubyte.gz   MNIST, its labels file beside it

    The result holds square 8-bit grey or RGB images whose side is a power of two. --transform=center-crop
    cuts the middle out, center-crop-wide keeps the full width between black bars; both need --width and
    --height.

    --labels=folders takes the folder of each image as its class. --labels=FILE.csv has a column image and
    one or more columns of labels: a class number or name, several numbers, or a list separated by ";".
    """
    if not asked.dest:
        raise click.UsageError("--dest is empty; give a folder or a name that ends in .zip")
    try:
        _convert(asked)
    except (DatasetError, DestinationError, transforms.TransformError) as error:
        raise SourceError(str(error)) from error  # the exit code of the original


def _convert(asked: DatasetTool) -> None:
    transform = transforms.make_transform(asked.transform, asked.width, asked.height, asked.resize_filter)
    source = open_source(asked.source, asked.max_images)
    dest = Path(asked.dest)
    if dest.resolve() == Path(asked.source).resolve():
        raise SourceError(f"--dest={asked.dest} is the source itself; choose another name")
    labels = find_labels(source, asked.labels)
    done = _Done()
    with DatasetWriter(dest, overwrite=True) as writer:  # upstream: an older zip is replaced
        _write_images(source, labels, transform, writer, done, skip_bad=asked.skip_bad)
        if not done.names and done.bad:
            _keep_list(dest, done.bad)
            raise NothingToDoError(f"none of {len(done.bad)} images could be used; nothing was written")
        if not done.names:
            raise NothingToDoError(
                f"all {source.total} images are smaller than the wanted size; nothing was written"
            )
        writer.extra |= _description(source, labels, done, asked)
    voice = options.Voice(asked.json_file)
    _tell(voice, asked.dest, labels, done)
    skipped_list = _keep_list(dest, done.bad)
    voice.numbers({
        "images": len(done.names),
        "labelled": sum(label is not None for label in done.labels),
        "per_class": done.per_class(),
        "too_small": done.dropped,
        "bad": len(done.bad),
        "files": [dest, *([skipped_list] if skipped_list else [])],
    })  # fmt: skip


@dataclass
class _Done:
    """What became of the images."""

    names: dict[str, str] = field(default_factory=dict)  # in the source -> in the data set
    labels: list[Any] = field(default_factory=list)
    dropped: int = 0  # by the transform
    bad: list[tuple[str, str]] = field(default_factory=list)  # name, reason

    def per_class(self) -> list[int] | None:
        """Images of class 0, 1, ...; None without labels or where they are vectors."""
        if all(isinstance(label, int | np.integer) for label in self.labels):
            return np.bincount(np.asarray(self.labels, dtype=np.int64)).tolist()
        return None


def _write_images(
    source: Source,
    labels: SourceLabels,
    transform: transforms.Transform,
    writer: DatasetWriter,
    done: _Done,
    *,
    skip_bad: bool,
) -> None:
    """A bad or dropped image uses up its number, so that names tell the place in the source."""
    first: tuple[str, np.ndarray] | None = None
    number = -1
    for image in Progress(source.total, "converting").over(source.images()):
        number += 1
        try:
            pixels = transform(image.read())
            if pixels is None:
                done.dropped += 1
                continue
            _check_image(image, pixels, first)
        except (SourceError, DatasetError) as error:
            is_unreadable = isinstance(error, DatasetError)
            if not skip_bad and not (is_unreadable and source.skips_unreadable):
                raise
            number -= is_unreadable and source.skips_unreadable
            done.bad.append((image.name, str(error)))
            continue
        first = first or (image.name, pixels)
        label = labels.of.get(image.name, image.label)
        done.names[image.name] = writer.add(pixels, label, number)
        done.labels.append(label)


def _check_image(image: SourceImage, pixels: np.ndarray, first: tuple[str, np.ndarray] | None) -> None:
    height, width = pixels.shape[:2]
    if first is not None and pixels.shape != first[1].shape:
        raise SourceError(
            f"{image.name} is {_kind(pixels)}, but {first[0]} is {_kind(first[1])}; all images must be alike "
            "(--width and --height set one size, --skip-bad leaves out what differs)"
        )
    if width != height:
        raise SourceError(
            f"{image.name} is {width}x{height}; images must be square: give --transform=center-crop, "
            "or equal --width and --height"
        )
    if width & (width - 1):
        below = 1 << (width.bit_length() - 1)
        raise SourceError(
            f"{image.name} is {width}x{width}; the side must be a power of two: give for example "
            f"--width={below} --height={below}"
        )


def _kind(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]} {'grey' if pixels.ndim == 2 else 'RGB'}"


def _description(source: Source, labels: SourceLabels, done: _Done, asked: DatasetTool) -> dict[str, Any]:
    """The further keys of dataset.json."""
    found: dict[str, Any] = {}
    if labels.names and all(label is not None for label in done.labels):
        found["label_names"] = labels.names
    groups = source.description.get("groups")
    if isinstance(groups, dict):  # who belongs together stays known under the new names
        found["groups"] = {new: groups[old] for old, new in done.names.items() if old in groups}
    flags = {
        "max_images": asked.max_images,
        "labels": asked.labels if asked.labels in (None, "folders") else "csv",
        "skip_bad": asked.skip_bad,
        "width": asked.width,
        "height": asked.height,
        "transform": asked.transform,
        "resize_filter": asked.resize_filter,
    }
    made_from = source.description.get("recipe")
    found["recipe"] = provenance.recipe(
        "dataset_tool",
        flags,
        resize_filter=asked.resize_filter,
        **({"made_from": made_from} if made_from else {}),
    )
    return found


def _tell(voice: options.Voice, dest: str, labels: SourceLabels, done: _Done) -> None:
    voice.say(f"{dest}: {len(done.names)} images")
    if all(label is not None for label in done.labels):
        for line in class_table(done.labels, labels.names):
            voice.say(f"  {line}")
    else:
        voice.say("  no labels")
    for note in labels.notes:
        click.echo(f"Note: {note}", err=True)
    if done.dropped:
        click.echo(f"{done.dropped} images were too small for the transform and left out", err=True)


def _keep_list(dest: Path, bad: list[tuple[str, str]]) -> Path | None:
    """The images that were left out: on the screen and as a table beside the data set, if there is one."""
    path = dest.with_name(f"{dest.stem if dest.suffix.lower() == '.zip' else dest.name}_skipped.csv")
    if not bad and not path.exists():  # an older list must not speak of the new data set
        return None
    files.write_csv(path, ("image", "reason"), bad)
    if bad:
        click.echo(f"{len(bad)} bad images were left out; {path} names them all:", err=True)
    for _, reason in bad[:_SHOWN]:
        click.echo(f"  {reason}", err=True)
    return path


if __name__ == "__main__":
    main()
