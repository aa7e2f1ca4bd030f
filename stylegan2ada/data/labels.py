"""The labels of a dataset.json: read, checked, and put in the order of the images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from stylegan2ada.data.decode import DatasetError
from stylegan2ada.data.writer import LABELS_FILE
from stylegan2ada.errors import UserError
from stylegan2ada.protocols import JsonObject
from stylegan2ada.untrusted import MIB, parse_json

# A label is one-hot in memory and a column of weights in the networks; the largest list of classes in use,
# that of ImageNet-21k, fits twice.
MOST_CLASSES = 1 << 15
_LARGEST = float(np.finfo(np.float32).max)
_FACTS_MIB, _FACTS_PER_IMAGE = 1, 16 << 10  # of a dataset.json: 700 numbers of a label in full length


class MissingLabelError(UserError, KeyError):
    """An image has no label; a KeyError too, as programs written for the original expect."""

    __str__ = Exception.__str__  # KeyError would print the repr


def description_limit(images: int) -> int:
    """Bytes that the dataset.json of so many images may have; one in a zip unfolds to what it likes."""
    return _FACTS_MIB * MIB + _FACTS_PER_IMAGE * images


def parse_description(content: bytes, path: str) -> JsonObject:
    """The dictionary in a dataset.json; what we read of it beside the labels has the type it should."""
    where = f"{LABELS_FILE} in {path}"
    description = parse_json(content, where, error=DatasetError)
    if not isinstance(description, dict):
        raise DatasetError(f'{where} must be {{"labels": [["NAME", LABEL], ...]}}')
    names, groups, recipe = (description.get(key) for key in ("label_names", "groups", "recipe"))
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise DatasetError(f'"label_names" in {where} must be a list of texts; correct or remove it')
    if groups is not None and not (isinstance(groups, dict) and all(map(_is_group, groups.values()))):
        raise DatasetError(
            f'"groups" in {where} must be {{"NAME": {{"study": TEXT, "patient": TEXT or null}}, ...}}; '
            "correct or remove it"
        )
    if recipe is not None and not isinstance(recipe, dict):
        raise DatasetError(f'"recipe" in {where} must be a JSON object; correct or remove it')
    return description


def _is_group(entry: object) -> bool:
    return isinstance(entry, dict) and all(isinstance(value, str | None) for value in entry.values())


def wrong_label(label: object) -> str | None:
    """What is wrong with one label by itself, for the end of a sentence; None if nothing is.

    A class is a whole number from 0 on (1.0 is one, too); a list holds finite numbers of float32's range.
    """
    if isinstance(label, list):
        if len(label) > MOST_CLASSES:
            return f"the label of {len(label)} numbers; at most {MOST_CLASSES} can be used"
        if not all(_is_number(part) for part in label):
            return f"the label {_shown(label)}, which is not made of finite numbers"
        if any(abs(part) > _LARGEST for part in label):
            return f"the label {_shown(label)}, beyond the numbers of float32"
        return None
    if not _is_number(label):
        return f"the label {_shown(label)}, which is not made of finite numbers"
    assert isinstance(label, int | float)
    if label < 0:
        return f"the class {_shown(label)}; classes count from 0"
    if label >= MOST_CLASSES:
        return f"the class {_shown(label)}; classes count from 0 without gaps, to {MOST_CLASSES - 1} at most"
    if label != int(label):
        return (
            f"the class {_shown(label)}, which is not whole; a number that is no class is written as a list, "
            f"[{_shown(label)}]"
        )
    return None


def _is_number(value: object) -> bool:
    # NaN and infinity are none; true and false are 1 and 0. A huge integer would not fit into isfinite.
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def _shown(label: object) -> str:
    """Cut: a hostile file holds megabytes, and numbers too long to print."""
    if isinstance(label, int) and label.bit_length() > 128:
        return "of hundreds of digits"
    text = repr(label[:4] if isinstance(label, list | str) else label)
    return text if len(text) <= 80 else f"{text[:80]}..."


def label_table(entries: object, path: str) -> dict[str, Any]:
    """{image name: label} from the "labels" of a dataset.json; only the names are checked."""
    pairs: list[Any] = entries if isinstance(entries, list) else [None]
    if not all(isinstance(e, list) and len(e) == 2 and isinstance(e[0], str) for e in pairs):
        raise DatasetError(
            f'"labels" in {LABELS_FILE} of {path} must be a list of ["NAME", LABEL] pairs, or null'
        )
    return dict(pairs)


def labels_in_order(entries: object, names: Sequence[str], path: str) -> np.ndarray:
    """int64 [N] or float32 [N, c]: the labels of the named images."""
    table = label_table(entries, path)
    absent = [name for name in names if name not in table]
    if absent:
        listed = f"; it lists for example {next(iter(table))!r}" if table else ""
        raise MissingLabelError(
            f"{LABELS_FILE} of {path} has no label for {absent[0]!r} "
            f"({len(absent)} of {len(names)} images lack one){listed}; names are relative, with slashes"
        )
    try:
        labels = np.array([table[name] for name in names])
    except ValueError:
        # Lists of different lengths: an array of objects, which the check below reports.
        labels = np.array(None)
    # b, i, u, f are numbers; texts and null make arrays of other kinds.
    if labels.dtype.kind not in "biuf" or labels.ndim not in (1, 2):
        odd = _first_odd([(name, table[name]) for name in names])
        raise DatasetError(
            f"{LABELS_FILE} of {path}: labels must be all numbers, or all lists of numbers of one length{odd}"
        )
    _check_values(labels, names, table, path)
    # upstream: the number of axes decides, so a class may be written as 1.0.
    return labels.astype(np.int64 if labels.ndim == 1 else np.float32)


def _check_values(labels: np.ndarray, names: Sequence[str], table: dict[str, Any], path: str) -> None:
    # All at once, for there may be millions; only the first that is wrong is looked at singly.
    is_fine = np.isfinite(labels)
    if labels.ndim == 1:
        is_fine &= (labels >= 0) & (labels < MOST_CLASSES) & (labels == np.floor(labels))
    else:
        is_fine &= np.abs(labels) <= _LARGEST
        is_fine = is_fine.all(axis=1) & (labels.shape[1] <= MOST_CLASSES)
    if not is_fine.all():
        name = names[int(np.argmin(is_fine))]
        raise DatasetError(f"{LABELS_FILE} of {path}: {name!r} has {wrong_label(table[name])}")


def _first_odd(entries: list[tuple[str, object]]) -> str:
    def kind(label: object) -> int | bool:
        return len(label) if isinstance(label, list) else type(label) in (int, float, bool)

    first = entries[0][1]
    odd = next((entry for entry in entries if kind(entry[1]) != kind(first)), None)
    return f"; {entries[0][0]!r} has {first!r}" + (f", but {odd[0]!r} has {odd[1]!r}" if odd else "")
