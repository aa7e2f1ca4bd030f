"""What an audit leaves behind: audit.json for everybody, private/ for those who may see patients.

Public numbers are rounded, and speak of counts and shares. Scores of single images and patients, and
pictures of pairs, lie in private/, which nobody but its owner can open.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from spine_plugins.audit.auditing import FAIL, MUST_SEE, NO_EVIDENCE, Audit, Examined, Tested
from spine_plugins.audit.copies import ratios
from spine_plugins.audit.report import write_page
from stylegan2ada import __version__, files
from stylegan2ada.images import captioned_grid, stacked
from stylegan2ada.protocols import JsonObject

AUDIT, PAGE, PRIVATE = "audit.json", "audit.html", "private"
_DIGITS = 3  # of public numbers
_PAIRS = 50
_CELL = 64  # pixels at least: a title must fit above two of them
_BINS = 24  # of the histogram of ratios


def as_json(audit: Audit, *, network: str | None, count: int | None) -> JsonObject:
    """The public half, as CONTRACTS has it; what is ours beside it says what else a reader needs."""
    first, *others = audit.examined
    inputs = audit.inputs
    return _rounded(
        {
            "format": 1,
            "version": __version__,
            "inputs": {part.role: part.facts() for part in (inputs.train, inputs.holdout, inputs.fakes)},
            "network_sha256": network,
            "unit": inputs.unit,
            "features": {"name": first.features.name, "note": first.features.note},
            "tests": {name: _test(test) for name, test in first.tests.items()},
            "not_run": first.not_run,
            "compared": [_space(part) for part in others],
            "verdict": audit.verdict,
            "detects": audit.detects,
            "is_planted": audit.is_planted,
            "statement": statement(audit.verdict, audit.detects),
            "ratios": histogram(first),
            "warnings": list(inputs.warnings),
            "audits_of_these_fakes": count,
        }
    )


def statement(verdict: str, detects: float | None) -> str:
    """The verdict in one sentence."""
    if verdict == FAIL:
        return (
            "The synthetic images show evidence of their training patients: do not release them as they are."
        )
    if verdict == NO_EVIDENCE:
        share = f"{100 * (detects or 0):g} %"
        return (
            "No evidence that the synthetic images copy training patients was found; copies would have been "
            f"seen if they had been {share} of the images or more."
        )
    return (
        f"This audit could not have seen copies if they had been {100 * MUST_SEE:g} % of the synthetic "
        "images, so it says nothing for or against them."
    )


def histogram(part: Examined) -> JsonObject:
    """Of distances of fakes to their nearest training image over their nearest held-out one, and inverse.

    By counts of fakes only; a bin says nothing of who is in it.
    """
    r = ratios(part.evidence.found.by_fake, part.evidence.reals.is_train)
    edges = np.linspace(0, 1, _BINS + 1)
    towards = {"train": np.minimum(r, 1)[r < 1], "holdout": np.minimum(1 / np.maximum(r, 1e-9), 1)[r > 1]}
    return {"edges": edges.tolist()} | {
        name: np.histogram(values, edges)[0].tolist() for name, values in towards.items()
    }


def _space(part: Examined) -> JsonObject:
    return {
        "features": {"name": part.features.name, "note": part.features.note},
        "tests": {name: _test(test) for name, test in part.tests.items()},
        "not_run": part.not_run,
    }


def _test(test: Tested) -> JsonObject:
    found = test.finding
    return {
        "statistic": found.statistic,
        "p_value": found.p_value,
        "p_holm": test.p_holm,
        "estimate": found.estimate.value,
        "low": found.estimate.low,
        "high": found.estimate.high,
        "means": found.means,
        "interval": found.estimate.method,
        **found.more,
        "power": test.power,
        "detects": test.detects,
        "verdict": test.verdict,
    }


def _rounded(value: Any) -> Any:
    """Numbers to three significant digits: enough for a decision, too few to look anybody up."""
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
    return value


def write(audit: Audit, document: JsonObject, out: Path) -> None:
    """Both halves into one folder; an older audit there is replaced."""
    out.mkdir(parents=True, exist_ok=True)
    write_private(audit, out / PRIVATE)
    files.write_json(out / AUDIT, document)
    write_page(document, out / PAGE)


# The private half.


def write_private(audit: Audit, folder: Path) -> None:
    """Scores per fake, image and patient, and the nearest pairs as pictures; mode 700, files 600."""
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)  # also where the folder was there before
    with _closed_umask():
        for part in audit.examined:
            name = re.sub(r"[^a-z0-9]+", "-", part.features.name.lower())
            _write_scores(part, folder, name)
            _sheet(part).save(folder / f"pairs-{name}.png")
    for path in folder.iterdir():
        path.chmod(0o600)


class _closed_umask:  # noqa: N801 - used like a function
    """Files written within are readable by their owner alone, from their first moment on."""

    def __enter__(self) -> None:
        self._before = os.umask(0o077)

    def __exit__(self, *_: object) -> None:
        os.umask(self._before)


def _write_scores(part: Examined, folder: Path, name: str) -> None:
    evidence = part.evidence
    by_fake: dict[str, np.ndarray] = {}
    by_unit: dict[str, np.ndarray] = {"is_train": evidence.reals.is_train}
    for tested in part.tests.values():
        table = by_fake if tested.finding.is_by_fake else by_unit
        table.update(tested.finding.private)
    units = evidence.reals.unit_names
    if by_fake:
        if "nearest_unit" in by_fake:
            by_unit["fakes_that_copy_it"] = _copies_of(by_fake, evidence.reals.n_units)
        for column in [column for column in by_fake if column.endswith("nearest_unit")]:
            by_fake[column] = np.array(units)[by_fake[column]]
        files.write_csv(folder / f"fakes-{name}.csv", list(by_fake), zip(*by_fake.values()))
    order = np.argsort(-by_unit.get("fakes_that_copy_it", np.zeros(len(units))), kind="stable")
    rows = ([units[i], *(values[i] for values in by_unit.values())] for i in order)
    files.write_csv(folder / f"patients-{name}.csv", ["patient", *by_unit], rows)


def _copies_of(by_fake: Mapping[str, np.ndarray], n_units: int) -> np.ndarray:
    """Per patient how many fakes vote as copies of an image of theirs: the worst one first."""
    return np.bincount(by_fake["nearest_unit"][by_fake["vote"] > 0], minlength=n_units)


def _sheet(part: Examined) -> PIL.Image.Image:
    """The fakes with the lowest ratio, each beside its nearest training image."""
    evidence, near = part.evidence, part.evidence.found.by_fake
    r = ratios(near, evidence.reals.is_train)
    is_train = evidence.reals.is_train[near.unit]
    rows = []
    for fake in np.argsort(r, kind="stable")[:_PAIRS]:
        rank = int(is_train[fake].argmax())
        tiles = [
            PIL.Image.fromarray(_shown(pixels))
            for pixels in (evidence.fakes.pixels[fake], evidence.reals.pixels[near.image[fake, rank]])
        ]
        width, height = tiles[0].size
        title = f"{fake}  r {r[fake]:.2f}"
        cell = (max(width, _CELL), max(height, _CELL))
        rows.append(
            captioned_grid(title, tiles, 2, cell=cell, band=14, at=(2, 1), mode="RGB", ink=(255, 255, 255))
        )
    columns = [stacked(rows[i : i + 10]) for i in range(0, len(rows), 10)]
    return stacked(columns, is_row=True)


def _shown(pixels: np.ndarray) -> np.ndarray:
    """uint8 [C, H, W] -> [H, W, 3]"""
    image = pixels.transpose(1, 2, 0)
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
