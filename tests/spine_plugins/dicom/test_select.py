"""Duplicates, conflicts, splits: decided in the order of names, without leaks between splits."""
# ruff: noqa: E501 - tables

from __future__ import annotations

import json
import zipfile
from collections import Counter

import numpy as np
import pytest

from spine_plugins.dicom import select
from spine_plugins.dicom.deidentify import Keyed, keyed, open_seal, split_score
from spine_plugins.dicom.record import Record
from stylegan2ada.data import splits
from stylegan2ada.data.pseudonyms import keyed_hash
from stylegan2ada.errors import UserError
from tests.spine_plugins.dicom import making
from tests.spine_plugins.dicom.making import radiograph, report_rows, run_tool, write, write_csv


def reasons(dest) -> dict[str, str]:
    return {row["path"]: row["reason"] for row in report_rows(dest)}


def test_duplicates(tmp_path):
    root = tmp_path / "in"
    one, two = radiograph(seed=1), radiograph(seed=2)
    write(root / "a.dcm", one, SOPInstanceUID="1.1")
    write(root / "b.dcm", two, SOPInstanceUID="1.1")  # another picture under the same identity
    write(root / "c.dcm", one, making.J2K, SOPInstanceUID="1.3")  # the same picture in another syntax
    write(root / "d.dcm", two, SOPInstanceUID="1.4")  # b was not kept, so this is the first with its pixels
    write(root / "e.dcm", radiograph(seed=3), SOPInstanceUID=None)
    write(root / "f.dcm", radiograph(seed=4), SOPInstanceUID=None)
    arguments = ("--source", root, "--dest", tmp_path / "x.zip", "--overwrite")
    run_tool(*arguments)
    assert list(reasons(tmp_path / "x.zip").values()) == ["", "duplicate_sop", "duplicate_pixels", "", "", ""]
    run_tool(*arguments, "--dedupe", "pixels")
    assert list(reasons(tmp_path / "x.zip").values()) == [
        "",
        "",
        "duplicate_pixels",
        "duplicate_pixels",
        "",
        "",
    ]
    run_tool(*arguments, "--dedupe", "none")
    assert set(reasons(tmp_path / "x.zip").values()) == {""}


def test_conflicting_labels_exclude_all_copies(tmp_path):
    root = tmp_path / "in"
    for name in ("a", "b", "c"):
        write(root / f"{name}.dcm", radiograph(seed=1), SOPInstanceUID=f"1.{name == 'c'}1")
    write(root / "d.dcm", radiograph(seed=2))
    rows = [{"image_id": name, "lesion_type": kind} for name, kind in
            (("a", "No finding"), ("b", "Osteophytes"), ("c", "No finding"), ("d", "Fracture"))]  # fmt: skip
    write_csv(tmp_path / "a.csv", rows)
    run_tool("--source", root, "--dest", tmp_path / "x.zip", "--annotations", tmp_path / "a.csv")
    assert list(reasons(tmp_path / "x.zip").values()) == ["conflicting_label"] * 3 + [""]


def test_near_duplicates_are_only_noted(tmp_path):
    root = tmp_path / "in"
    base = radiograph(seed=1, noise=0.0)
    write(root / "a.dcm", base, bits=12)
    write(root / "b.dcm", base + (np.arange(base.shape[1]) % 7 == 0).astype(np.uint16), bits=12)
    write(root / "c.dcm", np.ascontiguousarray(base[::-1]), bits=12)
    result = run_tool("--source", root, "--dest", tmp_path / "x.zip")
    assert "near duplicates: 1 kept images look almost like an earlier one" in result.output
    assert "x_pairs.png" in result.output and (tmp_path / "x_pairs.png").is_file()
    assert ["near_duplicate" in row["warnings"] for row in report_rows(tmp_path / "x.zip")] == [
        False,
        True,
        False,
    ]


def record_of(study: object, patient: object) -> Record:
    return Record(
        "x",
        study=keyed_hash(b"k", "study", study), study_seal=seal("study", study),
        patient=keyed_hash(b"k", "patient", patient), patient_seal=seal("patient", patient),
    )  # fmt: skip


def seal(kind: str, identifier: object) -> int | None:
    found = keyed(b"k", kind, identifier)
    return None if found is None else found.seal


def score_of(record: Record, kind: str) -> int:
    return open_seal(b"k", Keyed(getattr(record, kind), getattr(record, f"{kind}_seal")))


def test_seals_hold_the_score_and_tell_nothing_without_the_key():
    found = keyed(b"k", "patient", 4711)
    assert open_seal(b"k", found) == split_score("patient", 4711)
    assert open_seal(b"another", found) != split_score("patient", 4711)
    assert found.seal not in {split_score("patient", number) for number in range(10_000)}


