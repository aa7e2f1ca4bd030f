"""The command line of dataset_tool_dicom.py: DICOM radiographs -> a data set for training."""
# ruff: noqa: E501 - the table of options

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import click

from spine_plugins.dicom import codecs
from spine_plugins.dicom.asked import Convert, job_of
from spine_plugins.dicom.settings import CHOICES, PRESETS, is_power_of_two
from stylegan2ada import files, options
from stylegan2ada.errors import StoppedOnRequest, UserError
from stylegan2ada.flag_types import SEED


def _power_of_two(_context: click.Context, _parameter: click.Parameter, value: int) -> int:
    if not is_power_of_two(value):
        raise click.BadParameter(f"{value} is not a power of two up to 8192; use 256, 512, ...")
    return value


_opt, _one_of, _at_least_1 = options.opt, click.Choice, click.IntRange(min=1)


# fmt: off
_options = options.stack(
    options.group(
        "Input and output",
        _opt("--source", multiple=True, metavar="DIR|ZIP|LIST|FILE", help="Where the DICOM files are. Repeatable."),
        _opt("--dest", metavar="X.zip|DIR", help="Data set to write; reports go beside it as X_*."),
        _opt("--annotations", multiple=True, metavar="CSV|DIR", help="VinDr-SpineXR or image_id,label table. [default: annotations/ in or beside the source]"),
        _opt("--subset-list", metavar="FILE", help="Only these image ids, one per line."),
        _opt("--max-images", type=_at_least_1, help="Look at the first N files only."),
        _opt("--overwrite", is_flag=True, help="Replace an earlier result."),
        _opt("--resume", is_flag=True, help="Go on with an interrupted run."),
        _opt("--dry-run", is_flag=True, help="Read headers, print what would be kept, write nothing."),
        _opt("--demo", is_flag=True, help="Draw phantom radiographs and convert them."),
    ),
    options.group(
        "Labels",
        _opt("--labels", metavar="NAME", help="none, binary, spine8, multi13 or csv:COLUMN. [default: binary for VinDr annotations]"),
        _opt("--label-rule", type=_one_of(CHOICES["label_rule"]), default="standard", show_default=True, help="paper-rows: abnormal = two rows or more (ablation only)."),
        _opt("--rare", type=_one_of(CHOICES["rare"]), help="The six rare lesion types. [default: other; keep for multi13]"),
        _opt("--class-map", metavar="FILE", help="CSV or JSON: name in the annotations -> class."),
    ),
    options.group(
        "Pixels",
        _opt("--preset", type=_one_of(list(PRESETS)), default="default", show_default=True, help="paper: centre square, nearest, divide per image, RGB."),
        _opt("--resolution", type=int, default=256, show_default=True, callback=_power_of_two, help="Side of the images, a power of two."),
        _opt("--channels", type=_one_of(["1", "3"]), help="Grey, or the same grey three times. [default: 1]"),
        _opt("--crop", type=_one_of(CHOICES["crop"]), help="field: strip collimator, then square. [default: field]"),
        _opt("--resize", type=_one_of(CHOICES["resize"]), help="Reduction filter. [default: area]"),
        _opt("--window", type=_one_of(CHOICES["window"]), help="Which values become black and white. [default: percentile]"),
        _opt("--percentiles", type=float, nargs=2, default=(0.5, 99.5), show_default=True, help="For --window=percentile."),
        _opt("--polarity", type=_one_of(CHOICES["polarity"]), help="auto: bone bright, by the header. [default: auto]"),
    ),
    options.group(
        "Which files",
        _opt("--modality", default="projection", show_default=True, metavar="NAME", help="projection, any, or a list such as CR,DX."),
        _opt("--body-part", default="", metavar="REGEX", help="Only files whose BodyPartExamined matches."),
        _opt("--min-size", type=_at_least_1, default=128, show_default=True, help="Shorter side in pixels."),
        _opt("--frames", type=_one_of(CHOICES["frames"]), default="reject", show_default=True, help="Of files with several frames."),
        _opt("--colour", type=_one_of(CHOICES["colour"]), default="reject", show_default=True, help="Colour images."),
        _opt("--allow-burned-in", is_flag=True, help="Take images that say they show text."),
        _opt("--force-meta", is_flag=True, help="Read files without the DICOM preamble."),
        _opt("--dedupe", default="sop,pixels", show_default=True, metavar="KEYS", help="sop, pixels, both, or none."),
        _opt("--checksums", metavar="FILE", help="SHA256SUMS to check the input against."),
    ),
    options.group(
        "Splits and privacy",
        _opt("--split", metavar="0.8/0.1/0.1", help="Write X-train, X-val, X-test; patients stay together."),
        _opt("--stratify", is_flag=True, help="Every class in its share of each split; without it, a patient's split never changes when data is added."),
        _opt("--split-seed", type=SEED, default=0, show_default=True, help="Another seed, another split."),
        _opt("--forbid-groups", multiple=True, metavar="REPORT", help="Leave out who is in this X_report.csv. Repeatable."),
        _opt("--key-file", metavar="FILE", help="Key of the patient and study hashes. [default: X.key, made if absent]"),
        _opt("--report-paths", type=_one_of(["relative", "hash", "none"]), default="relative", show_default=True, help="File names in the report."),
    ),
    options.group(
        "Work and limits",
        _opt("--workers", type=_at_least_1, help="Processes. [default: number of CPUs]"),
        _opt("--executor", default="process", show_default=True, metavar="NAME", help="serial, process, or dask:ADDRESS."),
        _opt("--timeout", type=click.FloatRange(min=0), default=60.0, show_default=True, metavar="SEC", help="For one file; 0: none."),
        _opt("--max-pixels", type=_at_least_1, default=100_000_000, show_default=True, help="Per file, all frames."),
        _opt("--max-file-mb", type=_at_least_1, default=512, show_default=True, help="Size of a file."),
        _opt("--max-inflate", type=_at_least_1, default=512, show_default=True, metavar="MB", help="Size of a deflated file when inflated."),
        _opt("--fail-over", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="Give up if more than this part fails."),
        _opt("--on-missing-decoder", type=_one_of(["fail", "skip"]), default="fail", show_default=True, help="fail says what to install."),
        _opt("--list-decoders", is_flag=True, help="Show which syntaxes can be read here, and leave."),
    ),
)
# fmt: on


