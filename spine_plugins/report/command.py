"""`spinegan report`: the page about one run, or about several side by side."""

from __future__ import annotations

from pathlib import Path

import click

from spine_plugins.runs.reading import read_run
from stylegan2ada import options
from stylegan2ada.errors import UserError


@click.command(cls=options.Command)
@click.argument("runs", nargs=-1, required=True, metavar="RUN_DIR...")
@click.option("--out", metavar="FILE", help="Page to write [default: report.html in the first RUN_DIR]")
@click.option(
    "--synthetic",
    multiple=True,
    metavar="ZIP|CARD",
    help="A data set made by generate, or its card, to describe, too (repeatable)",
)
@click.option(
    "--paths", is_flag=True, help="Show the folders in commands and options, not only names of files"
)
def report(runs: tuple[str, ...], out: str | None, synthetic: tuple[str, ...], paths: bool) -> None:
    """Write one self-contained HTML page about a run; several runs share its curves.

    It works on a run in progress, too: make it again to see more. Pictures in it are small copies that
    link to the originals.

    \b
    spinegan report runs/00000-spine
    spinegan report runs/00000-spine runs/00001-ada --out compared.html
    """  # fmt: skip
    from spine_plugins.report.page import write_page

    read = [read_run(folder, synthetic if i == 0 else ()) for i, folder in enumerate(dict.fromkeys(runs))]
    target = Path(out) if out else read[0].folder / "report.html"
    if target.is_dir() or not target.absolute().parent.is_dir():
        raise UserError(f"--out={target} is not a file in an existing folder; give one, like report.html")
    size = write_page(read, target, with_paths=paths)
    click.echo(f"{target}: {len(read)} run(s), {size / 1e6:.1f} MB")
