"""The audit: whether synthetic images are copies of patients, and whether that could have been seen.

From Python, on arrays (`spinegan audit` does the same with zips, and writes the page):

    >>> images, labels, rows = sp.draw_phantoms(30, seed=1, resolution=32)
    >>> patients = [row["patient"] for row in rows]
    >>> part = lambda role, a, b: sp.audit.from_arrays(images[a:b, None], role, patients[a:b])
    >>> sets = sp.audit.Inputs(part("train", 0, 10), part("holdout", 10, 20), part("fakes", 20, 30))
    >>> pixels = sp.audit.find_features("pixels")
    >>> sp.audit.run(sets, [pixels], only=("copies",), is_planted=False).verdict
    'UNDERPOWERED'
"""

from typing import TYPE_CHECKING

from stylegan2ada.lazy import exports

if TYPE_CHECKING:
    from spine_plugins.audit.auditing import run
    from spine_plugins.audit.features import find_features
    from spine_plugins.audit.inputs import Inputs, from_arrays, open_inputs

__all__ = ["Inputs", "find_features", "from_arrays", "open_inputs", "run"]

_HOMES = {
    "auditing": ["run"],
    "features": ["find_features"],
    "inputs": ["Inputs", "from_arrays", "open_inputs"],
}
if not TYPE_CHECKING:  # a type checker that sees __getattr__ lets every misspelt name pass
    __getattr__, __dir__ = exports(
        __name__, {name: f"{__name__}.{home}" for home, names in _HOMES.items() for name in names}
    )
