"""Pictures: files that are not what their names say, and places that are no files."""

from __future__ import annotations

import functools
import io
import os
import random
import struct
import zlib
from pathlib import Path

import PIL.Image

from tests.hostile import materials
from tests.hostile.case import Case, case
from tests.hostile.mutate import damaged

_MODES = {
    "PNG": ("L", "RGB", "P", "1", "RGBA", "I;16", "LA"),
    "JPEG": ("L", "RGB", "CMYK"),
    "TIFF": ("L", "RGB", "F"),
}
_WRITABLE = ("BMP", "GIF", "ICO", "JPEG", "JPEG2000", "MSP", "PCX", "PNG", "PPM", "SGI", "SPIDER", "TGA",
             "TIFF",
             "WEBP", "DDS", "QOI", "EPS", "PDF", "ICNS", "BLP", "AVIF", "MPO", "DIB")  # fmt: skip
_CONVERTED = ("grey of 16 bits", "TIFF of floats", "palette")  # by the projector, which takes any picture
_NAMES = (
    "x.png",
    "x.png",
    "x.png",
    "x.jpg",
    "x.tif",
    "x.eps",
    "x.dds",
    "x.fits",
    "x.jp2",
    "x.psd",
    "x.bmp",
    "x.gif",
)


def make(rng: random.Random, folder: Path) -> Case:
    """A picture that is wrong, where a command opens one."""
    data, attack, must_refuse = _wrong(rng)
    return _placed(rng, folder, data, attack, must_refuse=must_refuse)


def make_target(rng: random.Random, folder: Path) -> Case:
    """The same, as what the projector looks for."""
    data, attack, must_refuse = _wrong(rng)
    name = rng.choice(_NAMES)
    (folder / "n.pkl").write_bytes(materials.network_files()[2])
    lay_odd(folder / name, data, attack)
    words = ("project", "--network=n.pkl", f"--target={name}", "--num-steps=1", "--detector=vgg16=tiny",
             "--outdir=out", "--save-video=0", "--device=cpu")  # fmt: skip
    return case(f"{attack} as {name}", *words, must_refuse=must_refuse and attack not in _CONVERTED)


def _wrong(rng: random.Random) -> tuple[bytes | None, str, bool]:
    """Content, or None where it is no file; what it is; whether it must be refused."""
    kind = rng.random()
    data: bytes | None = None
    must_refuse = False
    if kind < 0.1:
        attack = rng.choice(
            ("pipe", "folder", "link to nothing", "link to itself", "link to a device", "socket")
        )
    elif kind < 0.3:
        attack = rng.choice(sorted(_known()))
        data, must_refuse = _known()[attack], True
    else:
        name = rng.choice(sorted(_valid()))
        data = damaged(_valid()[name], rng, _valid()[rng.choice(sorted(_valid()))], head=200)
        attack = f"damaged {name}"
    return data, attack, must_refuse


def _placed(rng: random.Random, folder: Path, data: bytes | None, attack: str, *, must_refuse: bool) -> Case:
    where = rng.choice(("folder", "folder", "folder", "train", "zip", "report", "doctor"))
    name = rng.choice(_NAMES)
    if where == "zip" and data is not None:
        (folder / "d.zip").write_bytes(materials.zip_of({name: data}))
        return case(attack, "dataset", "--source=d.zip", "--dest=e.zip", must_refuse=must_refuse)
    if where == "report":
        files = dict(materials.reported_run())
        name = rng.choice([name for name in sorted(files) if name.endswith(".png")])
        del files[name]
        materials.lay(folder / "run", files)
        lay_odd(folder / "run" / name, data, attack)
        return case(f"{attack} as {name}", "report", "run")
    (folder / "d").mkdir()
    if rng.random() < 0.3 and where != "train":
        (folder / "d" / "a.png").write_bytes(materials.png())
    lay_odd(folder / "d" / name, data, attack)
    words = {
        "train": ("train", "--data=d", "--outdir=runs", "--metrics=none", "--dry-run", "--device=cpu"),
        "doctor": ("doctor", "--data=d", "--outdir=."),
    }.get(where, ("dataset", "--source=d", "--dest=e.zip", *rng.choice(((), ("--skip-bad",)))))  # fmt: skip
    must_refuse = must_refuse and "--skip-bad" not in words and words[0] != "doctor"
    return case(f"{attack} as {name}", *words, must_refuse=must_refuse)


