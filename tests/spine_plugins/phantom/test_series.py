"""Series of phantoms: the training set, its factors, reader noise and confounds, by any number of workers."""

from __future__ import annotations

import csv
import dataclasses
import doctest
import hashlib
import io
import json
import zipfile

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner
from sklearn.metrics import roc_auc_score

from spine_plugins import phantom
from spine_plugins.phantom import dataset
from spine_plugins.phantom.command import Draw
from spine_plugins.phantom.command import _parse_views as parse_views
from spine_plugins.phantom.command import phantom as command
from spine_plugins.phantom.film import VENDORS, draw_factors
from spine_plugins.phantom.lesions import plan_lesions, reported_kinds, seen_from, severities
from spine_plugins.phantom.scene import make_study
from spine_plugins.phantom.series import SeriesOptions, _read, sheets_of_study, study_seed
from stylegan2ada.errors import UserError


def _rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_dataset_zip_holds_what_factors_say(tmp_path):
    dest = tmp_path / "set.zip"
    rows = phantom.write_dataset_zip(dest, 14, seed=2, resolution=48, with_masks=True)
    assert len(rows) == 14
    with zipfile.ZipFile(dest) as archive:
        about = json.loads(archive.read("dataset.json"))
        images = [np.asarray(PIL.Image.open(io.BytesIO(archive.read(name)))) for name, _ in about["labels"]]
    assert about["label_names"] == ["normal", "abnormal"]
    recipe = about["recipe"]
    assert recipe["seed"] == recipe["flags"]["seed"] == 2
    assert recipe["tool"] == "spinegan phantom"
    assert {"version", "config_hash", "versions"} <= set(recipe)
    assert recipe["resize_filter"] is None
    assert all(image.shape == (48, 48) and image.dtype == np.uint8 for image in images)
    table = _rows(tmp_path / "set_factors.csv")
    assert tuple(table[0]) == phantom.FACTOR_COLUMNS
    assert [[row["name"], int(row["label"])] for row in table] == about["labels"]
    assert {row["name"]: {"study": row["study"], "patient": row["patient"]} for row in table} == about[
        "groups"
    ]
    with zipfile.ZipFile(tmp_path / "set_masks.zip") as archive:
        for row in table:
            masks = phantom.unpack_masks(np.asarray(PIL.Image.open(io.BytesIO(archive.read(row["name"])))))
            kinds = set() if row["kind"] == "No finding" else set(row["kind"].split("; "))
            assert set(masks) == {"vertebrae"} | kinds
            assert (row["label_true"] == "1") == bool(kinds)
            assert 0 <= float(row["severity"]) <= 1


def test_groups_share_patient_and_vendor_and_stay_in_one_split(tmp_path):
    rows = phantom.write_dataset_zip(tmp_path / "a.zip", 40, seed=1, resolution=32)
    for key, shared in (("study", ("style", "patient", "split")), ("patient", ("split",))):
        for value in {row[key] for row in rows}:
            members = [row for row in rows if row[key] == value]
            assert all(len({row[name] for row in members}) == 1 for name in shared)
    assert len({row["study"] for row in rows}) < 40
    assert {row["split"] for row in rows} == {"train", "test"}


def test_a_longer_series_starts_with_the_shorter_one(tmp_path):
    short = phantom.write_dataset_zip(tmp_path / "a.zip", 5, seed=4, resolution=32)
    long = phantom.write_dataset_zip(tmp_path / "b.zip", 9, seed=4, resolution=32)
    assert long[:5] == short


def test_eight_classes_never_have_two_kinds(tmp_path):
    rows = phantom.write_dataset_zip(tmp_path / "a.zip", 40, seed=3, resolution=32, classes="spine8")
    assert all(";" not in row["kind"] and row["label_name"] == row["kind"] for row in rows)
    assert len({row["label"] for row in rows}) >= 4


@pytest.mark.slow
def test_workers_do_not_change_a_byte(tmp_path):
    hashes = set()
    for workers in (1, 3):
        for what in ("x.zip", "x_factors.csv", "x_masks.zip"):
            (tmp_path / what).unlink(missing_ok=True)
        phantom.write_dataset_zip(tmp_path / "x.zip", 20, resolution=32, workers=workers, with_masks=True)
        hashes.add(tuple(hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(tmp_path.iterdir())))
    assert len(hashes) == 1


