"""The report: one CSV row per input file, counts as JSON, the printed table of what was kept and why not."""

from __future__ import annotations

from collections import Counter
from typing import Any, BinaryIO

from spine_plugins.dicom.codecs import syntax_name
from spine_plugins.dicom.reasons import STATUS, status_of
from spine_plugins.dicom.record import Label
from spine_plugins.dicom.select import Outcome
from spine_plugins.dicom.sources import safe_name
from spine_plugins.vindr import NO_FINDING
from stylegan2ada.data.pseudonyms import keyed_hash
from stylegan2ada.files import csv_bytes

COLUMNS = (
    "index", "path", "status", "reason", "warnings", "out_name", "label", "kinds", "n_boxes", "boxes_inside",
    "group", "split", "rows", "cols", "bits_allocated", "bits_stored", "true_max", "signed", "pi",
    "transfer_syntax", "plugin", "modality", "body_part", "window_used", "lo", "hi", "inverted", "crop_box",
    "sha256_pixels", "dhash", "ms_decode", "study", "patient", "frames", "clipped_percent", "detail",
)  # fmt: skip
Row = dict[str, str | int | float | None]  # None: an empty cell
_NUMBERS = ("rows", "cols", "bits_allocated", "bits_stored", "true_max", "frames")
_TEXTS = ("pi", "transfer_syntax", "plugin", "modality", "body_part")
_OF_IMAGES = ("pi", "bits_stored", "modality", "plugin")  # counted for candidates only
_COUNTED = (  # in the order of the summary
    "status", "reason", "warnings", "transfer_syntax", "pi", "bits_stored", "modality", "label", "split",
    "plugin",
)  # fmt: skip
_PRINTED = (
    ("transfer_syntax", "syntaxes"), ("pi", "polarity"), ("bits_stored", "bits stored"), ("label", "labels"),
    ("split", "splits"), ("warnings", "warnings"),
)  # fmt: skip
_NOT_IMAGES = ("modality_rejected", "body_part_rejected")  # never candidates, so no reason to give up either


