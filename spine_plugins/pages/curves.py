"""Curves as inline SVG: nice ticks, gaps where numbers are not finite, several runs on one pair of axes."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace

from spine_plugins.markup import Safe, join, tag
from spine_plugins.pages import tables

# Units of the viewBox; the browser scales them to the width of a column.
_WIDTH, _HEIGHT = 560, 236
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 12, 38
# About one point per unit of width: more cannot be seen, but makes the page heavier.
_MOST_POINTS = 400
_COLOURS = 6  # classes c0..c5 of the style sheet; dashes tell further lines apart
_DASHES = (None, "7 4", "2 3", "9 3 2 3")

_LARGEST, _SMALLEST = 1e300, 1e-300  # beyond, the arithmetic of axes leaves the range of numbers

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """One curve; what is equal in runs shares the dash, what is of one run shares the colour."""

    name: str
    points: list[Point]
    colour: int = 0
    dash: int = 0


@dataclass(frozen=True)
class Mark:
    """A horizontal line that means something."""

    y: float
    name: str


def chart(
    title: str,
    lines: list[Line],
    *,
    help_: str = "",
    marks: tuple[Mark, ...] = (),
    zero: bool = False,  # the axis includes 0, unless it is logarithmic
    key: str,  # of its elements' ids; our own text
) -> Safe | None:
    """A figure with legend, axes, readout and a table of values; None without a single finite point."""
    # A point without a place in time cannot be drawn; one without a value becomes a gap.
    lines = [replace(line, points=_drawable(line.points)) for line in lines]
    finite = [p for line in lines for p in line.points if math.isfinite(p[1])]
    if not finite:
        return None
    if all(len(line.points) <= 1 for line in lines):
        return _numbers(title, lines, help_, key)
    is_log = _wants_log([y for _, y in finite], marks)
    # Always from 0 kimg: a resumed run must not look as if it had begun at the left edge.
    x_axis = _Axis.around([x for x, _ in finite] + [0.0], _LEFT, _WIDTH - _RIGHT)
    # No logarithmic axis reaches 0.
    ys = [y for _, y in finite] + [m.y for m in marks] + ([0.0] if zero and not is_log else [])
    y_axis = _Axis.around(ys, _HEIGHT - _BOTTOM, _TOP, is_log=is_log)
    return tag(
        "figure",
        tag("figcaption", tag("h3", title, id=f"{key}-title"), help_ and tag("p", help_, class_="help")),
        _legend(lines, marks, is_log) if len(lines) > 1 or marks or is_log else None,
        _plot(title, lines, marks, x_axis, y_axis, key),
        tag("output", _latest(lines), class_="readout", id=f"{key}-out", aria_live="polite"),
        _table(title, lines),
        class_="chart",
    )


def _drawable(points: list[Point]) -> list[Point]:
    """The points that have a place in time; a value that no axis can hold is as good as none, or as zero."""
    return [(_held(x), _held(y)) for x, y in points if math.isfinite(_held(x))]


def _held(value: float) -> float:
    return math.inf if abs(value) > _LARGEST else 0.0 if abs(value) < _SMALLEST else value


def _numbers(title: str, lines: list[Line], help_: str, key: str) -> Safe:
    """What was measured once: as a number, for a point on empty axes says less."""
    said = [
        tag("p", tag("span", f"{line.name} " if len(lines) > 1 else "", class_="help"), show(y),
            tag("small", f" at {show(x)} kimg"), class_="lone")
        for line in lines
        for x, y in line.points
        if math.isfinite(y)
    ]  # fmt: skip
    caption = tag("figcaption", tag("h3", title, id=f"{key}-title"), help_ and tag("p", help_, class_="help"))
    return tag("figure", caption, said, class_="chart single")


def _plot(
    title: str,
    lines: list[Line],
    marks: tuple[Mark, ...],
    x_axis: _Axis,
    y_axis: _Axis,
    key: str,
) -> Safe:
    """The picture, described for those who do not see it, with its values for the script."""
    finite = [y for line in lines for _, y in line.points if math.isfinite(y)]
    described = (
        f"{title} by thousands of images shown; {len(lines)} curve(s), "
        f"from {show(min(finite))} to {show(max(finite))}."
    )
    picture = tag(
        "svg",
        _grid(x_axis, y_axis),
        _marks(marks, y_axis),
        [_curve(line, x_axis, y_axis) for line in lines],
        tag("line", class_="cursor", y1=_TOP, y2=_HEIGHT - _BOTTOM, x1=0, x2=0, visibility="hidden"),
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        aria_label=described,
    )
    # Handed over in attributes, which are escaped: in a script element a name could end it.
    data = [{"n": line.name, "c": line.colour % _COLOURS, "p": _shown(line.points)} for line in lines]
    return tag(
        "div",
        picture,
        class_="plot",
        tabindex="0",
        role="group",
        aria_describedby=f"{key}-out",
        aria_label=f"{title}; left and right arrow keys read the values",
        data_lines=json.dumps(data, separators=(",", ":")),
        data_axes=json.dumps({"x": x_axis.frame(), "y": y_axis.frame()}),
    )


def show(value: float | None) -> str:
    """A number for people: four significant digits, no needless exponent."""
    if value is None:
        return "\u2013"
    if not math.isfinite(value):
        return "not finite"
    size = abs(value)
    if size >= 10_000 or (size and size < 0.001):
        return f"{value:.3g}" if size < 1e-3 or size >= 1e7 else f"{value:,.0f}"
    # A true minus is as wide as the digits beside it, so that columns line up.
    return f"{value:.4g}".replace("-", "\u2212")


def _latest(lines: list[Line]) -> Safe:
    """What the readout says before anybody asks: the end of every curve."""
    ends = [(line.name, [y for _, y in line.points if math.isfinite(y)]) for line in lines]
    texts = [f"{name} {show(ys[-1])}" if len(lines) > 1 else show(ys[-1]) for name, ys in ends if ys]
    values = [(" \u00b7 " if i else "", tag("span", text, class_="value")) for i, text in enumerate(texts)]
    return join([tag("b", "Latest"), ": ", values])


def thinned(points: list[Point], most: int = _MOST_POINTS) -> list[Point]:
    """At most about this many points; every part keeps its lowest and highest, so no peak disappears."""
    if len(points) <= most:
        return points
    size = math.ceil(len(points) / (most // 2))  # each part leaves two points
    kept = []
    for start in range(0, len(points), size):
        part = range(start, min(start + size, len(points)))
        bad = [i for i in part if not math.isfinite(points[i][1])]
        good = [i for i in part if math.isfinite(points[i][1])]
        # One value that is not finite suffices for the gap that tells of it.
        chosen = set(bad[:1])
        if good:
            by_value = sorted(good, key=lambda i: points[i][1])
            chosen |= {by_value[0], by_value[-1]}
        kept += [points[i] for i in sorted(chosen)]
    # The end of a curve is what readers look for first, even if it is no extreme.
    return kept if kept[-1] == points[-1] else [*kept, points[-1]]


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    start: float  # where low lies in the picture
    end: float
    ticks: tuple[float, ...]
    is_log: bool = False

    @classmethod
    def around(cls, values: list[float], start: float, end: float, *, is_log: bool = False) -> _Axis:
        low, high = min(values), max(values)
        if is_log:
            first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
            # One decade at least, or the axis would have no length to divide by.
            last = max(last, first + 1)
            # Seven labels at most; more would run into each other over many decades.
            every = math.ceil((last - first) / 6)
            ticks = tuple(10.0**e for e in range(first, last + 1, every))
            return cls(10.0**first, 10.0**last, start, end, ticks, is_log=True)
        # Equal values, or so near that a step between them drowns in rounding: make room around them.
        if high - low < 1e-12 * max(abs(low), abs(high), 1e-30):
            room = abs(high) / 2 or 0.5
            # What is never negative gets no negative half: a loss of -0.5 would puzzle the reader.
            low, high = (0.0, 2 * high) if high > 0 and low >= 0 else (low - room, high + room)
        step = _nice_step((high - low) / 5)
        # Ends on whole steps; without the 1e-9 rounding would add an empty step beyond a value on a tick.
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        return cls(first * step, last * step, start, end, tuple(i * step for i in range(first, last + 1)))

    def place(self, value: float) -> float:
        f = math.log10 if self.is_log else float
        share = (f(value) - f(self.low)) / (f(self.high) - f(self.low))
        # A tenth of a unit is less than a pixel, and short numbers keep the paths small.
        return round(self.start + share * (self.end - self.start), 1)

    def frame(self) -> list[float]:
        return [self.low, self.high, self.start, self.end]


def _nice_step(rough: float) -> float:
    """The next of 1, 2, 2.5, 5, 10 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(rough))
    # The 0.999 forgives rounding: a step of just 2 must not become 2.5.
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)


