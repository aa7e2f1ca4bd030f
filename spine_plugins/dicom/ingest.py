"""The whole way: files -> journal -> decisions -> data set, report and pictures. Called by the command."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import stylegan2ada
from spine_plugins.dicom import codecs, deidentify, executors, report, select, sources
from spine_plugins.dicom.annotations import (
    AnnotationTable,
    find_annotation_files,
    index_annotations,
    looks_generic,
)
from spine_plugins.dicom.journal import Journal, check_unused
from spine_plugins.dicom.reasons import STATUS
from spine_plugins.dicom.settings import IngestSettings
from stylegan2ada.errors import MissingError, NothingToDoError, TooManyFailuresError, UserError


@dataclasses.dataclass(frozen=True)
class Job:
    """One run of the tool: where from, where to, by whom. What the pixels become is in `settings`."""

    sources: list[str]
    dest: str  # X.zip or a folder X
    settings: IngestSettings = IngestSettings()
    annotations: tuple[str, ...] = ()
    labels: str | None = None  # None: binary or csv:label if there are annotations, else none
    dedupe: tuple[str, ...] = ("sop", "pixels")
    split: tuple[float, ...] = ()
    split_seed: int = 0
    forbid_groups: tuple[str, ...] = ()
    subset_list: str | None = None
    checksums: str | None = None
    key_file: str | None = None
    executor: str = "process"
    workers: int = 1
    resume: bool = False
    overwrite: bool = False
    max_images: int | None = None
    fail_over: float = 0.2
    report_paths: str = "relative"
    dry_run: bool = False
    log: Callable[[str], None] = print

    @property
    def stem(self) -> Path:
        """X of X.zip, beside which the side files lie."""
        dest = Path(self.dest)
        return dest.with_suffix("") if dest.suffix.lower() == ".zip" else dest

    def side_file(self, ending: str, split: str = "") -> Path:
        return self.stem.with_name(self.stem.name + (f"-{split}" if split else "") + ending)

    def targets(self) -> dict[str, Path]:
        """split ('' without splits) -> zip or folder."""
        suffix = ".zip" if Path(self.dest).suffix.lower() == ".zip" else ""
        if not self.split:
            return {"": Path(self.dest)}
        return {name: self.side_file(suffix, name) for name in select.SPLITS[: len(self.split)]}


def run(job: Job) -> dict[str, Any]:
    """Convert; returns the summary. A UserError with its exit code says why nothing came of it."""
    _check_places(job)
    work = Path(tempfile.mkdtemp()) if job.dry_run else job.side_file(".parts")
    key_path = Path(job.key_file) if job.key_file else job.side_file(".key")
    # A look at the headers leaves nothing behind, so its key is thrown away.
    key = b"dry run" if job.dry_run else deidentify.load_or_create_key(key_path)
    work.parent.mkdir(parents=True, exist_ok=True)
    journal = Journal(work)
    is_done = False
    try:
        settings = _with_annotations(job, work)
        _collect(job, journal, key)
        config = settings.config_hash(key=deidentify.key_id(key), tool=stylegan2ada.__version__)
        _convert(job, journal, settings, key, config)
        summary = _finish(job, journal, settings, key, config)
        is_done = True
        return summary
    except NothingToDoError:
        is_done = True
        raise
    finally:
        journal.close(remove=is_done or job.dry_run or journal.is_empty())


def _check_places(job: Job) -> None:
    for source in job.sources:
        if not Path(source).exists():
            raise UserError(
                f"--source={source} does not exist; give a folder, a zip file, a DICOM file or a list"
            )
    if job.dry_run:
        return
    work = job.side_file(".parts")
    check_unused(work, may_resume=job.resume, may_overwrite=job.overwrite)
    for target in job.targets().values():
        if target.is_dir() and target.suffix.lower() != ".zip":
            _remove_leftovers(target, ".partial.*")
            if any(target.iterdir()):
                raise UserError(f"--dest: {target} is not an empty folder; empty it or choose another name")
        _remove_leftovers(target.parent, f".{target.name}.*.tmp")
        is_there = target.exists() and (target.is_file() or any(target.iterdir()))
        if is_there and not job.overwrite and not (job.resume and work.exists()):
            raise UserError(f"--dest: {target} exists; choose another name or add --overwrite")


def _remove_leftovers(folder: Path, pattern: str) -> None:
    """What a killed run had half written."""
    for path in folder.glob(pattern):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _with_annotations(job: Job, work: Path) -> IngestSettings:
    """Settings that know where the annotations are and which labels to make of them."""
    files = find_annotation_files(job.annotations, job.sources)
    wanted = job.labels
    if wanted is None:
        wanted = "none" if not files else "csv:label" if looks_generic(files) else "binary"
        job.log(
            f"labels: {wanted}"
            + (f" from {', '.join(path.name for path in files)}" if files else " (no annotations)")
        )
    if not files:
        if wanted != "none":
            raise UserError(
                f"--labels={wanted} needs annotations; give --annotations CSV, or the folder that holds it"
            )
        return dataclasses.replace(job.settings, labels=wanted)
    column = wanted.removeprefix("csv:") if wanted.startswith("csv:") else ""
    database = work / "annotations.sqlite"
    digest = index_annotations(files, database, column)
    values = AnnotationTable(str(database)).values() if column else ()
    if column and not values:
        raise UserError(f"--labels=csv:{column}: no annotation file has values in a column {column!r}")
    return dataclasses.replace(
        job.settings,
        labels=wanted,
        annotations=str(database.absolute()),
        annotations_hash=digest,
        values=values,
    )


def _collect(job: Job, journal: Journal, key: bytes) -> None:
    """Everything that lies in the sources, and the lists that say what to do with it."""
    if job.checksums:
        if not journal.fill("checksums", _read_checksums(job.checksums)):
            raise UserError(f"--checksums={job.checksums} holds no line of the form `sha256  name`")
    if job.subset_list:
        ids = ((line.strip(),) for line in _lines(job.subset_list, "--subset-list") if line.strip())
        if not journal.fill("subset", ids):
            raise UserError(f"--subset-list={job.subset_list} is empty; write one image id per line")
    if job.forbid_groups:
        journal.fill("forbidden", report.forbidden_values(job.forbid_groups, deidentify.key_id(key)))
    found = journal.set_items(_without_our_own(job))
    if not found:
        raise NothingToDoError(f"--source={', '.join(job.sources)} holds no files; check the path")
    journal.choose(job.max_images)


def _without_our_own(job: Job) -> Iterator[sources.Item]:
    """The files of the sources, less what this tool writes should the output lie among them."""
    ours = job.stem.name
    home = job.stem.parent.resolve()
    endings = (
        ".parts",
        ".key",
        ".zip",
        "_report.csv",
        "_summary.json",
        "_boxes.json",
        "_contact.png",
        "_hist.png",
    )
    for item in sources.walk_sources(job.sources):
        place = Path(item.place)
        is_beside = (
            place.name.startswith(ours) and place.name.endswith(endings) and place.parent.resolve() == home
        )
        if not is_beside and place.parent.name != ours + ".parts":
            yield item


def _lines(path: str, flag: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{flag}={path} cannot be read as text; check the path") from error


def _read_checksums(path: str) -> Iterator[tuple[bytes, str]]:
    """Lines of sha256sum: digest, two characters, name."""
    for line in _lines(path, "--checksums"):
        digest, _, name = line.strip().partition(" ")
        name = name.strip().lstrip("*").removeprefix("./")
        if len(digest) == 64 and name:
            yield name.encode("utf-8", "surrogateescape"), digest.lower()


def _convert(job: Job, journal: Journal, settings: IngestSettings, key: bytes, config: str) -> None:
    from stylegan2ada.progress import Progress

    n, items = journal.to_do(config)
    total = journal.db.execute("select count(*) from files").fetchone()[0]
    if job.resume and n < total:
        job.log(f"resuming: {total - n} of {total} files are done or left out")
    progress = Progress(n, "reading")
    # Starting processes takes longer than a few files do.
    executor = (
        "serial" if job.executor == "process" and (job.workers <= 1 and n <= 2 or n == 0) else job.executor
    )
    try:
        for batch, records in executors.convert_all(items, settings, key, executor, max(1, job.workers)):
            journal.store(batch, records, config)
            progress.step(len(batch))
            missing = next((record for record in records if record["reason"] == "decoder_missing"), None)
            if missing is not None and not settings.skip_missing_decoder:
                raise MissingError(
                    f"{missing['path']} cannot be read: {missing['detail']}. Then run again with --resume, "
                    "or leave such files out with --on-missing-decoder=skip"
                )
    finally:
        progress.close()


def _finish(job: Job, journal: Journal, settings: IngestSettings, key: bytes, config: str) -> dict[str, Any]:
    select.decide(journal, dedupe=job.dedupe if not job.dry_run else (), has_labels=settings.labels != "none")
    groups = select.grouped(journal)
    if groups.ignored_patient and job.split:
        job.log(
            "note: one PatientID stands for most images, so it is a placeholder; grouping by study instead"
        )
    from spine_plugins.dicom.output import write_outputs

    return write_outputs(job, journal, settings, groups, config=config, key_id=deidentify.key_id(key))


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


def raise_if_useless(job: Job, journal: Journal, settings: IngestSettings, counts: report.Report) -> None:
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
