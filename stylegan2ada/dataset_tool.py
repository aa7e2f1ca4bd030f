"""Turn images into a data set: `python stylegan2ada/dataset_tool.py --source=FOLDER --dest=SET.zip`."""

from __future__ import annotations

if __name__ == "__main__" and not __package__:
    import as_script  # noqa: F401
elif __name__ == "__main__":  # python -m
    import stylegan2ada.as_script  # noqa: F401

import contextlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from stylegan2ada import files, options, provenance
from stylegan2ada.data import splits, transforms
from stylegan2ada.data.conversion import Done, Plan, Written, facts, make_plan, stem_of, write_images
from stylegan2ada.data.decode import DatasetError
from stylegan2ada.data.pseudonyms import load_key, new_key, save_key
from stylegan2ada.data.source_groups import SourceGroups, find_groups
from stylegan2ada.data.source_labels import class_table, find_labels
from stylegan2ada.data.source_masks import SourceMasks, find_masks
from stylegan2ada.data.sources import Source, SourceError, open_source
from stylegan2ada.data.window import parse_window
from stylegan2ada.data.writer import DatasetWriter, DestinationError
from stylegan2ada.errors import NothingToDoError
from stylegan2ada.flag_types import SEED

_SIDE = click.IntRange(1, transforms.LARGEST)
_SHOWN = 10  # bad images named on the screen; the list names them all


@dataclass(frozen=True)
class DatasetTool:
    """What `dataset_tool` was asked."""

    source: str
    dest: str
    max_images: int | None
    labels: str | None
    masks: str | None
    skip_bad: bool
    width: int | None
    height: int | None
    transform: str | None
    resize_filter: str
    window: str | None
    split: str | None
    split_seed: int
    groups: str | None
    key_file: str | None
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
    options.opt("--masks", metavar="PATH",
                help="Folder or .zip of grey masks of the same names, for recipes that learn from pairs"),
    options.opt("--skip-bad", is_flag=True, help="Leave out images that cannot be used, and list them"),
)  # fmt: skip
@options.group(
    "Size",
    options.opt("--width", type=_SIDE, metavar="INT", help="Width of the result"),
    options.opt("--height", type=_SIDE, metavar="INT", help="Height of the result"),
    options.opt("--transform", type=click.Choice(transforms.TRANSFORMS), help="Crop [default: none]"),
    options.opt("--resize-filter", type=click.Choice(list(transforms.FILTERS)), default="lanczos",
                help="How pixels are mixed [default: lanczos]"),
    options.opt("--window", metavar="LOW,HIGH|auto",
                help="Stored values of deep grey images that become black and white; auto: the percentiles "
                "0.5 and 99.5 of each"),
)  # fmt: skip
@options.group(
    "Training, validation, test",
    options.opt("--split", metavar="0.8/0.1/0.1", help="Write X-train, X-val, X-test; groups stay together"),
    options.opt("--split-seed", type=SEED, default=0, metavar="INT",
                help="Another seed, another split [default: 0]"),
    options.opt("--groups", metavar="FILE[:COLUMN]|PATTERN",
                help="Whose images they are, see above [default: dataset.json of the source]"),
    options.opt("--key-file", metavar="FILE", help="Key of the hashes [default: X.key beside --dest]"),
)  # fmt: skip
@options.json_option
def main(asked: DatasetTool) -> None:
    """Turn images into a data set for training.

    \b
    --source may be
      a folder or .zip of images, with a dataset.json if there are labels
      NAME_lmdb                    LSUN database
      cifar-10-python.tar.gz       CIFAR-10
      train-images-idx3-ubyte.gz   MNIST, its labels file beside it

    The result holds square 8-bit grey or RGB images whose side is a power of two. --transform=center-crop
    cuts the middle out, center-crop-wide keeps the full width between black bars; both need --width and
    --height.

    --labels=folders takes the folder of each image as its class. --labels=FILE.csv has a column image and
    one or more columns of labels: a class number or name, several numbers, or a list separated by ";".
    FILE.csv:COLUMN takes one column of several.

    --groups=FILE.csv:COLUMN says in a table which patient an image is of, --groups='*/{group}_*' which part
    of its path does. The data set keeps keyed hashes of these names.
    """
    if not asked.source:
        raise click.UsageError("--source is empty; give a folder, a .zip or a download")
    if not asked.dest:
        raise click.UsageError("--dest is empty; give a folder or a name that ends in .zip")
    try:
        _convert(asked)
    except (DatasetError, DestinationError, transforms.TransformError) as error:
        raise SourceError(str(error)) from error  # the exit code of the original


