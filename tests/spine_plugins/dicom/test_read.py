"""Reader: syntaxes, polarity, bits and signs; twins of one picture must give the same bytes."""
# ruff: noqa: E501 - tables

from __future__ import annotations

import numpy as np
import pytest

from tests.spine_plugins.dicom import making
from tests.spine_plugins.dicom.making import (
    convert_bytes,
    convert_dataset,
    dataset,
    image_of,
    radiograph,
    to_bytes,
)

PIXELS = radiograph(300, 260, bits=12, seed=3)


@pytest.fixture(scope="module")
def plain() -> dict:
    return convert_dataset(dataset(PIXELS, bits=12))


@pytest.mark.parametrize("syntax", making.LOSSLESS)
def test_every_lossless_syntax_gives_the_same_bytes(syntax, plain):
    record = convert_dataset(dataset(PIXELS, syntax, bits=12))
    assert record["reason"] == "", record["detail"]
    assert record["png"] == plain["png"]
    assert record["pixels"] == plain["pixels"]
    assert record["header"]["transfer_syntax"] == syntax


@pytest.mark.parametrize(
    ("syntax", "bits", "worst"),
    [(making.J2K_LOSSY, 12, 12), (making.EXTENDED, 12, 12), (making.BASELINE, 8, 12)],
)
def test_lossy_syntaxes_are_close(syntax, bits, worst):
    pixels = PIXELS if bits == 12 else (PIXELS >> 4).astype(np.uint8)
    record = convert_dataset(dataset(pixels, syntax, bits=bits))
    exact = convert_dataset(dataset(pixels, bits=bits))
    assert np.abs(image_of(record).astype(int) - image_of(exact)).max() <= worst


@pytest.mark.parametrize("options", [
    {}, {"window": "minmax"}, {"window": "voi"}, {"resize": "lanczos"}, {"resize": "nearest"}, {"crop": "center"}, {"crop": "pad"},
    {"resolution": 256}, {"window": "auto"},
])  # fmt: skip
def test_monochrome1_equals_its_monochrome2_twin(options):
    for seed in range(4):
        pixels = radiograph(300, 260, bits=12, seed=seed)
        window = {"WindowWidth": 2500, "VOILUTFunction": "LINEAR_EXACT"}
        one = dataset(pixels, bits=12, PhotometricInterpretation="MONOCHROME1", WindowCenter=2000, **window)
        two = dataset(4095 - pixels, bits=12, WindowCenter=4095 - 2000, **window)
        first, second = convert_dataset(one, **options), convert_dataset(two, **options)
        assert first["inverted"]
        assert not second["inverted"]
        assert first["png"] == second["png"], options
        assert first["pixels"] != second["pixels"]


def test_presentation_lut_inverse_is_applied_once():
    inverse = convert_dataset(dataset(PIXELS, bits=12, PresentationLUTShape="INVERSE"))
    both = convert_dataset(
        dataset(PIXELS, bits=12, PresentationLUTShape="INVERSE", PhotometricInterpretation="MONOCHROME1")
    )
    assert inverse["png"] == both["png"]
    assert inverse["inverted"]


def test_polarity_can_be_overruled(plain):
    one = dataset(PIXELS, bits=12, PhotometricInterpretation="MONOCHROME1")
    assert convert_dataset(one, polarity="keep")["png"] == plain["png"]
    inverted = image_of(convert_dataset(one, polarity="invert"))
    assert np.abs(255 - inverted.astype(int) - image_of(plain)).max() <= 1  # ties round up on both sides


def test_signed_equals_unsigned_with_offset(plain):
    signed = (PIXELS.astype(np.int32) - 2048).astype(np.int16)
    record = convert_dataset(dataset(signed, bits=12))
    assert record["header"]["warnings"] == []
    assert record["png"] == plain["png"]
    assert record["header"]["signed"] is True
    # Not sign-extended by the writer, which the standard allows: the upper four bits are zero.
    cut = dataset((signed.view(np.uint16) & 0x0FFF), bits=12, PixelRepresentation=1)
    assert convert_dataset(cut)["png"] == plain["png"]