def lay_odd(path: Path, data: bytes | None, what: str) -> None:
    """The file; or, without content, a thing that is none."""
    if data is not None:
        path.write_bytes(data)
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what == "link to nothing":
        path.symlink_to("nowhere")
    elif what == "link to itself":
        path.symlink_to(path.name)
    elif what == "link to a device":
        path.symlink_to("/dev/zero")
    else:
        import socket

        with socket.socket(socket.AF_UNIX) as made:
            here = os.getcwd()
            os.chdir(path.parent)  # a socket's path must be short
            made.bind(path.name)
            os.chdir(here)


@functools.cache
def _valid() -> dict[str, bytes]:
    found = {}
    for name in _WRITABLE:
        for mode in _MODES.get(name, ("RGB",)):
            file = io.BytesIO()
            try:
                materials.picture(16 if name == "ICNS" else 8, mode).save(file, name)
            except (OSError, ValueError, KeyError):  # not built into this Pillow
                continue
            found[f"{name} {mode}"] = file.getvalue()
    return found


_EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(touch canary) system pop showpage\n"


@functools.cache
def _known() -> dict[str, bytes]:
    """What is no 8-bit picture of a usual kind, or a very large one."""
    fits = b"".join(
        line.ljust(80).encode()
        for line in ("SIMPLE  =                    T", "BITPIX  =                    8",
                     "NAXIS   =                    2",
                     "NAXIS1  =                99999", "NAXIS2  =                99999", "END")
    ).ljust(2880)  # fmt: skip
    return {
        "PostScript": _EPS,
        "PostScript that says it is huge": _EPS.replace(b"0 0 8 8", b"0 0 99999 99999"),
        "PostScript behind a DOS header": struct.pack("<IIIIIIIH", 0xC6D3D0C5, 32, len(_EPS), 0, 0, 0, 0,
         0xFFFF)
        + b"\0\0" + _EPS,
        "PDF": b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n",
        "WMF": struct.pack("<IHHHHHHIH", 0x9AC6CDD7, 0, 0, 0, 99, 99, 72, 0, 0) + bytes(40),
        "DDS of an unknown kind": b"DDS " + struct.pack("<6I", 124, 0x1007, 8, 8, 0, 0) + bytes(48)
        + struct.pack("<II4sIIIII", 32, 4, b"ZZZZ", 0, 0, 0, 0, 0) + bytes(100),
        "DDS of a strange bit count": b"DDS " + struct.pack("<6I", 124, 0x1007, 8, 8, 0, 0) + bytes(48)
        + struct.pack("<II4sIIIII", 32, 0x40, b"\0\0\0\0", 77, 1, 2, 3, 4) + bytes(100),
        "FITS": fits + bytes(2880),
        "GIMP brush": struct.pack(">IIIII4s", 28, 2, 8, 8, 1, b"GIMP") + bytes(80),
        "a palette of gigabytes": b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 8, 8, 8, 2) + struct.pack(">I",
         2**31 - 1),
        "PNG of 40000 x 40000": _png(40_000, 40_000),
        "PNG of two billion pixels a side": _png(2**31 - 1, 2**31 - 1),
        "PNG of no pixels": _png(0, 0),
        "PNG of 9000 x 9000, cut off": _png(9000, 9000),
        "PNG with a text of a gigabyte": _png(8, 8, [(b"zTXt",
         b"a\0\0" + b"\x78\xda" + materials.deflated_zeros(2000))]),
        "nothing": b"",
        "a web page": b"<!DOCTYPE html><html></html>",
        "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "zip": materials.data_zip(),
        "grey of 16 bits": _saved("I;16", "PNG"),
        "TIFF of floats": _saved("F", "TIFF"),
        "palette": _saved("P", "PNG"),
    }  # fmt: skip


def _saved(mode: str, kind: str) -> bytes:
    file = io.BytesIO()
    picture = PIL.Image.new(mode, (8, 8)) if mode == "I;16" else materials.picture(8, mode)
    picture.save(file, kind)
    return file.getvalue()


def _png(width: int, height: int, more: list[tuple[bytes, bytes]] | None = None) -> bytes:
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), *(more or []),
        (b"IDAT", zlib.compress(bytes(90))), (b"IEND", b""),
    ]  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