def _wants_log(ys: list[float], marks: tuple[Mark, ...]) -> bool:
    # A mark is a level to compare heights with, which a logarithmic axis would bend.
    return not marks and min(ys) > 0 and max(ys) / min(ys) > 200


def _tick_text(value: float, axis: _Axis) -> str:
    if axis.is_log:
        return show(value)
    step = axis.ticks[1] - axis.ticks[0] if len(axis.ticks) > 1 else 1.0
    # Neighbouring ticks differ by 0.0999..., not 0.1: without the 1e-9 labels get a digit too many.
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    digits += not math.isclose(round(step, digits), step, rel_tol=1e-6)  # 2.5 needs one more
    text = f"{value:,.{digits}f}" if digits <= 5 and abs(value) < 1e7 else f"{value:.2g}"
    return text.replace("-", "\u2212")


def _grid(x_axis: _Axis, y_axis: _Axis) -> list[Safe]:
    base = _HEIGHT - _BOTTOM
    made = []
    for value in y_axis.ticks:
        y = y_axis.place(value)
        made.append(tag("line", class_="grid", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y))
        text = _tick_text(value, y_axis)
        made.append(tag("text", text, class_="tick", x=_LEFT - 7, y=y + 4, text_anchor="end"))
    for value in x_axis.ticks:
        x = x_axis.place(value)
        made.append(tag("line", class_="axis", x1=x, x2=x, y1=base, y2=base + 4))
        text = _tick_text(value, x_axis)
        made.append(tag("text", text, class_="tick", x=x, y=base + 17, text_anchor="middle"))
    made.append(tag("line", class_="axis", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=base, y2=base))
    made.append(tag("text", "kimg", class_="tick unit", x=_WIDTH - _RIGHT, y=_HEIGHT - 5, text_anchor="end"))
    return made


