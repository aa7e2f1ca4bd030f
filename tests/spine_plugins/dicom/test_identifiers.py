"""Identifiers planted wherever a header, name or table has room for them; then every output is searched."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sqlite3
import stat
import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.datadict import DicomDictionary

from spine_plugins.dicom import journal, terms
from spine_plugins.dicom.deidentify import split_score
from tests.spine_plugins.dicom.making import dataset, radiograph, report_rows, run_tool, to_bytes, write_csv

NAME, NUMBER, DAY = "ZZPHI HANS 1933", "987654321", "19330515"
PATIENT = f"PID{NUMBER}"
# Also as UTF-16: an overlay or a private element may hold any bytes.
MARKS = [text.encode(form) for text in ("ZZPHI", "HANS", NUMBER, DAY) for form in ("ascii", "utf-16-le")]
NEEDED = {
    "SOPClassUID", "TransferSyntaxUID", "MediaStorageSOPClassUID", "PhotometricInterpretation", "Modality",
    "PlanarConfiguration", "PresentationLUTShape", "VOILUTFunction", "BurnedInAnnotation", "NumberOfFrames",
    "RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth",
}  # fmt: skip
PLANTED = {
    "AE": NAME, "CS": NAME, "LO": NAME, "LT": NAME, "PN": "ZZPHI^HANS", "SH": NAME, "ST": NAME, "UC": NAME,
    "UR": f"http://{NUMBER}", "UT": NAME, "DA": DAY, "DT": DAY, "DS": NUMBER, "IS": NUMBER,
    "UI": f"1.2.{NUMBER}",
}  # fmt: skip


def marked(seed: int = 0, **tags: object) -> bytes:
    """A radiograph whose texts, dates, numbers, UIDs, overlay, private tags and preamble name somebody.

    Of every third one all that the dictionary of DICOM knows, which takes its time.
    """
    made = dataset(radiograph(seed=seed), bits=12, PatientID=PATIENT, StudyInstanceUID=f"1.2.{NUMBER}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for tag, (vr, _, _, is_retired, keyword) in DicomDictionary.items() if seed % 3 == 0 else ():
            is_free = not is_retired and keyword not in NEEDED and keyword not in made and tag >> 16 > 2
            if vr in PLANTED and is_free:
                made.add_new(tag, vr, PLANTED[vr])
        made.PatientName, made.InstitutionName, made.StudyDate = "ZZPHI^HANS", NAME, DAY
        made.SOPInstanceUID = f"1.2.{NUMBER}.{seed}"
        inner = pydicom.Dataset()
        inner.PatientName = "ZZPHI^HANS"
        made.RequestAttributesSequence = [inner]
        made.add_new((0x6000, 0x0010), "US", 8)
        made.add_new((0x6000, 0x0022), "LO", NAME)
        made.add_new((0x6000, 0x3000), "OW", NAME.encode() + b" ")
        private = made.private_block(0x0099, NAME, create=True)
        private.add_new(1, "LO", NAME)
        private.add_new(2, "OB", NAME.encode("utf-16-le"))
        made.file_meta.SourceApplicationEntityTitle = NAME
        for name, value in tags.items():
            setattr(made.file_meta if name == "TransferSyntaxUID" else made, name, value)
    made.preamble = NAME.encode().ljust(128, b" ")
    return to_bytes(made)


def with_syntax(data: bytes, uid: str) -> bytes:
    """The same file that calls its syntax something else of the same length."""
    old = b"1.2.840.10008.1.2.1\0"
    assert data.count(old) == 1
    return data.replace(old, uid.encode().ljust(len(old), b"\0"))


@pytest.fixture(scope="module")
def marked_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("in")
    ward = root / f"ZZPHI_{NUMBER}"
    ward.mkdir()
    odd = {"Modality": NAME, "PhotometricInterpretation": NAME, "BodyPartExamined": NAME}
    rows: list[dict[str, object]] = []
    for i in range(6):
        rows.append(
            {"image_id": f"HANS_{NUMBER}_{i}", "lesion_type": ("No finding", "Fracture", NAME)[i % 3]}
        )
        (ward / f"HANS_{NUMBER}_{i}.dcm").write_bytes(marked(i))
    for i, (tag, value) in enumerate(odd.items(), start=6):
        (ward / f"HANS_{NUMBER}_{i}.dcm").write_bytes(marked(i, **{tag: value}))
        rows.append({"image_id": f"HANS_{NUMBER}_{i}", "lesion_type": "No finding"})
    (ward / f"HANS_{NUMBER}_odd.dcm").write_bytes(with_syntax(marked(9), f"1.2.{NUMBER}"))
    (ward / f"HANS_{NUMBER}_cut.dcm").write_bytes(marked(10)[:-9000])
    (ward / f"HANS_{NUMBER}_bad.dcm").write_bytes(marked(11).replace(struct.pack("<H", 160), b"\0\0"))
    (ward / f"HANS_{NUMBER}.txt").write_text(NAME)
    for row in rows:
        row |= {"patient_id": PATIENT, "study_id": NAME, "rad_id": NAME, "note": NAME, "xmin": 20, "ymin": 20}
        row |= {"xmax": 90, "ymax": 90}
    rows.append(rows[0] | {"image_id": f"HANS_{NUMBER}_without_file"})
    write_csv(root / "annotations" / f"ZZPHI_{NUMBER}.csv", rows)
    return root


def found_in(content: bytes) -> set[bytes]:
    return {mark for mark in MARKS if mark in content}


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below the folder, the names among them, zips with what is in them."""
    found = {}
    for path in folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        if content[:2] == b"PK":
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                content += b"".join(archive.read(name) for name in archive.namelist())
        found[path.name] = content + path.name.encode()
    return found


