"""Tables and lists: labels of pictures, annotations of radiographs, and the lists that go with them."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

from tests.hostile import materials
from tests.hostile.case import Case, case
from tests.hostile.formats import dicom
from tests.hostile.mutate import bad_json, damaged

_CELLS = (
    "", "0", "1", "-1", "0.5", "1e9", "9" * 400, "1e308", "nan", "inf", "-inf", "x", "=cmd|' /C calc'!A0",
    "@SUM(1)", "+1",
    "-2+3", "\t=1", '"', '"a', "a\x00b", "\ud800".encode("utf-8", "surrogatepass").decode("latin1"), "é",
    "a" * 200_000,
    "1;2;3", ";", ";;;", "0x10", "1_000", "１", "True", "None", "..", "/etc/passwd", "\x1b[2J",
)  # fmt: skip
_SEPARATORS = (",", ",", ",", ";", "\t", "|", " ", "\x00")
_CODES = ("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-32", "latin1", "cp437")
_ENDS = ("\n", "\n", "\r\n", "\r", "\n\n", "\u2028")


def make(rng: random.Random, folder: Path) -> Case:
    """A table that is wrong, where a command reads one."""
    return rng.choice((_labels, _labels, _labels, _annotations, _lists, _class_map, _forbidden))(rng, folder)


def _labels(rng: random.Random, folder: Path) -> Case:
    """--labels of dataset_tool."""
    names = [name.rpartition("/")[2] for name, _ in materials.DESCRIPTION["labels"]]
    header = rng.choice((["image", "label"], ["image", "a", "b"], ["file"], ["image", "image"], [], ["", ""]))
    data, attack = table(
        rng, header, [[name, *(str(i % 2) for _ in header[1:])] for i, name in enumerate(names)]
    )
    (folder / "l.csv").write_bytes(data)
    (folder / "d.zip").write_bytes(materials.zip_of(dict(list(materials.data_members().items())[:-1])))
    words = (
        "dataset",
        "--source=d.zip",
        "--dest=e.zip",
        "--labels=l.csv",
        *rng.choice(((), ("--skip-bad",))),
    )
    return case(attack, *words, keeps=("l.csv", "d.zip"))


def _annotations(rng: random.Random, folder: Path) -> Case:
    """VinDr's table, or a plain one."""
    dicom.lay_valid(folder / "in")
    columns = rng.choice((
        ["study_id", "series_id", "image_id", "rad_id", "lesion_type", "xmin", "ymin", "xmax", "ymax"],
        ["image_id", "label"], ["image_id", "lesion_type"], ["image_id", "study_id", "patient_id"],
    ))  # fmt: skip
    rows = [[{"image_id": f"{i}", "lesion_type": "Osteophytes", "label": str(i)}.get(c, str(9 * i + k))
             for k, c in enumerate(columns)] for i in range(3)]  # fmt: skip
    data, attack = table(rng, columns, rows)
    (folder / "a.csv").write_bytes(data)
    words = [
        "--annotations=a.csv",
        *rng.choice(((), ("--labels=binary",), ("--labels=spine8",), ("--labels=csv:label",))),
    ]
    return case(f"annotations: {attack}", *dicom.COMMAND, *words, keeps=("a.csv",))


def _lists(rng: random.Random, folder: Path) -> Case:
    """Lists of ids, of checksums, of files."""
    dicom.lay_valid(folder / "in")
    flag = rng.choice(("--subset-list", "--checksums", "--source", "--key-file"))
    rows = (
        [["a" * 64, "0.dcm"], ["0" * 64, "1.dcm"]]
        if flag == "--checksums"
        else [["0"], ["in/1.dcm"], ["2.dcm"]]
    )
    data, attack = table(rng, [], rows)
    name = "l.txt"
    (folder / name).write_bytes(data)
    if rng.random() < 0.08:
        (folder / name).unlink()
        os.mkfifo(folder / name)
        attack = "pipe"
    keeps = () if attack == "pipe" else (name,)
    return case(f"{flag}: {attack}", *dicom.COMMAND, f"{flag}={name}", keeps=keeps)


def _class_map(rng: random.Random, folder: Path) -> Case:
    """--class-map, as JSON or as a table."""
    dicom.lay_valid(folder / "in")
    valid = {"Osteophytes": "bone", "No finding": "none", "Other lesions": "other"}
    if rng.random() < 0.6:
        name, (data, attack) = "m.json", bad_json(valid, rng)
    else:
        name, (data, attack) = "m.csv", table(rng, ["name", "class"], [[a, b] for a, b in valid.items()])
    (folder / name).write_bytes(data)
    rows = "image_id,lesion_type\n0,Osteophytes\n1,No finding\n2,Other lesions\n"
    (folder / "a.csv").write_text(rows)
    words = (
        f"--class-map={name}",
        "--annotations=a.csv",
        rng.choice(("--labels=spine8", "--labels=multi13", "--rare=other")),
    )
    return case(f"class map: {attack}", *dicom.COMMAND, *words, keeps=(name,))


def _forbidden(rng: random.Random, folder: Path) -> Case:
    """--forbid-groups: the report of another run."""
    dicom.lay_valid(folder / "in")
    columns = ["path", "status", "patient", "study", "sop", "pixels", "key_id"]
    data, attack = table(rng, columns, [["0.dcm", "ok", "a" * 64, "b" * 64, "c" * 64, "d" * 64, "e" * 8]] * 2)
    (folder / "x_report.csv").write_bytes(data)
    summary, _ = bad_json({"key_id": "e" * 8, "files": 3}, rng)
    (folder / "x_summary.json").write_bytes(summary)
    return case(
        f"forbidden: {attack}", *dicom.COMMAND, "--forbid-groups=x_report.csv", keeps=("x_report.csv",)
    )


def table(rng: random.Random, header: list[str], rows: list[list[str]]) -> tuple[bytes, str]:
    """A CSV text with something wrong: cells, lengths, separators, encodings, line ends."""
    lines = [list(header), *(list(row) for row in rows)] if header else [list(row) for row in rows]
    told = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        act: Callable[[list[list[str]], random.Random], str] = rng.choice(
            (_cell, _cell, _cell, _add, _lose, _twice, _shorter)
        )
        told.append(act(lines, rng) if lines else "nothing left")
    separator, code, end = rng.choice(_SEPARATORS), rng.choice(_CODES), rng.choice(_ENDS)
    data = end.join(separator.join(line) for line in lines).encode(code, "replace")
    if rng.random() < 0.1:
        data = damaged(data, rng)
        told.append("damaged")
    return data, f"{'; '.join(told)}; {separator!r} {code} {end!r}"


def _cell(lines: list[list[str]], rng: random.Random) -> str:
    line = rng.choice(lines)
    value = rng.choice(_CELLS)
    if line:
        line[rng.randrange(len(line))] = value
    return f"cell {value!r:.30}"


def _add(lines: list[list[str]], rng: random.Random) -> str:
    rng.choice(lines).append(rng.choice(_CELLS))
    return "one more cell"


def _lose(lines: list[list[str]], rng: random.Random) -> str:
    del lines[rng.randrange(len(lines))]
    return "a line lost"


def _twice(lines: list[list[str]], rng: random.Random) -> str:
    lines.append(list(rng.choice(lines)))
    return "a line twice"


def _shorter(lines: list[list[str]], rng: random.Random) -> str:
    line = rng.choice(lines)
    del line[-1:]
    return "a shorter line"
