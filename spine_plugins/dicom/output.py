"""The files of a finished conversion: data sets, boxes, report, summary, contact sheet, histograms."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from spine_plugins.dicom import codecs, labels, select, tally
from spine_plugins.dicom.histograms import histogram_sheet
from spine_plugins.dicom.job import Conversion
from spine_plugins.dicom.sheets import MOST_PAIRS, Gallery, Load, contact_sheet, pair_sheet
from spine_plugins.dicom.verdict import raise_if_useless, warnings
from stylegan2ada import files, provenance
from stylegan2ada.data.splits import SPLITS, split_table
from stylegan2ada.data.writer import DatasetWriter, archive_name


def write_outputs(run: Conversion, groups: select.Groups) -> dict[str, Any]:
    """Report and summary always; data sets and pictures when the outcome allows. Returns the summary."""
    job, settings = run.job, run.settings
    names = labels.label_names(settings)
    gallery, report = _write_report(run, groups, names)
    summary = report.summary() | {"config_hash": run.config, "key_id": run.key_id, "label_names": names}
    if settings.annotations:
        summary |= _unmatched(run)
    job.log(report.table())
    if job.dry_run:
        return summary
    files.write_json(job.side_file("_summary.json"), summary, private=True)
    raise_if_useless(run, report)
    _write_pictures(run, groups, gallery)
    used = [split for split in job.targets() if not split or report.counts["split"][split]]
    written = _write_data_sets(run, groups, names, used)
    for split, target in job.targets().items():
        if split not in written:
            job.log(
                f"note: no group fell into {split}: {target.name} was not written; try another --split-seed"
            )
    for line in _classes_by_split(run, report):
        job.log(line)
    for line in warnings(report):
        job.log(line)
    job.log("wrote " + ", ".join(f"{job.targets()[split]} ({n} images)" for split, n in written.items()))
    return summary


def _classes_by_split(run: Conversion, report: tally.Report) -> list[str]:
    """Class by split as a table, and a warning for each class that a split lacks."""
    job, splits = run.job, SPLITS[: len(run.job.split)]
    if not splits or run.settings.labels == "none":
        return []
    lines = split_table(dict(sorted(report.by_class.items())), splits)
    used = [split for split, share in zip(splits, job.split, strict=True) if share > 0]
    for name, counts in sorted(report.by_class.items()):
        if lacking := [split for split in used if not counts[split]]:
            remedy = (
                "gather more patients with it"
                if job.stratify
                else "add --stratify, which gives each split its share, or try another --split-seed"
            )
            lines.append(f"WARNING: no image of class {name} in {', '.join(lacking)}; {remedy}")
    return lines


def _outcomes(run: Conversion, groups: select.Groups, *, with_png: bool = False) -> Iterator[select.Outcome]:
    job = run.job
    return select.outcomes(
        run.journal, shares=job.split, seed=job.split_seed, groups=groups, with_png=with_png
    )


def _write_report(
    run: Conversion, groups: select.Groups, names: list[str] | None
) -> tuple[Gallery, tally.Report]:
    """X_report.csv, row by row: neither rows nor records are held in memory."""
    job = run.job
    gallery = Gallery(_class_sizes(run, groups, names))
    numbers = dict.fromkeys(job.targets(), 0)
    path = job.side_file("_report.csv")
    with open(os.devnull, "wb") if job.dry_run else files.atomic_write(path, private=True) as file:
        report = tally.Report(file, job.report_paths, run.key)
        for outcome in _outcomes(run, groups):
            out_name = ""
            if not outcome.reason:
                out_name = archive_name(numbers[outcome.split])
                numbers[outcome.split] += 1
                if not job.dry_run:
                    classes = tally.class_names(outcome.record.label, names)
                    gallery.add(outcome.name, outcome.index, classes, outcome.record)
            report.add(outcome, out_name, names)
    return gallery, report


def _class_sizes(run: Conversion, groups: select.Groups, names: list[str] | None) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for outcome in _outcomes(run, groups):
        if not outcome.reason:
            for kind in tally.class_names(outcome.record.label, names):
                sizes[kind] = sizes.get(kind, 0) + 1
    return sizes


def _write_pictures(run: Conversion, groups: select.Groups, gallery: Gallery) -> None:
    job = run.job
    kept = (outcome for outcome in _outcomes(run, groups) if not outcome.reason)
    gallery.judge((outcome.name, outcome.index, outcome.record.thumb) for outcome in kept)

    def load(name: str) -> bytes:
        find = "select r.png from files f join results r on r.id = f.id where f.name = ?"
        return run.journal.db.execute(find, (os.fsencode(name),)).fetchone()[0]

    contact_sheet(job.side_file("_contact.png"), gallery, load)
    histogram_sheet(job.side_file("_hist.png"), gallery)
    if gallery.doubts:
        counts = ", ".join(f"{doubt} {n}" for doubt, n in sorted(gallery.doubts.items()))
        job.log(f"look at the frames marked in {job.side_file('_contact.png').name}: {counts}")
    _write_pairs(run, load)


def _write_pairs(run: Conversion, load: Load) -> None:
    """Near duplicates are kept, so a human has to look at them."""
    job, path = run.job, run.job.side_file("_pairs.png")
    pairs, n = select.near_pairs(run.journal, MOST_PAIRS)
    if not pairs:
        path.unlink(missing_ok=True)  # of an earlier run, which other files gave
        return
    pair_sheet(path, pairs, n, load)
    job.log(
        f"near duplicates: {n} kept images look almost like an earlier one (at most two bits of 64 differ in "
        f"their difference hashes), as two views of one patient may, or a copy with other pixels; see "
        f"{path.name}. --dedupe finds exact copies only: leave others out with --subset-list"
    )


def _write_data_sets(
    run: Conversion, groups: select.Groups, names: list[str] | None, splits: list[str]
) -> dict[str, int]:
    """The data sets of these splits, all complete or none; returns the number of images of each."""
    job, targets = run.job, run.job.targets()
    boxes: dict[str, dict[str, list[dict[str, Any]]]] = {split: {} for split in splits}
    with contextlib.ExitStack() as stack:
        # All of them open until the end: an error half-way leaves none of the splits in place.
        writers: dict[str, DatasetWriter] = {}
        for split in splits:
            writer = DatasetWriter(targets[split], overwrite=job.overwrite or job.resume)
            writers[split] = stack.enter_context(writer)
            writer.extra["label_names"] = names
            writer.extra["groups"] = {}
            writer.extra["recipe"] = recipe(run) | ({"this_split": split} if split else {})
        for outcome in _outcomes(run, groups, with_png=True):
            if outcome.reason:
                continue
            record, writer = outcome.record, writers[outcome.split]
            name = writer.add_encoded(record.png, record.label)
            writer.extra["groups"][name] = {"study": record.study, "patient": record.patient}
            if record.boxes:
                boxes[outcome.split][name] = [
                    {"kind": kind, "box": box, "inside": inside} for kind, *box, inside in record.boxes
                ]
    for split, found in boxes.items():
        side = {"resolution": run.settings.resolution, "boxes": found}
        files.write_json(job.side_file("_boxes.json", split), side, private=True)
    return {split: len(writer) for split, writer in writers.items()}


def _unmatched(run: Conversion) -> dict[str, list[str] | int]:
    """Image ids of the annotations without a file (or how many), and how many files no row speaks of."""
    db = run.journal.db
    lonely = [row[0] for row in db.execute(
        "select image from annotated where hash not in (select image from results) order by image"
    )]  # fmt: skip
    silent = db.execute(
        "select count(*) from files f join results r on r.id = f.id"
        " where r.image = '' and r.study is not null"
    ).fetchone()[0]
    return {
        "annotated_without_file": lonely if run.job.may_name else len(lonely),
        "files_without_annotation": silent,
    }


def recipe(run: Conversion) -> dict[str, Any]:
    """How the pixels came to be; the same metrics on real images need the same resize filter."""
    job = run.job
    return provenance.recipe(
        "dataset_tool_dicom",
        run.settings.flags()
        | {"dedupe": list(job.dedupe), "split": list(job.split), "split_seed": job.split_seed}
        | ({"stratify": True} if job.stratify else {}),  # said only where used: recipes have a hash
        resize_filter=run.settings.resize,
        packages=codecs.PACKAGES,
        order="decode, modality, crop and resize, window, polarity, round half up to 8 bits",
    )
