"""Facts as cards and tables: summary, warnings, data, classifier, synthetic sets, commands and versions."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

from spine_plugins.report import charts
from spine_plugins.report.collect import Run, as_dict, number
from spine_plugins.report.concerns import LEVELS, Concern, concerns, differences
from spine_plugins.report.curves import show
from spine_plugins.report.gallery import Album
from spine_plugins.report.markup import Child, Safe, join, tag
from spine_plugins.report.places import command_text, file_name, short_text, short_value

_MOST_WARNINGS = 60
_MOST_OPTIONS = 400
_FIRST_RESULTS = ("fid50k_full", "kid50k_full")
_UNKNOWN = "\u2013"


def heading(runs: list[Run], title: str) -> Safe:
    """Title, state of each run, and the button for the theme."""
    is_one = len(runs) == 1
    pills = [
        tag("li", run.state if is_one else f"{charts.run_label(run, i)}: {run.state}", class_="pill state")
        for i, run in enumerate(runs)
    ]
    first = runs[0]
    for text in (
        first.dataset.name,
        first.resolution and f"{first.resolution} \u00d7 {first.resolution} pixels",
        _loss(first) and f"{_loss(first)} loss",
    ):
        if is_one and text:
            pills.append(tag("li", text, class_="pill"))
    words = tag("div", tag("p", "SpineGAN training report", class_="eyebrow"), tag("h1", title))
    button = tag("button", "Theme", type="button", id="theme", hidden=True)
    return join([tag("div", words, button, class_="title-row"), tag("ul", pills, class_="pills")])


def key_figures(runs: list[Run]) -> Safe:
    """One run: large figures. Several: a table with what differs marked."""
    if len(runs) > 1:
        rows = {name: [_plain_figures(run, i).get(name, _UNKNOWN) for i, run in enumerate(runs)]
                for i, run in enumerate(runs) for name in _plain_figures(run, i)}  # fmt: skip
        return tag("div", comparison(runs, rows), class_="card")
    made = []
    for name, (value, more) in _figures(runs[0]).items():
        made.append(tag("div", tag("dt", name), tag("dd", value), more and tag("dd", more, class_="more")))
    return tag("dl", made, class_="figures")


def warnings(runs: list[Run], *, with_paths: bool) -> Safe:
    """What to know before believing the numbers."""
    who: dict[Concern, list[str]] = {c: [] for c in (differences(runs) if len(runs) > 1 else [])}
    for i, run in enumerate(runs):
        for concern in concerns(run):
            who.setdefault(concern, []).append(charts.run_label(run, i))
    named = ((c, f"{', '.join(names)}: " if len(runs) > 1 and names else "") for c, names in who.items())
    found = sorted(named, key=lambda pair: LEVELS.index(pair[0].level))
    if not found:
        return tag(
            "p",
            "None: no warning in the log, and nothing doubtful in the numbers that this page checks.",
            class_="card",
        )
    said = [
        tag("li", tag("span", c.level.capitalize(), class_="level"),
            tag("p", tag("strong", f"{names}{c.title}. "), c.text if with_paths else short_text(c.text)),
            class_=f"concern {c.level}")
        for c, names in found[:_MOST_WARNINGS]
    ]  # fmt: skip
    more = len(found) - len(said)
    return join(
        [
            tag("ul", said, class_="concerns"),
            more > 0 and tag("p", f"{more} more are in log.txt.", class_="help"),
        ]
    )


def chart_grid(figures: list[Safe], otherwise: str = "", hint: str = "") -> Safe | None:
    """Charts in two columns below a hint, or the sentence that says why there is none."""
    if figures:
        return join([hint and tag("p", hint, class_="help how"), tag("div", figures, class_="two")])
    return tag("p", otherwise, class_="card") if otherwise else None


def no_metrics(runs: list[Run]) -> str:
    is_any = any(run.metrics for run in runs)
    return (
        "Measurements exist, but none is of a snapshot with a known kimg."
        if is_any
        else ("Nothing was measured yet. calc_metrics.py --network=SNAPSHOT measures one and adds it here.")
    )


def no_curves(runs: list[Run]) -> str:
    return "No tick is finished yet; make this page again later."


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
            "Network": file_name(card.get("network") or _UNKNOWN),
            "Network SHA-256": _code(card.get("network_sha256")),
            "Truncation psi": card.get("truncation_psi"),
            "Noise": card.get("noise_mode"),
            "First seed": card.get("first_seed"),
            "Data set SHA-256": _code(card.get("sha256")),
            "Made by": f"{card.get('tool', '')} {card.get('version', '')}",
        }), class_="card")
        for run in runs for name, card in run.synthetic
    ]  # fmt: skip
    return join(cards) if cards else None


def making(runs: list[Run], *, with_paths: bool) -> Safe:
    """Commands, versions, and every option."""
    cards = [
        _commands(run, i if len(runs) > 1 else None, with_paths=with_paths) for i, run in enumerate(runs)
    ]
    flat = [dict(_flattened(run.options, with_paths=with_paths)) for run in runs]
    names = list(dict.fromkeys(name for options in flat for name in options))[:_MOST_OPTIONS]
    rows: dict[str, list[Child]] = {name: [options.get(name, _UNKNOWN) for options in flat] for name in names}
    if len(runs) > 1:
        differing = {name: row for name, row in rows.items() if len(set(map(str, row))) > 1}
        cards.append(tag("div", tag("h3", "Options that differ"), comparison(runs, differing), class_="card"))
    table = comparison(runs, rows) if len(runs) > 1 else facts({name: row[0] for name, row in rows.items()})
    cards.append(
        tag("div", tag("details", tag("summary", f"All {len(names)} options"), table), class_="card")
    )
    return join(cards)


def facts(rows: dict[str, Child]) -> Safe:
    """A table of names and values; unknown ones are left out."""
    made = [tag("tr", tag("th", name, scope="row"), tag("td", value)) for name, value in rows.items()
            if value not in (None, "")]  # fmt: skip
    return tag("table", tag("tbody", made), class_="facts")


def comparison(runs: list[Run], rows: dict[str, list[Child]]) -> Safe:
    """A column per run; rows whose values differ are marked."""
    head = tag("tr", tag("td"), [tag("th", charts.run_label(run, i), scope="col", title=run.name)
                                 for i, run in enumerate(runs)])  # fmt: skip
    made = [
        tag("tr", tag("th", name, scope="row"), [tag("td", value) for value in row],
            class_="differs" if len(set(map(str, row))) > 1 else None)
        for name, row in rows.items()
    ]  # fmt: skip
    table = tag("table", tag("thead", head), tag("tbody", made), class_="facts compare")
    return tag("div", table, class_="wide", tabindex="0", role="region", aria_label="Runs side by side")


def _figures(run: Run) -> dict[str, tuple[str, str]]:
    """{name: (value, what belongs to it)}"""
    found: dict[str, tuple[str, str]] = {}
    done, total = run.kimg, run.total_kimg
    if done is not None:
        of = f"of {total:,g}" + (f", {min(done / total, 1):.0%}" if total else "") if total else ""
        found["Progress"] = (f"{show(done)} kimg", of)
    names = sorted(run.metrics, key=lambda n: (n not in _FIRST_RESULTS, n))
    for name in names[:3]:
        line = run.metrics[name][-1]
        for key, value in list(line.results.items())[:2]:
            is_known = line.record.get("is_comparable") is not False
            when = "" if line.kimg is None else f"at {line.kimg:g} kimg"
            found[key] = (show(value), when + ("" if is_known else ", not comparable"))
    if run.judge:
        value = number(run.judge[-1].get("accuracy"))
        if value is not None:
            found["Judge accepts"] = (f"{value:.1%}", "of the fakes, at the last snapshot")
    pace, spent = _last(run, "Timing/sec_per_kimg"), _last(run, "Timing/total_sec")
    if spent is not None:
        found["Time spent"] = (_duration(spent), f"{show(pace)} s per kimg" if pace else "")
    if pace and done is not None and total and done < total and run.state != "finished":
        found["Still to go"] = (_duration((total - done) * pace), "at the latest pace")
    strength = run.series("Progress/augment")
    if any(y for _, y in strength):
        found["Augmentation p"] = (show(strength[-1][1]), f"highest {show(max(y for _, y in strength))}")
    return found or {"State": (run.state, "no numbers yet")}


def _plain_figures(run: Run, index: int) -> dict[str, str]:
    known = {
        "Run": run.name,
        "State": run.state,
        "Data set": run.dataset.name or _UNKNOWN,
        "Loss": _loss(run) or _UNKNOWN,
    }
    return known | {
        name: f"{value} ({more})" if more else value for name, (value, more) in _figures(run).items()
    }


def _loss(run: Run) -> str:
    name = str(as_dict(run.options.get("loss_kwargs")).get("class_name") or "")
    return "stylegan2" if name.endswith(".StyleGAN2Loss") else name


def _last(run: Run, name: str) -> float | None:
    return next((y for _, y in reversed(run.series(name)) if math.isfinite(y)), None)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    if minutes < 100:
        return f"{minutes} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24} h" if hours >= 48 else f"{minutes // 60} h {minutes % 60} min"


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
            "Configuration": _code(summary.get("config_hash") or recipe.get("config_hash")),
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
            "SHA-256": _code(recorded.get("classifier_sha256") or card.get("sha256")),
            "AUC recorded by the run": None if card else _interval(recorded.get("classifier_auc")),
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
                    _interval(m.get("auc")) or _UNKNOWN,
                    _interval(m.get("auprc")) or _UNKNOWN,
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


def _interval(value: Any) -> str | None:
    entry = as_dict(value)
    middle, low, high = (number(entry.get(key)) for key in ("value", "low", "high"))
    if middle is None:
        return None
    return f"{middle:.3f}" + (
        f" ({low:.3f} \u2013 {high:.3f})" if low is not None and high is not None else ""
    )


def _commands(run: Run, index: int | None, *, with_paths: bool) -> Safe:
    made = []
    parts = [as_dict(entry) for entry in [*(run.ours.get("earlier") or []), run.ours.get("provenance")]]
    for i, part in enumerate(part for part in parts if part):
        argv = part.get("command") if isinstance(part.get("command"), list) else []
        libraries = ", ".join(f"{name} {version}" for name, version in as_dict(part.get("libraries")).items())
        made.append(join([
            tag("h4", "Command" if not i else f"Continued with (part {i + 1})"),
            argv and tag("pre", tag("code", command_text(argv, is_full=with_paths)), tabindex="0"),
            facts({"SpineGAN": part.get("version"), "Source SHA-256": _code(part.get("source_sha256")),
                   "Python": part.get("python"), "Libraries": libraries, "System": part.get("platform")}),
        ]))  # fmt: skip
    if not made:
        made.append(tag("p", "The command and the versions of this run are not recorded.", class_="help"))
    elif not with_paths:
        made.append(
            tag(
                "p",
                "\u2026/ stands for folders that this page leaves out; training_options.json has them.",
                class_="help",
            )
        )
    name = None if index is None else tag("h3", f"{charts.run_label(run, index)[:1]}: {run.name}")
    when = [row.get("timestamp") for row in run.stats if number(row.get("timestamp")) is not None]
    times = facts({"First tick": _moment(when[0]), "Latest tick": _moment(when[-1])}) if when else None
    return tag("div", name, made, times, class_="card")


def _moment(seconds: Any) -> str | None:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
    except (OverflowError, ValueError, OSError):
        return None


def _flattened(value: Any, prefix: str = "", *, with_paths: bool) -> list[tuple[str, str]]:
    """Every option as (dotted name, text)."""
    if isinstance(value, dict) and value:
        return [
            pair
            for key, inner in value.items()
            if not (prefix == "spinegan" and key in ("provenance", "earlier"))
            for pair in _flattened(inner, f"{prefix}.{key}" if prefix else str(key), with_paths=with_paths)
        ]
    return (
        [(prefix, json.dumps(value if with_paths else _shortened(value), ensure_ascii=False).strip('"'))]
        if prefix
        else []
    )


def _shortened(value: Any) -> Any:
    if isinstance(value, list):
        return [_shortened(part) for part in value]
    if isinstance(value, dict):
        return {key: _shortened(inner) for key, inner in value.items()}
    return short_value(value) if isinstance(value, str) else value


def _code(text: Any) -> Safe | None:
    return tag("code", text) if text else None