class Report:
    """Collects outcomes one by one; writes rows at once and keeps only counts."""

    def __init__(self, file: BinaryIO, paths: str, key: bytes) -> None:
        self._file = file
        self._file.write(csv_bytes(COLUMNS, ()))
        self._paths = paths  # relative | hash | none
        self._key = key  # of those hashes
        self.counts: dict[str, Counter[str]] = {name: Counter() for name in _COUNTED}
        self.n_files = self.n_candidates = self.n_failed_images = 0
        self.by_class: dict[str, Counter[str]] = {}  # class: images per split
        self.first_failed: dict[str, str] = {}  # reason: row in the report and detail of the first file

    def add(self, outcome: Outcome, out_name: str, label_names: list[str] | None) -> None:
        """The next file, in order."""
        warnings = [*outcome.record.header.warnings, *outcome.warnings]
        row = self._row(outcome, out_name, warnings)
        cells = ["" if row[name] is None else str(row[name]) for name in COLUMNS]
        self._file.write(csv_bytes(cells, ()))
        self._count(outcome, row, warnings, label_names)

    def _row(self, outcome: Outcome, out_name: str, warnings: list[str]) -> Row:
        record, header = outcome.record, outcome.record.header
        is_known, is_windowed = bool(header.rows), bool(record.window)
        return {
            "index": outcome.index,
            "path": self._shown_path(outcome.name),
            "status": status_of(outcome.reason),
            "reason": outcome.reason,
            "warnings": ";".join(warnings),
            "out_name": out_name,
            "label": _label_text(record.label),
            "kinds": ";".join(record.kinds),
            "n_boxes": record.n_boxes,
            "boxes_inside": record.boxes_inside,
            "group": outcome.group,
            "split": outcome.split,
            **{name: getattr(header, name) if is_known else None for name in _NUMBERS},
            "signed": int(header.signed) if is_known else None,
            **{name: getattr(header, name) for name in _TEXTS},
            "window_used": record.window,
            "lo": None if record.low is None else f"{record.low:.6g}",
            "hi": None if record.high is None else f"{record.high:.6g}",
            "inverted": int(record.inverted) if is_windowed else None,
            "crop_box": " ".join(str(edge) for edge in record.crop),
            "sha256_pixels": record.pixels,
            "dhash": record.dhash,
            "ms_decode": f"{header.ms_decode:.1f}" if header.ms_decode else None,
            "study": record.study,
            "patient": record.patient,
            "clipped_percent": f"{100 * record.clipped:.2f}" if is_windowed else None,
            "detail": record.detail if outcome.reason == record.reason else "",
        }

    def _shown_path(self, name: str) -> str:
        if self._paths == "none":
            return ""
        if self._paths == "hash":
            # Keyed: names of files are as few as patient numbers, and a plain hash is undone by trying them.
            return (keyed_hash(self._key, "path", name) or "")[:16]
        return safe_name(name)

    def _count(self, outcome: Outcome, row: Row, warnings: list[str], label_names: list[str] | None) -> None:
        status, counts = str(row["status"]), self.counts
        self.n_files += 1
        counts["status"][status] += 1
        if outcome.reason:
            counts["reason"][outcome.reason] += 1
        is_image = status != "skipped" and outcome.reason not in _NOT_IMAGES
        # DICOM with neither pixels nor a size (plans, structured reports) fails, but never was an image: an
        # archive full of it is no reason to give up.
        if is_image and (outcome.reason != "no_pixel_data" or row["rows"]):
            self.n_candidates += 1
            self.n_failed_images += status == "failed"
        if status == "failed":
            # By its row: names of files stay in the report, which knows who may read it; a terminal does not.
            self.first_failed.setdefault(outcome.reason, f"row {row['index']}: {row['detail']}".rstrip(": "))
        counts["warnings"].update(warnings)
        if row["transfer_syntax"]:
            counts["transfer_syntax"][syntax_name(str(row["transfer_syntax"]))] += 1
        if is_image:
            for name in _OF_IMAGES:
                if row[name]:
                    counts[name][str(row[name])] += 1
        if status == "ok":
            found = class_names(outcome.record.label, label_names)
            counts["label"].update(found)
            if outcome.split:
                for name in found:
                    self.by_class.setdefault(name, Counter())[outcome.split] += 1
                counts["split"][outcome.split] += 1

    @property
    def n_kept(self) -> int:
        return self.counts["status"]["ok"]

    @property
    def n_failed(self) -> int:
        """Rows of the report with the status `failed`, whatever the file was."""
        return self.counts["status"]["failed"]

    def summary(self) -> dict[str, Any]:
        """The counts as plain data."""
        return {
            "files": self.n_files,
            "kept": self.n_kept,
            "candidates": self.n_candidates,
            "failed": self.n_failed,
            **{f"by_{name}": dict(sorted(counter.items())) for name, counter in self.counts.items()},
        }

    def table(self) -> str:
        """`kept N of M files because` as text, most frequent reason first."""
        because = " because" if self.n_kept < self.n_files else ""
        lines = [f"kept {self.n_kept} of {self.n_files} files{because}"]
        reasons = self.counts["reason"]
        for reason in sorted(reasons, key=lambda name: (-reasons[name], name)):
            example = self.first_failed.get(reason, "")
            lines.append(f"  {reasons[reason]:>7}  {STATUS[reason]:<8}  {reason:<20}{example[:60]}".rstrip())
        for name, title in _PRINTED:
            if self.counts[name]:
                most = ", ".join(f"{key} {n}" for key, n in self.counts[name].most_common(12))
                lines.append(f"  {title}: {most}")
        return "\n".join(lines)


def class_names(label: Label, label_names: list[str] | None) -> list[str]:
    """The classes of one label, for counting and for captions; one name, or the ones of a vector."""
    if label is None or label_names is None:
        return ["all"]
    if isinstance(label, list):
        return [name for name, value in zip(label_names, label) if value] or [NO_FINDING]
    return [label_names[label]]


def _label_text(label: Label) -> str:
    if label is None:
        return ""
    return " ".join(f"{value:g}" for value in label) if isinstance(label, list) else str(label)