def _marks(marks: tuple[Mark, ...], y_axis: _Axis) -> list[Safe]:
    places = [(mark, y_axis.place(mark.y)) for mark in marks]
    return [tag("line", class_="mark", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y) for _, y in places]


def _curve(line: Line, x_axis: _Axis, y_axis: _Axis) -> Safe:
    pieces: list[list[Point]] = [[]]  # a value that is not finite ends one
    for x, y in thinned(line.points):
        if math.isfinite(y):
            pieces[-1].append((x_axis.place(x), y_axis.place(y)))
        elif pieces[-1]:
            pieces.append([])
    colour = f"c{line.colour % _COLOURS}"
    path = " ".join("M" + "L".join(f"{x:g} {y:g}" for x, y in piece) for piece in pieces if len(piece) > 1)
    made = [tag("path", class_=f"line {colour}", d=path, stroke_dasharray=_dash(line))] if path else []
    # A piece of one point has no line that would show it.
    few = sum(map(len, pieces)) <= 30
    # Where there are few, each is shown: a line alone hides how seldom was measured.
    dots = [p for piece in pieces if len(piece) == 1 or few for p in piece]
    made += [tag("circle", class_=f"dot {colour}", cx=x, cy=y, r=2.6) for x, y in dots]
    return tag("g", made)


def _dash(line: Line) -> str | None:
    # The seventh run has the first one's colour again, so it must not have its dashes.
    return _DASHES[(line.dash + line.colour // _COLOURS) % len(_DASHES)]


def _legend(lines: list[Line], marks: tuple[Mark, ...], is_log: bool) -> Safe:
    rows = [tag("li", _swatch(f"line c{line.colour % _COLOURS}", _dash(line)), line.name) for line in lines]
    rows += [tag("li", _swatch("mark", None), mark.name) for mark in marks]
    rows += [tag("li", "logarithmic axis", class_="help")] if is_log else []
    return tag("ul", rows, class_="legend")


def _swatch(kind: str, dash: str | None) -> Safe:
    line = tag("line", class_=kind, x1=1, x2=25, y1=6, y2=6, stroke_dasharray=dash)
    return tag("svg", line, class_="swatch", viewBox="0 0 26 12", aria_hidden="true")


def _shown(points: list[Point]) -> list[list[float | None]]:
    # Thinned as the drawing is, so that the cursor reads what is seen; JSON has no NaN, hence None.
    return [[float(f"{x:.6g}"), float(f"{y:.5g}") if math.isfinite(y) else None] for x, y in thinned(points)]


def _table(title: str, lines: list[Line]) -> Safe:
    heads = ("Curve", "First", "Lowest (at kimg)", "Highest (at kimg)", "Last", "Points")
    # Of all points: the table is also where one looks up what thinning left out.
    rows = [_row(line) for line in lines]
    table = tables.numbers(f"{title}: values", heads, rows, label=f"{title}: table")
    return tag("details", tag("summary", "Values"), table)


def _row(line: Line) -> Safe:
    finite = [p for p in line.points if math.isfinite(p[1])]
    if not finite:
        return tag("tr", tag("th", line.name, scope="row"), tag("td", "no finite value", colspan="5"))
    low, high = min(finite, key=lambda p: p[1]), max(finite, key=lambda p: p[1])
    lost = len(line.points) - len(finite)
    return tables.row(
        line.name,
        [
            show(finite[0][1]),
            f"{show(low[1])} at {show(low[0])}",
            f"{show(high[1])} at {show(high[0])}",
            show(finite[-1][1]),
            f"{len(line.points)}" + (f", {lost} not finite" if lost else ""),
        ],
    )
