"""Table 2: what the GANs reach by FID, precision and recall at their last snapshots, and how soon."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from spine_plugins.experiments import measured_again
from spine_plugins.experiments.curves import Series, Speed, Trained, arm_interval, series_of, speed, trained
from spine_plugins.experiments.exports import UNKNOWN, Table, bounds, shown
from spine_plugins.experiments.results import Arm, Experiment
from spine_plugins.runs.documents import Document, as_dict, finite, whole

# Table 2 of the paper, and the run with the term five times heavier that it describes below Figure 2.
PAPER = {
    "ada": {"fid": 32.7, "precision": 0.460, "recall": 0.0159},
    "spine": {"fid": 33.9, "precision": 0.418, "recall": 0.0194},
    "spine-05": {"fid": 147.08, "precision": 0.0292, "recall": 0.0007951},
}
_BASELINE = "ada"


def table(experiment: Experiment) -> Table:
    """An arm per row; a value with its interval for each yardstick."""
    runs = trained(experiment)
    series = series_of(runs)
    title = "Table 2. Generation quality at the last snapshot"
    if not series:
        why = "No snapshot has been measured yet."
        return Table("table2", title, [], ["GAN"], [], warnings=[why])
    level = experiment.analysis.level
    arms = [arm for arm in experiment.arms if any(t.arm is arm for t in runs)]
    made = [_record(experiment, arm, runs, series) for arm in arms]
    against = next((arm for arm in arms if arm.name == _BASELINE), arms[0])
    for record, arm in zip(made, arms):
        record["speed"] = [] if arm is against else _speeds(series, runs, arm, against, level)
    heads = ["GAN", "kimg", "trainings", *(_head(s) for s in series), "kimg to threshold"]
    cells = [_cells(record, series) for record in made]
    warnings = [*_warnings(runs, arms), *_of_flat_covariances(made)]
    return Table("table2", title, made, heads, cells, {"level": level}, _notes(series), warnings)


def _record(experiment: Experiment, arm: Arm, runs: Sequence[Trained], series: Sequence[Series]) -> Document:
    level = experiment.analysis.level
    own = [i for i, t in enumerate(runs) if t.arm is arm]
    last = [max((p[-1][0] for s in series if (p := s.points[i])), default=None) for i in own]
    kimg = min((x for x in last if x is not None), default=None)
    values: Document = {}
    of_images = measured_again.of_arm(experiment, arm.name, kimg)
    for s in series:
        # At one and the same moment: of a training that went further an earlier snapshot.
        at = {runs[i].seed: y for i in own for x, y in s.points[i] if x == kimg}
        interval = arm_interval(list(at.values()), s.images, level)
        paper = _paper(arm, s.name)
        inside = None
        # A detector of our own measures something else than the paper did.
        is_toy = any(t.run.is_toy(name) for t in runs for name in t.run.metrics if s.name.startswith(name))
        if paper is not None and not is_toy and interval.as_dict()["low"] is not None:
            inside = "inside" if interval.low <= paper <= interval.high else "outside"
        values[s.name] = {
            **interval.as_dict(),
            "seeds": [{"seed": seed, "value": y} for seed, y in at.items()],
            "images": of_images[s.name].as_dict(level) if s.name in of_images else None,
            "detector": s.yardstick.detector,
            "num_fake": s.yardstick.num_fake,
            "resolution": None if s.images is None else 1 / s.images,
            "paper": paper,
            "verdict": inside,
        }
    return {"arm": arm.name, "title": arm.title, "kimg": kimg, "n_trainings": len(own), "metrics": values}


def _paper(arm: Arm, metric: str) -> float | None:
    """What the paper prints for it: as the plan says, or for the paper's own arms as we know it."""
    known = as_dict(arm.tags.get("paper")) or PAPER.get(arm.name, {})
    return next(
        (finite(value) for word, value in known.items() if word in metric and "kid" not in metric), None
    )


def _speeds(
    series: Sequence[Series], runs: Sequence[Trained], arm: Arm, against: Arm, level: float
) -> list[Document]:
    found = [(s, speed(s, runs, arm.name, against.name, level)) for s in series]
    return [_speed(s, found_, against) for s, found_ in found if found_ is not None]


