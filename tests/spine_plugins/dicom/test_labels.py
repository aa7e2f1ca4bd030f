"""Labels: spellings, rules, presets; annotation tables in the forms in which they come."""
# ruff: noqa: E501 - tables

from __future__ import annotations

import json

import pytest

from spine_plugins.dicom import labels
from spine_plugins.dicom.annotations import AnnotationTable, Index, find_annotation_files, image_hash
from spine_plugins.dicom.deidentify import keyed
from spine_plugins.dicom.frame import Box
from spine_plugins.dicom.labels import LESIONS, NO_FINDING, SPINE8, Annotation, label_of
from spine_plugins.dicom.settings import IngestSettings
from stylegan2ada.errors import UserError
from tests.spine_plugins.dicom.making import convert_dataset, dataset, radiograph, write_csv

HEADER = "study_id,series_id,image_id,rad_id,lesion_type,xmin,ymin,xmax,ymax"


def of(*kinds: str, **settings):
    return label_of(Annotation(kinds), IngestSettings(**{"labels": "spine8"} | settings))


def test_all_fourteen_names_and_their_spellings():
    assert len(LESIONS) == 13
    for name in (NO_FINDING, *LESIONS):
        for spelling in (
            name,
            name.upper(),
            f" {name} ",
            name.replace(" ", "_"),
            name.replace(" ", "-").lower(),
        ):
            assert labels.canonical(spelling) == name
    for spelling in ("Spondylolysthesis", "spondylolisthesis", "Spondylolysis"):
        assert labels.canonical(spelling) == "Spondylolysthesis"
    assert labels.canonical("Scoliosis") is None


def test_spine8_has_the_order_of_the_paper():
    assert SPINE8 == (
        "No finding", "Disc space narrowing", "Foraminal stenosis", "Osteophytes", "Spondylolysthesis",
        "Surgical implant", "Vertebral collapse", "Other lesions",
    )  # fmt: skip
    for number, name in enumerate(SPINE8):
        assert of(name, name).label == number  # several boxes of one kind are one kind


def test_spine8_and_rare_kinds():
    rare = (
        "Ankylosis",
        "Enthesophytes",
        "Fracture",
        "Sclerotic lesion",
        "Subchondral sclerosis",
        "Foreign body",
    )
    for name in rare:
        assert of(name).label == 7
        assert of(name, rare="drop").reason == "no_label"
        assert of(name, rare="keep").label == labels.label_names(
            IngestSettings(labels="spine8", rare="keep")
        ).index(name)
        assert of(name, "Osteophytes").reason == "multi_label"
        assert of(name, "Osteophytes", rare="drop").label == 3
        assert of(name, rare[0]).label == 7  # two rare kinds are one class
    assert of("No finding", "Osteophytes").label == 3  # readers disagree: something was found
    assert of("Osteophytes", "Surgical implant").reason == "multi_label"
    assert of("Scoliosis").reason == "unknown_label"
    assert of().reason == "no_label"
    assert label_of(None, IngestSettings(labels="spine8")).reason == "no_label"


def test_binary_rules():
    binary, rows = {"labels": "binary"}, {"labels": "binary", "label_rule": "paper-rows"}
    assert of("No finding", **binary).label == 0
    assert of("Osteophytes", **binary).label == 1
    assert of("Osteophytes", "Ankylosis", **binary).label == 1
    # The rule that fits the published counts: a single row is normal, whatever it says.
    assert of("Osteophytes", **rows).label == 0
    assert of("Osteophytes", "Osteophytes", **rows).label == 1
    assert of("No finding", **rows).label == 0


def test_multi13_is_a_vector():
    label = of("Fracture", "Osteophytes", "Osteophytes", labels="multi13", rare="keep").label
    assert [name for name, value in zip(LESIONS, label) if value] == ["Fracture", "Osteophytes"]
    assert sum(of("No finding", labels="multi13", rare="keep").label) == 0


def test_class_map_renames():
    mapping = (("Scoliosis", "Other lesions"), ("hardware", "Surgical implant"))
    assert of("scoliosis", class_map=mapping).label == 7
    assert of("Hardware", class_map=mapping).label == 5


def test_csv_column():
    settings = IngestSettings(labels="csv:view", values=("AP", "lateral"))
    assert label_of(Annotation((), value="lateral"), settings).label == 1
    assert label_of(Annotation((), value="oblique"), settings).reason == "unknown_label"
    assert label_of(Annotation((), value="AP", has_conflict=True), settings).reason == "multi_label"
    assert label_of(Annotation(()), settings).reason == "no_label"
    mapped = IngestSettings(
        labels="csv:view", class_map=(("AP", "front"), ("PA", "front"), ("lateral", "side"))
    )
    assert labels.label_names(mapped) == ["front", "side"]
    assert label_of(Annotation((), value="PA"), mapped).label == 0


