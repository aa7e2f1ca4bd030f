"""`spinegan compare`: run folders of ours, of the official program or of its successor, on one page."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import click

from spine_plugins.compare import joined
from spine_plugins.runs.concerns import differences
from spine_plugins.runs.reading import read_run
from stylegan2ada import files, options
from stylegan2ada.errors import UserError

_STATISTICS = (
    "Loss/G/loss", "Loss/D/loss", "Loss/G/cls", "Progress/augment", "Timing/sec_per_kimg",
    "Resources/cpu_mem_gb", "Resources/peak_gpu_mem_gb",
)  # fmt: skip


@dataclass(frozen=True)
class Compare:
    """What `compare` was asked."""

    runs: tuple[str, ...]
    out: str
    csv: str | None
    overwrite: bool
    json_file: str | None


@options.command(record=Compare)
@click.argument("runs", cls=options.Argument, nargs=-1, required=True, metavar="RUN_DIR RUN_DIR...")
@options.group(
    "Output",
    options.opt(
        "--out", metavar="FILE", default="compare.html", help="Page to write [default: compare.html]"
    ),
    options.opt("--csv", metavar="FILE", help="Every value of every run as a table, too"),
    options.opt("--overwrite", is_flag=True, help="Replace what is there"),
)
@options.json_option
def compare(asked: Compare) -> None:
    """Put runs side by side: settings that differ, losses, cost, metrics, images.

    Folders of the official program are read as they are. Metrics are joined only where the same detector
    has seen as many fakes. Runs that differ in their seed alone are one arm; three common seeds give an
    interval.

    \b
    spinegan compare runs/00000-ada runs/00001-spine --out compare.html
    """  # fmt: skip
    # Pillow and the style sheet are loaded only when a page is made, not for --help.
    from spine_plugins.compare.page import page
    from spine_plugins.pages.frame import write

    voice, target = options.Voice(asked.json_file), Path(asked.out)
    folders = list(dict.fromkeys(asked.runs))
    if len(folders) < 2:
        raise UserError(f"{folders[0]} alone has nothing to be compared with; give two run folders or more")
    for flag, place in (("out", asked.out), ("csv", asked.csv)):
        if place is not None and Path(place).exists() and not asked.overwrite:
            raise UserError(f"--{flag}={place} exists; choose another name or add --overwrite")
    runs = [read_run(folder) for folder in folders]
    size = write(page(runs, target), target)
    if asked.csv:
        header = ("run", "name", "kimg", "value", "detector", "num_fake")
        files.write_csv(asked.csv, header, joined.rows_of_table(runs, _STATISTICS))
    outcomes = [joined.outcome(yardstick, series) for yardstick, series in joined.measurements(runs).items()]
    voice.say(f"{target}: {len(runs)} runs, {size / 1e6:.1f} MB")
    voice.numbers(
        {
            "page": target,
            "runs": [{"name": r.name, "state": r.state, "kimg": r.kimg, "trained_by": joined.trained_by(r),
                      "sec_per_kimg": joined.typical(r, "Timing/sec_per_kimg")} for r in runs],
            "settings": {row.name: row.values for row in joined.settings_that_differ(runs)},
            "metrics": [asdict(o) for o in outcomes],
            "arms": joined.arms(runs),
            "arm_differences": [
                {"metric": asdict(o.yardstick), "first": d.first, "second": d.second, "pairs": d.pairs,
                 **d.interval.as_dict()}
                for o in outcomes for d in joined.differences_of_arms(runs, o)
            ],
            "differences": [asdict(concern) for concern in differences(runs)],
        }
    )  # fmt: skip
