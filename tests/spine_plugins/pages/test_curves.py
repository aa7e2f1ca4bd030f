"""Curves: axes that people can read, peaks that stay, gaps where there is no number."""

from __future__ import annotations

import json
import math
import random
import re

import pytest

from spine_plugins.pages.curves import Line, Mark, chart, show, thinned


def ticks(figure: str, anchor: str) -> list[str]:
    return re.findall(rf'class="tick"[^>]*text-anchor="{anchor}">([^<]*)<', figure)


def drawn(points: list[tuple[float, float]], *, marks: tuple[Mark, ...] = (), zero: bool = False) -> str:
    figure = chart("T", [Line("a", points)], key="k", marks=marks, zero=zero)
    assert figure is not None
    return figure


def test_ticks_are_round_numbers_around_the_values() -> None:
    figure = drawn([(0, 1.31), (97, 2.2)])
    assert ticks(figure, "end") == ["1.2", "1.4", "1.6", "1.8", "2.0", "2.2"]
    assert ticks(figure, "middle") == ["0", "20", "40", "60", "80", "100"]
    assert ticks(drawn([(0, 0.0), (1, 12_000.0)]), "end")[-1] == "12,500"
    assert ticks(drawn([(0, -0.003), (1, 0.002)]), "end")[0] == "\u22120.003"


@pytest.mark.parametrize("points", [[(0, 0.0), (1, 0.0)], [(0, -2.0), (1, -2.0)], [(0, 1e-300), (2, 1e-300)],
                                    [(0, 1e300), (1, -1e300)], [(0.1, 1e-12), (0.1, 2e-12)]])  # fmt: skip
def test_every_finite_curve_can_be_drawn(points: list[tuple[float, float]]) -> None:
    figure = drawn(points)
    places = [float(x) for x in re.findall(r'c[xy]="([^"]*)"', figure)]
    assert places and all(0 <= place <= 560 for place in places)
    assert len(set(ticks(figure, "end"))) == len(ticks(figure, "end")) >= 2


def test_a_place_is_where_its_value_is() -> None:
    figure = drawn([(0, 0.0), (50, 5.0), (100, 10.0)])
    path = re.search(r'<path[^>]*d="M([^"]*)"', figure)
    assert path is not None
    (x0, y0), (x1, y1), (x2, y2) = (map(float, p.split()) for p in path[1].split("L"))
    assert x1 == pytest.approx((x0 + x2) / 2) and y1 == pytest.approx((y0 + y2) / 2)
    assert y0 > y2 and x0 < x2


def test_a_wide_range_gets_a_logarithmic_axis() -> None:
    figure = drawn([(0, 0.01), (1, 1.0), (2, 100.0)])
    assert "logarithmic axis" in figure
    path = re.search(r'<path[^>]*d="M([^"]*)"', figure)
    assert path is not None
    ys = [float(p.split()[1]) for p in path[1].split("L")]
    assert ys[0] - ys[1] == pytest.approx(ys[1] - ys[2])
    assert "logarithmic" not in drawn([(0, 0.0), (1, 100.0)])
    falling = drawn([(0, 350.0), (1, 1.5)], zero=True)  # an FID that falls far: no room for 0 on this axis
    assert "logarithmic" in falling and ticks(falling, "end") == ["1", "10", "100", "1000"]
    assert "logarithmic" not in drawn([(0, 0.01), (1, 100.0)], marks=(Mark(1, "m"),))


def test_values_that_are_not_finite_leave_a_gap() -> None:
    figure = drawn([(0, 1.0), (1, 2.0), (2, math.nan), (3, 2.0), (4, math.inf), (5, 1.0), (6, 1.0)])
    path = re.search(r'<path[^>]*d="([^"]*)"', figure)
    assert path is not None and path[1].count("M") == 2  # the lone point between two gaps is a dot
    assert "7, 2 not finite" in figure
    assert chart("T", [Line("a", [(0, math.nan)])], key="k") is None
    assert chart("T", [], key="k") is None


def test_thinning_keeps_peaks_ends_and_losses() -> None:
    points = [(float(i), math.sin(i / 50)) for i in range(10_000)]
    points[4321], points[7777], points[9100] = (4321.0, 99.0), (7777.0, -99.0), (9100.0, math.nan)
    kept = thinned(points)
    assert len(kept) < 700
    assert points[4321] in kept and points[7777] in kept and points[-1] in kept and points[0][0] == kept[0][0]
    assert any(math.isnan(y) for _, y in kept)
    assert [x for x, _ in kept] == sorted(x for x, _ in kept)
    assert thinned(points[:300]) == points[:300]


def test_the_readout_has_what_is_drawn() -> None:
    figure = drawn([(0, 1.0), (4, math.nan)])
    found = re.search(r'data-lines="([^"]*)"', figure)
    assert found is not None
    assert json.loads(found[1].replace("&quot;", '"')) == [{"n": "a", "c": 0, "p": [[0, 1], [4, None]]}]


def test_numbers_for_people() -> None:
    shown = [show(v) for v in (None, math.nan, 0.0, 1.0, -0.12345, 0.0001234, 1234.5, 123456.7, 1.5e9)]
    assert shown == [
        "\u2013",
        "not finite",
        "0",
        "1",
        "\u22120.1235",
        "0.000123",
        "1234",
        "123,457",
        "1.5e+09",
    ]


EXTREMES = [1.7976931348623157e308, 1e308, 1e300, 1e154, 1.0, 0.0, 1e-300, 1e-308, 5e-324, math.inf, math.nan]


def test_no_number_of_a_run_is_too_large_or_too_small_for_a_chart() -> None:
    """A loss of 1e308 is finite, but no axis around it is."""
    rnd = random.Random(0)
    values = EXTREMES + [-value for value in EXTREMES]
    for _ in range(800):
        points = [(rnd.choice(values), rnd.choice(values)) for _ in range(rnd.randint(1, 5))]
        made = chart("t", [Line("a", points)], zero=rnd.random() < 0.5, key="k")
        assert (
            made is None
            or "<svg" not in made
            or "nan" not in str(made).lower().split("<svg")[1].split("</svg>")[0]
        )


def test_what_was_measured_once_is_a_number() -> None:
    figure = chart("x", [Line("a", [(12, 0.5)]), Line("b", [(12, 0.25)])], key="k")
    assert figure is not None and "<svg" not in figure
    text = re.sub("<[^>]*>", " ", figure)
    assert re.search(r"a\s+0\.5\s+at 12 kimg", text) and re.search(r"b\s+0\.25\s+at 12 kimg", text)