@pytest.mark.parametrize("labels", ["binary", "none", "csv:lesion_type"])
def test_nothing_planted_comes_out(
    marked_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labels: str
) -> None:
    monkeypatch.chdir(marked_tree)
    class_map = tmp_path / "map.json"
    class_map.write_text('{"No finding": "none", "Fracture": "some"}')
    more = ("--class-map", class_map) if labels.startswith("csv") else ()
    result = run_tool(
        "--source", ".", "--dest", tmp_path / "x.zip", "--resolution", 32, "--report-paths", "none",
        "--fail-over", 1, "--labels", labels, "--crop", "center", *more,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    found = contents(tmp_path)
    assert len(found) == 8
    for name, content in found.items():
        assert not found_in(content), name
    assert not found_in(result.output.encode())
    rows = report_rows(tmp_path / "x.zip")
    assert {row["modality"] for row in rows} == {"", "CR", terms.OTHER}
    assert {row["body_part"] for row in rows} == {"", terms.OTHER}
    assert {row["pi"] for row in rows} == {"", "MONOCHROME2", terms.OTHER}
    assert terms.OTHER in {row["transfer_syntax"] for row in rows}
    assert "header_invalid" in {row["reason"] for row in rows}


def test_the_terminal_hears_no_names_of_files(marked_tree: Path, tmp_path: Path) -> None:
    """They stand in the report, as asked for; a terminal ends in logs of schedulers."""
    source = next(path for path in marked_tree.iterdir() if path.name.startswith("ZZPHI"))
    write_csv(tmp_path / "other.csv", [{"image_id": "zz", "lesion_type": "No finding"}])
    for more, code in (((), 0), (("--fail-over", 0), 5), (("--annotations", tmp_path / "other.csv"), 4)):
        # From inside: a path that the user types is the user's.
        here = os.getcwd()
        os.chdir(source)
        try:
            words = ("--source", ".", "--dest", tmp_path / "x.zip", "--overwrite", "--resolution", 32)
            labels = "binary" if code == 4 else "none"
            result = run_tool(*words, "--fail-over", 1, "--labels", labels, *more)
        finally:
            os.chdir(here)
        assert result.exit_code == code, result.output
        assert not found_in(result.output.encode())
    assert "'aaaa_999999999_9'" in result.output


def test_a_killed_run_leaves_nothing_that_names_anybody(marked_tree: Path, tmp_path: Path) -> None:
    """As `kill -9` does, after some files; also no hash that could be undone by trying all numbers."""
    arguments = (
        "--source", marked_tree, "--dest", tmp_path / "x.zip", "--resolution", 32, "--fail-over", 1,
        "--labels", "binary", "--crop", "center",
    )  # fmt: skip
    run_and_die(arguments)
    work = tmp_path / "x.parts"
    assert stat.S_IMODE(work.stat().st_mode) == 0o700
    found = contents(work)
    assert {"journal.sqlite", "annotations.sqlite"} <= set(found)
    assert sqlite3.connect(work / "journal.sqlite").execute("select count(*) from results").fetchone()[0] == 8
    undone = [f"{split_score('patient', PATIENT)}", str(marked_tree), "lesion"]
    undone += [hashlib.sha256(text.encode()).hexdigest()[:12] for text in (PATIENT, f"patient:{PATIENT}")]
    for name, content in found.items():
        assert not found_in(content), name
        assert not [text for text in undone if text.encode() in content], name
    for path in work.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    resumed = run_tool(*arguments, "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert "resuming: 8 of" in resumed.output
    assert not work.exists()


def run_and_die(arguments: tuple[object, ...]) -> None:
    """The tool in a process of its own that ends without a word after the first batch."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    stored = journal.Journal.store

    def store(self: journal.Journal, *values: object) -> None:
        stored(self, *values)  # type: ignore[arg-type]
        os._exit(9)

    try:
        journal.Journal.store = store  # type: ignore[method-assign]
        run_tool(*arguments)
    finally:
        os._exit(1)


def test_hashes_of_paths_need_the_key(small_tree: Path, tmp_path: Path) -> None:
    shown = []
    for name in ("x", "y"):
        words = ("--source", small_tree, "--dest", tmp_path / f"{name}.zip", "--resolution", 32)
        assert run_tool(*words, "--report-paths", "hash").exit_code == 0
        shown.append([row["path"] for row in report_rows(tmp_path / f"{name}.zip")])
    names = [path.relative_to(small_tree).as_posix() for path in small_tree.rglob("*")]
    assert not {hashlib.sha256(name.encode()).hexdigest()[:16] for name in names} & {*shown[0], *shown[1]}
    assert not set(shown[0]) & set(shown[1])  # another key, other hashes
    summary = json.loads((tmp_path / "x_summary.json").read_text())
    assert isinstance(summary["annotated_without_file"], int)


def test_a_name_that_is_a_formula_is_text_in_the_report(tmp_path: Path) -> None:
    root = tmp_path / "in"
    root.mkdir()
    for i, name in enumerate(("=cmd()", "+1+cmd", "-1+cmd", "@cmd")):
        (root / f"{name}.dcm").write_bytes(to_bytes(dataset(radiograph(seed=i), bits=12)))
    assert run_tool("--source", root, "--dest", tmp_path / "x.zip", "--resolution", 32).exit_code == 0
    paths = [row["path"] for row in report_rows(tmp_path / "x.zip")]
    assert paths == ["'+1+cmd.dcm", "'-1+cmd.dcm", "'=cmd().dcm", "'@cmd.dcm"]


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_outputs_are_for_their_owner(small_tree: Path, tmp_path: Path, umask: int) -> None:
    """Whatever the umask; the modes of data sets are those of data/writer.py."""
    before = os.umask(umask)
    try:
        words = ("--source", small_tree, "--dest", tmp_path / "x.zip", "--resolution", 32)
        run_and_die(words)
        modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "x.parts").iterdir()}
        assert modes
        assert set(modes.values()) == {0o600}
        assert stat.S_IMODE((tmp_path / "x.parts").stat().st_mode) == 0o700
        assert run_tool(*words, "--resume").exit_code == 0
    finally:
        os.umask(before)
    endings = ("_report.csv", "_summary.json", "_boxes.json", "_contact.png", "_hist.png", ".key")
    modes = {tmp_path / f"x{ending}": 0 for ending in endings}
    assert {stat.S_IMODE(path.stat().st_mode) for path in modes} == {0o600}


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o666])
def test_a_key_that_others_can_read_is_refused(small_tree: Path, tmp_path: Path, mode: int) -> None:
    key = tmp_path / "shared.key"
    key.write_text("00" * 32)
    key.chmod(mode)
    words = ("--source", small_tree, "--dest", tmp_path / "x.zip", "--key-file", key, "--resolution", 32)
    result = run_tool(*words)
    assert result.exit_code == 2
    assert f"chmod 600 {key}" in result.output
    assert not (tmp_path / "x.parts").exists()
    key.chmod(0o400)
    assert run_tool(*words).exit_code == 0


def test_a_refusal_leaves_no_key_behind(small_tree: Path, tmp_path: Path) -> None:
    for words in (("--annotations", tmp_path / "none.csv"), ("--labels", "csv:age")):
        assert run_tool("--source", small_tree, "--dest", tmp_path / "x.zip", *words).exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_terms_are_looked_up_not_matched() -> None:
    for terms_of in (terms.MODALITIES, terms.BODY_PARTS, terms.PHOTOMETRIC):
        assert terms.term("DOE JOHN", terms_of) == terms.OTHER
        assert terms.term(None, terms_of) == ""
        assert all(terms.term(f" {word.lower()} ", terms_of) == word and len(word) <= 16 for word in terms_of)
    assert terms.transfer_syntax("1.2.840.10008.1.2.4.100\0") == "1.2.840.10008.1.2.4.100"
    assert terms.transfer_syntax("1.2.840.10008.1.3.10") == terms.OTHER  # known, but no transfer syntax
    assert terms.transfer_syntax("1.2.19330515") == terms.OTHER
    assert terms.transfer_syntax("") == ""


def test_the_pattern_of_body_parts_sees_what_is_written(tmp_path: Path) -> None:
    """A word of a hospital's own can be asked for, and is still not told."""
    (tmp_path / "in").mkdir()
    for i, part in enumerate(("LUMBAR SPINE", "CHEST", "LSPINE")):
        made = dataset(radiograph(seed=i), bits=12, BodyPartExamined=part)
        (tmp_path / "in" / f"{i}.dcm").write_bytes(to_bytes(made))
    words = ("--source", tmp_path / "in", "--dest", tmp_path / "x.zip", "--resolution", 32)
    assert run_tool(*words, "--body-part", "lumbar|lspine").exit_code == 0
    rows = report_rows(tmp_path / "x.zip")
    assert [row["status"] for row in rows] == ["ok", "excluded", "ok"]
    assert [row["body_part"] for row in rows] == [terms.OTHER, "CHEST", "LSPINE"]


def test_boxes_tell_known_lesions_only(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    rows = []
    for i, kind in enumerate(("Fracture", NAME)):
        (tmp_path / "in" / f"{i}.dcm").write_bytes(to_bytes(dataset(radiograph(seed=i), bits=12)))
        edges = {"xmin": 40, "ymin": 40, "xmax": 90, "ymax": 90}
        rows.append({"image_id": f"{i}", "lesion_type": kind} | edges)
    table = write_csv(tmp_path / "a.csv", rows)
    words = ("--source", tmp_path / "in", "--dest", tmp_path / "x.zip", "--annotations", table)
    assert run_tool(*words, "--labels", "none", "--resolution", 32).exit_code == 0
    boxes = json.loads((tmp_path / "x_boxes.json").read_text())["boxes"]
    assert [box["kind"] for found in boxes.values() for box in found] == ["Fracture", terms.OTHER]
    assert np.array([box["box"] for found in boxes.values() for box in found]).shape == (2, 4)
