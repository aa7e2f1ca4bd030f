"""What a run was made from and what was made from it: data set, classifier, synthetic data sets."""

from __future__ import annotations

from typing import Any

from spine_plugins.markup import Safe, join, tag
from spine_plugins.report.curves import show
from spine_plugins.report.gallery import Album
from spine_plugins.report.tables import UNKNOWN, code, facts, interval
from spine_plugins.runs.places import file_name
from spine_plugins.runs.reading import Run, as_dict, number


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
        key = str(
            recorded.get("classifier_sha256")
            or as_dict(run.options.get("loss_kwargs")).get("classifier")
            or ""
        )
        if key and key not in cards:
            cards[key] = _classifier(run, recorded)
    return join(cards.values()) if cards else None


def synthetic(runs: list[Run]) -> Safe | None:
    """Cards of synthetic data sets."""
    cards = [
        tag("div", tag("h3", name.removesuffix("_card.json")), facts({
            "Images per class": card.get("images_per_class"),
            "Classes": len(card["classes"]) if isinstance(card.get("classes"), list) else None,
            "Network": file_name(card.get("network") or UNKNOWN),
            "Network SHA-256": code(card.get("network_sha256")),
            "Truncation psi": card.get("truncation_psi"),
            "Noise": card.get("noise_mode"),
            "First seed": card.get("first_seed"),
            "Data set SHA-256": code(card.get("sha256")),
            "Made by": f"{card.get('tool', '')} {card.get('version', '')}",
        }), class_="card")
        for run in runs for name, card in run.synthetic
    ]  # fmt: skip
    return join(cards) if cards else None


def _data_set(run: Run, album: Album) -> Safe:
    data, options = run.dataset, as_dict(run.options.get("training_set_kwargs"))
    summary, recipe = data.summary, data.recipe
    groups = {True: "yes", False: "no", None: "unknown"}[data.has_groups]
    table = facts(
        {
            "Images used": number(options.get("max_size"), int),
            "Labels": "used" if options.get("use_labels") else "not used",
            "Mirrored copies": "added" if options.get("xflip") else "none",
            "Patient groups": groups,
            "Made by": f"{recipe.get('tool', '')} {recipe.get('version', '')}".strip(),
            "Resize filter": recipe.get("resize_filter"),
            "Source files": summary.get("files"),
            "Kept": summary.get("kept"),
            "Failed": summary.get("failed"),
            "Configuration": code(summary.get("config_hash") or recipe.get("config_hash")),
        }
    )
    titles = {"by_label": "Labels", "by_split": "Splits", "by_modality": "Modalities", "by_pi": "Polarity",
              "by_bits_stored": "Bits stored", "by_transfer_syntax": "Transfer syntaxes",
              "by_reason": "Left out because", "by_warnings": "Warnings"}  # fmt: skip
    counts = [made for key, title in titles.items() if (made := _bars(title, as_dict(summary.get(key))))]
    images = [album.picture(path, title, alt) for path, title, alt in (
        (data.contact, "Contact sheet", "Contact sheet: example images of every class, with captions"),
        (data.histogram, "Grey values", "Histogram of the grey values of the images")) if path]  # fmt: skip
    return tag("div", tag("h3", data.name), table, counts and tag("div", counts, class_="two counts"),
               images and tag("div", images, class_="gallery pictures"), class_="card")  # fmt: skip


def _bars(title: str, counts: dict[str, Any]) -> Safe | None:
    """Counts as horizontal bars, largest first."""
    known = sorted(((k, v) for k, v in counts.items() if isinstance(v, int)), key=lambda kv: -kv[1])
    if not known:
        return None
    most = max(known[0][1], 1)
    rows = [
        (tag("span", name), tag("svg", tag("rect", width=round(100 * n / most, 1), height=12, rx=1),
         viewBox="0 0 100 12", preserveAspectRatio="none", aria_hidden="true"), tag("span", f"{n:,}"))
        for name, n in known[:12]
    ]  # fmt: skip
    more = len(known) - len(rows)
    return tag(
        "div",
        tag("h4", title),
        tag("div", rows, class_="bars"),
        more > 0 and tag("p", f"and {more} more", class_="help"),
    )


def _classifier(run: Run, recorded: dict[str, Any]) -> Safe:
    card = run.classifier or {}
    path = as_dict(run.options.get("loss_kwargs")).get("classifier")
    title = file_name(path) if path else "Classifier"
    weights = as_dict(card.get("weights"))
    names = card.get("class_names")
    table = facts(
        {
            "Architecture": card.get("arch"),
            "Task": card.get("task"),
            "Classes": ", ".join(map(str, names)) if isinstance(names, list) else None,
            "Input": f"{size} \u00d7 {size} pixels"
            if (size := as_dict(card.get("input")).get("size"))
            else None,
            "Weights started from": "random numbers"
            if weights.get("origin") == "none"
            else file_name(weights["origin"])
            if weights.get("origin")
            else None,
            "Separated by": card.get("split"),
            "Epoch chosen on": card.get("selected_on"),
            "Licence": card.get("licence"),
            "SHA-256": code(recorded.get("classifier_sha256") or card.get("sha256")),
            "AUC recorded by the run": None if card else interval(recorded.get("classifier_auc")),
        }
    )
    measured = {role: as_dict(m) for role, m in as_dict(card.get("metrics")).items() if as_dict(m)}
    rows = [
        tag(
            "tr",
            tag("th", {"val": "validation"}.get(role, role), scope="row"),
            [
                tag("td", cell)
                for cell in (
                    m.get("n"),
                    interval(m.get("auc")) or UNKNOWN,
                    interval(m.get("auprc")) or UNKNOWN,
                    show(number(m.get("accuracy"))),
                    show(number(m.get("brier"))),
                    show(number(m.get("ece"))),
                )
            ],
        )
        for role, m in measured.items()
    ]
    heads = ("Data", "Images", "AUC (95 % interval)", "AUPRC (95 % interval)", "Accuracy", "Brier", "ECE")
    scores = rows and tag(
        "div",
        tag(
            "table",
            tag("caption", "Scores of the classifier", class_="hidden-text"),
            tag("thead", tag("tr", [tag("th", h, scope="col") for h in heads])),
            tag("tbody", rows),
            class_="numbers",
        ),
        class_="wide",
        tabindex="0",
        role="region",
        aria_label="Scores of the classifier",
    )
    return tag("div", tag("h3", title), table, scores, class_="card")
