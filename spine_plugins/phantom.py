"""Synthetic spine radiographs with labels, boxes, masks and factors: nobody's data, drawn from a seed.

    phantom.draw(7).image                                         one image, float32 [H, W] in 0..1
    phantom.write_dicom_tree("raw", 96)                           a folder laid out like VinDr-SpineXR
    phantom.write_dataset_zip("train.zip", 1600, resolution=64)   a training set without DICOM between

A lesion has a severity from 0 to 1. Thresholds make the labels, and normal spines carry lesions below them,
so the classes overlap as real ones do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from spine_plugins.phantom_anatomy import VIEWS
from spine_plugins.phantom_dataset import contact_sheet, write_dataset_zip
from spine_plugins.phantom_dicom import write_dicom_tree
from spine_plugins.phantom_lesions import KINDS, THRESHOLDS
from spine_plugins.phantom_scene import Phantom, make_study, render
from spine_plugins.phantom_series import (
    FACTOR_COLUMNS,
    LABEL_NAMES,
    SeriesOptions,
    check_size,
    pack_masks,
    unpack_masks,
)
from stylegan2ada.errors import UserError

__all__ = [
    "FACTOR_COLUMNS",
    "KINDS",
    "LABEL_NAMES",
    "THRESHOLDS",
    "VIEWS",
    "Phantom",
    "contact_sheet",
    "draw",
    "pack_masks",
    "unpack_masks",
    "write_dataset_zip",
    "write_dicom_tree",
]


def draw(
    seed_or_rng: int | np.random.Generator,
    size: tuple[int, int] = (512, 448),
    view: str | None = None,
    kinds: Mapping[str, float] | Iterable[str] | None = None,
    difficulty: float = 1.0,
    confound: float = 0.0,
) -> Phantom:
    """One phantom of `size` (height, width).

    kinds: None draws a finding by chance; {"Osteophytes": 0.8} sets the severity; ["Osteophytes"] draws one
    above the threshold; {} gives a spine without any lesion. The same seed with other kinds is the same
    patient, exposed in the same way: a counterfactual twin. "Foraminal stenosis" shows from the side only;
    the front view shows the narrow disc that comes with it.
    difficulty: lesions look `severity / difficulty` strong, labels stay. confound: 0..1, see SeriesOptions.
    """
    SeriesOptions(size=size, difficulty=difficulty, confound=confound).checked()
    check_size(size)
    if view is not None and view not in VIEWS:
        raise UserError(f"view {view!r} is unknown; choose from {', '.join(VIEWS)}")
    if kinds is not None:
        kinds = dict(kinds) if isinstance(kinds, Mapping) else list(kinds)
        unknown = [kind for kind in kinds if kind not in KINDS]
        if unknown:
            raise UserError(f"lesion {unknown[0]!r} is unknown; choose from {', '.join(KINDS)}")
    if isinstance(seed_or_rng, np.random.Generator):
        seed_or_rng = int(seed_or_rng.integers(2**62))
    study = make_study(
        np.random.SeedSequence(seed_or_rng), kinds=kinds, confound=confound, difficulty=difficulty
    )
    return render(study, 0, size, view)
