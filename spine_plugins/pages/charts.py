"""Which curves a page has: what each statistic means, and which belong on one pair of axes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from spine_plugins.markup import Safe, join, tag
from spine_plugins.pages.curves import Line, Mark, Point, chart
from spine_plugins.pages.tables import run_label
from spine_plugins.runs.documents import as_dict, finite, number
from spine_plugins.runs.reading import Run
from stylegan2ada.training import run_files
from stylegan2ada.training.limits import LEAK_P

# The name of a curve with its points in each run.
_Curves = list[tuple[str, list[list[Point]]]]


@dataclass(frozen=True)
class Plan:
    """One chart of statistics."""

    title: str
    names: dict[str, str]  # statistic: what its curve is called
    help: str = ""
    zero: bool = False


PLANS = (
    Plan("Losses", {"Loss/G/loss": "generator", "Loss/D/loss": "discriminator"},
         "Adversarial parts. They balance each other, so level lines are normal."),
    Plan("Scores of the discriminator", {"Loss/scores/real": "training images", "Loss/scores/fake": "fakes"},
         "A widening gap: the discriminator tells them apart ever more easily."),
    Plan("Signs of the scores", {"Loss/signs/real": "training images", "Loss/signs/fake": "fakes"},
         "On training images: 1 means known by heart, 0 a coin toss."),
    Plan("Augmentation strength p", {"Progress/augment": "p"}, "", zero=True),
    Plan("Classifier loss on fakes", {"Loss/G/cls": "classifier loss"},
         "How far the fakes are from the class they were asked for.", zero=True),
    Plan("Fakes that the classifier accepts", {"Loss/G/cls_accuracy": "share accepted"},
         "By the classifier of the loss, which the generator can learn to fool; see the judge.", zero=True),
    Plan("R1 penalty", {"Loss/r1_penalty": "squared gradient"}, "Before its weight."),
    Plan("Path length penalty", {"Loss/pl_penalty": "squared deviation"}, "Before its weight."),
    Plan("Seconds per kimg", {"Timing/sec_per_kimg": "seconds"}, "", zero=True),
)  # fmt: skip
_STRENGTH = "Progress/augment"
_DERIVED = {"Loss/G/reg", "Loss/D/reg"}  # the penalties again, weighted


def statistics(runs: list[Run]) -> list[Safe]:
    """Charts of what the loop reported; losses of plug-ins get charts of their own."""
    known = {name for plan in PLANS for name in plan.names} | _DERIVED
    losses = (name for run in runs for name in run.statistics() if name.startswith("Loss/"))
    others = [Plan(n, {n: n.rsplit("/", 1)[-1]}) for n in dict.fromkeys(losses) if n not in known]
    drawn = []
    # Losses of plug-ins come before the last plan: timing closes the section.
    for i, plan in enumerate([*PLANS[:-1], *others, PLANS[-1]]):
        made = chart(
            plan.title,
            _lines(runs, [(text, [run.series(name) for run in runs]) for name, text in plan.names.items()]),
            help_=plan.help,
            zero=plan.zero,
            key=f"s{i}",
            marks=tuple(_marks(plan, runs)),
        )
        if made is not None and not _is_idle(plan, runs):
            drawn.append(made)
    return drawn


def metrics(runs: list[Run]) -> list[Safe]:
    """One chart per metric."""
    drawn = []
    names = dict.fromkeys(name for run in runs for name in run.metrics)
    # What compares with other people's numbers first, toys below.
    for i, name in enumerate(sorted(names, key=lambda name: any(run.is_toy(name) for run in runs))):
        keys = dict.fromkeys(k for run in runs for m in run.metrics.get(name, []) for k in m.results)
        # Precision and recall are one metric on one pair of axes; what their names share is its title.
        curves = [
            (key.removeprefix(name).strip("_") or name, [_measured(run, name, key) for run in runs])
            for key in keys
        ]
        # From 0: otherwise a small wobble of an FID fills the chart like a leap.
        made = chart(name, _lines(runs, curves), zero=True, key=f"m{i}", help_=_meaning(runs, name))
        drawn += [made] if made is not None else []
    return drawn


def judge_name(runs: list[Run]) -> str:
    """What to call the classifier that judges: independent only if nothing is doubtful about that."""
    doubted = any(as_dict(run.ours.get("spine")).get("judge_doubts") for run in runs)
    return "Second classifier" if doubted else "Independent judge"


def judge(runs: list[Run]) -> list[Safe]:
    """What another classifier says: overall, and per class."""
    classes = dict.fromkeys(c for run in runs for row in run.judge for c in as_dict(row.get("classes")))
    overall: _Curves = [
        ("all classes" if key == "accuracy" else key, [_judged(run, key) for run in runs])
        for key in _judge_keys(runs)
    ]

    def by_class(key: str) -> _Curves:
        return [(name, [_judged(run, key, name) for run in runs]) for name in classes]

    who = "Judge" if judge_name(runs) == "Independent judge" else "Second classifier"
    distance = "Between its logits on fakes and on real images; 0 is best."
    # Shares and distances differ in unit: each has axes of its own.
    plans = (
        (
            f"{who}: fakes of the asked class",
            "Share of fakes that a second classifier accepts.",
            [*by_class("accuracy"), *overall],
        ),
        (f"{who}: Kolmogorov\u2013Smirnov distance", distance, by_class("ks")),
        (f"{who}: Wasserstein distance", distance, by_class("w1")),
    )
    made = [
        chart(title, _lines(runs, curves), help_=text, zero=True, key=f"j{i}")
        for i, (title, text, curves) in enumerate(plans)
    ]
    return [figure for figure in made if figure is not None]


def _meaning(runs: list[Run], name: str) -> str:
    toy = "By a built-in toy detector: only for this program's own comparisons."
    return f"{better(name)} {toy}".strip() if any(run.is_toy(name) for run in runs) else better(name)


def better(metric: str) -> str:
    """Which way is good."""
    base = metric.lower()
    if base.startswith(run_files.LOWER_IS_BETTER):
        return "Lower is better."
    return "Higher is better." if base.startswith(("pr", "is", "dc")) else ""


def grid(figures: list[Safe], otherwise: str = "", hint: str = "") -> Safe | None:
    """Charts in two columns below a hint, or the sentence that says why there is none."""
    if figures:
        return join([hint and tag("p", hint, class_="help how"), tag("div", figures, class_="two")])
    return tag("p", otherwise, class_="card") if otherwise else None


def _lines(runs: list[Run], curves: _Curves) -> list[Line]:
    """One run: a colour per curve. Several: a colour per run, dashes per curve."""
    if len(runs) == 1:
        return [Line(name, points[0], colour=i) for i, (name, points) in enumerate(curves) if points[0]]
    return [
        Line(run_label(run, r) + (f": {name}" if len(curves) > 1 else ""), points[r], colour=r, dash=i)
        for i, (name, points) in enumerate(curves)
        for r, run in enumerate(runs)
        if points[r]
    ]


def _marks(plan: Plan, runs: list[Run]) -> Iterator[Mark]:
    if "Loss/signs/real" in plan.names:
        # Runs that are compared may have had different targets: a mark for each.
        targets = {target for run in runs if (target := finite(run.options.get("ada_target"))) is not None}
        yield from (Mark(target, f"target {target:g}") for target in sorted(targets))
    strengths = [y for run in runs for _, y in run.series(_STRENGTH)]
    # Far below the limit the mark would only flatten the curve.
    if _STRENGTH in plan.names and any(y > LEAK_P / 2 for y in strengths):
        yield Mark(LEAK_P, f"above {LEAK_P} augmentations can leak")


def _is_idle(plan: Plan, runs: list[Run]) -> bool:
    """Augmentation that was never on needs no chart."""
    return _STRENGTH in plan.names and not any(y for run in runs for _, y in run.series(_STRENGTH))


def _measured(run: Run, name: str, key: str) -> list[Point]:
    return [
        (m.kimg, m.results[key]) for m in run.metrics.get(name, []) if m.kimg is not None and key in m.results
    ]


def _judge_keys(runs: list[Run]) -> list[str]:
    """Numbers of the judge's lines; `class accuracy` and the like from other tools, too."""
    seen = dict.fromkeys(k for run in runs for row in run.judge for k in row)
    rows = [row for run in runs for row in run.judge]
    return [
        key
        for key in seen
        if key not in ("kimg", "per_class") and any(number(row.get(key)) is not None for row in rows)
    ]


def _judged(run: Run, key: str, class_name: str | None = None) -> list[Point]:
    found = []
    for row in run.judge:
        entry = row if class_name is None else as_dict(as_dict(row.get("classes")).get(class_name))
        x, y = number(row.get("kimg")), number(entry.get(key))
        if x is not None and y is not None:
            found.append((x, y))
    return found