def _speed(s: Series, found: Speed, against: Arm) -> Document:
    told = asdict(found) | {"difference": found.difference.as_dict()}
    return {"metric": s.name, "other": against.name} | told


def _head(s: Series) -> str:
    which = f"{s.yardstick.detector}, {s.yardstick.num_fake:,} fakes" if s.yardstick.num_fake else ""
    name = next(
        (word for word in ("precision", "recall", "density", "coverage") if s.name.endswith(word)), s.name
    )
    return f"{name} ({which or s.yardstick.detector})"


def _cells(record: Document, series: Sequence[Series]) -> list[str]:
    metrics = as_dict(record["metrics"])
    cells = [str(record["title"]), shown(record["kimg"], 0), str(record["n_trainings"])]
    for s in series:
        found = as_dict(metrics[s.name])
        digits = 4 if s.images or (finite(found["value"]) or 0) < 1 else 2
        between, paper = bounds(found, digits), finite(found["paper"])
        of_images = bounds(found["images"], digits) if found["value"] is not None else UNKNOWN
        intervals = [] if between == UNKNOWN else [between]
        intervals += [] if of_images == UNKNOWN else [f"images {of_images}{_of_fewer(found)}"]
        text = shown(found["value"], digits) + (f" ({'; '.join(intervals)})" if intervals else "")
        verdict = f", {found['verdict']}" if found["verdict"] else ""
        beside = "" if paper is None else f"; paper {paper:g}{verdict}"
        cells.append(text + beside)
    speeds = record["speed"] if isinstance(record["speed"], list) else []
    first = next((as_dict(s) for s in speeds), None)
    difference = as_dict(first["difference"]) if first else {}
    sign = "" if (finite(difference.get("value")) or 0) < 0 else "+"
    between = bounds(difference, 1)
    told = f"{sign}{shown(difference.get('value'), 1)}" + ("" if between == UNKNOWN else f" ({between})")
    return [
        *cells,
        UNKNOWN if first is None else f"{told} to {first['metric']} {finite(first['threshold']):.4g}",
    ]


def _of_fewer(found: Document) -> str:
    """Where the halves are of other images than the value."""
    drawn = whole(as_dict(found["images"]).get("num_fake"))
    return f", of {drawn:,} fakes" if drawn is not None and drawn != found["num_fake"] else ""


def _notes(series: Sequence[Series]) -> list[str]:
    found = [
        "Values are means over trainings at the last snapshot that all of an arm have. Intervals: of other "
        "trainings (t), and for shares also of other images, whose resampling with the other set's manifold "
        "held is binomial, and narrower than that of both sets.",
        "\u201cimages\u201d: had other images been taken, real (by patient) and generated, for these very "
        "networks; by halves of both sets, whose higher FID drops out. In the JSON `without_bias` is the FID "
        "of images without end, which halves point to.",
        "kimg to threshold: when an arm reached the best value of the worst training of both, less when the "
        "first arm did, paired by seed; negative is faster. Snapshots are its grain.",
    ]
    recall = next((s for s in series if s.name.endswith("recall") and s.images), None)
    if recall is not None and recall.images:
        found.append(
            f"Recall counts {recall.images:,} real images in steps of {1 / recall.images:.2g}. The paper's "
            "0.0159 and 0.0194 of 3,773 are 60 and 73 images."
        )
    return found


def _warnings(runs: Sequence[Trained], arms: Sequence[Arm]) -> list[str]:
    toys = {name for t in runs for name in t.run.metrics if t.run.is_toy(name)}
    found = []
    if toys:
        found.append(
            f"{', '.join(sorted(toys))}: by a detector of our own, so no value compares with the paper's."
        )
    few = [arm.title for arm in arms if len([t for t in runs if t.arm is arm]) < 3]
    if few:
        found.append(f"Fewer than 3 trainings: {', '.join(few)}.")
    return found


def _of_flat_covariances(made: Sequence[Document]) -> list[str]:
    found = [as_dict(as_dict(m)["images"]) for record in made for m in as_dict(record["metrics"]).values()
             if as_dict(m).get("images")]  # fmt: skip
    flat = [images for images in found if images["rank_deficient"]]
    if not flat:
        return []
    return [
        f"FID compares covariances of {flat[0]['num_features']} features of {flat[0]['num_real']} real "
        "images: not of full rank, so it says little beyond the means; KID is fair to few images."
    ]
