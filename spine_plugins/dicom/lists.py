"""Lists that say what to do with files: image ids, checksums, class names, what other data sets hold."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from stylegan2ada.errors import UserError


def subset_ids(path: str) -> Iterator[tuple[str]]:
    """The image ids of --subset-list, one per line."""
    return ((line.strip(),) for line in _lines(path, "--subset-list") if line.strip())


def checksums(path: str) -> Iterator[tuple[bytes, str]]:
    """(name, digest) of the lines of sha256sum: digest, two characters, name."""
    for line in _lines(path, "--checksums"):
        digest, _, name = line.strip().partition(" ")
        # The star is how sha256sum marks a file read as binary.
        name = name.strip().lstrip("*").removeprefix("./")
        if len(digest) == 64 and name:
            yield name.encode("utf-8", "surrogateescape"), digest.lower()


def _lines(path: str, flag: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{flag}={path} cannot be read as text; check the path") from error


def class_map(path: str) -> tuple[tuple[str, str], ...]:
    """(name, class) pairs of a JSON object or of the first two columns of a CSV."""
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


def forbidden_values(paths: Iterable[str], own_key_id: str) -> Iterator[tuple[str]]:
    """Group and pixel hashes of images kept in other data sets, from their reports.

    Group hashes can only meet if both were made with one key; a known different key is an error.
    """
    for name in paths:
        path = Path(name)
        if not path.is_file():
            raise UserError(
                f"--forbid-groups={name} is not a file; give the X_report.csv of the other data set"
            )
        _check_key(path, own_key_id)
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if not {"status", "study", "patient", "sha256_pixels"} <= set(reader.fieldnames or ()):
                raise UserError(f"--forbid-groups={name} is no report of this tool; give an X_report.csv")
            for row in reader:
                if row["status"] == "ok":
                    values = (row[column] for column in ("study", "patient", "sha256_pixels"))
                    yield from ((value,) for value in values if value)


def _check_key(report: Path, own_key_id: str) -> None:
    summary = report.with_name(report.name.replace("_report.csv", "_summary.json"))
    if summary == report or not summary.is_file():
        return
    other = json.loads(summary.read_text(encoding="utf-8")).get("key_id")
    if other and other != own_key_id:
        raise UserError(
            f"--forbid-groups={report} was made with another key, so groups cannot be compared; "
            "give the same --key-file to both"
        )
