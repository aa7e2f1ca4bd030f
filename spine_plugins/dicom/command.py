"""The command line of dataset_tool_dicom.py: DICOM radiographs -> a data set for training."""
# ruff: noqa: E501 - the table of options

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from spine_plugins.dicom.settings import PRESETS, IngestSettings
from stylegan2ada.errors import MissingError, StoppedOnRequest, UserError

_GROUPS = {
    "Input and output": "source dest annotations subset_list max_images overwrite resume dry_run demo",
    "Labels": "labels label_rule rare class_map",
    "Pixels": "preset resolution channels crop resize window percentiles polarity",
    "Which files": "modality body_part min_size frames colour allow_burned_in force_meta dedupe checksums",
    "Splits and privacy": "split split_seed forbid_groups key_file report_paths",
    "Work and limits": "workers executor timeout max_pixels max_file_mb max_inflate fail_over on_missing_decoder"
    " list_decoders help",
}


class GroupedCommand(click.Command):
    """--help in titled groups, at most 100 columns wide; user errors as one sentence with their exit code."""

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        records = {
            parameter.name: parameter.get_help_record(context) for parameter in self.get_params(context)
        }
        for title, names in _GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([record for name in names.split() if (record := records.get(name))])

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except UserError as error:
            click.echo(f"Error: {error}", err=True)
            context.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo("Stopped. What is done is kept; run again with --resume to go on.", err=True)
            context.exit(StoppedOnRequest.exit_code)


def _choice(*values: str) -> click.Choice:
    return click.Choice(values)


def _power_of_two(_context: click.Context, _parameter: click.Parameter, value: int) -> int:
    if value < 4 or value & (value - 1):
        raise click.BadParameter(f"{value} is not a power of two; use 256, 512, ...")
    return value


# fmt: off
_OPTIONS: list[Callable] = [
    click.option("--source", multiple=True, metavar="DIR|ZIP|LIST|FILE", help="Where the DICOM files are. Repeatable."),
    click.option("--dest", metavar="X.zip|DIR", help="Data set to write; reports go beside it as X_*."),
    click.option("--annotations", multiple=True, metavar="CSV|DIR", help="VinDr-SpineXR or image_id,label table. [default: annotations/ in or beside the source]"),
    click.option("--subset-list", metavar="FILE", help="Only these image ids, one per line."),
    click.option("--max-images", type=click.IntRange(min=1), help="Look at the first N files only."),
    click.option("--overwrite", is_flag=True, help="Replace an earlier result."),
    click.option("--resume", is_flag=True, help="Go on with an interrupted run."),
    click.option("--dry-run", is_flag=True, help="Read headers, print what would be kept, write nothing."),
    click.option("--demo", is_flag=True, help="Draw phantom radiographs and convert them."),

    click.option("--labels", metavar="NAME", help="none, binary, spine8, multi13 or csv:COLUMN. [default: binary for VinDr annotations]"),
    click.option("--label-rule", type=_choice("standard", "paper-rows"), default="standard", show_default=True, help="paper-rows: abnormal = two rows or more (ablation only)."),
    click.option("--rare", type=_choice("other", "drop", "keep"), help="The six rare lesion types. [default: other; keep for multi13]"),
    click.option("--class-map", metavar="FILE", help="CSV or JSON: name in the annotations -> class."),

    click.option("--preset", type=_choice(*PRESETS), default="default", show_default=True, help="paper: centre square, nearest, divide per image, RGB."),
    click.option("--resolution", type=int, default=256, show_default=True, callback=_power_of_two, help="Side of the images, a power of two."),
    click.option("--channels", type=click.Choice(["1", "3"]), help="Grey, or the same grey three times. [default: 1]"),
    click.option("--crop", type=_choice("field", "center", "lesion", "pad"), help="field: strip collimator, then square. [default: field]"),
    click.option("--resize", type=_choice("area", "lanczos", "nearest"), help="Reduction filter. [default: area]"),
    click.option("--window", type=_choice("percentile", "voi", "minmax", "paper", "auto"), help="Which values become black and white. [default: percentile]"),
    click.option("--percentiles", type=float, nargs=2, default=(0.5, 99.5), show_default=True, help="For --window=percentile."),
    click.option("--polarity", type=_choice("auto", "keep", "invert"), help="auto: bone bright, by the header. [default: auto]"),

    click.option("--modality", default="projection", show_default=True, metavar="NAME", help="projection, any, or a list such as CR,DX."),
    click.option("--body-part", default="", metavar="REGEX", help="Only files whose BodyPartExamined matches."),
    click.option("--min-size", type=click.IntRange(min=1), default=128, show_default=True, help="Shorter side in pixels."),
    click.option("--frames", type=_choice("reject", "first", "middle"), default="reject", show_default=True, help="Of files with several frames."),
    click.option("--colour", type=_choice("reject", "luma"), default="reject", show_default=True, help="Colour images."),
    click.option("--allow-burned-in", is_flag=True, help="Take images that say they show text."),
    click.option("--force-meta", is_flag=True, help="Read files without the DICOM preamble."),
    click.option("--dedupe", default="sop,pixels", show_default=True, metavar="KEYS", help="sop, pixels, both, or none."),
    click.option("--checksums", metavar="FILE", help="SHA256SUMS to check the input against."),

    click.option("--split", metavar="0.8/0.1/0.1", help="Write X-train, X-val, X-test; patients stay together."),
    click.option("--split-seed", type=int, default=0, show_default=True, help="Another seed, another split."),
    click.option("--forbid-groups", multiple=True, metavar="REPORT", help="Leave out who is in this X_report.csv. Repeatable."),
    click.option("--key-file", metavar="FILE", help="Key of the patient and study hashes. [default: X.key, made if absent]"),
    click.option("--report-paths", type=_choice("relative", "hash", "none"), default="relative", show_default=True, help="File names in the report."),

    click.option("--workers", type=click.IntRange(min=1), help="Processes. [default: number of CPUs]"),
    click.option("--executor", default="process", show_default=True, metavar="NAME", help="serial, process, or dask:ADDRESS."),
    click.option("--timeout", type=click.FloatRange(min=0), default=60.0, show_default=True, metavar="SEC", help="For one file; 0: none."),
    click.option("--max-pixels", type=click.IntRange(min=1), default=100_000_000, show_default=True, help="Per file, all frames."),
    click.option("--max-file-mb", type=click.IntRange(min=1), default=512, show_default=True, help="Size of a file."),
    click.option("--max-inflate", type=click.IntRange(min=1), default=512, show_default=True, metavar="MB", help="Size of a deflated file when inflated."),
    click.option("--fail-over", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="Give up if more than this part fails."),
    click.option("--on-missing-decoder", type=_choice("fail", "skip"), default="fail", show_default=True, help="fail says what to install."),
    click.option("--list-decoders", is_flag=True, help="Show which syntaxes can be read here, and leave."),
]
# fmt: on


