"""What an audit found, from its audit.json: the verdict, the tests, what would have been seen."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

from spine_plugins.markup import Child, Safe, join, tag
from spine_plugins.pages.curves import Line, chart, show
from spine_plugins.pages.tables import UNKNOWN, facts, numbers, row
from spine_plugins.runs.documents import Document, as_dict, as_list, cell, finite, read_json, read_lines
from stylegan2ada.training import run_files

LEVELS = {"FAIL": "serious", "NO EVIDENCE": "note", "UNDERPOWERED": "caution"}
TESTS = {
    "copies": ("Copies", "Are fakes nearer to training patients than to held-out ones?"),
    "linkage": ("Linkage", "Do halves of one real image, each alone, lead to the same fake?"),
    "inference": ("Inference", "Do nearby fakes tell a patient\u2019s label?"),
    "singling_out": ("Singling out", "Does a fake isolate one training patient?"),
    "membership": ("Membership", "Can it be told who was in the training set?"),
    "same_patient": ("Same patient", "Does a verifier of people recognise training patients in fakes?"),
}
KINDS = {
    "exact": "unchanged",
    "shift": "shifted by up to 3 pixels",
    "flip": "mirrored",
    "contrast": "contrast \u00d7 0.8",
    "blur": "blurred",
    "noise": "noise added",
    "zoom": "zoomed by 5 %",
    "same_patient": "another view of the patient",
}
_WIDTH, _HEIGHT, _BASE, _LEFT = 560, 200, 170, 46
_MOST_WARNINGS = 20


def verdict(audit: Document, *, level: int = 3) -> Safe:
    """The verdict first, in one sentence for those who decide."""
    word = str(audit.get("verdict") or "UNKNOWN")
    statement = cell(audit.get("statement")) or "This file is no audit of this program."
    count = finite(audit.get("audits_of_these_fakes"))
    again = "These images have been audited " + ("once." if count == 1 else f"{show(count)} times.")
    return tag(
        "div",
        tag(f"h{level}", word, class_="word"),
        tag("p", str(statement)),
        tag("p", again, class_="help") if count else None,
        class_=f"verdict {LEVELS.get(word, 'caution')}",
    )


def tests(audit: Document) -> Safe:
    """One row per test, those that were not run among them; on a narrow screen a card per test."""
    ran, missing = as_dict(audit.get("tests")), as_dict(audit.get("not_run"))
    heads = ("Estimate, 95 % interval", "p, adjusted", "Would have seen", "Verdict")
    rows = []
    for name, (title, question) in TESTS.items():
        found = as_dict(ran.get(name))
        if found:
            has_failed = found.get("verdict") == "FAIL"
            seen = "\u2013" if has_failed else share(found.get("detects"))
            word = tag("b", str(found.get("verdict") or UNKNOWN), class_="bad" if has_failed else None)
            cells: list[Child] = [_estimate(found), p_text(found.get("p_holm")), seen, word]
            made = [tag("td", tag("div", part), data_label=head) for head, part in zip(heads, cells)]
        else:
            reason = str(missing.get(name) or "not part of this audit")
            made = [
                tag("td", tag("div", tag("b", "NOT RUN"), f": {reason}"), colspan=4, data_label="Not run")
            ]
        head = tag("th", title, tag("span", question, class_="help block"), scope="row")
        rows.append(tag("tr", head, made))
    return tag(
        "table",
        tag("caption", "The tests and their verdicts", class_="hidden-text"),
        tag("thead", tag("tr", [tag("th", text, scope="col") for text in ("Test", *heads)])),
        tag("tbody", rows),
        class_="tests",
    )


def _estimate(found: Document) -> Child:
    value, low, high = (finite(found.get(name)) for name in ("estimate", "low", "high"))
    text = UNKNOWN if value is None else percent(value)
    between = "" if low is None or high is None else f" ({percent(low)} to {percent(high)})"
    most = finite(found.get("copy_share_at_most"))
    bound = None if most is None else f"at most {percent(most)}, those included that the test would not see"
    notes = [tag("span", note, class_="help block") for note in (cell(found.get("means")), bound) if note]
    return [text + between, notes]


def percent(value: float) -> str:
    """0.0123 -> 1.23 %"""
    return f"{show(round(100 * value, 3))} %"


def share(value: object) -> str:
    """The smallest share of copies that is seen."""
    found = finite(value)
    return "not even 10 %" if found is None else f"\u2265 {100 * found:g} %"


def p_text(value: object) -> str:
    """A p-value for people."""
    found = finite(value)
    return UNKNOWN if found is None else f"{found:.3f}" if found >= 0.001 else "< 0.001"


def power(audit: Document) -> Safe | None:
    """What would have been seen: a curve per test for the hardest kind of copy, and every number."""
    lines, rows = [], []
    for i, (name, (title, _)) in enumerate(TESTS.items()):
        found = [
            as_dict(entry) for entry in as_list(as_dict(as_dict(audit.get("tests")).get(name)).get("power"))
        ]
        values = {
            (str(entry.get("kind")), part): seen
            for entry in found
            if (part := finite(entry.get("share"))) is not None
            and (seen := finite(entry.get("detected"))) is not None
        }
        shares = sorted({part for _, part in values})
        hard = [
            (
                part,
                min(
                    (v for (kind, s), v in values.items() if s == part and kind != "same_patient"), default=0
                ),
            )
            for part in shares
        ]
        if hard:
            lines.append((title, i, hard))
        for kind, words in KINDS.items():
            seen_at = [values.get((kind, part)) for part in shares]
            if any(seen is not None for seen in seen_at):
                cells = [UNKNOWN if seen is None else f"{100 * seen:.0f} %" for seen in seen_at]
                rows.append(
                    tag("tr", tag("th", f"{title}: {words}", scope="row"), [tag("td", c) for c in cells])
                )
    if not lines:
        return None
    heads = ("Copies that were", *(f"{100 * part:g} % planted" for part in shares))
    table = numbers("Repeats in which planted copies were detected", heads, rows, label="Power, all numbers")
    words = (
        "Doctored training images were planted among the fakes, again and again. Each curve: the share of "
        "repeats in which a test raised the alarm, for the kind of copy that is hardest for it."
    )
    return tag(
        "figure",
        tag("figcaption", tag("h3", "Copies that would have been seen"), tag("p", words, class_="help")),
        _power_curves(lines),
        _legend([(title, i) for title, i, _ in lines]),
        tag("details", tag("summary", "Every kind of copy, every test"), table),
        class_="chart",
    )


def _power_curves(lines: list[tuple[str, int, list[tuple[float, float]]]]) -> Safe:
    places = sorted({part for _, _, points in lines for part, _ in points})
    step = (_WIDTH - _LEFT - 90) / max(len(places) - 1, 1)
    x = {part: round(_LEFT + 30 + i * step, 1) for i, part in enumerate(places)}

    def y(value: float) -> float:
        return round(_BASE - value * (_BASE - 14), 1)

    drawn = [_grid_line(y(v), f"{100 * v:.0f} %") for v in (0, 0.5, 1)]
    drawn += [tag("text", f"{100 * part:g} % copies", x=at, y=_BASE + 20, class_="tick", text_anchor="middle")
              for part, at in x.items()]  # fmt: skip
    for _, colour, points in lines:
        path = " ".join(f"{'L' if i else 'M'}{x[part]} {y(v)}" for i, (part, v) in enumerate(points))
        drawn.append(tag("path", d=path, class_=f"line c{colour}"))
        drawn += [tag("circle", cx=x[part], cy=y(v), r=4, class_=f"dot c{colour}") for part, v in points]
    said = "; ".join(
        f"{title}: " + ", ".join(f"{100 * v:.0f} % at {100 * part:g} %" for part, v in points)
        for title, _, points in lines
    )
    label = f"Share of repeats in which the hardest kind of copy was detected. {said}."
    return tag("svg", drawn, viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img", aria_label=label)


def _grid_line(y: float, text: str) -> Safe:
    line = tag("line", x1=_LEFT, x2=_WIDTH - 10, y1=y, y2=y, class_="grid")
    return join([line, tag("text", text, x=_LEFT - 8, y=y + 4, class_="tick", text_anchor="end")])


def _legend(names: Iterable[tuple[str, int]]) -> Safe:
    made = []
    for name, colour in names:
        line = tag("line", x1=0, x2=26, y1=6, y2=6, class_=f"line c{colour}")
        swatch = tag("svg", line, viewBox="0 0 26 12", class_="swatch", aria_hidden="true")
        made.append(tag("li", swatch, name))
    return tag("ul", made, class_="legend")


def histogram(audit: Document) -> Safe | None:
    """How much nearer fakes are to one side than to the other; memory shows as a left end of one colour."""
    ratios = as_dict(audit.get("ratios"))
    sides = {name: [finite(n) or 0 for n in as_list(ratios.get(name))] for name in ("train", "holdout")}
    n = len(sides["train"])
    if not n or len(sides["holdout"]) != n or not sum(map(sum, sides.values())):
        return None
    # By roots: the few at the left are what matters, beside hundreds at the right.
    most = math.sqrt(max(max(side) for side in sides.values()))
    width = (_WIDTH - _LEFT - 10) / n
    drawn = [_grid_line(_BASE, "0")]
    for at, (name, colour) in enumerate((("train", 1), ("holdout", 0))):
        for i, count in enumerate(sides[name]):
            height = round((_BASE - 14) * math.sqrt(count) / most, 1)
            x = round(_LEFT + i * width + at * width / 2 + 1, 1)
            size = {"y": round(_BASE - height, 1), "width": round(width / 2 - 1, 1), "height": height}
            drawn.append(tag("rect", x=x, **size, class_=f"bar b{colour}"))
    for part in (0, 0.25, 0.5, 0.75, 1):
        at_x = round(_LEFT + part * (_WIDTH - _LEFT - 10), 1)
        drawn.append(tag("text", f"{part:g}", x=at_x, y=_BASE + 18, class_="tick", text_anchor="middle"))
    low = [int(sum(side[: n // 2])) for side in sides.values()]
    label = (
        "Histogram of the ratio of distances, heights by square roots. Below one half: "
        f"{low[0]} fakes towards a training image, {low[1]} towards a held-out image."
    )
    picture = tag("svg", drawn, viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img", aria_label=label)
    legend = tag(
        "ul",
        [tag("li", tag("svg", tag("rect", width=26, height=12, class_=f"bar b{c}"), viewBox="0 0 26 12",
                       class_="swatch", aria_hidden="true"), text)
         for c, text in ((1, "nearer to a training image"), (0, "nearer to a held-out image"))],
        class_="legend",
    )  # fmt: skip
    text = (
        "Distance of a fake to the nearer side over its distance to the other: 1 is no difference, copies of "
        "training images lie at the left. Heights are square roots of counts."
    )
    return tag(
        "figure",
        tag("figcaption", tag("h3", "Distances of fakes to both sides"), tag("p", text, class_="help")),
        picture,
        legend,
        class_="chart",
    )


def charts(audit: Document) -> Safe | None:
    """Power and distances side by side."""
    made = [part for part in (power(audit), histogram(audit)) if part]
    return tag("div", made, class_="two") if made else None


def inputs(audit: Document) -> Safe:
    """What was compared, by what."""
    sets = as_dict(audit.get("inputs"))
    titles = {"train": "Training images", "holdout": "Held-out images", "fakes": "Synthetic images"}
    rows = []
    for role, title in titles.items():
        part = as_dict(sets.get(role))
        unit = "" if role == "fakes" else f"{show(finite(part.get('units')))} ({part.get('unit')})"
        mark = tag("code", str(part.get("fingerprint") or UNKNOWN)[:16])
        cells: list[Child] = [
            show(finite(part.get("images"))),
            unit or UNKNOWN,
            cell(part.get("geometry")),
            mark,
        ]
        rows.append(row(title, cells))
    heads = ("Set", "Images", "Patients or other units", "Geometry", "Fingerprint, first 16 digits")
    features = as_dict(audit.get("features"))
    table = facts(
        {
            "Compared by": f"{features.get('name')}: {features.get('note')}",
            "Unit of every count": cell(audit.get("unit")),
            "Network looked into": cell(audit.get("network_sha256")) or "no (black box only)",
            "Program": f"spinegan {audit.get('version')}",
        }
    )
    return join([numbers("The sets that were compared", heads, rows, label="Sets"), table])


def not_tested(audit: Document) -> Safe:
    """What this audit could not say, whatever it found."""
    said = [
        f"{TESTS[name][0] if name in TESTS else name}: {reason}"
        for name, reason in as_dict(audit.get("not_run")).items()
    ]
    said += map(str, as_list(audit.get("warnings"))[:_MOST_WARNINGS])
    said += [
        "Features decide what is seen: a copy that these features do not recognise was not looked for.",
        "An audit is a lower bound: no evidence is no proof, and no guarantee as differential privacy is.",
        "Attacks with other data, other networks of the same training, or several releases were not tried.",
    ]
    return tag("ul", [tag("li", text) for text in said], class_="plain")


def warnings(audit: Document) -> Safe | None:
    """What to know before believing the verdict."""
    found = as_list(audit.get("warnings"))[:_MOST_WARNINGS]
    items = [
        tag("li", tag("span", "Caution", class_="level"), tag("p", str(text)), class_="concern caution")
        for text in found
    ]
    return tag("ul", items, class_="concerns") if items else None


def compared(audit: Document) -> Safe | None:
    """The same tests by other features, beside the first ones."""
    spaces = [audit, *(as_dict(part) for part in as_list(audit.get("compared")))]
    if len(spaces) < 2:
        return None
    names = [str(as_dict(space.get("features")).get("name")) for space in spaces]
    rows = []
    for name, (title, _) in TESTS.items():
        found = [as_dict(as_dict(space.get("tests")).get(name)) for space in spaces]
        cells = [
            f"{part.get('verdict')}, p {p_text(part.get('p_holm'))}, sees {share(part.get('detects'))}"
            if part
            else "NOT RUN"
            for part in found
        ]
        rows.append(row(title, cells))
    return numbers("The tests by each of the features", ("Test", *names), rows, label="Features compared")


# In the page of a run.


def of_runs(runs: list[tuple[str, Path]]) -> Safe | None:
    """The audits that lie in run folders, and the curves of those made in training."""
    made = [part for name, folder in runs if (part := _of_run(name if len(runs) > 1 else "", folder))]
    return join(made) if made else None


def _of_run(name: str, folder: Path) -> Safe | None:
    audit = read_json(folder / run_files.AUDIT)
    lines = list(read_lines(folder / run_files.AUDITS, {}))
    curves = [chart_ for chart_ in _curves(lines) if chart_]
    if not audit and not curves:
        return None
    parts: list[Child] = [tag("h3", name)] if name else []
    if audit:
        parts += [verdict(audit, level=4), tests(audit)]
    if curves:
        parts.append(tag("div", curves, class_="two"))
    return tag("div", parts, class_="card")


def _curves(lines: list[Document]) -> list[Safe | None]:
    def points(key: str) -> list[tuple[float, float]]:
        pairs = ((finite(line.get("kimg")), finite(line.get(key))) for line in lines)
        return [(x, y) for x, y in pairs if x is not None and y is not None]

    return [
        chart(
            "Fakes that only a training image explains",
            [Line("share", points("estimate"))],
            help_="Copies, by the test of the audit at every snapshot against held-out images.",
            zero=True,
            key="audit-share",
        ),
        chart(
            "p-value of the test of copies",
            [Line("p", points("p_value"))],
            help_="Below 0.05 memorisation has begun, or chance has struck once in twenty.",
            zero=True,
            key="audit-p",
        ),
    ]
