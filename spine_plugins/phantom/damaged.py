"""One file per way in which a DICOM file can be unusable, and the table of what a reader should say.

Left out are reasons that lie in the computer or in flags, not in a file: unreadable, decoder_missing,
timeout, memory, worker_crash, checksum_mismatch, body_part_rejected, forbidden_group, inflate_limit (see
below), not_in_subset, over_max_images, and multi_label, which only eight classes know.
"""

from __future__ import annotations

import copy
import io
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image

from spine_plugins import uids
from spine_plugins.phantom.dicom_file import (
    AnnotationRow,
    Identity,
    Traits,
    annotation_rows,
    import_pydicom,
    make_file,
    stored_pixels,
)
from spine_plugins.phantom.scene import Box, make_study, render
from spine_plugins.phantom.series import hashed
from spine_plugins.vindr import NO_FINDING
from stylegan2ada import files

if TYPE_CHECKING:
    from pydicom import Dataset

_SIZE = (320, 256)
_PLAIN = Traits(uids.EXPLICIT_VR_LITTLE_ENDIAN, 12, False, "present", 1.0, 0.0, True, True)
_EIGHT_BIT = Traits(uids.EXPLICIT_VR_LITTLE_ENDIAN, 8, False, "absent", 1.0, 0.0, True, True)
_PLACE = (100.0, 140.0, 150.0, 190.0)  # of a lesion, well inside every crop
_BOMB_BYTES = 64 << 20


def write_bad_files(out: Path, seed: int) -> tuple[list[AnnotationRow], Expected]:
    """Fill `out/bad`; returns the rows that these files need in train.csv, and what a reader should say.

    Expected are the tool's default limits and binary labels. The deflate bomb grows to 64 MB, which is below
    the default --max-inflate of 512 MB: what stops it then is the image size that it claims (20000x20000 is
    above --max-pixels). With --max-inflate=32 it is `inflate_limit`.
    """
    folder = out / "bad"
    folder.mkdir()
    maker = _Maker(folder, seed)
    for name, (make, _, _) in _FILES.items():
        maker.write(name, make)
    expected = {f"bad/{name}": (status, reason) for name, (_, status, reason) in _FILES.items()}
    return maker.annotations, expected | _write_links(folder)


def write_expected(out: Path, expected: Expected) -> None:
    """expected.csv: a line for every file below `out`, once all are there; those not named are sound."""
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_file() and name not in expected:
            expected[name] = ("ok", "") if name.endswith(".dicom") else ("skipped", "not_dicom")
    expected["expected.csv"] = ("skipped", "not_dicom")
    rows = [(name, *expected[name]) for name in sorted(expected)]
    files.write_csv(out / "expected.csv", ("path", "status", "reason"), rows)