@pytest.mark.parametrize("text", [
    f"{HEADER}\nS1,E1,abc,R1,Osteophytes,1.5,2,30,40\nS1,E1,abc,R1,Osteophytes,5,5,5,9\n",
    f"\ufeff{HEADER}\r\nS1,E1,abc,R1,Osteophytes,1.5,2,30,40\r\nS1,E1,abc,R1,Osteophytes,5,5,5,9\r\n",
    f'"{HEADER.replace(",", chr(34) + "," + chr(34))}"\n"S1","E1","abc","R1","Osteophytes","1.5","2","30","40"\n'
    '"S1","E1","abc","R1","Osteophytes","5","5","5","9"\n',
    f"{HEADER.upper()}\nS1,E1,abc.dicom,R1, Osteophytes ,1.5,2,30,40\nS1,E1,abc,R1,Osteophytes,nan,5,5,9\n",
])  # fmt: skip
def test_csv_forms(tmp_path, text):
    (tmp_path / "train.csv").write_bytes(text.encode())
    Index(b"key").write([tmp_path / "train.csv"], tmp_path / "a.sqlite")
    image, annotation = AnnotationTable(str(tmp_path / "a.sqlite"), b"key").find("nothing", "abc")
    assert image == image_hash(b"key", "abc")
    assert [labels.canonical(kind) for kind in annotation.kinds] == ["Osteophytes"] * 2
    assert annotation.boxes == (("Osteophytes", Box(1.5, 2, 30, 40)),)  # the box without an area is no box
    assert annotation.study == keyed(b"key", "study", "S1")
    assert AnnotationTable(str(tmp_path / "a.sqlite"), b"key").find("abcd") is None


def test_meta_tables_add_the_patient(tmp_path):
    rows = write_csv(tmp_path / "train.csv", [{"image_id": "a", "lesion_type": "No finding"}])
    meta = write_csv(
        tmp_path / "train_meta.csv", [{"image_id": "a", "patient_id": "P", "study_id": "S", "image_width": 3}]
    )
    Index(b"key").write([rows, meta], tmp_path / "a.sqlite")
    _, annotation = AnnotationTable(str(tmp_path / "a.sqlite"), b"key").find("a")
    assert annotation.patient == keyed(b"key", "patient", "P")
    assert annotation.study == keyed(b"key", "study", "S")


@pytest.mark.parametrize("spelling", ["annotations", "annotation"])
def test_both_spellings_of_the_folder_are_found(tmp_path, spelling):
    path = write_csv(tmp_path / spelling / "train.csv", [{"image_id": "a", "lesion_type": "x"}])
    (tmp_path / "train_images").mkdir()
    assert find_annotation_files([], [str(tmp_path)]) == [path]
    assert find_annotation_files([], [str(tmp_path / "train_images")]) == [path]
    assert find_annotation_files([str(tmp_path / spelling)], []) == [path]


def test_tables_about_something_else_are_not_picked_up(tmp_path):
    write_csv(tmp_path / "annotations" / "budget.csv", [{"month": 1, "sum": 2}])
    assert find_annotation_files([], [str(tmp_path)]) == []


def test_unusable_annotations(tmp_path):
    with pytest.raises(UserError, match="neither a file nor a folder"):
        find_annotation_files([str(tmp_path / "none.csv")], [])
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="check the columns"):
        Index(b"key").write([tmp_path / "other.csv"], tmp_path / "a.sqlite")


def test_boxes_and_lost_labels(tmp_path):
    """The lesion lies at the top of a long narrow film: the centre square loses it."""
    rows = [{"image_id": "x", "lesion_type": "Osteophytes", "xmin": 10, "ymin": 5, "xmax": 60, "ymax": 45}]
    write_csv(tmp_path / "a.csv", rows)
    database = tmp_path / "a.sqlite"
    Index(b"key").write([tmp_path / "a.csv"], database)
    made = dataset(radiograph(500, 200), bits=12)
    asked = {"annotations": str(database), "labels": "binary"}
    assert convert_dataset(made, crop="center", **asked)["reason"] == "label_lost_by_crop"
    kept = convert_dataset(made, crop="center", keep_lost_labels=True, **asked)
    assert kept["boxes_inside"] == 0
    padded = convert_dataset(made, crop="pad", **asked)
    assert padded["boxes"] == [
        ("Osteophytes", pytest.approx(160 * 64 / 500), 0.64, pytest.approx(210 * 64 / 500), 5.76, 1.0)
    ]
    lesion = convert_dataset(made, crop="lesion", **asked)
    assert lesion["crop"] == [5, 0, 65, 60]
    assert lesion["boxes_inside"] == 1
    json.dumps(lesion["boxes"])
