"""Quality in numbers: pure formulas (features in, number out), detectors, the registry of public names.

>>> real, fake = np.random.RandomState(0).randn(2, 100, 8)
>>> sg.metrics.fid.fid(real, real) < 1e-9 < sg.metrics.fid.fid(real, fake)
True
>>> sg.metrics.precision_recall.precision_recall(real, real).recall
1.0
"""

from typing import TYPE_CHECKING

from stylegan2ada.lazy import exports

if TYPE_CHECKING:
    from stylegan2ada.metrics import (
        detectors,
        features,
        fid,
        inception_score,
        kid,
        ppl,
        precision_recall,
        registry,
    )
    from stylegan2ada.metrics.registry import calc_metric, list_valid_metrics

__all__ = [
    "calc_metric", "detectors", "features", "fid", "inception_score", "kid", "list_valid_metrics", "ppl",
    "precision_recall", "registry",
]  # fmt: skip

_FROM_REGISTRY = ("calc_metric", "list_valid_metrics")
if not TYPE_CHECKING:  # a type checker that sees __getattr__ lets every misspelt name pass
    __getattr__, __dir__ = exports(
        __name__, {name: f"{__name__}.registry" if name in _FROM_REGISTRY else "" for name in __all__}
    )