def _convert(asked: DatasetTool) -> None:
    transform = transforms.make_transform(asked.transform, asked.width, asked.height, asked.resize_filter)
    window = parse_window(asked.window) if asked.window is not None else None
    shares = splits.parse_split(asked.split) if asked.split is not None else ()
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(open_source(asked.source, asked.max_images, window))
        masks = stack.enter_context(find_masks(source, asked.masks))
        labels, groups = find_labels(source, asked.labels), find_groups(source, asked.groups)
        plan = make_plan(source, Path(asked.dest), labels, groups, shares=shares, seed=asked.split_seed)
        if Path(asked.source).resolve() in [target.resolve() for target in plan.targets.values()]:
            raise SourceError(f"--dest={asked.dest} is the source itself; choose another name")
        try:
            done = _write(asked, source, plan, transform, masks)
        except (SourceError, DatasetError) as error:
            # Masks and thumbnails beside DICOM files are not what was meant.
            if not source.passed_over:
                raise
            raise SourceError(f"{error}. {source.passed_over}") from error
        if source.passed_over:
            labels.notes.append(source.passed_over)
    voice = options.Voice(asked.json_file)
    _tell(voice, asked, plan, done)
    skipped_list = _keep_list(Path(asked.dest), done.bad)
    _give_numbers(voice, plan, done, [*plan.targets.values(), *([skipped_list] if skipped_list else [])])


def _write(
    asked: DatasetTool,
    source: Source,
    plan: Plan,
    transform: transforms.Transform,
    masks: SourceMasks | None,
) -> Done:
    alike = transforms.make_transform(asked.transform, asked.width, asked.height, "nearest")

    def mask_of(name: str, image: np.ndarray) -> np.ndarray:
        assert masks is not None
        return masks.read(name, image, alike)

    key = _Key(asked, plan.groups)
    done = Done({split: Written() for split in plan.targets})
    # All of them open until the end: an error half-way leaves none of the splits, and no key, in place.
    with contextlib.ExitStack() as stack:
        stack.push(lambda kind, *_: key.take_back() if kind else None)
        writers = {
            split: stack.enter_context(DatasetWriter(target, overwrite=True))  # upstream: a zip is replaced
            for split, target in plan.targets.items()
        }
        write_images(
            source, plan, transform, writers, done,
            skip_bad=asked.skip_bad, masks=mask_of if masks else None,
        )  # fmt: skip
        if not done.number and done.bad:
            _keep_list(Path(asked.dest), done.bad)
            raise NothingToDoError(f"none of {len(done.bad)} images could be used; nothing was written")
        if not done.number:
            raise NothingToDoError(
                f"all {source.total} images are smaller than the wanted size; nothing was written"
            )
        for split, writer in writers.items():
            writer.extra |= facts(source, plan, done.sets[split], key.bytes())
            writer.extra["recipe"] = _recipe(source, plan, asked, split)
    return done


class _Key:
    """The key of the hashes: one that is there is read before the work, a new one written after it."""

    def __init__(self, asked: DatasetTool, groups: SourceGroups | None) -> None:
        dest = Path(asked.dest)
        self.path = Path(asked.key_file or files.beside(dest, f"{stem_of(dest)}.key"))
        self.is_needed = groups is not None and not groups.is_hashed
        self.is_new = False
        known = load_key(self.path) if self.is_needed else None
        self._bytes = known or new_key()
        self._is_saved = known is not None

    def bytes(self) -> bytes:
        """For hashes that will be kept, so the key is kept, too."""
        if self.is_needed and not self._is_saved:
            save_key(self.path, self._bytes)
            self.is_new = self._is_saved = True
        return self._bytes

    def take_back(self) -> None:
        if self.is_new:
            self.path.unlink(missing_ok=True)


def _recipe(source: Source, plan: Plan, asked: DatasetTool, split: str) -> dict[str, Any]:
    flags: dict[str, Any] = {
        "max_images": asked.max_images,
        "labels": asked.labels if asked.labels in (None, "folders") else "csv",
        "skip_bad": asked.skip_bad,
        "width": asked.width,
        "height": asked.height,
        "transform": asked.transform,
        "resize_filter": asked.resize_filter,
    }
    # Only where they were given: data sets of before keep their recipe.
    if asked.window is not None:
        flags["window"] = asked.window
    if asked.masks is not None:
        flags["masks"] = True
    if asked.groups is not None:
        flags["groups"] = "pattern" if "{" in asked.groups else "csv"
    if split:
        flags |= {"split": asked.split, "split_seed": asked.split_seed}
    made_from = source.description.get("recipe")
    return provenance.recipe(
        "dataset_tool",
        flags,
        resize_filter=asked.resize_filter,
        **({"made_from": made_from} if made_from else {}),
        **({"this_split": split, "split_unit": plan.unit} if split else {}),
    )


