"""What a run was made from and what was made from it: data set, classifier, synthetic data sets."""

from __future__ import annotations

from spine_plugins.markup import Safe, join, tag
from spine_plugins.pages.curves import show
from spine_plugins.pages.gallery import Album
from spine_plugins.pages.tables import UNKNOWN, code, facts, interval, numbers, row
from spine_plugins.runs.documents import Document, as_dict, cell, number, whole
from spine_plugins.runs.places import file_name
from spine_plugins.runs.reading import Run

_COUNTS = {  # key of a data set's summary: title
    "by_label": "Labels",
    "by_split": "Splits",
    "by_modality": "Modalities",
    "by_pi": "Polarity",
    "by_bits_stored": "Bits stored",
    "by_transfer_syntax": "Transfer syntaxes",
    "by_reason": "Left out because",
    "by_warnings": "Warnings",
}
_MOST_BARS = 12


def data_sets(runs: list[Run], album: Album) -> Safe | None:
    """Each data set once."""
    cards = {}
    for run in runs:
        if run.dataset.name is not None and run.dataset.name not in cards:
            cards[run.dataset.name] = _data_set(run, album)
    return join(cards.values()) if cards else None


def classifiers(runs: list[Run]) -> Safe | None:
    """The card of the classifier in the loss, each once."""
    cards = {}
    for run in runs:
        recorded = as_dict(run.ours.get("spine"))
        path = as_dict(run.options.get("loss_kwargs")).get("classifier")
        key = str(recorded.get("classifier_sha256") or path or "")
        if key and key not in cards:
            cards[key] = _classifier(run, recorded)
    return join(cards.values()) if cards else None


def synthetic(runs: list[Run]) -> Safe | None:
    """Cards of synthetic data sets."""
    cards = [_synthetic(name, card) for run in runs for name, card in run.synthetic]
    return join(cards) if cards else None


def _synthetic(name: str, card: Document) -> Safe:
    classes = card.get("classes")
    table = facts(
        {
            "Images per class": cell(card.get("images_per_class")),
            "Classes": len(classes) if isinstance(classes, list) else None,
            "Network": file_name(card.get("network") or UNKNOWN),
            "Network SHA-256": code(card.get("network_sha256")),
            "Truncation psi": cell(card.get("truncation_psi")),
            "Noise": cell(card.get("noise_mode")),
            "First seed": cell(card.get("first_seed")),
            "Data set SHA-256": code(card.get("sha256")),
            "Made by": f"{card.get('tool', '')} {card.get('version', '')}",
        }
    )
    return tag("div", tag("h3", name.removesuffix("_card.json")), table, class_="card")


def _data_set(run: Run, album: Album) -> Safe:
    data, options = run.dataset, as_dict(run.options.get("training_set_kwargs"))
    summary, recipe = data.summary, data.recipe
    groups = {True: "yes", False: "no", None: "unknown"}[data.has_groups]
    table = facts(
        {
            "Images used": whole(options.get("max_size")),
            "Labels": "used" if options.get("use_labels") else "not used",
            "Mirrored copies": "added" if options.get("xflip") else "none",
            "Patient groups": groups,
            "Made by": f"{recipe.get('tool', '')} {recipe.get('version', '')}".strip(),
            "Resize filter": cell(recipe.get("resize_filter")),
            "Source files": cell(summary.get("files")),
            "Kept": cell(summary.get("kept")),
            "Failed": cell(summary.get("failed")),
            "Configuration": code(summary.get("config_hash") or recipe.get("config_hash")),
        }
    )
    counts = [made for key, title in _COUNTS.items() if (made := _bars(title, as_dict(summary.get(key))))]
    pictures = (
        (data.contact, "Contact sheet", "Contact sheet: example images of every class, with captions"),
        (data.histogram, "Grey values", "Histogram of the grey values of the images"),
    )
    images = [album.picture(path, title, alt) for path, title, alt in pictures if path]
    return tag(
        "div",
        tag("h3", data.name),
        table,
        counts and tag("div", counts, class_="two counts"),
        images and tag("div", images, class_="gallery pictures"),
        class_="card",
    )


def _bars(title: str, counts: Document) -> Safe | None:
    """Counts as horizontal bars, largest first."""
    whole_numbers = ((name, whole(n)) for name, n in counts.items() if isinstance(n, int))
    known = sorted(((name, n) for name, n in whole_numbers if n is not None), key=lambda pair: -pair[1])
    if not known:
        return None
    # All counts may be 0: bars without length, not a division by zero.
    most = max(known[0][1], 1)
    rows = [
        (tag("span", name), _bar(100 * n / most), tag("span", f"{n:,}")) for name, n in known[:_MOST_BARS]
    ]
    more = len(known) - len(rows)
    return tag(
        "div",
        tag("h4", title),
        tag("div", rows, class_="bars"),
        more > 0 and tag("p", f"and {more} more", class_="help"),
    )


def _bar(percent: float) -> Safe:
    # Drawn: the page's policy allows no style attribute that could set a width.
    drawn = tag("rect", width=round(percent, 1), height=12, rx=1)
    return tag("svg", drawn, viewBox="0 0 100 12", preserveAspectRatio="none", aria_hidden="true")


def _classifier(run: Run, recorded: Document) -> Safe:
    card = run.classifier or {}
    path = as_dict(run.options.get("loss_kwargs")).get("classifier")
    names, size = card.get("class_names"), cell(as_dict(card.get("input")).get("size"))
    table = facts(
        {
            "Architecture": cell(card.get("arch")),
            "Task": cell(card.get("task")),
            "Classes": ", ".join(map(str, names)) if isinstance(names, list) else None,
            "Input": f"{size} \u00d7 {size} pixels" if size else None,
            "Weights started from": _origin(as_dict(card.get("weights")).get("origin")),
            "Separated by": cell(card.get("split")),
            "Epoch chosen on": cell(card.get("selected_on")),
            "Licence": cell(card.get("licence")),
            "SHA-256": code(recorded.get("classifier_sha256") or card.get("sha256")),
            "AUC recorded by the run": None if card else interval(recorded.get("classifier_auc")),
        }
    )
    title = file_name(path) if path else "Classifier"
    return tag("div", tag("h3", title), table, _scores(as_dict(card.get("metrics"))), class_="card")


def _origin(recorded: object) -> str | None:
    if not recorded:
        return None
    return "random numbers" if recorded == "none" else file_name(recorded)


def _scores(metrics: Document) -> Safe | None:
    """How good the classifier is, on each part of its data."""
    rows = [
        row(
            {"val": "validation"}.get(role, role),
            [
                cell(entry.get("n")),
                interval(entry.get("auc")) or UNKNOWN,
                interval(entry.get("auprc")) or UNKNOWN,
                *(show(number(entry.get(key))) for key in ("accuracy", "brier", "ece")),
            ],
        )
        for role, entry in ((role, as_dict(measured)) for role, measured in metrics.items())
        if entry
    ]
    heads = ("Data", "Images", "AUC (95 % interval)", "AUPRC (95 % interval)", "Accuracy", "Brier", "ECE")
    caption = "Scores of the classifier"
    return numbers(caption, heads, rows, label=caption) if rows else None
