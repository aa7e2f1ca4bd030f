"""Synthetic spine radiographs with labels, boxes, masks and factors: nobody's data, drawn from a seed.

    phantom.draw(7).image                                         one image, float32 [H, W] in 0..1
    images, labels, rows = phantom.draw_phantoms(100)             a series as arrays
    phantom.write_dicom_tree("raw", 96)                           a folder laid out like VinDr-SpineXR
    phantom.write_dataset_zip("train.zip", 1600, resolution=64)   a training set without DICOM between

A lesion has a severity from 0 to 1. Thresholds make the labels, and normal spines carry lesions below them,
so the classes overlap as real ones do.
"""

from typing import TYPE_CHECKING

from stylegan2ada.lazy import exports

if TYPE_CHECKING:
    from spine_plugins.phantom.anatomy import VIEWS
    from spine_plugins.phantom.dataset import Phantoms, contact_sheet, draw_phantoms, write_dataset_zip
    from spine_plugins.phantom.dicom_tree import write_dicom_tree
    from spine_plugins.phantom.drawing import draw
    from spine_plugins.phantom.lesions import KINDS, THRESHOLDS
    from spine_plugins.phantom.scene import Phantom
    from spine_plugins.phantom.series import FACTOR_COLUMNS, LABEL_NAMES, pack_masks, unpack_masks

__all__ = [
    "FACTOR_COLUMNS", "KINDS", "LABEL_NAMES", "THRESHOLDS", "VIEWS", "Phantom", "Phantoms", "contact_sheet",
    "draw", "draw_phantoms", "pack_masks", "unpack_masks", "write_dataset_zip", "write_dicom_tree",
]  # fmt: skip

_HOMES = {
    "anatomy": ["VIEWS"],
    "dataset": ["Phantoms", "contact_sheet", "draw_phantoms", "write_dataset_zip"],
    "dicom_tree": ["write_dicom_tree"],
    "drawing": ["draw"],
    "lesions": ["KINDS", "THRESHOLDS"],
    "scene": ["Phantom"],
    "series": ["FACTOR_COLUMNS", "LABEL_NAMES", "pack_masks", "unpack_masks"],
}
if not TYPE_CHECKING:  # a type checker that sees __getattr__ lets every misspelt name pass
    __getattr__, __dir__ = exports(
        __name__, {name: f"{__name__}.{home}" for home, names in _HOMES.items() for name in names}
    )
