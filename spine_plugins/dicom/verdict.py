"""Whether a conversion was worth it: exit codes 4 and 5, each with one sentence that names the reasons."""

from __future__ import annotations

import re

from spine_plugins.dicom.job import Conversion
from spine_plugins.dicom.reasons import STATUS
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
    if report.n_candidates and report.n_failed > job.fail_over * report.n_candidates:
        share = report.n_failed / report.n_candidates
        failed = [f"{name} {n}" for name, n in reasons if STATUS[name] == "failed"]
        raise TooManyFailuresError(
            f"{report.n_failed} of {report.n_candidates} images failed ({', '.join(failed[:3])}), more than "
            f"--fail-over={job.fail_over:g}; see {job.side_file('_report.csv').name}, "
            f"or accept it with --resume --fail-over={min(1.0, share + 0.01):.2f}"
        )


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
