"""Whether a card describes a network that can be built, and holds what its readers look for. No torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from spine_plugins.classifier.answers import TASKS
from spine_plugins.classifier.defaults import ARCHITECTURES

# Sides that leave something for the last layers, and are no picture that anybody classifies.
_SIZES = {"densenet121": (32, 4096), "cnn13k": (54, 80)}
_MOST_CLASSES = 1000
_LONGEST_NAME = 200
_LEAST_STD = 1e-6
_MOST = 1e6  # of means, deviations

Check = Callable[[object], bool]


def is_ours(card: Mapping[str, object]) -> bool:
    """Whether task and architecture are some that this program knows."""
    task, arch = card.get("task"), card.get("arch")
    return isinstance(task, str) and task in TASKS and isinstance(arch, str) and arch in ARCHITECTURES


def problem_of(card: Mapping[str, object]) -> str | None:
    """The first entry that is missing, or cannot be; None if all is well. For a card that `is_ours`."""
    for name, check in (_NEEDED | _OPTIONAL).items():
        value = card.get(name)
        # What is None is not known, which is no damage.
        if (value is not None or name in _NEEDED) and not check(value):
            return name
    least = 1 if card["task"] == "multilabel" else 2
    names = card["class_names"]
    assert isinstance(names, list)
    if len(names) < least or (card["task"] == "binary" and len(names) != 2):
        return "class_names"
    found = card["input"]
    assert isinstance(found, dict)
    low, high = _SIZES[str(card["arch"])]
    if not (_is_count(found.get("size")) and low <= found["size"] <= high):
        return "input.size"
    if not (_is_count(found.get("channels")) and found["channels"] in (1, 3)):
        return "input.channels"
    for name, least_value in (("mean", -_MOST), ("std", _LEAST_STD)):
        values = found.get(name)
        if not isinstance(values, list) or len(values) != found["channels"]:
            return f"input.{name}"
        if not all(_is_number(value) and least_value <= value <= _MOST for value in values):
            return f"input.{name}"
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= 2**53


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_text_or_none(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_dict(value: object) -> bool:
    return isinstance(value, dict)


def _are_names(value: object) -> bool:
    return (
        isinstance(value, list)
        and 0 < len(value) <= _MOST_CLASSES
        and all(isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME for name in value)
        and len(set(value)) == len(value)
    )


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1


def _are_data(value: object) -> bool:
    """By role, what is known of the images."""
    return isinstance(value, dict) and all(
        facts is None
        or (
            isinstance(facts, dict)
            and all(_is_text_or_none(facts.get(key)) for key in ("fingerprint", "source_fingerprint"))
        )
        for facts in value.values()
    )


def _are_metrics(value: object) -> bool:
    """By role; of the measures only the one that others look at."""
    return isinstance(value, dict) and all(
        found is None or (isinstance(found, dict) and _is_interval(found.get("auc")))
        for found in value.values()
    )


def _is_interval(value: object) -> bool:
    if value is None:
        return True
    ends = [value.get(key) for key in ("value", "low", "high")] if isinstance(value, dict) else ["none"]
    # Where an interval cannot be told, its ends are None or NaN.
    return all(end is None or (isinstance(end, int | float) and not isinstance(end, bool)) for end in ends)


_NEEDED: dict[str, Check] = {
    "class_names": _are_names, "dropout": _is_share, "input": _is_dict,
}  # fmt: skip
_OPTIONAL: dict[str, Check] = {
    "sha256": _is_text, "licence": _is_text_or_none, "epochs": _is_count, "chosen_epoch": _is_count,
    "selected_on": _is_text_or_none, "split": _is_text_or_none, "split_note": _is_text_or_none,
    "provenance": _is_dict, "weights": _is_dict, "versions": _is_dict, "schedule": _is_dict,
    "data": _are_data, "metrics": _are_metrics,
}  # fmt: skip