def test_rescale_does_not_change_a_percentile_window(plain):
    record = convert_dataset(dataset(PIXELS, bits=12, RescaleSlope="0.37", RescaleIntercept="-1024"))
    assert record["png"] == plain["png"]
    assert record["low"] == pytest.approx(0.37 * plain["low"] - 1024)
    negative = convert_dataset(dataset(PIXELS, bits=12, RescaleSlope="-2", RescaleIntercept="9000"))
    assert np.abs(255 - image_of(negative).astype(int) - image_of(plain)).max() <= 1
    assert negative["low"] < negative["high"]


def test_absurd_rescale_is_ignored(plain):
    for slope, intercept in (("0", "0"), ("1e30", "0"), ("1", "1e300")):
        record = convert_dataset(dataset(PIXELS, bits=12, RescaleSlope=slope, RescaleIntercept=intercept))
        assert record["header"]["warnings"] == ["rescale_invalid"]
        assert record["png"] == plain["png"]


def test_bits_stored_too_low_is_noticed_and_not_believed(plain):
    for syntax in (making.EXPLICIT, making.RLE, making.J2K, making.JPEG_LS):
        made = dataset(PIXELS, syntax, bits=12)
        made.BitsStored, made.HighBit = 10, 9
        record = convert_dataset(made)
        assert "bits_mismatch" in record["header"]["warnings"], syntax
        assert record["header"]["true_max"] == PIXELS.max()
        assert record["png"] == plain["png"], syntax


def test_garbage_and_overlays_in_unused_bits_are_removed(plain):
    rng = np.random.default_rng(0)
    garbage = PIXELS | (rng.integers(0, 16, PIXELS.shape) << 12).astype(np.uint16)
    record = convert_dataset(dataset(garbage, bits=12))
    assert record["header"]["warnings"] == ["unused_bits_cleared"]
    assert record["png"] == plain["png"]
    overlay = PIXELS.copy()
    overlay[40:60, 40:200] |= 1 << 14  # a smooth graphic: only the header tells it from a value
    made = dataset(overlay, bits=12)
    made.add_new(0x60000100, "US", 1)
    made.add_new(0x60000102, "US", 14)
    record = convert_dataset(made)
    assert record["header"]["warnings"] == ["overlay_in_pixels"]
    assert record["png"] == plain["png"]


def test_values_in_the_upper_bits(plain):
    record = convert_dataset(dataset(PIXELS << 4, bits=12, HighBit=15))
    assert record["header"]["warnings"] == ["high_bit_shifted"]
    assert record["png"] == plain["png"]


def test_wrong_sign_tag_is_noticed_in_radiographs_only(plain):
    made = dataset(PIXELS, bits=12, PixelRepresentation=1)  # values above 2047 would wrap below zero
    record = convert_dataset(made)
    assert record["header"]["warnings"] == ["sign_mismatch"]
    assert record["png"] == plain["png"]
    made.Modality = "CT"
    other = convert_dataset(made, modality="any")
    assert "sign_mismatch" not in other["header"]["warnings"]
    assert other["png"] != plain["png"]


def test_modality_lookup_table():
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    made = dataset((PIXELS >> 4).astype(np.uint8), bits=8)
    item = Dataset()
    item.add_new(0x00283002, "US", [256, 0, 16])
    item.add_new(0x00283006, "US", [min(65535, 257 * value) for value in range(256)])
    made.ModalityLUTSequence = Sequence([item])
    record = convert_dataset(made)
    assert record["header"]["true_max"] == (PIXELS >> 4).max()  # stored values, before the table
    assert (
        record["png"] == convert_dataset(dataset((PIXELS >> 4).astype(np.uint8), bits=8))["png"]
    )  # a linear table
    assert record["high"] > 255


@pytest.mark.parametrize(("change", "reason"), [
    ({"Modality": "CT"}, "modality_rejected"), ({"Modality": None}, ""), ({"Modality": "RTIMAGE"}, "modality_rejected"),
    ({"BurnedInAnnotation": "YES"}, "burned_in"), ({"BurnedInAnnotation": "NO"}, ""),
    ({"PhotometricInterpretation": "PALETTE COLOR"}, "colour"), ({"PhotometricInterpretation": None}, "header_invalid"),
    ({"Rows": 0}, "header_invalid"), ({"Rows": None}, "header_invalid"), ({"SamplesPerPixel": None}, "header_invalid"),
    ({"BitsStored": 17, "HighBit": 16}, "header_invalid"), ({"NumberOfFrames": 3}, "multi_frame"),
    ({"Rows": 400}, "pixel_data_short"), ({"Rows": 65535, "Columns": 65535}, "too_large"),
])  # fmt: skip
def test_headers_that_are_refused(change, reason):
    assert convert_dataset(dataset(PIXELS, bits=12, **change))["reason"] == reason