def test_mix_of_findings():
    """Half are normal, about 15 % have two or more kinds; an oracle of severities tells the classes apart."""
    worst, labels, counts = [], [], []
    for number in range(1500):
        rng = np.random.default_rng(study_seed(0, number))
        found = severities(seen_from(plan_lesions(rng, bool(rng.random() < 0.5)), "AP"))
        kinds = reported_kinds(found)
        worst.append(max(found.values(), default=0.0))
        labels.append(int(bool(kinds)))
        counts.append(len(kinds))
    shares = np.bincount(counts, minlength=4) / len(counts)
    assert abs(np.mean(labels) - 0.5) < 0.04
    assert abs(shares[2:].sum() - 0.15) < 0.04
    assert roc_auc_score(labels, worst) >= 0.98
    normal = [value for value, label in zip(worst, labels) if not label]
    assert max(normal) > min(value for value, label in zip(worst, labels) if label)  # the classes touch


@pytest.mark.parametrize(
    ("confound", "low", "high"), [(0.0, -0.1, 0.1), (0.5, 0.4, 0.6), (1.0, 0.999, 1.001)]
)
def test_confound_is_the_correlation_of_nuisance_and_class(confound, low, high):
    """A coin that is replaced by the class with probability c correlates with the class by about c."""
    labels, early_vendor, marker, collimation = [], [], [], []
    for number in range(1000):
        study = make_study(study_seed(7, number), confound=confound)
        abnormal = bool(reported_kinds(severities(list(study.lesions))))
        factors = draw_factors(np.random.default_rng(number), study.style, abnormal, confound)
        labels.append(abnormal)
        early_vendor.append(study.style < len(VENDORS) // 2)
        marker.append(factors.marker != "none")
        collimation.append(factors.collimation)
    for nuisance in (early_vendor, marker, collimation):
        assert low <= np.corrcoef(labels, nuisance)[0, 1] <= high


def test_confound_reaches_the_factors_of_images():
    options = SeriesOptions(seed=5, size=(32, 32), confound=1.0)
    for number in range(10):
        for sheet in sheets_of_study(options, number, 0, 1):
            assert (sheet.phantom.factors["marker"] != "none") == bool(sheet.phantom.label)
            assert sheet.phantom.factors["collimation"] == sheet.phantom.label


def test_label_noise_flips_its_share():
    """Each reading is wrong with the given probability; a misread image has boxes that fit its label."""
    rng = np.random.default_rng(0)
    drawn = [phantom.draw(seed, (32, 32)) for seed in range(12)]
    assert {one.label for one in drawn} == {0, 1}
    readings = [(one.label, *_read(one, rng, 0.25)) for one in drawn for _ in range(100)]
    flipped = np.mean([truth != bool(kinds) for truth, kinds, _ in readings])
    assert abs(flipped - 0.25) < 3 * (0.25 * 0.75 / len(readings)) ** 0.5
    assert all({box[0] for box in boxes} == set(kinds) for _, kinds, boxes in readings)


def test_label_noise_changes_neither_truth_nor_picture():
    for number in range(6):
        clean, noisy = (
            next(sheets_of_study(SeriesOptions(0, (32, 32), label_noise=noise), number, 0, 1))
            for noise in (0, 1)
        )
        assert np.array_equal(clean.phantom.image, noisy.phantom.image)
        assert clean.label == clean.phantom.label == noisy.phantom.label != noisy.label


@pytest.mark.parametrize(
    "options",
    [
        {"label_noise": 1.5},
        {"confound": -1},
        {"difficulty": 0},
        {"n": 0},
        {"classes": "spine9"},
        {"resolution": 8},
    ],
)
def test_unusable_options_leave_nothing_behind(tmp_path, options):
    with pytest.raises(UserError):
        phantom.write_dataset_zip(tmp_path / "a.zip", **{"n": 3, **options})
    assert not list(tmp_path.iterdir())


def test_contact_sheet_has_a_row_per_kind():
    picture = phantom.contact_sheet(size=(64, 64), columns=2)
    assert picture.size == (128, 8 * (64 + 18))
    outlined = np.asarray(phantom.contact_sheet(size=(64, 64), columns=2, outlines=True)).astype(int)
    assert np.ptp(outlined, axis=2).max() > 100  # colour


def test_command_writes_a_training_set(tmp_path):
    dest = tmp_path / "a.zip"
    arguments = ["--zip", str(dest), "--n", "4", "--resolution", "32", "--workers", "1"]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    assert "4 images of 32x32" in result.output
    again = CliRunner().invoke(command, arguments)
    assert again.exit_code == 2
    assert "exists already" in again.output
    assert CliRunner().invoke(command, [*arguments, "--overwrite"]).exit_code == 0


def test_arrays_are_what_the_training_set_holds(tmp_path):
    rows = phantom.write_dataset_zip(tmp_path / "a.zip", 6, seed=5, resolution=32, classes="spine8")
    images, labels, found = phantom.draw_phantoms(6, 5, resolution=32, classes="spine8")
    assert found == rows
    assert labels.tolist() == [row["label"] for row in rows]
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        for image, row in zip(images, rows, strict=True):
            stored = np.asarray(PIL.Image.open(io.BytesIO(archive.read(row["name"]))))
            assert (image == stored).all()


def test_examples_of_the_room_run():
    assert doctest.testmod(dataset) == (0, 2)


def test_command_has_a_field_per_option():
    assert [field.name for field in dataclasses.fields(Draw)] == [option.name for option in command.params]


def test_command_tells_numbers(tmp_path):
    dest = tmp_path / "a.zip"
    words = ["--zip", str(dest), "--n", "4", "--resolution", "32", "--workers", "1", "--masks", "--json", "-"]
    result = CliRunner().invoke(command, words)
    assert result.exit_code == 0, result.output
    numbers = json.loads(result.stdout)
    assert list(numbers) == ["zip"]
    assert numbers["zip"]["images"] == 4 == numbers["zip"]["normal"] + numbers["zip"]["abnormal"]
    assert numbers["zip"]["masks"] == str(tmp_path / "a_masks.zip")
    assert "4 images of 32x32" in result.stderr


def test_command_explains_what_is_missing():
    result = CliRunner().invoke(command, [])
    assert result.exit_code == 2
    assert "--out" in result.output
    assert "--size" in CliRunner().invoke(command, ["--out", "x", "--size", "big"]).output


def test_the_share_of_views_is_chosen_and_the_rest_stays(tmp_path):
    """Everything but the view is drawn as before: the same studies, patients and findings."""
    both, side, front = (phantom.draw_phantoms(60, seed=3, resolution=32, lateral=x) for x in (0.5, 1, 0))
    assert {row["view"] for row in side.rows} == {"lateral"}
    assert {row["view"] for row in front.rows} == {"AP"}
    assert [row["study"] for row in side.rows] == [row["study"] for row in both.rows]
    kept = [i for i, row in enumerate(both.rows) if row["view"] == "lateral"]
    assert 10 < len(kept) < 50
    assert (side.images[kept] == both.images[kept]).all()
    recipe = SeriesOptions(seed=3).recipe("binary")  # without a word: what it always was
    assert "lateral" not in recipe["flags"]
    assert SeriesOptions(seed=3, lateral=0.8).recipe("binary")["flags"]["lateral"] == 0.8


@pytest.mark.parametrize(
    ("text", "share"), [("AP", 0), ("lateral", 1), ("AP=1,lateral=3", 0.75), ("lateral=0.2,AP=0.8", 0.2)]
)
def test_views_are_said_by_name_or_by_share(text, share):
    assert parse_views(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["", "PA", "AP=", "AP=0,lateral=0", "AP=1;lateral=1", "AP=1,AP=2", "AP=-1"])
def test_views_that_are_none_are_refused(text):
    with pytest.raises(UserError, match="names no views; give AP, lateral"):
        parse_views(text)
