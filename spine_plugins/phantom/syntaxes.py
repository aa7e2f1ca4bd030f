"""Which transfer syntaxes the phantom can write here, and the pixel data as each of them wants it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from spine_plugins import uids

if TYPE_CHECKING:
    from pydicom import Dataset

PLAIN_SYNTAXES = (
    uids.EXPLICIT_VR_LITTLE_ENDIAN,
    uids.IMPLICIT_VR_LITTLE_ENDIAN,
    uids.EXPLICIT_VR_BIG_ENDIAN,
    uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
)
COMPRESSED = {  # what can be added by --codecs: (name, package that writes it)
    uids.JPEG_2000_LOSSLESS: ("JPEG 2000 lossless", "pylibjpeg-openjpeg"),
    uids.JPEG_LS_LOSSLESS: ("JPEG-LS lossless", "pyjpegls"),
    uids.JPEG_LOSSLESS_SV1: ("JPEG lossless", "imagecodecs"),
    uids.HTJ2K_LOSSLESS: ("HTJ2K lossless", "imagecodecs"),
    uids.JPEG_EXTENDED_12BIT: ("JPEG extended 12 bit", "imagecodecs"),
}
_ENCODERS = {  # pydicom's names of the encoders; what is not here is written by imagecodecs
    uids.RLE_LOSSLESS: "pydicom",
    uids.JPEG_LS_LOSSLESS: "pyjpegls",
    uids.JPEG_2000_LOSSLESS: "pylibjpeg",
}
_IMAGECODECS = {  # its names
    uids.JPEG_LOSSLESS_SV1: "LJPEG",
    uids.HTJ2K_LOSSLESS: "HTJ2K",
    uids.JPEG_EXTENDED_12BIT: "JPEG8",
}


def syntaxes(codecs: bool) -> tuple[str, ...]:
    """The transfer syntaxes that can be written here."""
    always = (*PLAIN_SYNTAXES, uids.RLE_LOSSLESS)
    return (*always, *(uid for uid in COMPRESSED if can_write(uid))) if codecs else always


def can_write(uid: str) -> bool:
    """True if the package that encodes this syntax is installed."""
    if uid in _ENCODERS:
        from pydicom.pixels import get_encoder

        return _ENCODERS[uid] in get_encoder(uid).available_plugins
    try:
        import imagecodecs
    except ImportError:
        return False
    # The name is always there; whether its library was built in is another matter.
    return bool(getattr(imagecodecs, _IMAGECODECS[uid]).available)


def missing_codecs() -> list[str]:
    """One line per syntax that --codecs has to leave out here."""
    return [
        f"{name} left out; pip install {package}"
        for uid, (name, package) in COMPRESSED.items()
        if not can_write(uid)
    ]


def put_pixels(ds: Dataset, pixels: np.ndarray) -> None:
    """Set the pixel data as the file's transfer syntax wants them."""
    uid = str(ds.file_meta.TransferSyntaxUID)
    if uid in PLAIN_SYNTAXES:
        is_swapped = uid == uids.EXPLICIT_VR_BIG_ENDIAN and pixels.itemsize == 2
        # pydicom writes pixel bytes as it gets them, in any byte order.
        data = (pixels.astype(">u2") if is_swapped else pixels).tobytes()
        # Values have even length (PS3.5 7.1.1).
        ds.PixelData = data + b"\0" * (len(data) % 2)
        ds["PixelData"].VR = "OB" if pixels.itemsize == 1 else "OW"
        return
    if uid in _ENCODERS:
        # A new UID would be a random one, and two trees of one seed would differ.
        ds.compress(
            uid, np.ascontiguousarray(pixels), encoding_plugin=_ENCODERS[uid], generate_instance_uid=False
        )
        return
    from pydicom.encaps import encapsulate

    ds.PixelData = encapsulate([_encode(uid, pixels)])
    ds["PixelData"].VR = "OB"
    if uid == uids.JPEG_EXTENDED_12BIT:
        # What has lost something must say so (PS3.3 C.7.6.1.1.5).
        ds.LossyImageCompression, ds.LossyImageCompressionMethod = "01", "ISO_10918_1"


def _encode(uid: str, pixels: np.ndarray) -> bytes:
    import imagecodecs

    if uid == uids.JPEG_LOSSLESS_SV1:
        return bytes(imagecodecs.ljpeg_encode(pixels))
    if uid == uids.HTJ2K_LOSSLESS:
        # Said outright, for the syntax allows nothing lossy.
        return bytes(imagecodecs.htj2k_encode(pixels, reversible=True))
    return bytes(imagecodecs.jpeg8_encode(pixels, level=95, bitspersample=12))
