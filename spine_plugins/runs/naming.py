"""What to call a run: by what it was made of, and, beside others, by what differs."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping

from spine_plugins.runs.documents import as_dict
from spine_plugins.runs.places import file_name
from spine_plugins.runs.reading import Run
from stylegan2ada.training import run_files

_PART = re.compile(r"(-(train|val|test))?(\.zip)?$")
_SHORT = {  # settings that people speak of, most telling first: what a label calls them
    "loss_kwargs.class_name": "loss",
    "training_set_kwargs.path": "data",
    "aug": "aug",
    "loss_kwargs.r1_gamma": "gamma",
    "loss_kwargs.cls_weight": "cls-weight",
    "batch_size": "batch",
    "training_set_kwargs.use_labels": "labels",
    "training_set_kwargs.max_size": "images",
    "total_kimg": "kimg",
    "random_seed": "seed",
}
_MOST, _LONGEST = 2, 28  # settings in a label, characters of it


def title(run: Run) -> str:
    """Data, settings, length: what a person would call the run; its folder's name if nothing is known."""
    data = _PART.sub("", run.dataset.name or "")
    preset = as_dict(run.ours.get("spine")).get("preset")
    loss = str(as_dict(run.options.get("loss_kwargs")).get("class_name") or "").rsplit(".", 1)[-1]
    settings = f"preset {preset}" if preset else f"{loss} loss" if loss and loss != "StyleGAN2Loss" else ""
    length = "" if run.kimg is None else f"{run.kimg:,.4g} kimg"
    parts = [part for part in (data, settings, length) if part]
    return ", ".join(parts) if data else run.name


def by_difference(runs: list[Run]) -> list[Run]:
    """The same runs with labels: settings in which they differ, where two settings tell them apart."""
    flat = [dict(flat_options(run.options)) for run in runs]
    names = dict.fromkeys([*_SHORT, *(name for found in flat for name in found)])
    differing = [name for name in names if len({found.get(name) for found in flat}) > 1]
    labels = [_label(found, differing) for found in flat]
    if len(runs) < 2 or len(set(labels)) < len(labels):
        return runs
    return [dataclasses.replace(run, label=label) for run, label in zip(runs, labels, strict=True)]


def _label(found: Mapping[str, str], differing: list[str]) -> str:
    words = [
        f"{_SHORT.get(name) or name.rsplit('.', 1)[-1]} {file_name(found.get(name, 'not set'))}"
        for name in differing[:_MOST]
    ]
    return ", ".join(words)[:_LONGEST]


def flat_options(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Every choice about the training as (dotted name, text)."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            # Where, and by which program: no choices about the training.
            if name or key not in ("run_dir", run_files.OURS):
                yield from flat_options(inner, f"{name}.{key}" if name else str(key))
    elif name:
        yield name, value if isinstance(value, str) else json.dumps(value)
