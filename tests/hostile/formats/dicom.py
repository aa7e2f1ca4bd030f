"""DICOM files, and where they lie."""

from __future__ import annotations

import functools
import random
import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np

from tests.hostile import materials
from tests.hostile.case import Case, case
from tests.hostile.formats.images import lay_odd
from tests.hostile.mutate import damaged
from tests.spine_plugins.dicom import making
from tests.spine_plugins.dicom.fuzzing import SYNTAXES

COMMAND = ("convert", "--source=in", "--dest=x.zip", "--executor=serial", "--resolution=32", "--min-size=8",
           "--modality=any", "--fail-over=1", "--timeout=2")  # fmt: skip
_FLAGS: tuple[tuple[str, ...], ...] = (
    (), (), ("--dry-run",), ("--force-meta", "--frames=first"), ("--report-paths=hash",),
    ("--split=0.5/0.25/0.25",),
    ("--preset=paper",), ("--allow-burned-in", "--dedupe=none"), ("--json=-",),
)  # fmt: skip
_TEXTS = (
    "ZZPHI HANS 1933",
    "=1+1",
    "\x1b[2J",
    "a" * 5000,
    "CR\\DX",
    "",
    " ",
    "é",
    "..\\..\\x",
    "/etc/passwd",
)


def make(rng: random.Random, folder: Path) -> Case:
    """One to three files, one of them wrong at least."""
    kind = rng.random()
    source = folder / "in"
    source.mkdir()
    if kind < 0.62:
        attack = ""
        for i in range(rng.choice((1, 1, 2))):
            name = rng.choice(sorted(_valid()))
            data = damaged(_valid()[name][132:], rng, _valid()[rng.choice(sorted(_valid()))], head=1500)
            (source / f"{i}.dcm").write_bytes(_valid()[name][:132] + data)
            attack += f"damaged {name} "
    elif kind < 0.8:
        attack, data = _with_tags(rng)
        (source / "0.dcm").write_bytes(data)
    elif kind < 0.93:
        attack = rng.choice(sorted(_known()))
        (source / "0.dcm").write_bytes(_known()[attack])
    else:
        attack = rng.choice(
            ("pipe", "folder", "link to nothing", "link to itself", "link to a device", "socket")
        )
        lay_odd(source / "0.dcm", None, attack)
    if rng.random() < 0.3:
        (source / "ok.dcm").write_bytes(_valid()["explicit"])
    command = list(COMMAND)
    if rng.random() < 0.15 and all(path.is_file() and not path.is_symlink() for path in source.iterdir()):
        packed = {path.name: path.read_bytes() for path in source.iterdir()}
        (folder / "in.zip").write_bytes(damaged(materials.zip_of(packed, zipfile.ZIP_DEFLATED), rng))
        command[1] = "--source=in.zip"
        attack += ", in a damaged zip"
    command += rng.choice(_FLAGS)
    return case(attack.strip(), *command)


def lay_valid(folder: Path) -> None:
    """Three readable files: 0, 1 and 2."""
    materials.lay(folder, {f"{i}.dcm": plain(i) for i in range(3)})


@functools.cache
def plain(seed: int) -> bytes:
    return making.to_bytes(
        making.dataset(making.radiograph(24, 24, seed=seed), bits=12, PatientID=f"P{seed}")
    )


@functools.cache
def _valid() -> dict[str, bytes]:
    found = {"explicit": plain(0)}
    for number, syntax in enumerate(SYNTAXES):
        bits = 8 if syntax == making.BASELINE else 12
        pixels = making.radiograph(32, 36, bits=bits, seed=number).astype(
            np.uint8 if bits == 8 else np.uint16
        )
        found[syntax] = making.to_bytes(making.dataset(pixels, syntax, bits=bits))
    return found


