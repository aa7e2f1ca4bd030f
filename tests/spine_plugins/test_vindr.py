"""The vocabulary: classes in the order of their numbers, and every spelling of a lesion."""

from __future__ import annotations

import pytest

from spine_plugins import vindr


def test_classes_are_made_of_the_lesions() -> None:
    assert len(vindr.LESIONS) == len(set(vindr.LESIONS)) == 13
    assert vindr.BINARY == ("normal", "abnormal")
    assert vindr.SPINE8[0] == vindr.NO_FINDING
    assert len(vindr.SPINE8) == 8
    assert set(vindr.COMMON) | set(vindr.RARE) == set(vindr.LESIONS)
    assert not set(vindr.COMMON) & set(vindr.RARE)
    assert set(vindr.CLASSES) == {"binary", "spine8"}


@pytest.mark.parametrize("name", [vindr.NO_FINDING, *vindr.LESIONS])
def test_a_name_may_be_spelled_carelessly(name: str) -> None:
    for spelling in (name, name.upper(), f' "{name}" ', name.replace(" ", "_"), name.replace(" ", "  ")):
        assert vindr.canonical(spelling) == name


def test_other_spellings_and_strangers() -> None:
    assert vindr.canonical("Spondylolisthesis") == vindr.canonical("spondylolysis") == "Spondylolysthesis"
    assert vindr.canonical("normal") == vindr.NO_FINDING
    assert vindr.canonical("Scoliosis") is None
    assert vindr.canonical("") is None


def test_a_class_map_comes_first() -> None:
    mapped = (("scoliosis", "Other lesions"), ("Fracture", "Vertebral collapse"), ("cyst", "nothing we know"))
    assert vindr.canonical("Scoliosis", mapped) == "Other lesions"
    assert vindr.canonical("fracture", mapped) == "Vertebral collapse"
    assert vindr.canonical("cyst", mapped) is None
