"""An audit written by hand, about images made up: as much of audit.json as a release reads."""

from __future__ import annotations

import json
from pathlib import Path

from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.data.fingerprint import fingerprint
from tests.spine_plugins.audit.making import images, write_zip

TEST = {
    "statistic": 1.0, "p_value": 0.5, "p_holm": 1.0, "estimate": 0.0, "low": 0.0, "high": 0.001,
    "means": "share of fakes", "interval": "bootstrap", "power": [], "detects": 0.01,
    "verdict": "NO EVIDENCE",
    "sensitivity": 0.9, "copy_share_at_most": 0.004,
}  # fmt: skip


def write_fakes(folder: Path, name: str = "fakes.zip", **extra: object) -> Path:
    """Eight images with labels."""
    pixels = images(8, 3)
    return write_zip(folder / name, pixels, labels=[0, 1] * 4, **extra)  # type: ignore[arg-type]


def write_audit(folder: Path, fakes: Path, verdict: str = "NO EVIDENCE", **changes: object) -> Path:
    """A folder with audit.json, and a private half that must stay where it is."""
    mark = fingerprint(ImageFolderDataset(fakes, use_labels=True))
    side = {"images": 300, "units": 120, "unit": "patient", "geometry": "32x32, 1 channel(s)", "labels": True}
    document = {
        "inputs": {
            "train": side | {"fingerprint": "a" * 64},
            "holdout": side | {"fingerprint": "b" * 64},
            "fakes": side | {"fingerprint": mark},
        },
        "unit": "patient",
        "features": {"name": "pixels", "note": "built in"},
        "tests": {"copies": TEST | {"verdict": verdict}, "membership": TEST | {"verdict": "UNDERPOWERED"}},
        "not_run": {"linkage": "not asked for"},
        "verdict": verdict,
        "detects": 0.01,
        "statement": f"Statement of {verdict}.",
        "warnings": ["only 20 held-out images"],
        "audits_of_these_fakes": 2,
        "network_sha256": None,
    }
    (folder / "private").mkdir(parents=True)
    (folder / "private" / "patients-pixels.csv").write_text("patient\nMUSTERMANN\n")
    (folder / "audit.json").write_text(json.dumps(document | changes))
    return folder
