"""`spinegan detectors`: which feature networks are here; fetching them for computers without a network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from stylegan2ada import files, options
from stylegan2ada.metrics.detectors import FOLDER_VARIABLE, KNOWN, Detectors, fetch


@click.group()
def detectors() -> None:
    """Feature networks that metrics need; `tiny` is built in, the others are files."""


@dataclass(frozen=True)
class ListDetectors:
    """What `detectors list` was asked."""

    json_file: str | None


@options.command("list", parent=detectors, record=ListDetectors)
@options.json_option
def list_(asked: ListDetectors) -> None:
    """Say for every known detector where its file is, or that it is missing."""
    voice, finder = options.Voice(asked.json_file), Detectors()
    found = []
    for name, source in KNOWN.items():
        path = finder.find(name)
        sha256 = files.sha256_file(path) if path else None
        state = f"{path}  SHA-256 {sha256[:16]}" if sha256 else "missing"
        voice.say(f"{name:10} {state}\n{'':10} {source.licence}\n{'':10} {source.url}")
        found.append(
            {"name": name, "file": path, "sha256": sha256, "licence": source.licence, "url": source.url}
        )
    voice.say(f"{'tiny':10} built in; its numbers compare with nothing but themselves")
    voice.say(f"Searched: --detector NAME=FILE, ${FOLDER_VARIABLE}, {files.cache_dir('downloads')}")
    voice.numbers({"detectors": found})


@dataclass(frozen=True)
class FetchDetectors:
    """What `detectors fetch` was asked."""

    names: tuple[str, ...]
    to: str | None
    overwrite: bool


@options.command("fetch", parent=detectors, record=FetchDetectors)
@click.argument("names", cls=options.Argument, nargs=-1)
@options.group(
    "Where to",
    options.opt("--to", metavar="DIR", help="Put the files here, to carry them to another computer"),
    options.OVERWRITE,
)
def fetch_(asked: FetchDetectors) -> None:
    """Download detectors (default: all) into the cache, or into a folder.

    On the computer without a network set SPINEGAN_DETECTORS to that folder.
    """
    for name in asked.names or KNOWN:
        place = fetch(name, Path(asked.to) if asked.to else None, overwrite=asked.overwrite)
        click.echo(f"{name}: {place}")
