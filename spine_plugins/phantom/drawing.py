"""One phantom by its seed: the picture, and everything that is true about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from spine_plugins.phantom.anatomy import VIEWS
from spine_plugins.phantom.lesions import KINDS
from spine_plugins.phantom.scene import Phantom, make_study, render
from spine_plugins.phantom.series import SeriesOptions, check_size
from stylegan2ada.errors import UserError


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