@options.command(record=Convert)
@_options
@options.json_option
def main(asked: Convert) -> None:
    """Convert DICOM radiographs into a data set for training.

    Every input file gets one row in X_report.csv; nothing that identifies a patient leaves the input.
    Exit codes: 0 done, 2 wrong usage, 3 decoder missing, 4 nothing to convert, 5 too many failures.

    \b
    python dataset_tool_dicom.py --source vindr/train_images --dest spine256.zip \\
        --annotations vindr/annotations --labels binary --split 0.8/0.1/0.1
    """
    voice = options.Voice(asked.json_file)
    with _stops_on_request():
        codecs.require_pydicom()
        if asked.list_decoders:
            _list_decoders(voice)
            return
        if asked.demo:
            asked = _with_phantoms(asked, voice)
        if not asked.source or not (asked.dest or asked.dry_run):
            raise UserError(
                "--source and --dest are needed; for example --source train_images --dest spine256.zip"
            )
        if asked.dest and not Path(asked.dest).name:
            raise UserError(f"--dest={asked.dest} has no name of its own; give one, such as spine256.zip")
        from spine_plugins.dicom.ingest import run

        voice.numbers(run(job_of(asked, voice.say)))


@contextlib.contextmanager
def _stops_on_request() -> Iterator[None]:
    """Ctrl-C, and SIGTERM, which schedulers send: what is done stays in the journal, and the exit code is 75."""
    is_main = threading.current_thread() is threading.main_thread()
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler) if is_main else None
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise StoppedOnRequest(
            "Stopped. What is done is kept; run again with --resume to go on."
        ) from interrupt
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, previous)


def _list_decoders(voice: options.Voice) -> None:
    rows = codecs.decoder_table()
    for syntax, plugins, hint in rows:
        voice.say(f"{syntax:<36}{plugins:<26}{hint}".rstrip())
    voice.numbers({"decoders": {syntax: {"read_by": plugins, "fix": hint} for syntax, plugins, hint in rows}})


def _with_phantoms(asked: Convert, voice: options.Voice) -> Convert:
    """The same with phantom radiographs, drawn beside the output, as the source."""
    from spine_plugins.phantom import write_dicom_tree

    dest = Path(asked.dest or "demo.zip")
    folder = files.beside(dest, dest.name.removesuffix(".zip") + "_dicom")
    if folder.exists() and any(folder.iterdir()) and not (asked.overwrite or asked.resume):
        raise UserError(f"{folder} exists; choose another --dest or add --overwrite")
    if not asked.resume:
        voice.say(f"drawing phantom radiographs into {folder}")
        workers = asked.workers or os.cpu_count() or 1
        write_dicom_tree(
            folder, 96, codecs=True, with_masks=False, workers=workers, overwrite=asked.overwrite
        )
    return dataclasses.replace(asked, dest=str(dest), source=(str(folder),))