def linked_by_hand(records: list[Record]) -> dict[str, tuple[str, int]]:
    """study -> (name, score) of its group, by merging sets until nothing changes any more."""
    sets: list[set[tuple[int, int, str]]] = []  # of (0 patient | 1 study, score, hash)
    for record in records:
        new = {(1, score_of(record, "study"), record.study)}
        if record.patient:
            new.add((0, score_of(record, "patient"), record.patient))
        for old in [one for one in sets if one & new]:
            sets.remove(old)
            new |= old
        sets.append(new)
    return {key: (min(one)[2], min(one)[1]) for one in sets for kind, _, key in one if kind == 1}


def test_groups_are_the_ones_found_by_hand():
    rng = np.random.default_rng(0)
    pairs = [(rng.integers(300), None if rng.random() < 0.4 else rng.integers(250)) for _ in range(500)]
    records = [record_of(*pair) for pair in pairs]
    groups, expected = select.Groups(b"k"), linked_by_hand(records)
    for record in records:
        groups.add(record)
    assert {record.study: groups.find(record) for record in records} == expected
    assert len(set(expected.values())) > 30
    more = record_of("late", None)
    groups.add(more)
    assert groups.find(more) == (more.study, score_of(more, "study"))
    alone = select.Groups(b"k")
    alone.add(more)
    assert alone.find(more) == (more.study, score_of(more, "study"))


@pytest.mark.parametrize("seed", range(3))
def test_splits_never_share_a_patient_or_study(seed):
    """1000 random studies of which some patients have several, some studies no patient, and one is shared."""
    rng = np.random.default_rng(seed)
    records = []
    for study in range(1000):
        for _ in range(rng.integers(1, 4)):
            patient = None if rng.random() < 0.3 else f"P{rng.integers(600)}"
            records.append(record_of(study, patient))
    groups = select.Groups(b"k")
    for record in records:
        groups.add(record)
    shares = (0.8, 0.1, 0.1)
    splits = [select.split_of(groups.find(record)[1], seed, shares) for record in records]
    for kind in ("study", "patient"):
        seen: dict[str, set[str]] = {}
        for record, split in zip(records, splits):
            if (value := getattr(record, kind)) is not None:
                seen.setdefault(value, set()).add(split)
        assert {len(found) for found in seen.values()} == {1}
    counts = Counter(splits)
    # Here nearly all studies hang together through their patients, so only the split of independent ones is even.
    alone = [select.split_of(split_score("study", i), seed, shares) for i in range(4000)]
    assert Counter(alone)["train"] == pytest.approx(3200, abs=120)
    assert Counter(alone)["test"] == pytest.approx(400, abs=80)
    assert sum(counts.values()) == len(records)


def test_a_split_does_not_depend_on_key_order_or_others():
    scores = [split_score("study", i) for i in range(200)]
    once = [select.split_of(score, 5, (0.5, 0.5)) for score in scores]
    assert once[::-1] == [select.split_of(score, 5, (0.5, 0.5)) for score in scores[::-1]]
    assert once != [select.split_of(score, 6, (0.5, 0.5)) for score in scores]


@pytest.mark.parametrize("text", ["0.8", "0.8/0.3", "a/b", "1.2/-0.2", "0.5/0.2/0.2/0.1"])
def test_bad_splits(text):
    with pytest.raises(UserError, match="--split"):
        splits.parse_split(text)


def test_split_data_sets(tree, key_file, tmp_path):
    arguments = ("--source", tree, "--resolution", 64, "--key-file", key_file)
    result = run_tool(*arguments, "--dest", tmp_path / "x.zip", "--split", "0.5/0.25/0.25", "--split-seed", 3)
    assert result.exit_code == 0, result.output
    studies = {}
    for split in ("train", "val", "test"):
        with zipfile.ZipFile(tmp_path / f"x-{split}.zip") as archive:
            description = json.loads(archive.read("dataset.json"))
        studies[split] = {group["study"] for group in description["groups"].values()}
        assert [name for name, _ in description["labels"]][0] == "00000/img00000000.png"
    assert sum(len(found) for found in studies.values()) == len(set.union(*studies.values())) == 12
    rows = [row for row in report_rows(tmp_path / "x.zip") if row["status"] == "ok"]
    assert len({(row["split"], row["out_name"]) for row in rows}) == 24
    # Another key gives other hashes but the same split.
    run_tool(
        "--source",
        tree,
        "--resolution",
        64,
        "--dest",
        tmp_path / "y.zip",
        "--split",
        "0.5/0.25/0.25",
        "--split-seed",
        3,
    )
    other = [row for row in report_rows(tmp_path / "y.zip") if row["status"] == "ok"]
    assert [row["split"] for row in rows] == [row["split"] for row in other]
    assert [row["study"] for row in rows] != [row["study"] for row in other]


