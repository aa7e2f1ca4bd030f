"""`spinegan detectors`: which feature networks are here; fetching them for computers without a network."""

from __future__ import annotations

from pathlib import Path

import click

from stylegan2ada import files, options
from stylegan2ada.metrics.detectors import FOLDER_VARIABLE, KNOWN, Detectors, fetch


@click.group()
def detectors() -> None:
    """Feature networks that metrics need; `tiny` is built in, the others are files."""


@detectors.command("list", cls=options.Command)
def list_() -> None:
    """Say for every known detector where its file is, or that it is missing."""
    finder = Detectors()
    for name, source in KNOWN.items():
        path = finder.find(name)
        state = f"{path}  SHA-256 {files.sha256_file(path)[:16]}" if path else "missing"
        click.echo(f"{name:10} {state}\n{'':10} {source.licence}\n{'':10} {source.url}")
    click.echo(f"{'tiny':10} built in; its numbers compare with nothing but themselves")
    click.echo(f"Searched: --detector NAME=FILE, ${FOLDER_VARIABLE}, {files.cache_dir('downloads')}")


@detectors.command("fetch", cls=options.Command)
@click.argument("names", nargs=-1)
@click.option("--to", metavar="DIR", help="Put the files here, to carry them to another computer")
def fetch_(names: tuple[str, ...], to: str | None) -> None:
    """Download detectors (default: all) into the cache, or into a folder.

    On the computer without a network set SPINEGAN_DETECTORS to that folder.
    """
    for name in names or KNOWN:
        click.echo(f"{name}: {fetch(name, Path(to) if to else None)}")
