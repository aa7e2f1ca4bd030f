"""The labels of a dataset.json: read, checked, and put in the order of the images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from stylegan2ada.data.decode import DatasetError
from stylegan2ada.data.writer import LABELS_FILE
from stylegan2ada.errors import UserError
from stylegan2ada.protocols import JsonObject


class MissingLabelError(UserError, KeyError):
    """An image has no label; a KeyError too, as programs written for the original expect."""

    __str__ = Exception.__str__  # KeyError would print the repr


def parse_description(content: bytes, path: str) -> JsonObject:
    """The dictionary in a dataset.json, checked to be one."""
    try:
        description = json.loads(content)
    except ValueError as error:
        raise DatasetError(
            f"{LABELS_FILE} in {path} is not valid JSON ({error}); correct or remove it"
        ) from error
    if not isinstance(description, dict):
        raise DatasetError(f'{LABELS_FILE} in {path} must be {{"labels": [["NAME", LABEL], ...]}}')
    return description


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
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise DatasetError(f"{LABELS_FILE} of {path} has labels that are not finite")
    if labels.dtype.kind == "f" and labels.ndim == 1 and (labels != np.trunc(labels)).any():
        odd = labels[labels != np.trunc(labels)][0]
        raise DatasetError(
            f"{LABELS_FILE} of {path} has the label {odd:g}; a class is a whole number, "
            "and a value is a list of one number"
        )
    # upstream: the number of axes decides, so a class may be written as 1.0.
    return labels.astype(np.int64 if labels.ndim == 1 else np.float32)


def _first_odd(entries: list[tuple[str, object]]) -> str:
    def kind(label: object) -> int | bool:
        return len(label) if isinstance(label, list) else type(label) in (int, float, bool)

    first = entries[0][1]
    odd = next((entry for entry in entries if kind(entry[1]) != kind(first)), None)
    return f"; {entries[0][0]!r} has {first!r}" + (f", but {odd[0]!r} has {odd[1]!r}" if odd else "")
