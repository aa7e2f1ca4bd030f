"""What radiographs add to the engine: DICOM datasets, phantoms, the classifier and the SpineGAN loss.

    import spine_plugins as sp
    image = sp.read_radiograph("radiograph.dcm")
    classifier = sp.load_classifier("classifier.safetensors")

Importing this package only registers names; what they stand for is imported when it is used.
"""

from typing import TYPE_CHECKING

from stylegan2ada.lazy import exports
from stylegan2ada.losses.registry import register_loss, register_term

if TYPE_CHECKING:
    from spine_plugins import audit, privacy, statistics
    from spine_plugins.classifier.model import load_classifier
    from spine_plugins.dicom.library import convert_dicom, read_radiograph
    from spine_plugins.losses.spine import SpineGANLoss
    from spine_plugins.phantom.dataset import draw_phantoms

register_loss("spine", "spine_plugins.losses.spine:SpineGANLoss")
register_loss("dp-sgd", "spine_plugins.privacy.private_loss:PrivateLoss")  # chosen by --dp-mode=sgd
register_term("spine", "spine_plugins.losses.spine:SpineTerm")
register_term("energy", "spine_plugins.losses.energy:EnergyTerm")

__all__ = [
    "SpineGANLoss", "audit", "convert_dicom", "draw_phantoms", "load_classifier", "privacy",
    "read_radiograph", "statistics",
]  # fmt: skip

_HOMES = {
    "classifier.model": ["load_classifier"],
    "dicom.library": ["convert_dicom", "read_radiograph"],
    "losses.spine": ["SpineGANLoss"],
    "phantom.dataset": ["draw_phantoms"],
}
_ROOMS = ["audit", "privacy", "statistics"]
if not TYPE_CHECKING:  # a type checker that sees __getattr__ lets every misspelt name pass
    __getattr__, __dir__ = exports(
        __name__,
        {name: f"{__name__}.{home}" for home, names in _HOMES.items() for name in names}
        | dict.fromkeys(_ROOMS, ""),
    )
