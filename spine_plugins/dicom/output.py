"""The files of a finished conversion: data sets, boxes, report, summary, contact sheet, histograms."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Any

import stylegan2ada
from spine_plugins.dicom import codecs, labels, select, sources, tally
from spine_plugins.dicom.job import Job
from spine_plugins.dicom.journal import Journal
from spine_plugins.dicom.reasons import STATUS
from spine_plugins.dicom.settings import IngestSettings
from spine_plugins.dicom.sheets import Gallery, contact_sheet, histogram_sheet
from stylegan2ada.data.writer import DatasetWriter, archive_name
from stylegan2ada.errors import NothingToDoError, TooManyFailuresError, UserError
from stylegan2ada.files import atomic_write


def write_outputs(job: Job, journal: Journal, settings: IngestSettings, groups: select.Groups, *,
                  config: str, key_id: str) -> dict[str, Any]:  # fmt: skip
    """Report and summary always; data sets and pictures when the outcome allows. Returns the summary."""
    names = labels.label_names(settings)
    gallery, counts = _write_report(job, journal, settings, groups, names)
    more: dict[str, Any] = {"config_hash": config, "key_id": key_id, "label_names": names}
    if settings.annotations:
        more |= _unmatched(journal, settings, with_ids=job.report_paths == "relative")
    summary = counts.summary(**more)
    job.log(counts.table())
    if job.dry_run:
        return summary
    tally.write_json(job.side_file("_summary.json"), summary)
    raise_if_useless(job, journal, settings, counts)
    _write_pictures(job, journal, groups, gallery)
    written = _write_data_sets(job, journal, settings, groups, names, counts)
    for split, target in job.targets().items():
        if split not in written:
            job.log(
                f"note: no group fell into {split}: {target.name} was not written; try another --split-seed"
            )
    job.log("wrote " + ", ".join(f"{job.targets()[split]} ({n} images)" for split, n in written.items()))
    return summary


def _outcomes(job: Job, journal: Journal, groups: select.Groups, *, with_png: bool = False):
    return select.outcomes(journal, shares=job.split, seed=job.split_seed, groups=groups, with_png=with_png)


def _write_report(job: Job, journal: Journal, settings: IngestSettings, groups: select.Groups,
                  names: list[str] | None) -> tuple[Gallery, tally.Report]:  # fmt: skip
    sizes: dict[str, int] = {}
    for outcome in _outcomes(job, journal, groups):
        if not outcome.reason:
            for kind in tally.class_names(outcome.record["label"], names):
                sizes[kind] = sizes.get(kind, 0) + 1
    gallery, numbers = Gallery(sizes), dict.fromkeys(job.targets(), 0)
    with contextlib.ExitStack() as stack:
        raw = open(os.devnull, "wb") if job.dry_run else atomic_write(job.side_file("_report.csv"))
        file = _Text(stack.enter_context(raw))
        counts = tally.Report(file, job.report_paths)  # type: ignore[arg-type]
        for outcome in _outcomes(job, journal, groups):
            out_name, record = "", outcome.record
            if not outcome.reason:
                out_name = archive_name(numbers[outcome.split])
                numbers[outcome.split] += 1
                if not job.dry_run:
                    kinds = tally.class_names(record["label"], names)
                    pi = record["header"]["pi"]
                    gallery.add(
                        outcome.name, kinds, pi, record["thumb"], record["histogram"], record["clipped"]
                    )
            counts.add(outcome, out_name, names)
    return gallery, counts


class _Text:
    """The little of a text file that csv needs, over a binary one; surrogates never get here."""

    def __init__(self, binary: Any) -> None:
        self._binary = binary

    def write(self, text: str) -> int:
        return self._binary.write(text.encode("utf-8", "backslashreplace"))


def _write_pictures(job: Job, journal: Journal, groups: select.Groups, gallery: Gallery) -> None:
    thumbs = (
        (outcome.name, outcome.record["thumb"])
        for outcome in _outcomes(job, journal, groups)
        if not outcome.reason
    )
    farthest = gallery.farthest(thumbs)

    def load(name: str) -> bytes:
        return journal.db.execute("select png from results where name = ?", (os.fsencode(name),)).fetchone()[
            0
        ]

    contact_sheet(job.side_file("_contact.png"), gallery, farthest, load)
    histogram_sheet(job.side_file("_hist.png"), gallery)


def _write_data_sets(job: Job, journal: Journal, settings: IngestSettings, groups: select.Groups,
                     names: list[str] | None, counts: tally.Report) -> dict[str, int]:  # fmt: skip
    """The data sets, all complete or none under its name; returns the number of images of each."""
    used = {
        name: path for name, path in job.targets().items() if not job.split or counts.counts["split"][name]
    }
    boxes: dict[str, dict[str, Any]] = {split: {} for split in used}
    with contextlib.ExitStack() as stack:
        writers = {
            split: stack.enter_context(DatasetWriter(path, overwrite=job.overwrite or job.resume))
            for split, path in used.items()
        }
        for split, writer in writers.items():
            writer.extra["label_names"] = names
            writer.extra["groups"] = {}
            writer.extra["recipe"] = recipe(job, settings) | ({"this_split": split} if split else {})
        for outcome in _outcomes(job, journal, groups, with_png=True):
            if outcome.reason:
                continue
            record, writer = outcome.record, writers[outcome.split]
            name = writer.add_encoded(record["png"], record["label"])
            writer.extra["groups"][name] = {"study": record["study"], "patient": record["patient"]}
            if record["boxes"]:
                boxes[outcome.split][name] = [
                    {"kind": kind, "box": box, "inside": inside} for kind, *box, inside in record["boxes"]
                ]
    for split, found in boxes.items():
        side = {"resolution": settings.resolution, "boxes": found}
        tally.write_json(job.side_file("_boxes.json", split), side)
    return {split: len(writer) for split, writer in writers.items()}


def _unmatched(journal: Journal, settings: IngestSettings, *, with_ids: bool) -> dict[str, Any]:
    """Image ids of the annotations without a file (or how many), and how many files no row speaks of."""
    db = journal.db
    db.execute("attach database ? as given", (Path(settings.annotations).as_posix(),))
    try:
        lonely = [row[0] for row in db.execute(
            "select distinct image from given.rows where image not in (select image_id from results)"
            " order by image"
        )]  # fmt: skip
        silent = db.execute(
            "select count(*) from results where image_id = '' and study is not null"
        ).fetchone()[0]
    finally:
        db.commit()
        db.execute("detach database given")
    return {"annotated_without_file": lonely if with_ids else len(lonely), "files_without_annotation": silent}


def recipe(job: Job, settings: IngestSettings) -> dict[str, Any]:
    """How the pixels came to be; the same metrics on real images need the same resize filter."""
    flags = settings.flags() | {
        "dedupe": list(job.dedupe),
        "split": list(job.split),
        "split_seed": job.split_seed,
    }
    text = repr(sorted(flags.items())).encode()
    return {
        "tool": "dataset_tool_dicom",
        "version": stylegan2ada.__version__,
        "flags": flags,
        "config_hash": hashlib.sha256(text).hexdigest()[:16],
        "versions": codecs.package_versions(),
        "resize_filter": settings.resize,
        "order": "decode, modality, crop and resize, window, polarity, round half up to 8 bits",
    }


def no_match_error(job: Job, journal: Journal) -> UserError | None:
    """The sentence for annotations of which not one belongs to a file."""
    if journal.db.execute("select 1 from results where image_id != '' limit 1").fetchone():
        return None
    unlabelled = "select name from results where reason = 'no_label' order by name limit 1"
    row = journal.db.execute(unlabelled).fetchone()
    first = sources.Item(row[0].decode("utf-8", "replace"), "").stem if row else ""
    return NothingToDoError(
        f"no image id of the annotations matches a file of --source={', '.join(job.sources)} "
        f"(images are called like {first!r}); give the annotations that belong to these files"
    )


def raise_if_useless(job: Job, journal: Journal, settings: IngestSettings, counts: tally.Report) -> None:
    """Exit codes 4 and 5, each with one sentence that names the most frequent reason."""
    reasons = counts.counts["reason"]
    because = ", ".join(f"{name} {n}" for name, n in reasons.most_common(3))
    if not counts.n_kept:
        if settings.labels != "none" and counts.counts["reason"]["no_label"]:
            error = no_match_error(job, journal)
            if error:
                raise error
        raise NothingToDoError(
            f"none of {counts.n_files} files can be used ({because}); check --source and the rules"
        )
    if counts.n_candidates and counts.n_failed > job.fail_over * counts.n_candidates:
        share = counts.n_failed / counts.n_candidates
        failed = [(name, n) for name, n in reasons.most_common() if STATUS[name] == "failed"]
        because = ", ".join(f"{name} {n}" for name, n in failed[:3])
        raise TooManyFailuresError(
            f"{counts.n_failed} of {counts.n_candidates} images failed ({because}), more than "
            f"--fail-over={job.fail_over:g}; see {job.side_file('_report.csv').name}, "
            f"or accept it with --resume --fail-over={min(1.0, share + 0.01):.2f}"
        )
