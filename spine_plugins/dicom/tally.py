"""The report: one CSV row per input file, counts as JSON, the printed table of what was kept and why not."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from spine_plugins.dicom.codecs import syntax_name
from spine_plugins.dicom.reasons import STATUS, status_of
from spine_plugins.dicom.select import Outcome
from spine_plugins.dicom.sources import safe_name
from spine_plugins.vindr import NO_FINDING
from stylegan2ada.errors import UserError

COLUMNS = (
    "index", "path", "status", "reason", "warnings", "out_name", "label", "kinds", "n_boxes", "boxes_inside",
    "group", "split", "rows", "cols", "bits_allocated", "bits_stored", "true_max", "signed", "pi",
    "transfer_syntax", "plugin", "modality", "body_part", "window_used", "lo", "hi", "inverted", "crop_box",
    "sha256_pixels", "dhash", "ms_decode", "study", "patient", "frames", "clipped_percent", "detail",
)  # fmt: skip
_NUMBERS = ("rows", "cols", "bits_allocated", "bits_stored", "true_max", "frames")
_TEXTS = ("pi", "transfer_syntax", "plugin", "modality", "body_part")
_PRINTED = (
    ("transfer_syntax", "syntaxes"), ("pi", "polarity"), ("bits_stored", "bits stored"), ("label", "labels"),
    ("split", "splits"), ("warnings", "warnings"),
)  # fmt: skip
_NOT_IMAGES = ("modality_rejected", "body_part_rejected")  # never candidates, so no reason to give up either


class Report:
    """Collects outcomes one by one; writes rows at once and keeps only counts."""

    def __init__(self, file: TextIO, paths: str) -> None:
        self._writer = csv.writer(file, lineterminator="\n")
        self._writer.writerow(COLUMNS)
        self._paths = paths  # relative | hash | none
        self.counts: dict[str, Counter] = {
            name: Counter()
            for name in (
                "status",
                "reason",
                "warnings",
                "transfer_syntax",
                "pi",
                "bits_stored",
                "modality",
                "label",
                "split",
                "plugin",
            )
        }
        self.n_files = self.n_candidates = self.n_failed = 0
        self.first_failed: dict[str, str] = {}

    def add(self, outcome: Outcome, out_name: str, label_names: list[str] | None) -> None:
        record, header = outcome.record, outcome.record.get("header") or {}
        status = status_of(outcome.reason)
        warnings = [*header.get("warnings", ()), *outcome.warnings]
        crop, low, high = record.get("crop") or [], record.get("low"), record.get("high")
        is_known = bool(header.get("rows"))
        row: dict[str, Any] = {
            "index": outcome.index,
            "path": self._shown_path(outcome.name),
            "status": status,
            "reason": outcome.reason,
            "warnings": ";".join(warnings),
            "out_name": out_name,
            "label": _label_text(record.get("label")),
            "kinds": ";".join(record.get("kinds") or ()),
            "n_boxes": record.get("n_boxes", 0),
            "boxes_inside": record.get("boxes_inside"),
            "group": outcome.group,
            "split": outcome.split,
            **{name: header.get(name) if is_known else None for name in _NUMBERS},
            "signed": int(header["signed"]) if is_known else None,
            **{name: header.get(name, "") for name in _TEXTS},
            "window_used": record.get("window", ""),
            "lo": None if low is None else f"{low:.6g}",
            "hi": None if high is None else f"{high:.6g}",
            "inverted": int(record["inverted"]) if record.get("window") else None,
            "crop_box": " ".join(str(edge) for edge in crop),
            "sha256_pixels": record.get("pixels", ""),
            "dhash": record.get("dhash", ""),
            "ms_decode": f"{header['ms_decode']:.1f}" if header.get("ms_decode") else None,
            "study": record.get("study"),
            "patient": record.get("patient"),
            "clipped_percent": f"{100 * record['clipped']:.2f}" if record.get("window") else None,
            "detail": record.get("detail", "") if outcome.reason == record.get("reason") else "",
        }  # fmt: skip
        self._writer.writerow([row[name] for name in COLUMNS])
        self._count(outcome, row, warnings, label_names)

    def _shown_path(self, name: str) -> str:
        if self._paths == "none":
            return ""
        if self._paths == "hash":
            return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        return safe_name(name)

    def _count(
        self, outcome: Outcome, row: dict[str, Any], warnings: list[str], label_names: list[str] | None
    ) -> None:
        self.n_files += 1
        status = row["status"]
        self.counts["status"][status] += 1
        if outcome.reason:
            self.counts["reason"][outcome.reason] += 1
        is_image = status != "skipped" and outcome.reason not in _NOT_IMAGES
        if is_image and (outcome.reason != "no_pixel_data" or row["rows"]):
            self.n_candidates += 1
            self.n_failed += status == "failed"
        if status == "failed":
            self.first_failed.setdefault(outcome.reason, f"{row['path']}: {row['detail']}".rstrip(": "))
        self.counts["warnings"].update(warnings)
        if row["transfer_syntax"]:
            self.counts["transfer_syntax"][syntax_name(row["transfer_syntax"])] += 1
        if is_image:
            for name in ("pi", "bits_stored", "modality", "plugin"):
                if row[name]:
                    self.counts[name][str(row[name])] += 1
        if status == "ok":
            for name in class_names(outcome.record.get("label"), label_names):
                self.counts["label"][name] += 1
            if outcome.split:
                self.counts["split"][outcome.split] += 1

    @property
    def n_kept(self) -> int:
        return self.counts["status"]["ok"]

    def summary(self, **more: Any) -> dict[str, Any]:
        """The counts as plain data."""
        counts = {f"by_{name}": dict(sorted(counter.items())) for name, counter in self.counts.items()}
        return {
            "files": self.n_files,
            "kept": self.n_kept,
            "candidates": self.n_candidates,
            "failed": self.n_failed,
            **counts,
            **more,
        }

    def table(self) -> str:
        """`kept N of M files because` as text, most frequent reason first."""
        lines = [
            f"kept {self.n_kept} of {self.n_files} files" + (" because" if self.n_kept < self.n_files else "")
        ]
        reasons = self.counts["reason"]
        for reason in sorted(reasons, key=lambda name: (-reasons[name], name)):
            example = self.first_failed.get(reason, "")
            lines.append(f"  {reasons[reason]:>7}  {STATUS[reason]:<8}  {reason:<20}{example[:60]}".rstrip())
        for name, title in _PRINTED:
            if self.counts[name]:
                lines.append(
                    f"  {title}: " + ", ".join(f"{key} {n}" for key, n in self.counts[name].most_common(12))
                )
        return "\n".join(lines)


def class_names(label: Any, label_names: list[str] | None) -> list[str]:
    """The classes of one label, for counting and for captions; one name, or the ones of a vector."""
    if label is None or label_names is None:
        return ["all"]
    if isinstance(label, list):
        return [name for name, value in zip(label_names, label) if value] or [NO_FINDING]
    return [label_names[label]]


def _label_text(label: Any) -> str:
    if label is None:
        return ""
    return " ".join(f"{value:g}" for value in label) if isinstance(label, list) else str(label)


def write_json(path: Path, data: Any) -> None:
    """Readable, stable JSON that appears complete or not at all."""
    from stylegan2ada.files import atomic_write

    with atomic_write(path) as file:
        file.write((json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode())


def forbidden_values(paths: Iterable[str], own_key_id: str) -> Iterator[tuple[str]]:
    """Group and pixel hashes of images kept in other data sets, from their reports.

    Group hashes can only meet if both were made with one key; a known different key is an error.
    """
    for name in paths:
        path = Path(name)
        if not path.is_file():
            raise UserError(
                f"--forbid-groups={name} is not a file; give the X_report.csv of the other data set"
            )
        summary = path.with_name(path.name.replace("_report.csv", "_summary.json"))
        if summary != path and summary.is_file():
            other = json.loads(summary.read_text(encoding="utf-8")).get("key_id")
            if other and other != own_key_id:
                raise UserError(
                    f"--forbid-groups={name} was made with another key, so groups cannot be compared; "
                    "give the same --key-file to both"
                )
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if not {"status", "study", "patient", "sha256_pixels"} <= set(reader.fieldnames or ()):
                raise UserError(f"--forbid-groups={name} is no report of this tool; give an X_report.csv")
            for row in reader:
                if row["status"] == "ok":
                    yield from (
                        (row[column],) for column in ("study", "patient", "sha256_pixels") if row[column]
                    )


def decoder_text(rows: list[tuple[str, str, str]]) -> str:
    """The table of --list-decoders."""
    out = io.StringIO()
    for syntax, plugins, hint in rows:
        print(f"{syntax:<36}{plugins:<26}{hint}".rstrip(), file=out)
    return out.getvalue()
