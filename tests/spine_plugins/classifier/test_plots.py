"""The plots say of how many images they are, and how sure they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spine_plugins.classifier import plots
from spine_plugins.classifier.evaluation import evaluate
from spine_plugins.classifier.labelled import open_labelled
from tests.spine_plugins.classifier.making import write_spots


@pytest.mark.skipif(not plots.is_available(), reason="matplotlib is an extra")
@pytest.mark.parametrize("draw", [plots.draw_roc, plots.draw_calibration])
def test_curves_have_a_number_of_images_and_a_band(draw, tmp_path: Path, monkeypatch) -> None:
    data = open_labelled(str(write_spots(tmp_path / "d.zip", 60, size=16)))
    assert data.targets is not None
    logits = (2 * data.targets - 1) + np.random.default_rng(0).normal(0, 2, data.targets.shape)
    drawn = []
    monkeypatch.setattr(plots, "_write", lambda figure, axes, path, place: drawn.append(axes))
    draw(data, logits, evaluate(data, logits, resamples=20), tmp_path / "x.png")
    (axes,) = drawn
    positive = int(data.targets.sum())
    assert [line.get_label().endswith(f"n = {positive} of 60") for line in axes.get_lines()[1:]] == [True]
    bands = [
        c for c in axes.collections if type(c).__name__ in ("PolyCollection", "FillBetweenPolyCollection")
    ]
    assert len(bands) == 1
    # The band is around its curve, and has a width.
    low, high = bands[0].get_paths()[0].get_extents().intervaly
    assert 0 <= low < high <= 1


def test_the_band_holds_the_curve_of_the_sample() -> None:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 200)
    score = y + rng.normal(0, 1, 200)
    grid = np.linspace(0, 1, 51)
    low, high = plots._roc_band(y, score, None, grid)
    false_positive, sensitivity, _ = plots.st.roc_curve(y, score)
    curve = np.interp(grid, false_positive, sensitivity)
    assert np.mean((low <= curve + 1e-9) & (curve <= high + 1e-9)) > 0.95
    # Whole patients that are drawn together leave less certainty than single images.
    same = np.repeat(y[:40], 5), np.repeat(score[:40], 5)
    wide = plots._roc_band(*same, [str(i // 5) for i in range(200)], grid)
    narrow = plots._roc_band(*same, None, grid)
    assert (wide[1] - wide[0]).mean() > (narrow[1] - narrow[0]).mean()