def _with_options(function: Callable) -> Callable:
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@click.command(
    cls=GroupedCommand, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@_with_options
def main(**flags: Any) -> None:
    """Convert DICOM radiographs into a data set for training.

    Every input file gets one row in X_report.csv; nothing that identifies a patient leaves the input.
    Exit codes: 0 done, 2 wrong usage, 3 decoder missing, 4 nothing to convert, 5 too many failures.

    \b
    python dataset_tool_dicom.py --source vindr/train_images --dest spine256.zip \\
        --annotations vindr/annotations --labels binary --split 0.8/0.1/0.1
    """
    _require_pydicom()
    if flags["list_decoders"]:
        _list_decoders()
        return
    if flags["demo"]:
        flags = _demo_flags(flags)
    if not flags["source"] or not (flags["dest"] or flags["dry_run"]):
        raise UserError(
            "--source and --dest are needed; for example --source train_images --dest spine256.zip"
        )
    from spine_plugins.dicom.ingest import run
    from spine_plugins.dicom.job import Job

    with _stops_on_request():
        run(_job(flags, Job))


@contextlib.contextmanager
def _stops_on_request() -> Iterator[None]:
    """SIGTERM, which schedulers send, ends the run like Ctrl-C: what is done stays in the journal."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _job(flags: dict[str, Any], make_job: Callable) -> Any:
    from spine_plugins.dicom.select import parse_split

    fewer_than_all = {name: flags[name] for name in ("labels", "split_seed", "subset_list", "checksums", "key_file",
                                                      "executor", "resume", "overwrite", "max_images", "fail_over",
                                                      "report_paths", "dry_run")}  # fmt: skip
    dedupe = _dedupe(flags["dedupe"])
    return make_job(
        sources=list(flags["source"]),
        dest=flags["dest"] or "dry-run.zip",
        settings=_settings(flags, dedupe),
        annotations=flags["annotations"],
        dedupe=dedupe,
        split=parse_split(flags["split"]) if flags["split"] else (),
        forbid_groups=flags["forbid_groups"],
        workers=flags["workers"] or os.cpu_count() or 1,
        log=click.echo,
        **fewer_than_all,
    )


def _settings(flags: dict[str, Any], dedupe: tuple[str, ...]) -> IngestSettings:
    """The preset, then what was given by hand, then cross-checks."""
    labels = flags["labels"]
    if (
        labels
        and labels not in ("none", "binary", "spine8", "multi13")
        and not re.fullmatch(r"csv:.+", labels)
    ):
        raise UserError(f"--labels={labels} is unknown; use none, binary, spine8, multi13 or csv:COLUMN")
    if flags["label_rule"] == "paper-rows" and labels not in (None, "binary"):
        raise UserError("--label-rule=paper-rows only makes sense with --labels=binary")
    low, high = flags["percentiles"]
    if not 0 <= low < high <= 100:
        raise UserError(f"--percentiles {low:g} {high:g} are not two rising numbers between 0 and 100")
    try:
        re.compile(flags["body_part"])
    except re.error as error:
        raise UserError(f"--body-part={flags['body_part']} is no regular expression ({error})") from error
    preset = PRESETS[flags["preset"]]
    given = {
        name: flags[name] for name in ("crop", "resize", "window", "polarity") if flags[name] is not None
    }
    channels = int(flags["channels"] or preset["channels"])
    return IngestSettings(
        **preset | given | {"channels": channels},
        resolution=flags["resolution"],
        percentiles=(low, high),
        modality=flags["modality"],
        **{
            name: flags[name]
            for name in (
                "body_part",
                "min_size",
                "frames",
                "colour",
                "allow_burned_in",
                "force_meta",
                "label_rule",
                "max_pixels",
            )
        },  # fmt: skip
        rare=flags["rare"] or ("keep" if labels == "multi13" else "other"),
        class_map=_class_map(flags["class_map"]),
        hash_pixels="pixels" in dedupe or bool(flags["forbid_groups"]),
        max_file_bytes=flags["max_file_mb"] << 20,
        max_inflate_bytes=flags["max_inflate"] << 20,
        timeout_sec=flags["timeout"],
        skip_missing_decoder=flags["on_missing_decoder"] == "skip",
        headers_only=flags["dry_run"],
    )


def _dedupe(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if names == ("none",):
        return ()
    if not names or set(names) - {"sop", "pixels"}:
        raise UserError(f"--dedupe={text} is unknown; use sop, pixels, sop,pixels or none")
    return names


def _class_map(path: str | None) -> tuple[tuple[str, str], ...]:
    """(name, class) pairs of a JSON object or of the first two columns of a CSV."""
    if path is None:
        return ()
    import csv
    import json

    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        if text.lstrip().startswith("{"):
            return tuple((str(name), str(target)) for name, target in json.loads(text).items())
        rows = [row for row in csv.reader(text.splitlines()) if row]
        pairs = tuple((row[0].strip(), row[1].strip()) for row in rows)
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise UserError(
            f"--class-map={path} is not a JSON object or a CSV with two columns; check the file"
        ) from error
    return pairs[1:] if pairs and pairs[0][1].lower() in ("class", "target", "to") else pairs


def _require_pydicom() -> None:
    from spine_plugins.dicom.codecs import load_pydicom

    try:
        load_pydicom()
    except ImportError as error:
        raise MissingError(
            "reading DICOM needs pydicom and its decoders; pip install 'spinegan[dicom]'"
        ) from error


def _list_decoders() -> None:
    from spine_plugins.dicom.codecs import decoder_table
    from spine_plugins.dicom.tally import decoder_text

    click.echo(decoder_text(decoder_table()), nl=False)


def _demo_flags(flags: dict[str, Any]) -> dict[str, Any]:
    """Phantom radiographs beside the output as the source of this run."""
    from spine_plugins import phantom

    dest = Path(flags["dest"] or "demo.zip")
    folder = dest.with_name(dest.name.removesuffix(".zip") + "_dicom")
    if folder.exists() and any(folder.iterdir()) and not (flags["overwrite"] or flags["resume"]):
        raise UserError(f"{folder} exists; choose another --dest or add --overwrite")
    if not flags["resume"]:
        click.echo(f"drawing phantom radiographs into {folder}")
        phantom.write_dicom_tree(
            folder, 96, codecs=True, with_masks=False, workers=flags["workers"] or os.cpu_count() or 1,
            overwrite=flags["overwrite"],
        )  # fmt: skip
    return flags | {"dest": str(dest), "source": (str(folder),)}
