"""`spinegan report`: the page about one run, or about several side by side."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import click

from spine_plugins.runs.concerns import Concern, concerns, differences
from spine_plugins.runs.reading import Run, read_run
from stylegan2ada import options
from stylegan2ada.training import run_files


@dataclass(frozen=True)
class Report:
    """What `report` was asked."""

    runs: tuple[str, ...]
    out: str | None
    synthetic: tuple[str, ...]
    paths: bool
    overwrite: bool
    json_file: str | None


@options.command(record=Report)
@click.argument("runs", cls=options.Argument, nargs=-1, required=True, metavar="RUN_DIR...")
@options.group(
    "Page",
    options.opt("--out", metavar="FILE", help="Page to write [default: report.html in the first RUN_DIR]"),
    options.opt(
        "--synthetic",
        multiple=True,
        metavar="ZIP|CARD",
        help="A data set made by generate, or its card, to describe, too (repeatable)",
    ),
    options.opt(
        "--paths", is_flag=True, help="Show the folders in commands and options, not only names of files"
    ),
    options.opt("--overwrite", is_flag=True, help="Replace the file of --out; the default page is renewed"),
)
@options.json_option
def report(asked: Report) -> None:
    """Write one self-contained HTML page about a run; several runs share its curves.

    It works on a run in progress, too: make it again to see more. Pictures in it are small copies that
    link to the originals.

    \b
    spinegan report runs/00000-spine
    spinegan report runs/00000-spine runs/00001-ada --out compared.html
    """  # fmt: skip
    # Pillow and the style sheet are loaded only when a page is made, not for --help.
    from spine_plugins.report.page import write_page

    voice = options.Voice(asked.json_file)
    folders = dict.fromkeys(asked.runs)
    # Data sets named by hand belong to no run in particular: the first one tells of them.
    runs = [read_run(folder, asked.synthetic if i == 0 else ()) for i, folder in enumerate(folders)]
    target = Path(asked.out) if asked.out else runs[0].folder / run_files.REPORT
    # The page in the run's own folder is named for that, and made again while the run goes on.
    options.check_writable("--out", target, overwrite=asked.overwrite or asked.out is None)
    size = write_page(runs, target, with_paths=asked.paths)
    voice.say(f"{target}: {len(runs)} run(s), {size / 1e6:.1f} MB")
    voice.numbers(
        {
            "page": target,
            "bytes": size,
            "runs": [numbers(run, with_paths=asked.paths) for run in runs],
            "differences": _plain(differences(runs), with_paths=asked.paths),
        }
    )


def numbers(run: Run, *, with_paths: bool) -> dict[str, object]:
    """What a program may want to know of a run: how far it is, how good, and how doubtful."""
    latest = {name: lines[-1] for name, lines in run.metrics.items()}
    return {
        "name": run.name,
        "state": run.state,
        "kimg": run.kimg,
        "total_kimg": run.total_kimg,
        "metrics": {name: {"kimg": last.kimg, "results": last.results} for name, last in latest.items()},
        "concerns": _plain(concerns(run), with_paths=with_paths),
    }


def _plain(found: list[Concern], *, with_paths: bool) -> list[dict[str, str]]:
    from spine_plugins.report.sections import shown_text

    return [asdict(concern) | {"text": shown_text(concern, with_paths=with_paths)} for concern in found]
