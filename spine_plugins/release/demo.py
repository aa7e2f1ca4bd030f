"""The demo: a generator that leaks and one that does not, audited before your eyes; nothing is trained.

Both draw phantoms. The leaking one gives out doctored training images, five in a hundred.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.data.writer import DatasetWriter
from stylegan2ada.errors import UserError
from stylegan2ada.images import range_to_uint8

_ROOT = Path(__file__).resolve().parents[2]
REALS, FAKES = 300, 2000  # images of train, of hold-out; of each generator
LEAKED = 0.05
_SEED = 20221

Doctor = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def _moved(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    dy, dx = rng.integers(-3, 4, size=2)
    wide = np.pad(image, 3, mode="edge")
    return wide[3 + dy : 3 + dy + image.shape[0], 3 + dx : 3 + dx + image.shape[1]]


# What leaking generators make of an image that they know by heart.
DOCTORS: tuple[Doctor, ...] = (
    lambda image, rng: image,
    _moved,
    lambda image, rng: image[:, ::-1],
    lambda image, rng: range_to_uint8(128 + 0.8 * (image.astype(np.float32) - 128), 0, 255),
    lambda image, rng: range_to_uint8(image + rng.normal(0, 6, image.shape), 0, 255),
)


@dataclass(frozen=True)
class Outcome:
    """One generator's audit."""

    name: str
    exit_code: int
    folder: Path
    fakes: Path


def run(out: Path, say: Callable[[str], None]) -> list[Outcome]:
    """Draw, leak, audit both at once; the audits are real ones, started as processes of their own."""
    if out.exists() and any(out.iterdir()):
        raise UserError(f"--out={out} is not an empty folder; give another")
    out.mkdir(parents=True, exist_ok=True)
    say(f"drawing {2 * REALS + FAKES} phantoms")
    drawn = out / "phantoms.zip"
    n = 2 * REALS + FAKES + 8  # a patient is not cut in two, so a few images go over
    _finish(_start("phantom", f"--zip={drawn}", f"--n={n}", f"--seed={_SEED}"), "phantom")
    train, holdout = _divide(drawn, out)
    say(f"auditing both: {train.name} and {holdout.name} against the fakes of each")
    started = {
        name: _start(
            "audit", f"--train={train}", f"--holdout={holdout}", f"--fakes={out / name}.zip",
            f"--out={out / name}-audit",
        )
        for name in ("leaking", "clean")
    }  # fmt: skip
    found = []
    for name, process in started.items():
        code = _finish(process, "audit", accepted=(0, 6, 7))
        found.append(Outcome(name, code, out / f"{name}-audit", out / f"{name}.zip"))
    return found


def verdict_of(outcome: Outcome) -> str:
    """As its audit.json says."""
    return str(json.loads((outcome.folder / "audit.json").read_text())["verdict"])


def _divide(drawn: Path, out: Path) -> tuple[Path, Path]:
    """Phantoms by patient into train, hold-out and what both generators draw."""
    phantoms = ImageFolderDataset(drawn, use_labels=True)
    groups = phantoms.groups or {}
    patients = [str(groups[name]["patient"]) for name in phantoms.image_names]
    sizes = {"train": REALS, "holdout": REALS, "clean": FAKES}
    rows: dict[str, list[int]] = {name: [] for name in sizes}
    names = iter(sizes)
    name = next(names)
    for i, patient in enumerate(patients):
        # Only between patients: all images of one lie on one side.
        if len(rows[name]) >= sizes[name] and patient != patients[i - 1]:
            name = next(names, "")
            if not name:
                break
        rows[name].append(i)
    for name in ("train", "holdout"):
        _write(phantoms, rows[name], out / f"{name}.zip", groups=True)
    _write(phantoms, rows["clean"], out / "clean.zip")
    rng = np.random.default_rng(_SEED)
    places = rng.permutation(len(rows["clean"]))[: round(LEAKED * len(rows["clean"]))]
    leaked = {
        int(place): DOCTORS[k % len(DOCTORS)](
            phantoms.raw_image(rows["train"][int(rng.integers(REALS))])[0], rng
        )
        for k, place in enumerate(places)
    }
    _write(phantoms, rows["clean"], out / "leaking.zip", instead=leaked)
    return out / "train.zip", out / "holdout.zip"


def _write(
    phantoms: ImageFolderDataset,
    rows: list[int],
    path: Path,
    *,
    groups: bool = False,  # say whom the images show, as a data set of real ones does
    instead: dict[int, np.ndarray] | None = None,  # place in the list: another image
) -> None:
    labels, known = phantoms.raw_labels(), phantoms.groups or {}
    written = {}
    with DatasetWriter(path) as writer:
        for place, i in enumerate(rows):
            image = (instead or {}).get(place, phantoms.raw_image(i)[0])
            name = writer.add(np.ascontiguousarray(image), labels[i])
            written[name] = known[phantoms.image_names[i]]
        writer.extra["label_names"] = phantoms.label_names
        writer.extra["recipe"] = phantoms.recipe
        if groups:
            writer.extra["groups"] = written


def _start(*words: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")])}
    if words[0] == "audit":
        # Two audits at once: each on half of the cores.
        environment["OMP_NUM_THREADS"] = str(max((os.cpu_count() or 2) // 2, 1))
    return subprocess.Popen(
        [sys.executable, "-m", "spine_plugins", *words], env=environment, stdout=subprocess.DEVNULL
    )


def _finish(process: subprocess.Popen[bytes], name: str, accepted: tuple[int, ...] = (0,)) -> int:
    try:
        code = process.wait()
    except BaseException:
        process.terminate()
        raise
    if code not in accepted:
        raise UserError(f"`spinegan {name}` ended with exit code {code}; what it said stands above")
    return code
