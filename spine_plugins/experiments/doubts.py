"""What speaks against relying on a table: few seeds, unequal lengths, failed tasks, failed controls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from spine_plugins.experiments.predictions import TestSet, Training
from spine_plugins.experiments.results import Experiment, Row
from spine_plugins.runs.documents import Document, as_dict, as_list, finite

_FEWEST_SEEDS, _FEWEST_DRAWS = 3, 2
_GAIN_OF_ORACLE = 0.05  # of AUC, that fresh images of the same source must bring


def of_test_set(test: TestSet) -> list[str]:
    if test.unit != "image":
        return []
    return [
        "The test set does not say whose images they are: if some share a patient, intervals are too narrow."
    ]


def of_experiment(experiment: Experiment) -> list[str]:
    """Of freezing, and of files that are no longer what was written."""
    found = []
    frozen = experiment.frozen
    if frozen is None:
        found.append("The analysis was not frozen before the test set was opened (`experiments freeze`).")
    elif frozen.get("valid") is not True:
        why = frozen.get("why") or "plan or data changed since"
        found.append(f"Frozen {frozen.get('time')}, but that no longer holds: {why}.")
    found += [
        f"{name} was changed after its task had written it; it is left out." for name in experiment.changed
    ]
    return found


def of_rows(
    rows: Sequence[Row], runs: Mapping[str, Sequence[Training]], made: Sequence[Document]
) -> list[str]:
    """By row: what failed, what is too little to tell, what the controls say."""
    found = [f"{record['title']}: {why}." for record in made for why in map(str, as_list(record["missing"]))]
    measured = [row for row in rows if runs[row.name]]
    few = [row.title for row in measured if len({run.seed for run in runs[row.name]}) < _FEWEST_SEEDS]
    if few:
        found.append(f"Fewer than {_FEWEST_SEEDS} classifier seeds: {_listed(few)}.")
    drawn = [row for row in measured if row.arm is not None]
    one = [row.title for row in drawn if len({(r.gan, r.draw) for r in runs[row.name]}) < _FEWEST_DRAWS]
    if one:
        found.append(f"Only one draw of fakes, so its luck is not in the interval: {_listed(one)}.")
    found += _of_lengths(rows, made)
    by_name = {str(record["row"]): record for record in made}
    return found + [text for row in measured for text in _of_control(row, by_name[row.name])]


def _of_lengths(rows: Sequence[Row], made: Sequence[Document]) -> list[str]:
    """Longer training alone can bring what images seem to bring."""
    if any(row.tags.get("by") == "epochs" for row in rows):
        return ["Trained by epochs, as the paper prints them: rows with more images took more steps."]
    steps = Counter(record["steps"] for record in made if record["steps"] is not None)
    if len(steps) < 2:
        return []
    usual = steps.most_common(1)[0][0]
    others = [f"{r['title']} ({r['steps']})" for r in made if r["steps"] not in (None, usual)]
    return [f"Trained for other than the {usual} steps of most rows: {_listed(others)}."]


def _of_control(row: Row, record: Document) -> list[str]:
    """Whether what must show a difference does, and what must show none does not."""
    auc, gain = as_dict(record["auc"]), finite(as_dict(record["difference"]).get("value"))
    low, high = finite(auc.get("low")), finite(auc.get("high"))
    if not row.is_control:
        return []
    if "shuffle" in row.name and low is not None and high is not None and not low <= 0.5 <= high:
        return [
            f"{row.title}: its interval, {low:.3f} to {high:.3f}, leaves out 0.5 although its labels were "
            "shuffled; something tells the classes apart that should not."
        ]
    train = row.tags.get("train")
    is_added = not isinstance(train, list) or "real" in train  # to the true images, not instead of them
    if "oracle" in row.name and is_added and gain is not None and gain < _GAIN_OF_ORACLE:
        return [
            f"{row.title}: fresh images of the same source gain {gain:+.3f}, less than {_GAIN_OF_ORACLE}; "
            "this chain would hardly show what good fakes bring."
        ]
    return []


def _listed(names: Sequence[str], most: int = 4) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