def test_rules_can_be_opened():
    assert (
        convert_dataset(dataset(PIXELS, bits=12, BurnedInAnnotation="YES"), allow_burned_in=True)["reason"]
        == ""
    )
    assert convert_dataset(dataset(PIXELS, bits=12, Modality="CT"), modality="CR,CT")["reason"] == ""
    assert convert_dataset(dataset(PIXELS, bits=12), modality="DX")["reason"] == "modality_rejected"
    assert (
        convert_dataset(dataset(PIXELS, bits=12, BodyPartExamined="LSPINE"), body_part="spine")["reason"]
        == ""
    )
    assert convert_dataset(dataset(PIXELS, bits=12), body_part="spine")["reason"] == "body_part_rejected"
    assert convert_dataset(dataset(PIXELS, bits=12), body_part="spine|^$")["reason"] == ""
    assert convert_dataset(dataset(PIXELS, bits=12), min_size=261)["reason"] == "too_small"


def test_frames_and_colour():
    frames = np.stack([PIXELS, PIXELS[::-1], PIXELS[:, ::-1]])
    made = dataset(PIXELS, bits=12, NumberOfFrames=3)
    made.PixelData = frames.tobytes()
    first, middle = convert_dataset(made, frames="first"), convert_dataset(made, frames="middle")
    assert first["png"] == convert_dataset(dataset(PIXELS, bits=12))["png"]
    assert middle["png"] == convert_dataset(dataset(np.ascontiguousarray(PIXELS[::-1]), bits=12))["png"]
    grey = (PIXELS >> 4).astype(np.uint8)
    colour = dataset(np.stack([grey] * 3, axis=-1), PhotometricInterpretation="RGB")
    assert convert_dataset(colour)["reason"] == "colour"
    record = convert_dataset(colour, colour="luma")
    assert record["png"] == convert_dataset(dataset(grey))["png"]
    assert record["header"]["warnings"][0] == "colour_to_luma"


def test_constant_images():
    assert convert_dataset(dataset(np.full((200, 200), 700, np.uint16)))["reason"] == "constant_image"
    assert (
        convert_dataset(dataset(np.zeros((200, 200), np.uint16)), window="paper")["reason"]
        == "constant_image"
    )


def test_syntax_that_contradicts_the_data():
    raw = dataset(PIXELS, bits=12)
    raw.file_meta.TransferSyntaxUID = making.UID(making.MPEG4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making.UID, "is_encapsulated", property(lambda self: False), raising=False)
    data = to_bytes(dataset(PIXELS, making.J2K, bits=12)).replace(
        b"1.2.840.10008.1.2.4.90", b"1.2.840.10008.1.2.4.99"
    )
    assert convert_bytes(data)["reason"] == "unsupported_syntax"
    lie = to_bytes(dataset(PIXELS, making.J2K, bits=12)).replace(
        b"1.2.840.10008.1.2.4.90", b"1.2.840.10008.1.2.4.80"
    )
    assert convert_bytes(lie)["reason"] == "decode_error"
    other = dataset(PIXELS, making.J2K, bits=12)
    other.Rows = 299
    assert convert_dataset(other)["reason"] == "geometry_mismatch"


def test_several_fragments_and_no_offset_table(plain):
    from pydicom.encaps import encapsulate

    made = dataset(PIXELS, making.JPEG_LS, bits=12)
    frame = making.encoded(PIXELS, made, making.JPEG_LS)
    made.PixelData = encapsulate([frame], fragments_per_frame=7, has_bot=False)
    made["PixelData"].VR = "OB"
    assert convert_dataset(made)["png"] == plain["png"]


def test_padding_after_the_pixels_is_a_warning(plain):
    made = dataset(PIXELS, bits=12)
    made.PixelData += b"\0" * 64
    record = convert_dataset(made)
    assert record["header"]["warnings"] == ["excess_padding"]
    assert record["png"] == plain["png"]


def test_three_channels_repeat_the_grey(plain):
    image = image_of(convert_dataset(dataset(PIXELS, bits=12), channels=3))
    assert image.shape == (64, 64, 3)
    assert (image == image_of(plain)[:, :, None]).all()
