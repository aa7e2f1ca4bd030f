"""Data sets: the zip, what is in it, and what its dataset.json says."""

from __future__ import annotations

import copy
import functools
import io
import random
import struct
import zipfile
import zlib
from pathlib import Path

from tests.hostile import materials
from tests.hostile.case import Case, case
from tests.hostile.mutate import bad_json, damaged, json_text

_LABELS: tuple[object, ...] = (
    10**9, 2**31, 2**63, 2**64, 1e300, -1, 0.5, True, None, "x", [], [1], [0.5], [[1]], {}, float("nan"),
    float("inf"),
    [1e300, 0], [2**63, 1], ["a"], [None],
)  # fmt: skip


def make(rng: random.Random, folder: Path) -> Case:
    """A data set that is wrong, and a command that reads it."""
    kind, must_refuse = rng.random(), False
    if kind < 0.25:
        attack = rng.choice(sorted(_known()))
        data, must_refuse = _known()[attack]
    elif kind < 0.5:
        data, attack = _with_labels(rng)
    elif kind < 0.75:
        text, attack = bad_json(materials.DESCRIPTION, rng)
        data = materials.zip_of(materials.data_members() | {"dataset.json": text})
    else:
        method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
        data = damaged(materials.zip_of(materials.data_members(), method), rng, materials.data_zip())
        attack = f"damaged, method {method}"
    (folder / "d.zip").write_bytes(data)
    words = rng.choice(_COMMANDS)
    if "c.safetensors" in " ".join(words):
        card, weights = materials.classifier_files()
        materials.lay(folder, {"c.safetensors": weights, "c.json": json_text(card)})
    return case(attack, *words, must_refuse=must_refuse, keeps=("d.zip",))


_COMMANDS = (
    ("dataset", "--source=d.zip", "--dest=e.zip"),
    ("dataset", "--source=d.zip", "--dest=e", "--width=4", "--height=4"),
    ("dataset", "--source=d.zip", "--dest=e.zip", "--labels=folders"),
    ("train", "--data=d.zip", "--outdir=runs", "--metrics=none", "--cond=1", "--dry-run", "--device=cpu"),
    ("train", "--data=d.zip", "--outdir=runs", "--metrics=none", "--dry-run", "--device=cpu"),
    ("doctor", "--data=d.zip", "--outdir=."),
    ("metrics", "--fakes=d.zip", "--data=d.zip", "--metrics=is50k", "--detector=inception=tiny",
     "--device=cpu"),
    ("classify", "predict", "--classifier=c.safetensors", "--data=d.zip", "--out=p.csv", "--device=cpu"),
    ("classify", "eval", "--classifier=c.safetensors", "--data=d.zip", "--outdir=e", "--device=cpu",
     "--no-plots",
     "--resamples=100"),
)  # fmt: skip


def _with_labels(rng: random.Random) -> tuple[bytes, str]:
    description = copy.deepcopy(materials.DESCRIPTION)
    values = [rng.choice(_LABELS) for _ in range(rng.choice((1, 1, 2)))]
    for entry in description["labels"]:
        if len(values) == 1 and rng.random() < 0.5:
            continue
        entry[1] = rng.choice(values)
    description["label_names"] = rng.choice((5, ["a"], None, [1, 2], "ab", ["normal", "abnormal"], [[], {}]))
    text = json_text(description)
    return materials.zip_of(materials.data_members() | {"dataset.json": text}), f"labels {values!r:.60}"


@functools.cache
def _known() -> dict[str, tuple[bytes, bool]]:
    """{attack: (zip, whether every command must refuse it)}"""
    members = materials.data_members()
    name = "00000/img00000000.png"
    stored = materials.data_zip()
    deflated = materials.zip_of(members, zipfile.ZIP_DEFLATED)
    found = {
        "encrypted": (_flags(stored, 1), True),
        "strong encryption": (_flags(stored, 0x41), True),
        "unknown compression": (_method(stored, 99), True),
        "compression by deflate64": (_method(deflated, 9), True),
        "damaged deflate": (_broken_deflate(deflated), True),
        "an image that inflates to gigabytes": (materials.zip_of(members | {name: _png_bomb()}), True),
        "a description of gigabytes": (_bomb("dataset.json", members), False),
        "a member of gigabytes": (_bomb(name, members), True),
        "directory that claims less": (_claims(deflated, 10), True),
        "two members of one name": (_twice(members, name), True),
        "members that point outside": (materials.zip_of({"../x.png": members[name],
         "/y.png": members[name]}), False),
        "a link": (_link(members), False),
        "no images": (materials.zip_of({"dataset.json": members["dataset.json"]}), True),
        "empty": (b"", True),
        "an empty zip": (materials.zip_of({}), True),
        "a nested description": (materials.zip_of(members | {"dataset.json": b"[" * 100_000}), False),
        "names that are no text": (
            materials.zip_of_raw([materials.stored(odd, members[name]) for odd in ("\0a.png", "b\n.png")]),
            False,
        ),
        "sixty thousand members": (materials.zip_of_raw([materials.stored(f"{i}.png",
         b"") for i in range(60_000)]), True),
    }  # fmt: skip
    return found


def _flags(data: bytes, bits: int) -> bytes:
    """General purpose bits of every member, in its header and in the directory."""
    return _each(data, 6, 8, bits)


def _method(data: bytes, number: int) -> bytes:
    return _each(data, 8, 10, number)


def _each(data: bytes, local: int, central: int, value: int) -> bytes:
    changed = bytearray(data)
    for magic, offset in ((b"PK\x03\x04", local), (b"PK\x01\x02", central)):
        at = data.find(magic)
        while at >= 0:
            changed[at + offset : at + offset + 2] = struct.pack("<H", value)
            at = data.find(magic, at + 4)
    return bytes(changed)


def _broken_deflate(data: bytes) -> bytes:
    """Every member's content replaced by what no inflater takes."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = archive.infolist()
    changed = bytearray(data)
    for info in infos:
        start = info.header_offset + 30 + len(info.filename)
        changed[start : start + info.compress_size] = b"\xff" * info.compress_size
    return bytes(changed)


def _claims(data: bytes, size: int) -> bytes:
    """The directory says that members are smaller than they are."""
    changed = bytearray(data)
    at = data.find(b"PK\x01\x02")
    while at >= 0:
        changed[at + 24 : at + 28] = struct.pack("<I", size)
        at = data.find(b"PK\x01\x02", at + 4)
    return bytes(changed)


def _png_bomb() -> bytes:
    """A PNG of 40000 x 40000 pixels, a few kilobytes at its beginning only."""
    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 0, 0, 0, 0)
    packed = zlib.compress(bytes(40_001) * 50)
    chunks = [(b"IHDR", header), (b"IDAT", packed), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def _bomb(name: str, members: dict[str, bytes]) -> bytes:
    others = [materials.stored(other, content) for other, content in members.items() if other != name]
    return materials.zip_of_raw([*others, materials.bomb(name)])


def _twice(members: dict[str, bytes], name: str) -> bytes:
    import warnings

    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w") as archive:
        warnings.simplefilter("ignore", UserWarning)
        for other, content in [*members.items(), (name, materials.png(seed=9))]:
            archive.writestr(other, content)
    return file.getvalue()


def _link(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for other, content in members.items():
            archive.writestr(other, content)
        info = zipfile.ZipInfo("00000/x.png")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    return file.getvalue()
