"""The paper's future work: which weight and which classifier in the loss help most."""

from __future__ import annotations

from collections.abc import Sequence

from spine_plugins.experiments.exports import UNKNOWN, Table, p_text, shown, signed
from spine_plugins.experiments.results import Experiment
from spine_plugins.runs.documents import Document, as_dict, as_list, finite


def table(experiment: Experiment, first: Table, second: Table) -> Table:
    """An arm per row: what it varies, its last metrics (Table 2) and what its images bring (Table 1)."""
    title = "Sweep: what varies in the loss, generation quality, and what the images bring"
    quality = {str(record["arm"]): record for record in second.records}
    varied = list(dict.fromkeys(key for arm in experiment.arms for key in _tags(arm.tags)))
    made: list[Document] = []
    for arm in experiment.arms:
        own = quality.get(arm.name, {})
        metrics = as_dict(own.get("metrics"))
        made.append({
            "arm": arm.name,
            "title": arm.title,
            "varied": {key: _tags(arm.tags).get(key) for key in varied},
            "kimg": own.get("kimg"),
            "fid": _metric(metrics, "fid"),
            "recall": _metric(metrics, "recall"),
            "speed": own.get("speed") or [],
            "best_gain": _best_gain(experiment, first, arm.name),
        })  # fmt: skip
    heads = ["GAN", *varied, "FID", "recall", "kimg to threshold", "best gain in AUC", "of row", "p (Holm)"]
    return Table("sweep", title, made, heads, [_cells(record, varied) for record in made], {},
                 ["Gains are picked as the best of an arm's rows: read them with their adjusted p-value."],
                 [] if made else ["The plan has no arms."])  # fmt: skip


def _tags(tags: Document) -> Document:
    """What the plan says that an arm varies."""
    return as_dict(tags.get("tags"))


def _metric(metrics: Document, word: str) -> Document | None:
    return next((as_dict(value) for name, value in metrics.items() if word in name), None)


def _best_gain(experiment: Experiment, first: Table, arm: str) -> Document | None:
    rows = {row.name for row in experiment.rows if row.arm == arm}
    gains = [as_dict(r["difference"]) | {"row": r["title"]} for r in first.records
             if r["row"] in rows and r["difference"]]  # fmt: skip
    return max(gains, key=lambda gain: finite(gain["value"]) or -1.0, default=None)


def _cells(record: Document, varied: Sequence[str]) -> list[str]:
    speed = next((as_dict(s) for s in as_list(record["speed"])), {})
    gain = as_dict(record["best_gain"])
    return [
        str(record["title"]),
        *(UNKNOWN if (value := as_dict(record["varied"]).get(key)) is None else str(value) for key in varied),
        shown(as_dict(record["fid"]).get("value"), 2),
        shown(as_dict(record["recall"]).get("value"), 4),
        signed(as_dict(speed.get("difference")).get("value"), 1),
        signed(gain.get("value")),
        str(gain.get("row") or UNKNOWN),
        p_text(gain.get("p_holm")),
    ]