def _tell(voice: options.Voice, asked: DatasetTool, plan: Plan, done: Done) -> None:
    for split, target in plan.targets.items():
        # Without splits as it was typed.
        voice.say(f"{target if split else asked.dest}: {len(done.sets[split].names)} images")
    if "" in plan.targets:
        labels = done.sets[""].labels
        if all(label is not None for label in labels):
            for line in class_table(labels, plan.labels.names):
                voice.say(f"  {line}")
        else:
            voice.say("  no labels")
    else:
        _tell_splits(voice, plan, done)
    for note in [*plan.labels.notes, *(plan.groups.notes if plan.groups else [])]:
        click.echo(f"Note: {note}", err=True)
    if done.dropped:
        click.echo(f"{done.dropped} images were too small for the transform and left out", err=True)


def _tell_splits(voice: options.Voice, plan: Plan, done: Done) -> None:
    """The table of classes and splits, and what is wrong with it."""
    used = list(plan.targets)
    columns = {
        split: Counter(kind for found in splits.class_numbers(written.labels) for kind in found)
        for split, written in done.sets.items()
    }
    names = plan.labels.names or []
    kinds = sorted(set().union(*columns.values()))
    titles = {kind: names[kind] if kind < len(names) else f"class {kind}" for kind in kinds}
    rows = {titles[kind]: {split: columns[split][kind] for split in used} for kind in kinds}
    rows["images"] = {split: len(done.sets[split].names) for split in used}
    if plan.groups:
        rows[f"{plan.unit}s"] = {
            split: len(set(plan.groups.named(list(done.sets[split].names)))) for split in used
        }
    for line in splits.split_table(rows, used):
        voice.say(f"  {line}")
    if plan.groups is None:
        click.echo(
            "Warning: nobody knows which images are of one patient, so the split is by image, and results on "
            "its parts may be too good; --groups=FILE.csv:COLUMN or --groups='*/{group}_*' says it",
            err=True,
        )
    for kind in kinds:
        absent = [split for split in used if not columns[split][kind]]
        if absent:
            click.echo(
                f"Warning: {titles[kind]} has no image in {' and '.join(absent)}: too few {plan.unit}s have "
                "it; add some, merge it with another class, or split into fewer parts",
                err=True,
            )


def _give_numbers(voice: options.Voice, plan: Plan, done: Done, places: list[Path]) -> None:
    everything = [label for written in done.sets.values() for label in written.labels]
    parts = {
        split: {"images": len(written.names), "per_class": _per_class(written.labels)}
        for split, written in done.sets.items()
    }
    voice.numbers({
        "images": done.number,
        "labelled": sum(label is not None for label in everything),
        "per_class": _per_class(everything),
        "too_small": done.dropped,
        "bad": len(done.bad),
        "files": places,
        **({} if "" in parts else {"splits": parts, "split_unit": plan.unit}),
    })  # fmt: skip


def _per_class(labels: list[Any]) -> list[int] | None:
    """Images of class 0, 1, ...; None without labels or where they are vectors."""
    if labels and all(isinstance(label, int | np.integer) for label in labels):
        return np.bincount(np.asarray(labels, dtype=np.int64)).tolist()
    return None


def _keep_list(dest: Path, bad: list[tuple[str, str]]) -> Path | None:
    """The images that were left out: on the screen and as a table beside the data set, if there is one."""
    path = files.beside(dest, f"{stem_of(dest)}_skipped.csv")
    if not bad and not path.exists():  # an older list must not speak of the new data set
        return None
    try:
        # Names of files may be names of patients.
        files.write_csv(path, ("image", "reason"), bad, private=True)
    except OSError as error:
        raise DestinationError(
            f"{path}, the list of images that were left out, cannot be written ({error.strerror})"
        ) from error
    if bad:
        click.echo(f"{len(bad)} bad images were left out; {path} names them all:", err=True)
    for _, reason in bad[:_SHOWN]:
        click.echo(f"  {reason}", err=True)
    return path


if __name__ == "__main__":
    main()
