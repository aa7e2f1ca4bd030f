"""What is known of one input file: plain values, which travel between processes and into the journal."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field

Label = int | list[float] | None
BLOBS = ("png", "thumb", "histogram")  # kept beside the JSON of a record, not in it


@dataclass
class Header:
    """What the report says about a file's header; filled as far as reading gets."""

    rows: int = 0
    cols: int = 0
    frames: int = 1
    samples: int = 1
    bits_allocated: int = 0
    bits_stored: int = 0
    high_bit: int = 0
    signed: bool = False
    pi: str = ""  # photometric interpretation
    transfer_syntax: str = ""
    modality: str = ""
    body_part: str = ""
    true_max: int | None = None  # of the stored values
    plugin: str = ""  # the decoder
    ms_decode: float = 0.0  # CPU time
    is_cut: bool = False  # the file ends inside its compressed pixel data
    warnings: list[str] = field(default_factory=list)

    def warn(self, code: str) -> None:
        if code not in self.warnings:
            self.warnings.append(code)


@dataclass
class Record:
    """Outcome of one file."""

    path: str  # the item's name
    reason: str = ""  # why it is no image of the data set (reasons.STATUS); empty: it is one
    detail: str = ""
    header: Header = field(default_factory=Header)
    image: str = ""  # keyed hash of the id under which the annotations know it; empty if they do not
    label: Label = None
    kinds: list[str] = field(default_factory=list)  # lesions, by VinDr's names
    n_boxes: int = 0
    # [kind, x0, y0, x1, y1, part of the area inside the crop] in pixels of the output
    boxes: list[tuple[str, float, float, float, float, float]] = field(default_factory=list)
    boxes_inside: float | None = None  # mean of these parts
    study: str | None = None  # keyed hashes
    patient: str | None = None
    sop: str | None = None
    study_seal: int | None = None  # with the key: what decides the split
    patient_seal: int | None = None
    pixels: str = ""  # SHA-256 of shape and values
    dhash: str = ""
    window: str = ""  # the rule that was used in the end
    low: float | None = None  # modality values shown black and white
    high: float | None = None
    inverted: bool = False
    clipped: float = 0.0  # part of the pixels outside [low, high]
    crop: list[int] = field(default_factory=list)  # x0, y0, x1, y1 in pixels of the file's image
    png: bytes = b""
    thumb: bytes = b""
    histogram: bytes = b""  # 256 little-endian uint32

    def to_json(self) -> str:
        """All but the name and the blobs."""
        values = dataclasses.asdict(self)
        return json.dumps({name: values[name] for name in values if name != "path" and name not in BLOBS})

    @classmethod
    def from_json(
        cls, path: str, text: str, png: bytes | None, thumb: bytes | None, histogram: bytes | None
    ) -> Record:
        """The record again; a blob that was left out is empty."""
        values = json.loads(text)
        values["header"] = Header(**values["header"])
        values["boxes"] = [tuple(box) for box in values["boxes"]]
        return cls(path, **values, png=png or b"", thumb=thumb or b"", histogram=histogram or b"")
