"""What a reader must know before believing a run's numbers; each with how serious it is."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from spine_plugins.runs.reading import Measured, Run, as_dict, as_list

LEVELS = ("serious", "caution", "note")
LEAK_P = 0.8  # as in stylegan2ada/training/watch.py, which needs torch
_MEMORISED = 0.95  # mean sign of D on training images: it knows nearly all of them by heart
_NO_RECALL = 0.02


@dataclass(frozen=True)
class Concern:
    """One sentence about one run."""

    level: str
    title: str
    text: str


def concerns(run: Run) -> list[Concern]:
    """Everything that is doubtful, most serious first, each said once."""
    found = dict.fromkeys([*_numbers(run), *_metrics(run), *_data(run), *_origins(run), *_classifier(run),
                           *_logged(run), *_files(run)])  # fmt: skip
    return sorted(found, key=lambda concern: LEVELS.index(concern.level))


def differences(runs: list[Run]) -> list[Concern]:
    """Why numbers of several runs may not be comparable."""
    found = []
    for name in sorted({name for run in runs for name in run.metrics}):
        lines = [m.record for run in runs for m in run.metrics.get(name, [])]
        for key, what in (("detector_sha256", "detectors"), ("real_fingerprint", "real images"),
                          ("resize_filter", "resize filters"), ("num_fake", "numbers of fakes")):  # fmt: skip
            if len({str(line.get(key)) for line in lines if line.get(key) is not None}) > 1:
                found.append(
                    Concern("serious", "Not comparable", f"{name} was measured with different {what}.")
                )
    return found


def _numbers(run: Run) -> Iterator[Concern]:
    for name in run.statistics():
        bad = [x for x, y in run.series(name) if not math.isfinite(y)]
        if bad:
            yield Concern("serious", "Not finite", f"{name} is not a finite number in {len(bad)} tick(s), "
                          f"first at {bad[0]:.4g} kimg.")  # fmt: skip
    strength = [(x, y) for x, y in run.series("Progress/augment") if y > LEAK_P]
    if strength:
        x, _ = strength[0]
        highest = max(y for _, y in strength)
        yield Concern(
            "caution",
            "Augmentations can leak",
            f"Their strength p rises above {LEAK_P} at "
            f"{x:.4g} kimg (highest {highest:.2f}): look for turned, cut or recoloured fakes.",
        )
    signs = run.series("Loss/signs/real")
    if len(signs) > 3 and signs[-1][1] > _MEMORISED:
        yield Concern(
            "caution",
            "Overfitting",
            f"The discriminator accepts {signs[-1][1]:.0%} (mean sign) of "
            "its training images: it may know them by heart. Adaptive augmentation or more data help.",
        )


def _metrics(run: Run) -> Iterator[Concern]:
    for name, lines in run.metrics.items():
        last: Measured = lines[-1]
        if any(line.record.get("is_comparable") is False for line in lines):
            yield Concern(
                "caution",
                "Not comparable",
                f"{name} uses the detector "
                f"\u201c{last.record.get('detector', 'unknown')}\u201d: its values compare only with "
                "values from the same detector, never with published ones.",
            )
        for key, what in (("detector_sha256", "detector"), ("real_fingerprint", "real images")):
            if len({str(line.record.get(key)) for line in lines if key in line.record}) > 1:
                yield Concern(
                    "serious", "Curve of unlike values", f"The {what} of {name} changed within the run."
                )
        if last.record.get("resize_filter") == "unknown":
            yield Concern(
                "note",
                "Unknown resize filter",
                f"How the images behind {name} were resized is not "
                "recorded; this alone can move an FID by several points.",
            )
        for key, value in last.results.items():
            if key.endswith("_recall") and value < _NO_RECALL:
                yield Concern(
                    "caution",
                    "Little variety",
                    f"{key} is {value:.3g} at the last measurement: the "
                    "fakes cover almost nothing of what real images show.",
                )


def _data(run: Run) -> Iterator[Concern]:
    data = run.dataset
    if data.name is None:
        return
    if not data.is_there:
        yield Concern("note", "Data set not here", f"{data.name} is not where the run recorded it.")
    if data.has_groups is False:
        yield Concern(
            "caution",
            "No patient groups",
            f"{data.name} does not say which images belong to one "
            "patient, so nothing made from it can be separated by patient.",
        )
    failed, candidates = data.summary.get("failed"), data.summary.get("candidates")
    if isinstance(failed, int) and failed > 0:
        yield Concern(
            "note", "Images lost", f"{failed} of {candidates} candidate images could not be converted."
        )
    near = as_dict(data.summary.get("by_warnings")).get("near_duplicate")
    if near:
        yield Concern("note", "Near duplicates", f"{near} images of the source look almost like another one.")


def _origins(run: Run) -> Iterator[Concern]:
    card = as_dict(run.ours.get("card"))
    roots = [as_dict(root) for root in as_list(card.get("starts_from")) if isinstance(root, dict)]
    for root in roots:
        sha = str(root.get("sha256") or "unknown")[:12]
        licence = str(root.get("licence") or card.get("licence") or "Their licence is unknown").rstrip(".")
        yield Concern(
            "serious",
            "Foreign weights",
            f"Training started from {_base(root.get('origin'))} (SHA-256 {sha}). {licence}.",
        )
    if not roots and run.options.get("resume_pkl"):
        yield Concern(
            "note",
            "Started from other networks",
            f"{_base(run.options['resume_pkl'])}; its origin is not recorded here.",
        )
    now = as_dict(run.ours.get("provenance"))
    earlier = [as_dict(entry) for entry in as_list(run.ours.get("earlier"))]
    if any(entry.get("source_sha256") != now.get("source_sha256") for entry in earlier):
        yield Concern(
            "note", "Two versions", "Parts of this run were made by different versions of the program."
        )


def _classifier(run: Run) -> Iterator[Concern]:
    spine = as_dict(run.ours.get("spine"))
    for doubt in as_list(spine.get("classifier_doubts")):
        yield Concern("serious", "Doubtful classifier", f"It was accepted although {doubt}.")
    for doubt in as_list(spine.get("judge_doubts")):
        yield Concern("caution", "Judge not independent", f"{doubt}.")
    card = run.classifier
    if card is None:
        if as_dict(run.options.get("loss_kwargs")).get("classifier"):
            yield Concern("note", "Card not here", "The classifier's card is not where the run recorded it.")
        return
    wanted = spine.get("classifier_sha256")
    if wanted and card.get("sha256") and wanted != card["sha256"]:
        yield Concern(
            "serious", "Another classifier", "The classifier there now is not the one that trained."
        )
    if card.get("split_note"):
        yield Concern("caution", "Classifier's split", f"{card['split_note']}.")


def _logged(run: Run) -> Iterator[Concern]:
    said = Counter(line.strip().removeprefix("Warning: ") for line in run.log if line.startswith("Warning: "))
    for text, times in said.items():
        is_collapse = text.startswith("mode collapse")
        if text.startswith("augmentation strength p"):
            continue  # the statistics say it, with its course
        text = text.removeprefix("mode collapse: ")
        again = f" (said {times} times)" if times > 1 else ""
        title = "Mode collapse" if is_collapse else "Said by the run"
        yield Concern("serious" if is_collapse else "caution", title, text + again)
    for line in dict.fromkeys(line for line in run.log if line.startswith("Error: ")):
        yield Concern("serious", "Ended with an error", line.removeprefix("Error: "))


def _files(run: Run) -> Iterator[Concern]:
    for name, count in run.damaged.items():
        yield Concern("caution", "Damaged file", f"{name}: {count} unreadable line(s) are left out here.")
    if not run.ours and run.options:
        yield Concern(
            "note",
            "No provenance",
            "This run was not started by this program; commands and versions are unknown.",
        )


def _base(path: Any) -> str:
    return str(path).replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] or "unknown"
