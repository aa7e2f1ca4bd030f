"""What a reader must know before believing a run's numbers; each with how serious it is."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from spine_plugins.runs.documents import Document, as_dict, as_list
from spine_plugins.runs.reading import Measured, Run
from stylegan2ada.training import run_files
from stylegan2ada.training.limits import LEAK_P

LEVELS = ("serious", "caution", "note")
_MEMORISED = 0.95  # mean sign of D on training images: it knows nearly all of them by heart
_NO_RECALL = 0.02
_LOW_DIVERSITY = 0.4  # by so much a recall may lag behind the precision
_TOY_KIMG = 100


@dataclass(frozen=True)
class Concern:
    """One sentence about one run."""

    level: str
    title: str
    text: str


_serious, _caution, _note = (partial(Concern, level) for level in LEVELS)


def concerns(run: Run) -> list[Concern]:
    """Everything that is doubtful, most serious first, each said once."""
    rooms = (_numbers, _metrics, _length, _data, _origins, _classifier, _said, _files)
    found = dict.fromkeys(itertools.chain.from_iterable(look(run) for look in rooms))
    return sorted(found, key=lambda concern: LEVELS.index(concern.level))


def differences(runs: list[Run]) -> list[Concern]:
    """Why numbers of several runs may not be comparable."""
    found = []
    for name in sorted({name for run in runs for name in run.metrics}):
        records = [m.record for run in runs for m in run.metrics.get(name, [])]
        for key, what in (
            ("detector_sha256", "detectors"),
            ("real_fingerprint", "real images"),
            ("resize_filter", "resize filters"),
            ("num_fake", "numbers of fakes"),
        ):
            # A record that does not tell is no evidence of a difference.
            if len({str(record[key]) for record in records if record.get(key) is not None}) > 1:
                found.append(_serious("Not comparable", f"{name} was measured with different {what}."))
    return found


def _numbers(run: Run) -> Iterator[Concern]:
    for name in run.statistics():
        bad = [x for x, y in run.series(name) if not math.isfinite(y)]
        if bad:
            text = f"{name} is not a finite number in {len(bad)} tick(s), first at {bad[0]:.4g} kimg."
            yield _serious("Not finite", text)
    leaking = _leaking(run)
    if leaking:
        yield _caution(
            "Augmentations can leak",
            f"Their strength p rises above {LEAK_P} at {leaking[0][0]:.4g} kimg (highest "
            f"{max(y for _, y in leaking):.2f}): look for turned, cut or recoloured fakes.",
        )
    # r_t of adaptive augmentation (Karras et al. 2020): 0 without overfitting, 1 if all is memorised.
    signs = run.series("Loss/signs/real")
    if len(signs) > 3 and signs[-1][1] > _MEMORISED:  # the first few ticks say nothing yet
        yield _caution(
            "Overfitting",
            f"The discriminator accepts {signs[-1][1]:.0%} (mean sign) of its training images: "
            "it may know them by heart. Adaptive augmentation or more data help.",
        )


def _leaking(run: Run) -> list[tuple[float, float]]:
    """(kimg, strength) of the ticks in which augmentations can show in the fakes."""
    return [(x, y) for x, y in run.series("Progress/augment") if y > LEAK_P]


def _metrics(run: Run) -> Iterator[Concern]:
    toys: dict[str, list[str]] = {}  # detector: metrics
    for name in filter(run.is_toy, run.metrics):
        detector = str(run.metrics[name][-1].record.get("detector", "unknown"))
        toys.setdefault(detector, []).append(name)
    for detector, names in toys.items():
        yield _caution(
            "Not comparable",
            f"{' and '.join(names)} use{'s' if len(names) == 1 else ''} the detector \u201c{detector}\u201d: "
            "such values compare only with values from the same detector, never with published ones.",
        )
    for name, lines in run.metrics.items():
        yield from _curve(name, lines)
        last = lines[-1]
        # Resizing that aliases shifts an FID although no network changed (Parmar et al. 2022).
        if last.record.get("resize_filter") == "unknown":
            yield _note(
                "Unknown resize filter",
                f"How the images behind {name} were resized is not recorded; "
                "this alone can move an FID by several points.",
            )
        yield from _variety(last)
        for key, value in last.results.items():
            if key.endswith("_recall") and value < _NO_RECALL:
                yield _caution(
                    "Little variety",
                    f"{key} is {value:.3g} at the last measurement: "
                    "the fakes cover almost nothing of what real images show.",
                )


def _variety(last: Measured) -> Iterator[Concern]:
    """Good looks without variety: what a generator that repeats itself is measured by."""
    for key, recall in last.results.items():
        precision = last.results.get(key.removesuffix("_recall") + "_precision")
        if not key.endswith("_recall") or precision is None:
            continue
        if _NO_RECALL <= recall < precision - _LOW_DIVERSITY:
            yield _note(
                "Low diversity",
                f"Of the fakes {precision:.0%} look like real images (precision), but they cover only "
                f"{recall:.0%} of the real ones (recall): many will resemble one another.",
            )


def _length(run: Run) -> Iterator[Concern]:
    total, size = run.total_kimg, run.resolution
    if total is not None and total < _TOY_KIMG:
        at = f" at {size} \u00d7 {size} pixels" if size else ""
        yield _note(
            "Toy run",
            f"{total:g} kimg{at} show that everything works together; they say nothing about the images or "
            "numbers of a training of usual length (thousands of kimg).",
        )


def _curve(name: str, lines: list[Measured]) -> Iterator[Concern]:
    """Whether the values of one metric compare with each other."""
    for key, what in (("detector_sha256", "detector"), ("real_fingerprint", "real images")):
        if len({str(line.record[key]) for line in lines if key in line.record}) > 1:
            yield _serious("Curve of unlike values", f"The {what} of {name} changed within the run.")


def _data(run: Run) -> Iterator[Concern]:
    data = run.dataset
    if data.name is None:
        return
    if not data.is_there:
        yield _note("Data set not here", f"{data.name} is not where the run recorded it.")
    if data.has_groups is False:
        yield _caution(
            "No patient groups",
            f"{data.name} does not say which images belong to one patient, "
            "so nothing made from it can be separated by patient.",
        )
    failed, files = data.summary.get("failed"), data.summary.get("files")
    if isinstance(failed, int) and failed > 0:
        yield _note("Images lost", f"{failed} of {files} source files failed to convert.")
    near = as_dict(data.summary.get("by_warnings")).get("near_duplicate")
    if near:
        yield _note(
            "Near duplicates",
            f"{near} images of the source look almost like an earlier one: two views of one patient may, and "
            "so does a copy with other pixels. X_pairs.png beside the data set shows them; --dedupe leaves "
            "out exact copies only.",
        )


def _origins(run: Run) -> Iterator[Concern]:
    card = as_dict(run.ours.get("card"))
    roots = [as_dict(root) for root in as_list(card.get("starts_from")) if isinstance(root, dict)]
    for root in roots:
        sha = str(root.get("sha256") or "unknown")[:12]
        licence = str(root.get("licence") or card.get("licence") or "Their licence is unknown").rstrip(".")
        origin = _base(root.get("origin"))
        yield _serious("Foreign weights", f"Training started from {origin} (SHA-256 {sha}). {licence}.")
    resumed = run.options.get("resume_pkl")
    if resumed and not roots:
        yield _note("Started from other networks", f"{_base(resumed)}; its origin is not recorded here.")
    now = as_dict(run.ours.get("provenance"))
    earlier = map(as_dict, as_list(run.ours.get("earlier")))
    if any(entry.get("source_sha256") != now.get("source_sha256") for entry in earlier):
        yield _note("Two versions", "Parts of this run were made by different versions of the program.")


def _classifier(run: Run) -> Iterator[Concern]:
    spine = _spine(run)
    for doubt in as_list(spine.get("classifier_doubts")):
        yield _serious("Doubtful classifier", f"It was accepted although {doubt}.")
    for doubt in as_list(spine.get("judge_doubts")):
        yield _caution("Judge not independent", f"{doubt}.")
    card = run.classifier
    if card is None:
        if as_dict(run.options.get("loss_kwargs")).get("classifier"):
            yield _note("Card not here", "The classifier's card is not where the run recorded it.")
        return
    wanted = spine.get("classifier_sha256")
    # Older runs recorded no hash: what is not known is not another classifier.
    if wanted and card.get("sha256") and wanted != card["sha256"]:
        yield _serious("Another classifier", "The classifier there now is not the one that trained.")
    if card.get("split_note"):
        yield _caution("Classifier's split", f"{card['split_note']}.")


def _said(run: Run) -> Iterator[Concern]:
    """What the run itself warned of, less what this page says better."""
    spine = _spine(run)
    is_said = {
        "leak": bool(_leaking(run)),  # with its course
        "classifier": bool(spine.get("classifier_doubts")),
        "judge": bool(spine.get("judge_doubts")),
    }
    warnings = Counter((e.code, e.text) for e in run.events if e.event == "warning")
    for (code, text), times in warnings.items():
        again = f" (said {times} times)" if times > 1 else ""
        if code == "collapse":
            yield _serious("Mode collapse", text + again)
        elif not is_said.get(code):
            yield _caution("Said by the run", text + again)
    for event in run.events:
        if event.event == "diverged":
            yield _serious("Diverged", event.text or "The run did not say why.")


def _files(run: Run) -> Iterator[Concern]:
    for name, count in run.damaged.items():
        yield _caution("Damaged file", f"{name}: {count} unreadable line(s) are left out here.")
    if run.ours and not run.events:
        yield _note(
            "Warnings not recorded",
            f"This run has no {run_files.EVENTS} (it is of an older version): "
            f"what it warned of stands in its {run_files.LOG} only.",
        )
    if not run.ours and run.options:
        yield _note(
            "No provenance",
            f"The official program trained; with what, and by which licence, stands in {run_files.ENGINE}."
            if (run.folder / run_files.ENGINE).is_file()
            else "This run was not started by this program; commands and versions are unknown.",
        )


def _spine(run: Run) -> Document:
    return as_dict(run.ours.get("spine"))


def _base(path: object) -> str:
    """The last part of a path or address, whichever system wrote it."""
    return str(path).replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] or "unknown"
