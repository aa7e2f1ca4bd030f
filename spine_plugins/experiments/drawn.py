"""Intervals and matrices as inline SVG, small enough to stand in a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spine_plugins.markup import Safe, tag
from spine_plugins.runs.documents import Document, as_dict, finite

_WIDTH, _HEIGHT, _ROOM = 230, 22, 8
_CELL, _GUTTER, _TOP = 46, 190, 34  # of a matrix


@dataclass(frozen=True)
class Scale:
    """One axis for all intervals of a table."""

    low: float
    high: float

    @classmethod
    def around(cls, intervals: Sequence[Document], marks: Sequence[float | None] = ()) -> Scale | None:
        """Round ends around everything that is drawn; None if nothing is."""
        found = [finite(i.get(key)) for i in intervals for key in ("value", "low", "high")]
        known = [x for x in [*found, *marks] if x is not None]
        if not known:
            return None
        # Room of its own for what all agree on.
        low, high = min(known), max(known)
        step = 10.0 ** math.floor(math.log10(max(high - low, 1e-6))) / 2
        return cls(math.floor(low / step) * step, max(math.ceil(high / step) * step, low + step))

    def place(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(_ROOM + share * (_WIDTH - 2 * _ROOM), 1)

    def text(self, digits: int = 2) -> str:
        return f"{self.low:.{digits}f} to {self.high:.{digits}f}".replace("-", "\u2212")


def interval(
    found: object,
    scale: Scale | None,
    *,
    reference: float | None = None,  # a line through all rows: the value they are compared with
    paper: float | None = None,  # a diamond
    colour: int = 0,
) -> Safe | None:
    """A dot and its bounds on the axis of its table."""
    known = as_dict(found)
    value, low, high = (finite(known.get(key)) for key in ("value", "low", "high"))
    if scale is None or (value is None and paper is None):
        return None
    middle = _HEIGHT / 2
    made = [tag("line", class_="grid", x1=_ROOM, x2=_WIDTH - _ROOM, y1=middle, y2=middle)]
    if reference is not None:
        x = scale.place(reference)
        made.append(tag("line", class_="mark", x1=x, x2=x, y1=0, y2=_HEIGHT))
    if low is not None and high is not None:
        ends = [(scale.place(end), middle - 4, middle + 4) for end in (low, high)]
        made.append(tag("line", class_=f"line c{colour}", x1=ends[0][0], x2=ends[1][0], y1=middle, y2=middle))
        made += [tag("line", class_=f"line c{colour}", x1=x, x2=x, y1=a, y2=b) for x, a, b in ends]
    if value is not None:
        made.append(tag("circle", class_=f"dot c{colour}", cx=scale.place(value), cy=middle, r=4))
    if paper is not None:
        x = scale.place(paper)
        points = f"{x},{middle - 6} {x + 5},{middle} {x},{middle + 6} {x - 5},{middle}"
        made.append(tag("polygon", class_="line c1", points=points))
    said = "not measured" if value is None else f"{value:.3f}"
    if low is not None and high is not None:
        said += f", from {low:.3f} to {high:.3f}"
    if paper is not None:
        said += f"; the paper: {paper:g}"
    return tag("svg", made, viewBox=f"0 0 {_WIDTH} {_HEIGHT}", width=_WIDTH, height=_HEIGHT, role="img",
               aria_label=said)  # fmt: skip


def matrix(shares: np.ndarray, names: Sequence[str], title: str) -> Safe:
    """Rows asked for, columns seen: the darker, the more; numbers in per cent."""
    k = len(names)
    width, height = _GUTTER + k * _CELL + 4, _TOP + k * _CELL + 4
    made = []
    for j in range(k):
        x = _GUTTER + j * _CELL + _CELL / 2
        made.append(tag("text", str(j + 1), class_="tick", x=x, y=_TOP - 8, text_anchor="middle"))
    for i, name in enumerate(names):
        y = _TOP + i * _CELL
        label = f"{i + 1} {name}"
        made.append(
            tag("text", label[:26], class_="tick", x=_GUTTER - 8, y=y + _CELL / 2 + 4, text_anchor="end")
        )
        for j in range(k):
            share = float(shares[i, j])
            x = _GUTTER + j * _CELL
            kind = "bar b0" if i == j else "bar b1"
            strength = 0.0 if math.isnan(share) else round(0.4 * share, 3)
            side = _CELL - 2
            made.append(tag("rect", class_=kind, x=x, y=y, width=side, height=side, fill_opacity=strength))
            text = "\u2013" if math.isnan(share) else f"{100 * share:.0f}"
            middle = x + side / 2
            made.append(tag("text", text, class_="tick", x=middle, y=y + side / 2 + 4, text_anchor="middle"))
    diagonal = [f"{name} {100 * share:.0f}" for name, share in zip(names, np.diag(shares)) if share == share]
    described = f"{title}: classes asked for by classes seen, in per cent; as asked: {', '.join(diagonal)}"
    box = f"0 0 {width} {height}"
    return tag("svg", made, viewBox=box, width=width, height=height, role="img", aria_label=described)
