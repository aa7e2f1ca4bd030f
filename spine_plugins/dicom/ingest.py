"""The whole way: files -> journal -> decisions -> data set, report and pictures. Called by the command."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import stylegan2ada
from spine_plugins.dicom import deidentify, lists, select, sources
from spine_plugins.dicom.annotations import (
    AnnotationTable,
    Index,
    find_annotation_files,
    looks_generic,
)
from spine_plugins.dicom.executors import convert_all
from spine_plugins.dicom.job import Conversion, Job
from spine_plugins.dicom.journal import ANNOTATIONS, Journal
from spine_plugins.dicom.output import write_outputs
from spine_plugins.dicom.places import check_places, told
from spine_plugins.dicom.settings import IngestSettings
from stylegan2ada.data import pseudonyms
from stylegan2ada.errors import MissingError, NothingToDoError, UserError
from stylegan2ada.progress import Progress

# What this tool writes beside X.
_OUR_ENDINGS = (
    ".parts", ".key", ".zip", "_report.csv", "_summary.json", "_boxes.json", "_contact.png", "_hist.png",
    "_pairs.png",
)  # fmt: skip


def run(job: Job) -> dict[str, Any]:
    """Convert; returns the summary. A UserError with its exit code says why nothing came of it."""
    with told(job):
        check_places(job.checked())
        return _run(job)


def _run(job: Job) -> dict[str, Any]:
    key_path = Path(job.key_file) if job.key_file else job.side_file(".key")
    # A look at the headers leaves nothing behind, so its key is thrown away.
    known = None if job.dry_run else pseudonyms.load_key(key_path)
    key = known or pseudonyms.new_key()
    journal = Journal(Path(tempfile.mkdtemp()) if job.dry_run else job.side_file(".parts"), key)
    is_done = False
    try:
        settings = _with_annotations(job, journal)
        key_id = deidentify.key_id(key)
        config = settings.config_hash(key=key_id, tool=stylegan2ada.__version__)
        conversion = Conversion(job, journal, settings, key, key_id, config)
        _collect(conversion)
        if known is None and not job.dry_run:  # not before: a refusal leaves no key behind
            pseudonyms.save_key(key_path, key)
        _convert(conversion)
        summary = _finish(conversion)
        is_done = True
        return summary
    except NothingToDoError:
        is_done = True
        if known is None and not job.dry_run:
            key_path.unlink(missing_ok=True)  # the key of nothing
        raise
    finally:
        sources.close_archives()
        # An interrupted run keeps what it has for --resume; an empty journal would only be in the way.
        journal.close(remove=is_done or job.dry_run or journal.is_empty())


def _with_annotations(job: Job, journal: Journal) -> IngestSettings:
    """Settings that know where the annotations are and which labels to make of them."""
    files = find_annotation_files(job.annotations, job.sources)
    wanted = job.labels
    if wanted is None:
        wanted = "none" if not files else "csv:label" if looks_generic(files) else "binary"
        found = ", ".join(path.name for path in files) if job.may_name else f"{len(files)} table(s)"
        job.log(f"labels: {wanted}" + (f" from {found}" if files else " (no annotations)"))
    if not files:
        if wanted != "none":
            raise UserError(
                f"--labels={wanted} needs annotations; give --annotations CSV, or the folder that holds it"
            )
        return dataclasses.replace(job.settings, labels=wanted)
    column = wanted.removeprefix("csv:") if wanted.startswith("csv:") else ""
    database = journal.folder / ANNOTATIONS
    class_map = job.settings.class_map
    index = Index(journal.key, column, class_map, note=journal.note_annotated, say=job.log)
    with journal.db:
        digest = index.write(files, database)
    values = AnnotationTable(str(database), journal.key).values() if column else ()
    if column and not values:
        raise UserError(f"--labels=csv:{column}: no annotation file has values in a column {column!r}")
    return dataclasses.replace(
        job.settings,
        labels=wanted,
        annotations=str(database.absolute()),
        annotations_hash=digest,
        values=() if class_map else values,  # with a map its targets are the classes
    )


def _collect(conversion: Conversion) -> None:
    """Everything that lies in the sources, and the lists that say what to do with it."""
    job, journal = conversion.job, conversion.journal
    if job.checksums and not journal.fill("checksums", lists.checksums(job.checksums)):
        raise UserError(f"--checksums={job.checksums} holds no line of the form `sha256  name`")
    if job.subset_list and not journal.fill("subset", lists.subset_ids(job.subset_list)):
        raise UserError(f"--subset-list={job.subset_list} is empty; write one image id per line")
    if job.forbid_groups:
        journal.fill("forbidden", lists.forbidden_values(job.forbid_groups, conversion.key_id))
    if not journal.set_items(_without_our_own(job), conversion.config):
        raise NothingToDoError(f"--source={', '.join(job.sources)} holds no files; check the path")
    journal.choose(job.max_images)


def _without_our_own(job: Job) -> Iterator[sources.Item]:
    """The files of the sources, less what this tool writes should the output lie among them."""
    ours = job.stem.name
    home = job.stem.parent.resolve()
    for item in sources.walk_sources(job.sources):
        place = Path(item.place)
        is_named_so = place.name.startswith(ours) and place.name.endswith(_OUR_ENDINGS)
        is_beside = is_named_so and place.parent.resolve() == home
        if not is_beside and place.parent.name != ours + ".parts":
            yield item


def _convert(conversion: Conversion) -> None:
    """Fill the journal with a record of every file that has none yet."""
    job, journal, settings = conversion.job, conversion.journal, conversion.settings
    n, items = journal.to_do()
    total = journal.n_files()
    if job.resume and n < total:
        job.log(f"resuming: {total - n} of {total} files are done or left out")
    progress = Progress(n, "reading")
    # Starting processes takes longer than a few files do.
    is_quick = job.executor == "process" and (job.workers <= 1 and n <= 2 or n == 0)
    executor = "serial" if is_quick else job.executor
    try:
        for batch, records in convert_all(items, settings, conversion.key, executor, job.workers):
            journal.store(batch, records, conversion.config)
            progress.step(len(batch))
            missing = next((record for record in records if record.reason == "decoder_missing"), None)
            # At once, not after hours: without the decoder every file of its kind will fail.
            if missing is not None and not settings.skip_missing_decoder:
                raise MissingError(
                    f"a file cannot be read: {missing.detail}. Then run again with --resume, "
                    "or leave such files out with --on-missing-decoder=skip"
                )
    finally:
        progress.close()


def _finish(conversion: Conversion) -> dict[str, Any]:
    """What depends on all files at once, then the outputs."""
    job, journal = conversion.job, conversion.journal
    has_labels = conversion.settings.labels != "none"
    select.decide(journal, dedupe=job.dedupe if not job.dry_run else (), has_labels=has_labels)
    groups = select.grouped(journal)
    if groups.ignored_patient and job.split:
        job.log(
            "note: one PatientID stands for most images, so it is a placeholder; grouping by study instead"
        )
    if job.stratify and not job.dry_run:
        select.stratify(journal, groups, job.split, job.split_seed)
    return write_outputs(conversion, groups)
