"""For notebooks: one radiograph as the tool would write it, and a whole conversion as a function."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spine_plugins.dicom import codecs
from spine_plugins.dicom.settings import PRESETS, IngestSettings, check_labels, rare_for
from stylegan2ada.data.decode import open_picture
from stylegan2ada.errors import MissingError, UserError

PathLike = str | Path


def read_radiograph(
    path: PathLike,
    *,
    resolution: int = 256,  # side of the square, a power of two
    window: str | None = None,  # percentile | voi | minmax | paper | auto; None: as the preset says
    preset: str = "default",  # default | paper
    **settings: Any,  # other fields of spine_plugins.dicom.settings.IngestSettings
) -> np.ndarray:
    """One DICOM file as uint8 [H, W] ([H, W, 3] with channels=3): the pixels that the tool writes.

    A file that the tool would not take is a UserError with its reason; a missing decoder a MissingError.

    >>> import tempfile; from pathlib import Path; from spine_plugins import phantom
    >>> folder = Path(tempfile.mkdtemp(), "raw")
    >>> rows = phantom.write_dicom_tree(folder, 2, seed=1, size=(192, 160))
    >>> image = read_radiograph(folder / rows[0]["name"], resolution=64, crop="center")
    >>> image.shape, image.dtype.name
    ((64, 64), 'uint8')
    """
    from spine_plugins.dicom.convert import convert_item
    from spine_plugins.dicom.sources import Item

    chosen = _chosen(preset, window=window, resolution=resolution, hash_pixels=False, **settings)
    codecs.require_pydicom()
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} is not a file; give a DICOM file")
    record = convert_item(chosen, b"", Item(path.name, str(path), size=path.stat().st_size))
    if record.reason:
        because = f"{record.reason}: {record.detail}" if record.detail else record.reason
        kind = MissingError if record.reason == "decoder_missing" else UserError
        raise kind(f"{path} cannot become an image of a data set ({because})")
    with open_picture(record.png) as picture:
        return np.array(picture)


def convert_dicom(
    sources: PathLike | Sequence[PathLike],  # folders, zips, lists, files
    dest: PathLike,  # X.zip or a folder; reports go beside it as X_*
    *,
    annotations: PathLike | Sequence[PathLike] = (),  # CSV files or folders; (): what lies beside the sources
    labels: str | None = None,  # none | binary | spine8 | multi13 | csv:COLUMN; None: by the annotations
    split: str = "",  # as 0.8/0.1/0.1: X-train, X-val, X-test
    split_seed: int = 0,
    preset: str = "default",  # default | paper
    workers: int = 1,  # 1: this process; more need `if __name__ == "__main__"` in a script
    key_file: PathLike | None = None,  # of the patient and study hashes; None: X.key
    overwrite: bool = False,
    fail_over: float = 0.2,  # give up if more than this part of the images fails
    log: Callable[[str], None] | None = None,  # print, to hear what the command says
    **settings: Any,  # fields of spine_plugins.dicom.settings.IngestSettings
) -> dict[str, Any]:
    """DICOM files -> a data set, as `dataset_tool_dicom.py` writes it; returns what X_summary.json holds.

    >>> import tempfile; from pathlib import Path; from spine_plugins import phantom
    >>> folder = Path(tempfile.mkdtemp())
    >>> rows = phantom.write_dicom_tree(folder / "raw", 6, seed=1, size=(192, 160))
    >>> summary = convert_dicom(folder / "raw", folder / "spine.zip", labels="binary", resolution=32)
    >>> summary["kept"], summary["label_names"], (folder / "spine.zip").is_file()
    (6, ['normal', 'abnormal'], True)
    """
    from spine_plugins.dicom.ingest import run
    from spine_plugins.dicom.job import Job
    from stylegan2ada.data.splits import parse_split

    settings.setdefault("rare", rare_for(labels))
    chosen = _chosen(preset, **settings)
    check_labels(labels, chosen.label_rule)
    codecs.require_pydicom()
    job = Job(
        sources=list(_texts(sources)),
        dest=str(dest),
        settings=chosen,
        annotations=_texts(annotations),
        labels=labels,
        split=parse_split(split) if split else (),
        split_seed=split_seed,
        key_file=None if key_file is None else str(key_file),
        executor="serial" if workers <= 1 else "process",
        workers=workers,
        overwrite=overwrite,
        fail_over=fail_over,
        log=log or (lambda text: None),
    )
    return run(job)


def _chosen(preset: str, **settings: Any) -> IngestSettings:
    """The preset with these fields changed, checked; None leaves a field as it is."""
    if preset not in PRESETS:
        raise UserError(f"there is no preset {preset!r}; choose from {', '.join(PRESETS)}")
    known = [field.name for field in dataclasses.fields(IngestSettings)]
    unknown = [name for name in settings if name not in known]
    if unknown:
        raise UserError(f"there is no setting {unknown[0]!r}; choose from {', '.join(known)}")
    given = {name: value for name, value in settings.items() if value is not None}
    return dataclasses.replace(PRESETS[preset], **given).checked()


def _texts(paths: PathLike | Sequence[PathLike]) -> tuple[str, ...]:
    return (str(paths),) if isinstance(paths, str | Path) else tuple(map(str, paths))