def test_a_placeholder_patient_does_not_swallow_all(tmp_path):
    for i in range(24):
        write(
            tmp_path / "in" / f"{i:02d}.dcm",
            radiograph(seed=i),
            bits=12,
            PatientID="ANONYMOUS",
            StudyInstanceUID=f"1.{i}",
        )
    result = run_tool(
        "--source", tmp_path / "in", "--dest", tmp_path / "x.zip", "--split", "0.5/0.5", "--resolution", 32
    )
    assert "placeholder" in result.output
    assert set(Counter(row["split"] for row in report_rows(tmp_path / "x.zip"))) == {"train", "val"}


def test_forbidden_groups(tree, converted, key_file, tmp_path):
    """A second data set must not hold patients, studies or pictures of the first."""
    root = tmp_path / "in"
    write(root / "same_patient.dcm", radiograph(seed=900), bits=12, PatientID="PID-3", StudyInstanceUID="9.9")
    write(
        root / "same_picture.dcm",
        radiograph(160, 192, seed=5),
        bits=12,
        PatientID="new",
        StudyInstanceUID="9.8",
    )
    write(root / "stranger.dcm", radiograph(seed=901), bits=12, PatientID="other", StudyInstanceUID="9.7")
    report = converted.parent / "x_report.csv"
    arguments = ("--source", root, "--dest", tmp_path / "y.zip", "--forbid-groups", report)
    assert run_tool(*arguments, "--key-file", key_file).exit_code == 0
    assert list(reasons(tmp_path / "y.zip").values()) == ["forbidden_group", "forbidden_group", ""]
    result = run_tool(*arguments, "--overwrite")
    assert result.exit_code == 2
    assert "another key" in result.output
    result = run_tool(
        "--source", root, "--dest", tmp_path / "z.zip", "--forbid-groups", tmp_path / "none.csv"
    )
    assert result.exit_code == 2


def test_stratified_splits_keep_patients_whole_and_give_each_split_every_class(tmp_path):
    root, rows = tmp_path / "in", []
    for patient in range(12):
        for view in range(2):
            name = f"p{patient}v{view}"
            uid = f"1.{patient + 1}"
            write(root / f"{name}.dcm", radiograph(seed=2 * patient + view), PatientID=f"P{patient}",
                  StudyInstanceUID=uid, SOPInstanceUID=f"{uid}.{view}")  # fmt: skip
            # Three of twelve patients are abnormal: one for each split.
            rows.append({"image_id": name, "lesion_type": "Osteophytes" if patient < 3 else "No finding"})
    write_csv(tmp_path / "a.csv", rows)
    flags = ("--source", root, "--annotations", tmp_path / "a.csv", "--split", "0.5/0.25/0.25")
    for seed in range(3):
        dest = tmp_path / f"x{seed}.zip"
        result = run_tool(*flags, "--dest", dest, "--stratify", "--split-seed", seed)
        assert result.exit_code == 0, result.output
        assert "WARNING: no image of class" not in result.output
        found = report_rows(dest)
        assert {row["split"] for row in found if row["label"] == "1"} == {"train", "val", "test"}
        splits_of = {}
        for row in found:
            splits_of.setdefault(row["patient"], set()).add(row["split"])
        assert len(splits_of) == 12 and {len(splits) for splits in splits_of.values()} == {1}
        assert [sum(row["split"] == split for row in found) for split in ("train", "val", "test")] == [
            12,
            6,
            6,
        ]


def test_a_class_that_a_split_lacks_is_warned_of(tmp_path):
    root = tmp_path / "in"
    rows = []
    for i in range(9):
        write(root / f"{i}.dcm", radiograph(seed=i), PatientID=f"P{i}", StudyInstanceUID=f"1.{i + 1}",
              SOPInstanceUID=f"1.{i + 1}.1")  # fmt: skip
        rows.append({"image_id": str(i), "lesion_type": "No finding" if i else "Osteophytes"})
    write_csv(tmp_path / "a.csv", rows)
    flags = ("--source", root, "--annotations", tmp_path / "a.csv", "--split", "0.5/0.5")
    result = run_tool(*flags, "--dest", tmp_path / "x.zip")
    assert "WARNING: no image of class abnormal in " in result.output
    assert "add --stratify" in result.output
    assert "train" in result.output and "normal" in result.output
    assert run_tool("--source", root, "--dest", tmp_path / "y.zip", "--stratify").exit_code == 2
