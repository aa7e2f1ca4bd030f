"""Every way in which an input file can fail to become an image of the data set, and its status.

One reason has one status: `skipped` is no image to begin with (or was not asked for), `excluded` is a
readable image that the rules leave out, `failed` is an image that should have worked and did not.
"""

from __future__ import annotations

STATUS: dict[str, str] = {
    # not an image, or not asked for
    "not_dicom": "skipped",
    "dicomdir": "skipped",
    "not_regular_file": "skipped",
    "path_escape": "skipped",
    "not_in_subset": "skipped",
    "over_max_images": "skipped",
    # broken, or more than the limits and the installed decoders allow
    "unreadable": "failed",
    "no_pixel_data": "failed",
    "header_invalid": "failed",
    "geometry_mismatch": "failed",
    "checksum_mismatch": "failed",
    "unsupported_syntax": "failed",
    "decoder_missing": "failed",
    "decode_error": "failed",
    "pixel_data_short": "failed",
    "inflate_limit": "failed",
    "timeout": "failed",
    "memory": "failed",
    "worker_crash": "failed",
    "bits_unsupported": "failed",
    # fine, but left out by a rule
    "too_small": "excluded",
    "too_large": "excluded",
    "multi_frame": "excluded",
    "colour": "excluded",
    "modality_rejected": "excluded",
    "body_part_rejected": "excluded",
    "burned_in": "excluded",
    "constant_image": "excluded",
    "no_label": "excluded",
    "multi_label": "excluded",
    "unknown_label": "excluded",
    "conflicting_label": "excluded",
    "label_lost_by_crop": "excluded",
    "duplicate_sop": "excluded",
    "duplicate_pixels": "excluded",
    "forbidden_group": "excluded",
}

LEFT_OUT = ("not_in_subset", "over_max_images")  # as the user asked; decided anew by each run

# These say something about this computer or this moment, not about the file: a resumed run tries again.
RETRIED = frozenset({"unreadable", "decoder_missing", "timeout", "memory", "worker_crash"})


def status_of(reason: str) -> str:
    """`ok` for no reason, else the one status that belongs to the reason."""
    return STATUS[reason] if reason else "ok"


class Rejected(Exception):  # noqa: N818 - an outcome that is reported, not an error of the program
    """This file does not become an image; `detail` is our own wording, never a library's text."""

    def __init__(self, reason: str, detail: str = "") -> None:
        assert reason in STATUS, reason
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


class OutOfTime(BaseException):  # noqa: N818 - BaseException, so that no library's `except Exception` eats it
    """The time for one file is over."""