class _Maker:
    """Makes sound files of its own pixels for each name, to be spoilt in one respect."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        self.annotations: list[AnnotationRow] = []
        self.number = 0

    def write(self, name: str, make: Make) -> None:
        self.number += 1
        (self.folder / name).write_bytes(make(self, name))

    def sound(
        self,
        name: str,
        traits: Traits = _PLAIN,
        *,
        lesion: str = NO_FINDING,  # "": the annotations do not speak of this file
        place: tuple[float, float, float, float] = _PLACE,  # of the lesion: xmin, ymin, xmax, ymax
        pixels_of: str = "",  # another file that shall show the same picture
    ) -> Dataset:
        """A dataset that would be accepted, with its line in train.csv."""
        # By name, so that a new file leaves the others as they are; hash() differs between processes.
        seed = np.random.SeedSequence((self.seed, zlib.crc32((pixels_of or name).encode())))
        image = render(make_study(seed, kinds={}), 0, _SIZE).image
        stem = name.rsplit(".", 1)[0]
        study = hashed(f"phantom bad {self.seed} {stem}")
        if lesion:
            boxes: list[Box] = [] if lesion == NO_FINDING else [(lesion, *place)]
            self.annotations += annotation_rows(study, study, stem, boxes)
        who = Identity(
            image=f"bad {self.seed} {stem}",
            study=study,
            series=study,
            patient=f"BAD{self.number:03d}",
            name=f"Phantom^Bad{self.number:03d}",
        )
        return make_file(stored_pixels(image, traits), traits, who)


Make = Callable[[_Maker, str], bytes]  # the bytes of the file of that name
Expected = dict[str, tuple[str, str]]  # path below the tree: status and reason of the DICOM tool


def _saved(ds: Dataset) -> bytes:
    with io.BytesIO() as buffer:
        ds.save_as(buffer, enforce_file_format=True)
        return buffer.getvalue()


def _changed(**values: str | int) -> Make:
    """A sound file with other header values."""

    def make(maker: _Maker, name: str) -> bytes:
        ds = maker.sound(name)
        for keyword, value in values.items():
            setattr(ds, keyword, value)
        return _saved(ds)

    return make


def _cropped(rows: int, columns: int) -> Make:
    def make(maker: _Maker, name: str) -> bytes:
        ds = maker.sound(name)
        ds.PixelData = np.ascontiguousarray(ds.pixel_array[:rows, :columns]).tobytes()
        ds.Rows, ds.Columns = rows, columns
        return _saved(ds)

    return make


def _with_frame(syntax: str, frame: Callable[[], bytes]) -> Make:
    """A file that says it is compressed, around the bytes of one frame; 8 bit, one frame."""

    def make(maker: _Maker, name: str) -> bytes:
        from pydicom.encaps import encapsulate
        from pydicom.uid import UID

        ds = maker.sound(name, _EIGHT_BIT)
        ds.file_meta.TransferSyntaxUID = UID(syntax)
        ds.PixelData = encapsulate([frame()])
        # Encapsulated pixels are OB whatever their depth (PS3.5 A.4).
        ds["PixelData"].VR = "OB"
        return _saved(ds)

    return make


def _jpeg_with(frame: Callable[[], bytes]) -> Make:
    return _with_frame(uids.JPEG_BASELINE_8BIT, frame)


def _jpeg_of_other_size() -> bytes:
    with io.BytesIO() as buffer:
        grey = np.tile(np.arange(200, dtype=np.uint8), (240, 1))
        PIL.Image.fromarray(grey).save(buffer, format="JPEG")
        return buffer.getvalue()


def _without_pixels(maker: _Maker, name: str) -> bytes:
    ds = maker.sound(name)
    del ds.PixelData
    return _saved(ds)


def _without_meta(maker: _Maker, name: str) -> bytes:
    ds = maker.sound(name)
    with io.BytesIO() as buffer:
        import_pydicom().dcmwrite(
            buffer, _bare(ds), implicit_vr=False, little_endian=True, enforce_file_format=False
        )
        return buffer.getvalue()


def _bare(ds: Dataset) -> Dataset:
    bare = copy.deepcopy(ds)
    del bare.file_meta
    return bare


def _truncated(maker: _Maker, name: str) -> bytes:
    whole = _saved(maker.sound(name))
    return whole[: len(whole) - _SIZE[0] * _SIZE[1]]  # half of the 16 bit pixels


def _bits_lie(maker: _Maker, name: str) -> bytes:
    ds = maker.sound(name)
    ds.BitsStored, ds.HighBit = 10, 9  # the pixels use 12
    return _saved(ds)


def _rgb(maker: _Maker, name: str) -> bytes:
    ds = maker.sound(name, _EIGHT_BIT)
    ds.PixelData = np.repeat(ds.pixel_array[:, :, None], 3, 2).tobytes()
    ds.SamplesPerPixel, ds.PlanarConfiguration, ds.PhotometricInterpretation = 3, 0, "RGB"
    return _saved(ds)


def _frames(maker: _Maker, name: str) -> bytes:
    ds = maker.sound(name)
    ds.NumberOfFrames, ds.PixelData = 3, ds.PixelData * 3
    return _saved(ds)


def _constant(maker: _Maker, name: str) -> bytes:
    ds = maker.sound(name)
    ds.PixelData = np.full(_SIZE, 700, np.uint16).tobytes()
    return _saved(ds)


def _one_bit(maker: _Maker, name: str) -> bytes:
    ds = maker.sound(name)
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 1, 1, 0
    ds.PixelData = ds.PixelData[: _SIZE[0] * _SIZE[1] // 8]
    return _saved(ds)


def _same_sop(maker: _Maker, name: str) -> bytes:
    ds = maker.sound(name)
    # No annotation here: the original's own file has written its row.
    ds.SOPInstanceUID = maker.sound("a_original.dicom", lesion="").SOPInstanceUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return _saved(ds)


def _conflict(lesion: str) -> Make:
    return lambda maker, name: _saved(maker.sound(name, lesion=lesion, pixels_of="conflict"))


def _dicomdir(maker: _Maker, name: str) -> bytes:
    # A directory has a file meta of its own, without what the image's said.
    ds = _bare(maker.sound(name, lesion=""))
    pydicom = import_pydicom()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.UID(uids.EXPLICIT_VR_LITTLE_ENDIAN)
    ds.SOPClassUID = pydicom.uid.UID(uids.MEDIA_STORAGE_DIRECTORY_STORAGE)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    del ds.PixelData
    ds.DirectoryRecordSequence = pydicom.Sequence()
    return _saved(ds)


def _bomb(maker: _Maker, name: str) -> bytes:
    """64 MB of zeros behind the pixel data of a small file, deflated to some 70 kB."""
    ds = maker.sound(name)
    ds.Rows = ds.Columns = 20000
    ds.file_meta.TransferSyntaxUID = import_pydicom().uid.UID(uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)
    # Room for the header, so that the whole stays below the size that is told.
    ds.PixelData = b"\0" * (_BOMB_BYTES - 4096)
    return _saved(ds)


def _rle_beyond_the_end() -> bytes:
    """An RLE frame whose header points behind its own end: some decoders panic on it."""
    # PS3.5 G: the number of segments, then 15 offsets; the first of them lies a gigabyte on.
    return np.array([1, 1 << 30, *[0] * 14], "<u4").tobytes() + bytes(range(64))


_FILES: dict[str, tuple[Make, str, str]] = {
    "a_original.dicom": (lambda maker, name: _saved(maker.sound(name)), "ok", ""),
    "bits_stored_lie.dicom": (_bits_lie, "ok", ""),
    "DICOMDIR": (_dicomdir, "skipped", "dicomdir"),
    "burned_in.dicom": (_changed(BurnedInAnnotation="YES"), "excluded", "burned_in"),
    "colour.dicom": (_rgb, "excluded", "colour"),
    "conflict_1.dicom": (_conflict(NO_FINDING), "excluded", "conflicting_label"),
    "conflict_2.dicom": (_conflict("Osteophytes"), "excluded", "conflicting_label"),
    "constant.dicom": (_constant, "excluded", "constant_image"),
    "corrupt_rle.dicom": (_with_frame(uids.RLE_LOSSLESS, _rle_beyond_the_end), "failed", "decode_error"),
    "deflate_bomb.dicom": (_bomb, "excluded", "too_large"),
    "duplicate_pixels.dicom": (
        lambda maker, name: _saved(maker.sound(name, pixels_of="a_original.dicom")),
        "excluded", "duplicate_pixels",
    ),
    "duplicate_sop.dicom": (_same_sop, "excluded", "duplicate_sop"),
    "geometry.dicom": (_jpeg_with(_jpeg_of_other_size), "failed", "geometry_mismatch"),
    "lost_label.dicom": (
        lambda maker, name: _saved(maker.sound(name, lesion="Fracture", place=(20.0, 2.0, 60.0, 14.0))),
        "excluded", "label_lost_by_crop",
    ),
    "modality.dicom": (_changed(Modality="CT"), "excluded", "modality_rejected"),
    "mpeg.dicom": (_with_frame(uids.MPEG2_MPML, lambda: bytes(512)), "failed", "unsupported_syntax"),
    "multi_frame.dicom": (_frames, "excluded", "multi_frame"),
    "no_label.dicom": (lambda maker, name: _saved(maker.sound(name, lesion="")), "excluded", "no_label"),
    "no_meta.dicom": (_without_meta, "skipped", "not_dicom"),
    "no_pixel_data.dicom": (_without_pixels, "failed", "no_pixel_data"),
    "one_bit.dicom": (_one_bit, "failed", "bits_unsupported"),
    "rows_zero.dicom": (_changed(Rows=0), "failed", "header_invalid"),
    "text.dicom": (lambda maker, name: b"This is not a DICOM file.\n" * 40, "skipped", "not_dicom"),
    "too_small.dicom": (_cropped(64, 64), "excluded", "too_small"),
    "truncated.dicom": (_truncated, "failed", "pixel_data_short"),
    "unknown_label.dicom": (
        lambda maker, name: _saved(maker.sound(name, lesion="Unheard-of lesion")), "excluded", "unknown_label"
    ),
    "wrong_syntax.dicom": (_jpeg_with(lambda: bytes(range(256)) * 8), "failed", "decode_error"),
}  # fmt: skip


def _write_links(folder: Path) -> Expected:
    """Links that lead nowhere and out of the folder, where the system has links."""
    try:
        os.symlink("nothing-here.dicom", folder / "dangling.dicom")
        os.symlink(os.path.join("..", "..", "outside-of-the-phantom.dicom"), folder / "escape.dicom")
    except (OSError, NotImplementedError):
        return {}
    return {
        "bad/dangling.dicom": ("skipped", "not_regular_file"),
        "bad/escape.dicom": ("skipped", "path_escape"),
    }
