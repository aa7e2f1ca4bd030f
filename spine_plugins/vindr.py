"""The vocabulary of VinDr-SpineXR, once: lesion names, their other spellings, classes made of them."""

from __future__ import annotations

import re

NO_FINDING = "No finding"
OTHER_LESIONS = "Other lesions"

# VinDr-SpineXR's thirteen lesion types as its CSV spells them (sic: Spondylolysthesis).
LESIONS = (
    "Ankylosis", "Disc space narrowing", "Enthesophytes", "Foraminal stenosis", "Fracture", "Osteophytes",
    "Sclerotic lesion", "Spondylolysthesis", "Subchondral sclerosis", "Surgical implant",
    "Vertebral collapse", "Foreign body", OTHER_LESIONS,
)  # fmt: skip
COMMON = (
    "Disc space narrowing", "Foraminal stenosis", "Osteophytes", "Spondylolysthesis", "Surgical implant",
    "Vertebral collapse", OTHER_LESIONS,
)  # fmt: skip
RARE = tuple(name for name in LESIONS if name not in COMMON)
SPINE8 = (NO_FINDING, *COMMON)  # in the order of the paper
BINARY = ("normal", "abnormal")
CLASSES = {"binary": BINARY, "spine8": SPINE8}  # names in the order of their numbers


def plain_name(name: str) -> str:
    """Lower case, single spaces, no quotes: what spellings of one name have in common."""
    return re.sub(r"[\s_\-]+", " ", name.strip().strip('"')).lower()


_ALIASES = {plain_name(name): name for name in (NO_FINDING, *LESIONS)} | {
    # One diagnosis, three spellings; the paper's `Spondylolysis` is a slip, not another class.
    "spondylolisthesis": "Spondylolysthesis",
    "spondylolysis": "Spondylolysthesis",
    "normal": NO_FINDING,
    "no findings": NO_FINDING,
    "osteophyte": "Osteophytes",
    "enthesophyte": "Enthesophytes",
    "other lesion": OTHER_LESIONS,
}


def canonical(name: str, class_map: tuple[tuple[str, str], ...] = ()) -> str | None:
    """The name as the CSV of VinDr spells it; None for a name that nobody knows."""
    mapped = {plain_name(source): target for source, target in class_map}.get(plain_name(name), name)
    return _ALIASES.get(plain_name(mapped))
