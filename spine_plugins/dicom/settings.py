"""What a conversion was asked to do: one frozen record that travels to every worker and into the recipe."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re

from stylegan2ada.errors import UserError

# No projection radiographs, like everything that starts with RT.
PROJECTION_DENIED = frozenset("CT MR PT US NM SEG SR PR KO DOC ECG".split())

_MOST_SIDE = 8192  # of the output
_MOST_SECONDS = 7 * 24 * 3600
_MOST_PIXELS, _MOST_MB = 10**10, 1 << 16

CHOICES: dict[str, tuple[str, ...]] = {  # setting: what it can be
    "crop": ("field", "center", "lesion", "pad"),
    "resize": ("area", "lanczos", "nearest"),
    "window": ("percentile", "voi", "minmax", "paper", "auto"),
    "polarity": ("auto", "keep", "invert"),
    "frames": ("reject", "first", "middle"),
    "colour": ("reject", "luma"),
    "label_rule": ("standard", "paper-rows"),
    "rare": ("other", "drop", "keep"),
}


@dataclasses.dataclass(frozen=True)
class IngestSettings:
    """All that decides which files are taken and what their pixels and labels become."""

    resolution: int = 256  # side of the square output, a power of two
    channels: int = 1  # 1 grey, 3 the same grey three times
    crop: str = "field"
    resize: str = "area"
    window: str = "percentile"
    percentiles: tuple[float, float] = (0.5, 99.5)
    polarity: str = "auto"
    modality_lut: bool = True  # False only in the paper preset: raw stored values
    keep_lost_labels: bool = False  # keep an abnormal image whose every box lies outside the crop

    modality: str = "projection"  # projection | any | comma separated list
    body_part: str = ""  # regular expression on BodyPartExamined; empty accepts all
    min_size: int = 128  # shorter side of the file's image, pixels
    frames: str = "reject"
    colour: str = "reject"
    allow_burned_in: bool = False
    force_meta: bool = False  # read files without the DICOM preamble

    labels: str = "none"  # none | binary | spine8 | multi13 | csv:COLUMN
    label_rule: str = "standard"
    rare: str = "other"
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

    def checked(self) -> IngestSettings:
        """Itself; a value that cannot be is refused with what could."""
        for name, values in CHOICES.items():
            given = getattr(self, name)
            if given not in values:
                flag = "--" + name.replace("_", "-")
                raise UserError(f"{flag}={given} is unknown; use {', '.join(values[:-1])} or {values[-1]}")
        if not is_power_of_two(self.resolution):
            raise UserError(
                f"--resolution={self.resolution} is not a power of two up to {_MOST_SIDE}; use 256, 512, ..."
            )
        if self.channels not in (1, 3):
            raise UserError(f"--channels={self.channels} is unknown; use 1 (grey) or 3")
        low, high = self.percentiles
        if not 0 <= low < high <= 100:
            raise UserError(f"--percentiles {low:g} {high:g} are not two rising numbers between 0 and 100")
        if not 0 <= self.timeout_sec <= _MOST_SECONDS:  # neither nan nor inf
            raise UserError(f"--timeout={self.timeout_sec} is no time; give seconds, at most {_MOST_SECONDS}")
        for flag, value, most in (
            ("max-pixels", self.max_pixels, _MOST_PIXELS),
            ("max-file-mb", self.max_file_bytes >> 20, _MOST_MB),
            ("max-inflate", self.max_inflate_bytes >> 20, _MOST_MB),
        ):
            if value > most:
                raise UserError(f"--{flag}={value} is more than memory holds; give at most {most}")
        try:
            re.compile(self.body_part)
        except re.error as error:
            raise UserError(f"--body-part={self.body_part} is no regular expression ({error})") from error
        return self

    def accepts_modality(self, modality: str) -> bool:
        """`projection` is a list of what is refused, because a missing Modality is common in radiographs."""
        if self.modality == "any":
            return True
        if self.modality == "projection":
            return is_projection(modality)
        return modality in {name.strip().upper() for name in self.modality.split(",")}

    def flags(self) -> dict[str, object]:
        """What the recipe may tell: every setting but places on this computer."""
        values = dataclasses.asdict(self)
        for private in ("annotations", "skip_missing_decoder", "headers_only"):
            del values[private]
        return values

    def config_hash(self, **more: str) -> str:
        """Changes whenever the same file could become something else; guards the journal."""
        text = json.dumps({**self.flags(), **more}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


PRESETS = {
    "default": IngestSettings(),
    # SpineGAN paper, section 3: centre square, nearest neighbour; raw values divided per image.
    "paper": IngestSettings(
        crop="center",
        resize="nearest",
        window="paper",
        polarity="keep",
        channels=3,
        modality_lut=False,
        keep_lost_labels=True,
    ),
}


def is_power_of_two(value: int) -> bool:
    """True for a side that networks can have: 4, 8, 16, ..."""
    return 4 <= value <= _MOST_SIDE and not value & (value - 1)


def is_projection(modality: str) -> bool:
    """True unless the modality is one that makes no projection radiographs."""
    return modality not in PROJECTION_DENIED and not modality.startswith("RT")


def check_labels(labels: str | None, label_rule: str = "standard") -> None:
    """Refuse a kind of labels that does not exist; None lets the annotations decide."""
    if labels and labels not in ("none", "binary", "spine8", "multi13"):
        if not re.fullmatch(r"csv:.+", labels):
            raise UserError(f"--labels={labels} is unknown; use none, binary, spine8, multi13 or csv:COLUMN")
    if label_rule == "paper-rows" and labels not in (None, "binary"):
        raise UserError("--label-rule=paper-rows only makes sense with --labels=binary")


def rare_for(labels: str | None) -> str:
    """What becomes of the six rare lesion types unless something else is asked for."""
    return "keep" if labels == "multi13" else "other"
