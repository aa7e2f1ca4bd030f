"""Which transfer syntaxes the phantom can write here, and the pixel data as each of them wants it."""

from __future__ import annotations

from typing import Any

import numpy as np

PLAIN_SYNTAXES = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99")
RLE = "1.2.840.10008.1.2.5"
JPEG_EXTENDED, JPEG_LOSSLESS, HTJ2K = (
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.201",
)
JPEG_LS, JPEG_2000 = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"
_ENCODERS = {RLE: "pydicom", JPEG_LS: "pyjpegls", JPEG_2000: "pylibjpeg"}  # pydicom's name of the encoder
BIG_ENDIAN = PLAIN_SYNTAXES[2]


def syntaxes(codecs: bool) -> tuple[str, ...]:
    """The transfer syntaxes that can be written here."""
    if not codecs:
        return (*PLAIN_SYNTAXES, RLE)
    return (*PLAIN_SYNTAXES, RLE, *(uid for uid in COMPRESSED if can_write(uid)))


COMPRESSED = {
    JPEG_2000: ("JPEG 2000 lossless", "pylibjpeg-openjpeg"),
    JPEG_LS: ("JPEG-LS lossless", "pyjpegls"),
    JPEG_LOSSLESS: ("JPEG lossless", "imagecodecs"),
    HTJ2K: ("HTJ2K lossless", "imagecodecs"),
    JPEG_EXTENDED: ("JPEG extended 12 bit", "imagecodecs"),
}


def can_write(uid: str) -> bool:
    """True if the package that encodes this syntax is installed."""
    if uid in _ENCODERS:
        from pydicom.pixels import get_encoder

        return _ENCODERS[uid] in get_encoder(uid).available_plugins
    try:
        import imagecodecs
    except ImportError:
        return False
    codec = {JPEG_LOSSLESS: "LJPEG", HTJ2K: "HTJ2K", JPEG_EXTENDED: "JPEG8"}[uid]
    return bool(getattr(imagecodecs, codec).available)


def missing_codecs() -> list[str]:
    """One line per syntax that --codecs has to leave out here."""
    return [
        f"{name} left out; pip install {package}"
        for uid, (name, package) in COMPRESSED.items()
        if not can_write(uid)
    ]


def put_pixels(ds: Any, pixels: np.ndarray) -> None:
    """Set the pixel data as the file's transfer syntax wants them."""
    uid = str(ds.file_meta.TransferSyntaxUID)
    if uid in PLAIN_SYNTAXES:
        data = (pixels.astype(">u2") if uid == BIG_ENDIAN and pixels.itemsize == 2 else pixels).tobytes()
        ds.PixelData = data + b"\0" * (len(data) % 2)
        ds["PixelData"].VR = "OB" if pixels.itemsize == 1 else "OW"
        return
    if uid in _ENCODERS:
        ds.compress(
            uid, np.ascontiguousarray(pixels), encoding_plugin=_ENCODERS[uid], generate_instance_uid=False
        )
        return
    from pydicom.encaps import encapsulate

    ds.PixelData = encapsulate([_encode(uid, pixels)])
    ds["PixelData"].VR = "OB"
    if uid == JPEG_EXTENDED:
        ds.LossyImageCompression, ds.LossyImageCompressionMethod = "01", "ISO_10918_1"


def _encode(uid: str, pixels: np.ndarray) -> bytes:
    import imagecodecs

    if uid == JPEG_LOSSLESS:
        return bytes(imagecodecs.ljpeg_encode(pixels))
    if uid == HTJ2K:
        return bytes(imagecodecs.htj2k_encode(pixels, reversible=True))
    return bytes(imagecodecs.jpeg8_encode(pixels, level=95, bitspersample=12))
