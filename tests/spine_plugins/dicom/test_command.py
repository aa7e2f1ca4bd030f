"""The command line: one clear sentence for each mistake, exit codes, help."""
# ruff: noqa: E501 - tables

from __future__ import annotations

import dataclasses
import json

import pytest

from spine_plugins.dicom import codecs
from spine_plugins.dicom.asked import Convert
from spine_plugins.dicom.command import main
from tests.spine_plugins.dicom import making
from tests.spine_plugins.dicom.making import radiograph, report_rows, run_tool, write, write_csv


def test_help_fits_and_names_every_option():
    result = run_tool("--help")
    assert result.exit_code == 0
    assert max(len(line) for line in result.output.splitlines()) <= 100
    for parameter in main.params:
        assert f"\n{parameter.group}:\n" in result.output
        assert parameter.opts[0] in result.output


SPEC_FLAGS = (
    "--source --dest --annotations --labels --label-rule --rare --preset --resolution --crop --resize --window "
    "--percentiles --polarity --modality --body-part --min-size --frames --colour --dedupe --split --split-seed "
    "--forbid-groups --max-pixels --max-file-mb --max-inflate --timeout --workers --executor --resume --overwrite "
    "--max-images --force-meta --checksums --on-missing-decoder --fail-over --dry-run --list-decoders --channels "
    "--subset-list --class-map --key-file --allow-burned-in --report-paths --demo --json --stratify"
).split()


def test_all_flags_of_the_specification_exist():
    assert set(SPEC_FLAGS) == {parameter.opts[0] for parameter in main.params}


def test_the_record_has_a_field_per_option():
    assert [field.name for field in dataclasses.fields(Convert)] == [option.name for option in main.params]


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    root = tmp_path_factory.mktemp("one")
    write(root / "x.dcm", radiograph(), bits=12)
    return root


@pytest.mark.parametrize(("flags", "code", "sentence"), [
    ((), 2, "--source and --dest are needed"),
    (("--source", "/nowhere/at/all", "--dest", "{tmp}/x.zip"), 2, "does not exist"),
    (("--source", "{empty}", "--dest", "{tmp}/x.zip"), 4, "holds no files"),
    (("--source", "{text}", "--dest", "{tmp}/x.zip"), 4, "none of 1 files can be used (not_dicom 1); pictures of other kinds are for `spinegan dataset`"),
    (("--source", "{one}", "--dest", "{tmp}/x.zip", "--annotations", "{tmp}/none.csv"), 2, "neither a file nor a folder"),
    (("--source", "{one}", "--dest", "{tmp}/x.zip", "--annotations", "{csv}"), 4, "no image id of the annotations matches"),
    (("--source", "{one}", "--dest", "{tmp}/x.zip", "--labels", "binary"), 2, "needs annotations"),
    (("--source", "{one}", "--dest", "{tmp}/x.zip", "--labels", "spine9"), 2, "use none, binary, spine8"),
    (("--source", "{one}", "--dest", "{tmp}/x.zip", "--annotations", "{csv}", "--labels", "csv:age"), 2, "has values in a column 'age'"),
    (("--source", "{one}", "--dest", "{tmp}/x.zip", "--labels", "spine8", "--label-rule", "paper-rows"), 2, "--labels=binary"),
    (("--source", "{one}", "--dest", "{tmp}/x.zip", "--resolution", "100"), 2, "not a power of two"),
    (("--source", "{one}", "--dest", "{tmp}/x.zip", "--percentiles", "90", "10"), 2, "rising numbers"),
    (("--source", "{one}", "--dest", "{tmp}/x.zip", "--body-part", "("), 2, "no regular expression"),
    (("--source", "{one}", "--dest", "{tmp}/x.zip", "--dedupe", "name"), 2, "use sop, pixels"),
    (("--source", "{one}", "--dest", "{tmp}/x.zip", "--split", "1/2"), 2, "sum to 1"),
    (("--source", "{one}", "--dest", "{tmp}/x.zip", "--class-map", "{tmp}/none"), 2, "--class-map"),
    (("--source", "{one}", "--dest", "{tmp}/x.zip", "--subset-list", "{tmp}/none"), 2, "--subset-list"),
    (("--source", "{one}", "--dest", "{tmp}/x.zip", "--checksums", "{tmp}/none"), 2, "--checksums"),
    (("--source", "{one}", "--dest", "{tmp}/x.zip", "--executor", "spark"), 2, "use serial, process, or dask"),
    (("--source", "{one}", "--dest", "{one}"), 2, "not an empty folder"),
])  # fmt: skip
def test_mistakes_get_one_sentence(flags, code, sentence, one, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "x.txt").write_text("hello")
    write_csv(tmp_path / "a.csv", [{"image_id": "other", "lesion_type": "Fracture"}])
    places = {
        "tmp": tmp_path,
        "one": one,
        "empty": tmp_path / "empty",
        "text": tmp_path / "text",
        "csv": tmp_path / "a.csv",
    }
    result = run_tool(*(flag.format(**places) for flag in flags))
    assert result.exit_code == code, result.output
    assert sentence in result.output
    assert "Traceback" not in result.output
    assert not list(tmp_path.glob("*.zip"))
    assert not list(tmp_path.glob("*.parts"))


def test_existing_results_are_not_lost(one, tmp_path):
    arguments = ("--source", one, "--dest", tmp_path / "x.zip")
    assert run_tool(*arguments).exit_code == 0
    before = (tmp_path / "x.zip").read_bytes()
    result = run_tool(*arguments)
    assert result.exit_code == 2
    assert "--overwrite" in result.output
    assert (tmp_path / "x.zip").read_bytes() == before
    assert run_tool(*arguments, "--overwrite").exit_code == 0