def _with_tags(rng: random.Random) -> tuple[str, bytes]:
    """A well-formed file whose header says what cannot be."""
    name, value = rng.choice((
        ("Rows", 0), ("Rows", 65_535), ("Columns", 1), ("Columns", 65_535), ("BitsAllocated", 0),
        ("BitsAllocated", 64),
        ("BitsStored", 0), ("BitsStored", 99), ("HighBit", 200), ("SamplesPerPixel", 0), ("SamplesPerPixel",
         9),
        ("PixelRepresentation", 7), ("NumberOfFrames", 0), ("NumberOfFrames", -3), ("NumberOfFrames",
         2**31 - 1),
        ("WindowWidth", "0"), ("WindowWidth", "1e308"), ("WindowCenter", "nan"), ("RescaleSlope", "0"),
        ("RescaleSlope", "1e308"), ("RescaleIntercept", "inf"), ("PixelSpacing", ["0", "0"]),
        ("PixelSpacing", ["-1", "1e99"]),
        ("PhotometricInterpretation", rng.choice(_TEXTS)), ("Modality", rng.choice(_TEXTS)),
        ("BodyPartExamined", rng.choice(_TEXTS)), ("PatientID", rng.choice(_TEXTS)), ("StudyInstanceUID",
         rng.choice(_TEXTS)),
        ("SOPInstanceUID", rng.choice(_TEXTS)), ("BurnedInAnnotation", rng.choice(_TEXTS)), ("ViewPosition",
         "X" * 9000),
        ("PixelAspectRatio", ["0", "0"]), ("SmallestImagePixelValue", -5), ("PresentationLUTShape", "x"),
    ))  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = making.dataset(making.radiograph(24, 24), bits=12)
        try:
            setattr(made, name, value)
            return f"{name} is {value!r:.40}", making.to_bytes(made)
        except Exception:  # noqa: BLE001 - what pydicom itself will not write
            return "explicit", plain(0)


@functools.cache
def _known() -> dict[str, bytes]:
    j2k = _valid()[making.J2K]
    deflated = _valid()[making.DEFLATED]
    start = j2k.find(b"\xff\x4f\xff\x51")
    # A code stream that says it is 60000 x 60000 in tiles of one pixel.
    size = struct.pack(">HHIIIIIIII", 49, 0, 60_000, 60_000, 0, 0, 1, 1, 0, 0)
    tiles = j2k[: start + 4] + size + j2k[start + 4 + len(size) :]
    nested = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff"
    head = plain(0)
    return {
        "JPEG 2000 of three billion tiles": tiles,
        "JPEG 2000 stub": _stub(),
        "a deflate bomb": deflated[: deflated.rfind(b"1.2.840.10008.1.2.1.99") + 24]
        + materials.deflated_zeros(2000),
        "sequences nested five thousand deep": head[: head.rfind(b"\xe0\x7f\x10\x00")]
        + b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff" + nested * 5000,
        "pixels of four gigabytes claimed": head[: head.rfind(b"\xe0\x7f\x10\x00") + 8] + b"\xff\xff\xff\x7f"
        + bytes(64),
        "pixels of undefined length": head[: head.rfind(b"\xe0\x7f\x10\x00") + 8] + b"\xff\xff\xff\xff"
        + bytes(64),
        "no pixels": head[: head.rfind(b"\xe0\x7f\x10\x00")],
        "only a preamble": head[:132],
        "a million private tags": head[:132] + head[132:400] + b"\x09\x00\x01\x00LO\x00\x00" * 200_000,
        "nothing": b"",
        "a zip": materials.data_zip(),
        "a picture": materials.png(),
        "noise": np.random.default_rng(0).bytes(5000),
    }  # fmt: skip


def _stub() -> bytes:
    """A header, then a code stream that ends at once; the frame says it is large."""
    made = making.dataset(making.radiograph(24, 24), making.J2K, bits=12)
    made.Rows, made.Columns = 65_535, 65_535
    return making.to_bytes(made)[:900]
