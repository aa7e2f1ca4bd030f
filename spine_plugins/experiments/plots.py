"""Curves as PNG, in the colours of the paper; matplotlib is only needed here."""

from __future__ import annotations

import string
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spine_plugins.experiments import blog, curves
from spine_plugins.experiments.curves import Series, Trained
from spine_plugins.experiments.results import Arm
from spine_plugins.runs.documents import Document, as_dict, as_list, finite
from stylegan2ada import files
from stylegan2ada.errors import MissingError, NothingToDoError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DPI = 150
_LEGIBLE = 20  # distances between the largest and the smallest that one axis from 0 can show
# The paper draws SpineGAN blue and StyleGAN2-ADA orange; others follow in matplotlib's order.
_COLOURS = {"spine": "C0", "ada": "C1"}
_FID = "Fr\u00e9chet Inception Distance"
_FIGURE2 = (("fid", _FID), ("precision", "Precision"), ("recall", "Recall"))


def canvas(columns: int, rows: int, inches: tuple[float, float]) -> tuple[Figure, np.ndarray]:
    """(figure, [rows, columns] of axes); MissingError without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingError(
            "figures of curves need matplotlib, which is not installed; run: pip install 'spinegan[report]'"
        ) from error
    size = (inches[0] * columns, inches[1] * rows)
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")  # no pyplot: nothing global, no window
    return figure, figure.subplots(rows, columns, squeeze=False)


def save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # matplotlib would write its version into the file: after an update the same plot would differ.
    with files.atomic_write(path) as file:
        figure.savefig(file, format="png", metadata={"Software": None})


def figure2(runs: Sequence[Trained], series: Sequence[Series], path: Path) -> list[str]:
    """FID, precision and recall over training, a band over an arm's trainings; names of what is drawn."""
    chosen = [(title, next((s for s in series if word in s.name), None)) for word, title in _FIGURE2]
    drawn = [(title, s) for title, s in chosen if s is not None]
    if not drawn:
        raise NothingToDoError(
            "no snapshot was measured by FID or precision and recall, so nothing can be drawn; measure them: "
            "`spinegan metrics --network RUN --metrics=fid50k_full,pr50k3_full`"
        )
    figure, axes = canvas(len(drawn), 1, (4.2, 3.4))
    arms = list({t.arm.name: t.arm for t in runs}.values())
    for letter, (title, s), ax in zip(string.ascii_lowercase, drawn, axes[0]):
        for arm, colour in zip(arms, colours(arms)):
            points = curves.band([s.points[i] for i, t in enumerate(runs) if t.arm.name == arm.name])
            if not points:
                continue
            x, mean, low, high = map(list, zip(*points))
            ax.plot(x, mean, color=colour, lw=1.6, marker="o", ms=2.5, label=arm.title)
            ax.fill_between(x, low, high, color=colour, alpha=0.18, lw=0)
        is_other = s.yardstick.sha256 is not None and title == _FID  # that network is not Inception
        ax.set(title=f"{letter}. {title}" + f" ({s.yardstick.detector})" * is_other, xlabel="kimg")
        _scale(ax, s)
        ax.grid(color="0.92")
        ax.set_axisbelow(True)
    axes[0][0].legend(fontsize=8, frameon=False)
    save(figure, path)
    return [s.name for _, s in drawn]


def _scale(ax: Axes, series: Series) -> None:
    """From 0 on; distances that span more than that shows get powers of ten: those of untrained networks."""
    values = [y for points in series.points for _, y in points]
    is_share = series.images is not None
    if not is_share and min(values) > 0 and max(values) > _LEGIBLE * min(values):
        ax.set_yscale("log")
    else:
        ax.set_ylim(0, None)


def colours(arms: Sequence[Arm]) -> list[str]:
    """One for each arm; the paper's own where it has the arm."""
    others = (f"C{i}" for i in (2, 3, 4, 5, 6, 7, 8, 9) * len(arms))
    return [_COLOURS.get(arm.name) or next(others) for arm in arms]


def blog_curves(histories: dict[str, list[list[Document]]], path: Path) -> None:
    """Loss and accuracy of every experiment as the blog shows them: training and validation by epoch."""
    figure, axes = canvas(2, len(histories), (4.4, 2.5))
    for (title, runs), pair in zip(histories.items(), axes):
        for ax, kind in zip(pair, ("loss", "accuracy")):
            _history(ax, runs, kind)
            ax.set(title=f"{title}: {kind}", xlabel="epoch")
            ax.xaxis.get_major_locator().set_params(integer=True)
            ax.grid(color="0.92")
    save(figure, path)


def _history(ax: Axes, runs: Sequence[Sequence[Document]], kind: str) -> None:
    for where, colour, label in (("train", "C0", "training"), ("val", "C1", "validation")):
        found = blog.curve(runs, f"{where}_{kind}")
        if found is not None:
            mean, low, high = found
            epochs = np.arange(1, len(mean) + 1)
            ax.plot(epochs, mean, color=colour, label=label)
            ax.fill_between(epochs, low, high, color=colour, alpha=0.18, lw=0)
    if ax.lines:
        ax.legend(fontsize=8, frameon=False)
    else:
        ax.text(0.5, 0.5, "not recorded", ha="center", transform=ax.transAxes, color="0.5")


def dose(response: Document, path: Path) -> None:
    """Accuracy against the number of classic transforms."""
    points = [as_dict(p) for p in as_list(response.get("points"))]
    xy = [(x, y) for p in points if (x := finite(p.get("transforms"))) is not None
          and (y := finite(p.get("accuracy"))) is not None]  # fmt: skip
    figure, axes = canvas(1, 1, (4.4, 3.2))
    ax = axes[0][0]
    ax.plot([x for x, _ in xy], [y for _, y in xy], marker="o", color="C0")
    ax.set(xlabel="classic transforms (flip, rotate, zoom)", ylabel="accuracy", xticks=[x for x, _ in xy])
    ax.grid(color="0.92")
    save(figure, path)