def test_a_missing_decoder_says_what_to_install(tmp_path, monkeypatch):
    write(tmp_path / "in" / "a.dcm", radiograph(seed=1), bits=12)
    write(tmp_path / "in" / "b.dcm", radiograph(seed=2), making.J2K, bits=12)
    monkeypatch.setattr(codecs, "available_plugins", lambda uid: ())
    arguments = ("--source", tmp_path / "in", "--dest", tmp_path / "x.zip")
    result = run_tool(*arguments)
    assert result.exit_code == 3
    assert "pip install pylibjpeg-openjpeg" in result.output
    assert not (tmp_path / "x.zip").exists()
    refused = run_tool(*arguments)
    assert "add --resume" in refused.output
    skipped = run_tool(*arguments, "--resume", "--on-missing-decoder", "skip", "--fail-over", 1)
    assert skipped.exit_code == 0, skipped.output
    assert [row["reason"] for row in report_rows(tmp_path / "x.zip")] == ["", "decoder_missing"]
    monkeypatch.undo()  # as if it had been installed since


def test_too_many_failures(tmp_path):
    for i in range(4):
        path = write(tmp_path / "in" / f"{i}.dcm", radiograph(seed=i), bits=12)
        if i:
            path.write_bytes(path.read_bytes()[:-5000])
    arguments = ("--source", tmp_path / "in", "--dest", tmp_path / "x.zip")
    result = run_tool(*arguments)
    assert result.exit_code == 5
    assert "3 of 4 images failed (pixel_data_short 3)" in result.output
    assert not (tmp_path / "x.zip").exists()
    assert len(report_rows(tmp_path / "x.zip")) == 4  # to see what is wrong
    accepted = run_tool(*arguments, "--resume", "--fail-over", 0.8)
    assert accepted.exit_code == 0, accepted.output
    assert "resuming: 4 of 4" in accepted.output


def test_dry_run_writes_nothing(tree, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run_tool("--source", tree, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "kept 24 of 25 files" in result.output
    assert "JPEG 2000 Lossless 3" in result.output
    assert list(tmp_path.iterdir()) == []


def test_numbers_for_programs(one, tmp_path):
    """--json: what X_summary.json holds, alone on standard output, or in a file."""
    arguments = ("--source", one, "--dest", tmp_path / "x.zip", "--resolution", 64)
    result = run_tool(*arguments, "--json", "-")
    numbers = json.loads(result.stdout)
    assert numbers == json.loads((tmp_path / "x_summary.json").read_text())
    assert numbers["kept"] == 1
    assert "kept 1 of 1 files" in result.stderr
    result = run_tool(*arguments, "--overwrite", "--json", tmp_path / "numbers.json")
    assert "kept 1 of 1 files" in result.stdout
    assert json.loads((tmp_path / "numbers.json").read_text()) == numbers
    dry = run_tool("--source", one, "--dry-run", "--json", "-")
    assert json.loads(dry.stdout)["by_transfer_syntax"] == {"Explicit VR Little Endian": 1}
    decoders = json.loads(run_tool("--list-decoders", "--json", "-").stdout)["decoders"]
    assert decoders["RLE Lossless"]["read_by"]


def test_list_decoders():
    result = run_tool("--list-decoders")
    assert result.exit_code == 0
    assert "JPEG 2000 Lossless" in result.output
    assert "built in" in result.output


@pytest.mark.parametrize(("flags", "sentence"), [
    (("--fail-over", "nan"), "--fail-over"), (("--timeout", "nan"), "--timeout"), (("--timeout", "inf"), "--timeout"),
    (("--percentiles", "nan", "nan"), "--percentiles"), (("--percentiles", "3", "1"), "rising numbers"), (("--resolution", str(1 << 40)), "power of two up to 8192"),
    (("--max-pixels", str(10**30)), "--max-pixels"), (("--max-file-mb", str(10**30)), "--max-file-mb"),
    (("--max-inflate", str(10**30)), "--max-inflate"), (("--workers", str(10**9)), "--workers"),
    (("--max-images", str(10**30)), "--max-images"), (("--split", "nan/nan"), "sum to 1"),
    (("--key-file", "/proc/nope/x.key"), "x.key cannot be written"), (("--dest", "/proc/nope/x.zip"), "cannot be written"),
])  # fmt: skip
def test_values_that_cannot_be(flags, sentence, one, tmp_path):
    result = run_tool("--source", one, "--dest", tmp_path / "x.zip", "--resolution", 32, *flags)
    assert result.exit_code == 2, result.output
    assert sentence in result.output
    assert not list(tmp_path.iterdir())


def test_little_kept_is_a_loud_warning(tmp_path):
    for i in range(12):
        modality = "CR" if i < 2 else "CT"
        write(tmp_path / "in" / f"{i}.dcm", radiograph(seed=i), bits=12, Modality=modality)
    arguments = ("--source", tmp_path / "in", "--dest", tmp_path / "x.zip", "--resolution", 32, "--overwrite")
    result = run_tool(*arguments)
    assert "WARNING: only 2 of 12 files were kept; most were lost to modality_rejected (10)" in result.output
    assert "--modality says which are taken" in result.output
    assert "WARNING" not in run_tool(*arguments, "--modality", "any").output
    assert "WARNING" not in run_tool(*arguments, "--modality", "any", "--max-images", 2).output  # as asked
    for i in range(60):
        (tmp_path / "in" / f"{i}.txt").write_text(f"{i}")
    many = run_tool(*arguments)
    assert "WARNING: only 2 of 72 files were kept; most were lost to not_dicom (60)" in many.output
