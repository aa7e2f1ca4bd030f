"""Whether a conversion was worth it: exit codes 4 and 5, each with one sentence that names the reasons."""

from __future__ import annotations

import re

from spine_plugins.dicom.job import Conversion
from spine_plugins.dicom.reasons import LEFT_OUT, STATUS
from spine_plugins.dicom.sources import Item
from spine_plugins.dicom.tally import Report
from stylegan2ada.errors import NothingToDoError, TooManyFailuresError


def raise_if_useless(run: Conversion, report: Report) -> None:
    """NothingToDoError or TooManyFailuresError, should the result not be worth writing."""
    job, reasons = run.job, report.counts["reason"].most_common()
    if not report.n_kept:
        if run.settings.labels != "none" and report.counts["reason"]["no_label"]:
            _raise_if_no_id_matches(run)
        because = ", ".join(f"{name} {n}" for name, n in reasons[:3])
        is_other = report.counts["reason"]["not_dicom"] == report.n_files
        hint = (
            "pictures of other kinds are for `spinegan dataset` (dataset_tool.py)"
            if is_other
            else ("check --source and the rules")
        )
        raise NothingToDoError(f"none of {report.n_files} files can be used ({because}); {hint}")
    if report.n_candidates and report.n_failed_images > job.fail_over * report.n_candidates:
        share = report.n_failed_images / report.n_candidates
        failed = [f"{name} {n}" for name, n in reasons if STATUS[name] == "failed"]
        raise TooManyFailuresError(
            f"{report.n_failed_images} of {report.n_candidates} images failed ({', '.join(failed[:3])}), "
            f"more than --fail-over={job.fail_over:g}; see {job.side_file('_report.csv').name}, "
            f"or accept it with --resume --fail-over={min(1.0, share + 0.01):.2f}"
        )


_REMEDIES = {  # what to look at, should most files go for this reason
    "not_dicom": "is this the right folder?",
    "no_label": "do the annotations belong to these files?",
    "unknown_label": "--class-map gives names of your own a class",
    "multi_label": "--labels=binary or multi13 keeps images with several lesions",
    "modality_rejected": "--modality says which are taken",
    "body_part_rejected": "--body-part says which are taken",
    "too_small": "--min-size says which are taken",
    "too_large": "--max-pixels says which are taken",
    "colour": "--colour=luma takes colour images",
    "multi_frame": "--frames=first takes one of several frames",
    "burned_in": "--allow-burned-in takes images that say they show text",
    "duplicate_sop": "--dedupe says what counts as a copy",
    "duplicate_pixels": "--dedupe says what counts as a copy",
    "decoder_missing": "--list-decoders says what to install",
}


def warnings(report: Report) -> list[str]:
    """A line that cannot be overlooked where most of what was given is not in the data set."""
    reasons = report.counts["reason"]
    asked = report.n_files - sum(reasons[name] for name in LEFT_OUT)
    images = asked - report.counts["status"]["skipped"] + sum(reasons[name] for name in LEFT_OUT)
    # Archives hold many things beside images, so of all files only a small rest is alarming.
    if 2 * report.n_kept >= images and 10 * report.n_kept >= asked:
        return []
    lost = {name: n for name, n in reasons.items() if name not in LEFT_OUT}
    name = max(lost, key=lambda name: (lost[name], name))
    remedy = _REMEDIES.get(name, "the report says which")
    lost_to = f"most were lost to {name} ({lost[name]}); {remedy}"
    return [f"WARNING: only {report.n_kept} of {asked} files were kept; {lost_to}"]


def _raise_if_no_id_matches(run: Conversion) -> None:
    """The sentence for annotations of which not one belongs to a file."""
    db = run.journal.db
    if db.execute("select 1 from results where image != '' limit 1").fetchone():
        return
    row = db.execute(
        "select f.name from files f join results r on r.id = f.id where r.reason = 'no_label' order by f.name"
    ).fetchone()
    # Names may name patients: what they look like says enough to see what does not fit.
    first = _shape(Item(row[0].decode("utf-8", "replace"), "").stem) if row else ""
    wanted = _shape(db.execute("select min(image) from annotated").fetchone()[0] or "")
    raise NothingToDoError(
        f"no image id of the annotations matches a file of --source={', '.join(run.job.sources)} "
        f"(files are called like {first!r}, images of the annotations like {wanted!r}); "
        "give the annotations that belong to these files"
    )


def _shape(name: str) -> str:
    """`LAT_0012` -> `aaa_9999`."""
    return re.sub(r"[^\W\d_]", "a", re.sub(r"\d", "9", name[:64]))
