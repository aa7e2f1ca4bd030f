"""Lists that say what to do with files: image ids, checksums, class names, what other data sets hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from spine_plugins.dicom import texts
from stylegan2ada import untrusted
from stylegan2ada.errors import UserError


def subset_ids(path: str) -> Iterator[tuple[str]]:
    """The image ids of --subset-list, one per line."""
    return ((line,) for line in _lines(path, "--subset-list"))


def checksums(path: str) -> Iterator[tuple[bytes, str]]:
    """(name, digest) of the lines of sha256sum: digest, two characters, name."""
    for line in _lines(path, "--checksums"):
        digest, _, name = line.partition(" ")
        # The star is how sha256sum marks a file read as binary.
        name = name.strip().lstrip("*").removeprefix("./")
        if len(digest) == 64 and name:
            yield name.encode("utf-8", "surrogateescape"), digest.lower()


def _lines(path: str, flag: str) -> Iterator[str]:
    if not untrusted.is_regular(path):
        raise UserError(f"{flag}={path} cannot be read as text; check the path")
    return texts.lines_of(Path(path))


def class_map(path: str) -> tuple[tuple[str, str], ...]:
    """(name, class) pairs of a JSON object or of the first two columns of a CSV."""
    wrong = UserError(f"--class-map={path} is not a JSON object or a CSV with two columns; check the file")
    if not untrusted.is_regular(path):
        raise wrong
    if untrusted.read_file(path).lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"[")):
        content = untrusted.read_file(path).decode("utf-8-sig", "replace")
        return tuple((str(name), str(target)) for name, target in _object(content, path).items())
    rows = [row for row in texts.table_of(Path(path)).rows() if any(row)]
    if any(len(row) < 2 for row in rows):
        raise wrong
    pairs = tuple((row[0], row[1]) for row in rows)
    return pairs[1:] if pairs and pairs[0][1].lower() in ("class", "target", "to") else pairs


def _object(content: bytes | str, path: str) -> dict[str, object]:
    value = untrusted.parse_json(content, path)
    if not isinstance(value, dict):
        raise UserError(f"{path} is not a JSON object; restore or remove it")
    return value


def forbidden_values(paths: Iterable[str], own_key_id: str) -> Iterator[tuple[str]]:
    """Group and pixel hashes of images kept in other data sets, from their reports.

    Group hashes can only meet if both were made with one key; a known different key is an error.
    """
    for name in paths:
        path = Path(name)
        if not untrusted.is_regular(path):
            raise UserError(
                f"--forbid-groups={name} is not a file; give the X_report.csv of the other data set"
            )
        _check_key(path, own_key_id)
        report = texts.table_of(path)
        if not {"status", "study", "patient", "sha256_pixels"} <= set(report.columns):
            raise UserError(f"--forbid-groups={name} is no report of this tool; give an X_report.csv")
        for row in report.records():
            if row["status"] == "ok":
                values = (row[column] for column in ("study", "patient", "sha256_pixels"))
                yield from ((value,) for value in values if value)


def _check_key(report: Path, own_key_id: str) -> None:
    summary = report.with_name(report.name.replace("_report.csv", "_summary.json"))
    if summary == report or not summary.exists():
        return
    other = _object(untrusted.read_file(summary), str(summary)).get("key_id")
    if other and other != own_key_id:
        raise UserError(
            f"--forbid-groups={report} was made with another key, so groups cannot be compared; "
            "give the same --key-file to both"
        )
