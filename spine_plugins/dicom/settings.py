"""What a conversion was asked to do: one frozen record that travels to every worker and into the recipe."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

PROJECTION_DENIED = frozenset(
    "CT MR PT US NM SEG SR PR KO DOC ECG".split()
)  # and everything that starts with RT

PRESETS: dict[str, dict[str, Any]] = {
    "default": {
        "crop": "field", "resize": "area", "window": "percentile", "polarity": "auto", "channels": 1,
        "modality_lut": True, "keep_lost_labels": False,
    },
    "paper": {  # SpineGAN paper, section 3: centre square, nearest neighbour; raw values divided per image
        "crop": "center", "resize": "nearest", "window": "paper", "polarity": "keep", "channels": 3,
        "modality_lut": False, "keep_lost_labels": True,
    },
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class IngestSettings:
    """All that decides which files are taken and what their pixels and labels become."""

    resolution: int = 256  # side of the square output, a power of two
    channels: int = 1  # 1 grey, 3 the same grey three times
    crop: str = "field"  # field | center | lesion | pad
    resize: str = "area"  # area | lanczos | nearest
    window: str = "percentile"  # percentile | voi | minmax | paper | auto
    percentiles: tuple[float, float] = (0.5, 99.5)
    polarity: str = "auto"  # auto | keep | invert
    modality_lut: bool = True  # False only in the paper preset: raw stored values
    keep_lost_labels: bool = False  # keep an abnormal image whose every box lies outside the crop

    modality: str = "projection"  # projection | any | comma separated list
    body_part: str = ""  # regular expression on BodyPartExamined; empty accepts all
    min_size: int = 128  # shorter side of the file's image, pixels
    frames: str = "reject"  # reject | first | middle
    colour: str = "reject"  # reject | luma
    allow_burned_in: bool = False
    force_meta: bool = False  # read files without the DICOM preamble

    labels: str = "none"  # none | binary | spine8 | multi13 | csv:COLUMN
    label_rule: str = "standard"  # standard | paper-rows
    rare: str = "other"  # other | drop | keep
    class_map: tuple[tuple[str, str], ...] = ()  # (name in the annotations, class)
    values: tuple[str, ...] = ()  # the classes of csv:COLUMN without a class map
    annotations: str = ""  # path of the indexed annotations (sqlite), empty without
    annotations_hash: str = ""  # of the CSV files that went in

    hash_pixels: bool = True  # needed to find duplicates by pixels and forbidden images
    max_pixels: int = 100_000_000
    max_file_bytes: int = 512 << 20
    max_inflate_bytes: int = 512 << 20
    timeout_sec: float = 60.0
    skip_missing_decoder: bool = False
    headers_only: bool = False  # --dry-run

    def accepts_modality(self, modality: str) -> bool:
        """`projection` is a list of what is refused, because a missing Modality is common in radiographs."""
        if self.modality == "any":
            return True
        if self.modality == "projection":
            return modality not in PROJECTION_DENIED and not modality.startswith("RT")
        return modality in {name.strip().upper() for name in self.modality.split(",")}

    def flags(self) -> dict[str, Any]:
        """What the recipe may tell: every setting but places on this computer."""
        values = dataclasses.asdict(self)
        for private in ("annotations", "skip_missing_decoder", "headers_only"):
            del values[private]
        return values

    def config_hash(self, **more: Any) -> str:
        """Changes whenever the same file could become something else; guards the journal."""
        text = json.dumps({**self.flags(), **more}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
