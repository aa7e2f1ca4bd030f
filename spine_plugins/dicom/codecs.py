"""Which decoder reads which transfer syntax: permissively licensed ones only, the fastest exact one first.

The GPL decoder (pylibjpeg-libjpeg) is never asked: the JPEG rows below do not name `pylibjpeg`, under whose
label it would run.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spine_plugins import uids
from stylegan2ada.errors import MissingError

if TYPE_CHECKING:
    from pydicom.pixels.decoders.base import DecodeRunner

NATIVE = {
    uids.IMPLICIT_VR_LITTLE_ENDIAN: "Implicit VR Little Endian",
    uids.EXPLICIT_VR_LITTLE_ENDIAN: "Explicit VR Little Endian",
    uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN: "Deflated Explicit VR Little Endian",
    uids.EXPLICIT_VR_BIG_ENDIAN: "Explicit VR Big Endian",
}


@dataclass(frozen=True)
class Codec:
    """One encapsulated transfer syntax."""

    name: str
    plugins: tuple[str, ...]  # pydicom's labels, best first
    package: str  # what to install when none is there


CODECS = {
    uids.RLE_LOSSLESS: Codec("RLE Lossless", ("pylibjpeg", "pydicom"), "pylibjpeg-rle"),
    uids.JPEG_BASELINE_8BIT: Codec("JPEG Baseline 8 bit", ("pillow", "gdcm"), "pillow"),
    uids.JPEG_EXTENDED_12BIT: Codec("JPEG Extended 12 bit", ("imagecodecs",), "imagecodecs"),
    uids.JPEG_LOSSLESS: Codec("JPEG Lossless", ("imagecodecs", "gdcm"), "python-gdcm"),
    uids.JPEG_LOSSLESS_SV1: Codec("JPEG Lossless SV1", ("imagecodecs", "gdcm"), "python-gdcm"),
    uids.JPEG_LS_LOSSLESS: Codec("JPEG-LS Lossless", ("pyjpegls", "gdcm"), "pyjpegls"),
    uids.JPEG_LS_NEAR_LOSSLESS: Codec("JPEG-LS Near-lossless", ("pyjpegls", "gdcm"), "pyjpegls"),
    uids.JPEG_2000_LOSSLESS: Codec(
        "JPEG 2000 Lossless", ("pylibjpeg", "pillow", "gdcm"), "pylibjpeg-openjpeg"
    ),
    uids.JPEG_2000: Codec("JPEG 2000", ("pylibjpeg", "pillow", "gdcm"), "pylibjpeg-openjpeg"),
    uids.HTJ2K_LOSSLESS: Codec("HTJ2K Lossless", ("pylibjpeg",), "pylibjpeg-openjpeg"),
    uids.HTJ2K_LOSSLESS_RPCL: Codec("HTJ2K Lossless RPCL", ("pylibjpeg",), "pylibjpeg-openjpeg"),
    uids.HTJ2K: Codec("HTJ2K", ("pylibjpeg",), "pylibjpeg-openjpeg"),
}

PACKAGES = (  # what turns files into pixels
    "numpy", "pillow", "pydicom", "pylibjpeg", "pylibjpeg-openjpeg", "pylibjpeg-rle", "pyjpegls",
    "python-gdcm", "imagecodecs",
)  # fmt: skip


def syntax_name(uid: str) -> str:
    """Readable name of a transfer syntax, the UID itself if we cannot read it."""
    return NATIVE.get(uid) or (CODECS[uid].name if uid in CODECS else uid)


@functools.cache
def available_plugins(uid: str) -> tuple[str, ...]:
    """The decoders on this computer for an encapsulated syntax, best first."""
    register_imagecodecs()
    from pydicom.pixels import get_decoder

    # Its order is pydicom's; only ours says which decoder is exact and fast.
    present = set(get_decoder(uid).available_plugins)
    return tuple(name for name in CODECS[uid].plugins if name in present)


@functools.cache
def register_imagecodecs() -> bool:
    """Offer imagecodecs (BSD), if installed, to pydicom: the only permissive reader of 12-bit JPEG."""
    try:
        import imagecodecs  # noqa: F401
    except ImportError:
        return False
    from pydicom.pixels import get_decoder

    for uid, codec in CODECS.items():
        if "imagecodecs" in codec.plugins and "imagecodecs" not in get_decoder(uid).available_plugins:
            with quiet():
                get_decoder(uid).add_plugin("imagecodecs", (__name__, "decode_with_imagecodecs"))
    return True


# pydicom finds this function and DECODER_DEPENDENCIES in the plugin's module by their names.
def is_available(uid: str) -> bool:
    """pydicom's plugin protocol."""
    return uid in CODECS and "imagecodecs" in CODECS[uid].plugins


DECODER_DEPENDENCIES = {
    uid: ("imagecodecs",) for uid, codec in CODECS.items() if "imagecodecs" in codec.plugins
}


def decode_with_imagecodecs(src: bytes, runner: DecodeRunner) -> bytes:
    """Decoded frame as bytes; pydicom's plugin protocol."""
    import imagecodecs

    is_lossless = str(runner.transfer_syntax) in (uids.JPEG_LOSSLESS, uids.JPEG_LOSSLESS_SV1)
    frame = (imagecodecs.ljpeg_decode if is_lossless else imagecodecs.jpeg_decode)(src)
    # The runner cuts the bytes into cells of this width, and the decoder's may differ from the header's.
    runner.set_option("bits_allocated", 8 * frame.dtype.itemsize)
    return frame.tobytes()


def decoder_table() -> list[tuple[str, str, str]]:
    """(syntax, decoders here or `-`, how to get one) for --list-decoders."""
    rows = [(name, "built in", "") for name in NATIVE.values()]
    for uid, codec in CODECS.items():
        plugins = available_plugins(uid)
        rows.append(
            (codec.name, ", ".join(plugins) or "-", "" if plugins else f"pip install {codec.package}")
        )
    return rows


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """pydicom and the decoders speak through warnings and logs; our report says it in one word per file."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    # Above every level there is, whatever handlers a notebook has attached.
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings(), _no_native_output():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def _no_native_output() -> Iterator[None]:
    """Decoders in C and Rust write what they find, and backtraces, to file descriptor 2."""
    if threading.current_thread() is not threading.main_thread():  # the descriptor belongs to all threads
        yield
        return
    # What Python holds back was said before, and would be lost with the rest.
    sys.stderr.flush()
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


@functools.cache
def load_pydicom() -> None:
    """Import pydicom and the decoders that come with it, quietly; ImportError if pydicom is not there.

    GDCM's package asks for a module `dl` that Python has not had since version 2, and would take any folder
    of that name in the working directory for it; while it loads, there is none.
    """
    had_dl = "dl" in sys.modules
    before = sys.modules.get("dl")
    # None in this place makes `import dl` fail at once, without a search of the working directory.
    sys.modules["dl"] = None  # type: ignore[assignment]
    try:
        import pydicom.pixels  # noqa: F401
    finally:
        del sys.modules["dl"]
        if had_dl and before is not None:
            sys.modules["dl"] = before
    with contextlib.suppress(ImportError):  # GDCM writes to the terminal from C++ unless told not to
        import gdcm

        for switch in ("WarningOff", "ErrorOff", "DebugOff"):
            getattr(gdcm.Trace, switch)()


def require_pydicom() -> None:
    """load_pydicom, or a sentence on how to get it."""
    try:
        load_pydicom()
    except ImportError as error:
        raise MissingError(
            "reading DICOM needs pydicom and its decoders; pip install 'spinegan[dicom]'"
        ) from error
