"""The SpineClassifier: trained, measured and applied; here only the names that others may rely on."""

from typing import TYPE_CHECKING

from stylegan2ada.lazy import exports

if TYPE_CHECKING:
    from spine_plugins.classifier.cards import card_path, read_card, write_card
    from spine_plugins.classifier.model import (
        SpineClassifier,
        load_classifier,
        new_classifier,
        save_classifier,
    )

__all__ = [
    "SpineClassifier", "card_path", "load_classifier", "new_classifier", "read_card", "save_classifier",
    "write_card",
]  # fmt: skip

_MODEL, _CARDS = "spine_plugins.classifier.model", "spine_plugins.classifier.cards"
if not TYPE_CHECKING:  # a type checker that sees __getattr__ lets every misspelt name pass
    __getattr__, __dir__ = exports(
        __name__,
        {name: _CARDS if "card" in name else _MODEL for name in __all__},
    )
