"""card.html and card.md: the card for people, from card.json alone, so that both can be made again."""

from __future__ import annotations

from spine_plugins.markup import Child, Safe, join, tag
from spine_plugins.pages import audited, frame
from spine_plugins.pages.tables import facts, interval
from spine_plugins.runs.documents import Document, as_dict, as_list, cell, finite


def html(card: Document) -> str:
    """One self-contained page."""
    images = as_dict(card.get("images"))
    pills = [
        tag("li", str(text), class_="pill") for text in (card.get("context"), images.get("geometry")) if text
    ]
    accepted = card.get("first_line")
    risk = tag("p", str(accepted), class_="concern serious accepted", role="alert") if accepted else None
    title = f"{cell(images.get('images'))} synthetic radiographs"
    heading = join([risk, frame.heading("SpineGAN release card", title, pills)])
    audit = as_dict(as_dict(card.get("privacy")).get("audit"))
    parts: list[tuple[str, str, Safe | None]] = [
        (
            "privacy",
            "Privacy",
            join([audited.verdict(audit), tag("div", audited.tests(audit), class_="card"), _dp(card)]),
        ),
        ("use", "What it is for", tag("div", _use(card), class_="card")),
        ("utility", "What it is good for", tag("div", _utility(card), class_="card")),
        ("data", "Data", tag("div", _data(card), class_="card")),
        ("generator", "Generator", tag("div", _generator(card), class_="card")),
        ("annexes", "Annexes", _annexes(card)),
        (
            "files",
            "Files",
            tag(
                "div",
                facts({name: tag("code", str(mark)) for name, mark in as_dict(card.get("files")).items()}),
                class_="card",
            ),
        ),
    ]
    present = [(key, name, part) for key, name, part in parts if part]
    return frame.document("Release card", heading, present, kind="SpineGAN", written=str(card.get("written")))


def _dp(card: Document) -> Safe:
    dp = as_dict(as_dict(card.get("privacy")).get("dp"))
    text = dp.get("statement") or "NOT RUN: no report of a differentially private training was given."
    return tag("div", tag("h3", "Differential privacy"), tag("p", str(text)), class_="card")


def _use(card: Document) -> Safe:
    limits = [tag("li", str(text)) for text in as_list(card.get("limits"))]
    return join(
        [
            facts({"Intended use": cell(card.get("intended_use")), "Context": cell(card.get("context"))}),
            tag("h4", "Limits"),
            tag("ul", limits, class_="plain"),
        ]
    )


def _utility(card: Document) -> Safe:
    rows: dict[str, Child] = {}
    for entry in map(as_dict, as_list(card.get("utility"))):
        rows[f"AUC, {entry.get('row')}"] = interval(entry.get("auc"))
    rows |= {
        name: f"{value:.4g}"
        for name, n in as_dict(card.get("quality")).items()
        if (value := finite(n)) is not None
    }
    if not rows:
        return tag("p", tag("b", "NOT RUN"), ": neither utility nor quality was measured.")
    return facts(rows)


def _data(card: Document) -> Safe:
    data = as_dict(card.get("data"))
    rows: dict[str, Child] = {}
    for role, title in (("train", "Training images"), ("holdout", "Held-out images")):
        part = as_dict(data.get(role))
        rows[title] = f"{part.get('images')}; units: {part.get('units')} ({part.get('unit')})"
    for key, title in (("conversion", "Conversion"), ("by_label", "By label"), ("by_split", "By split"),
                       ("by_reason", "Left out, by reason")):  # fmt: skip
        counts = as_dict(data.get(key))
        rows[title] = ", ".join(f"{name} {value}" for name, value in counts.items()) or None
    return facts(rows)


def _generator(card: Document) -> Safe:
    generator = as_dict(card.get("generator"))
    training = as_dict(generator.get("training"))
    roots = [str(as_dict(root).get("origin")) for root in as_list(generator.get("starts_from"))]
    return facts(
        {
            "Network SHA-256": _code(generator.get("network_sha256")),
            "Weights released": "yes" if generator.get("weights_released") else "no",
            "Licence": cell(generator.get("licence")),
            "Started from": ", ".join(roots),
            "Truncation psi": cell(generator.get("truncation_psi")),
            "First seed": cell(generator.get("seeds_from")),
            "Training": ", ".join(f"{key} {value}" for key, value in training.items()),
            "Program": f"spinegan {as_dict(card.get('program')).get('version')}",
            "Source SHA-256": _code(as_dict(card.get("program")).get("source_sha256")),
        }
    )


def _code(value: object) -> Safe | None:
    return tag("code", str(value)) if value else None


def _annexes(card: Document) -> Safe:
    made = []
    for title, lines in as_dict(card.get("annexes")).items():
        rows = []
        for entry in map(as_dict, as_list(lines)):
            status = str(entry.get("status"))
            said = tag("div", tag("b", status, class_=_LEVEL.get(status)), ": ", str(entry.get("answer")))
            head = tag(
                "th",
                str(entry.get("item")),
                tag("span", str(entry.get("question")), class_="help block"),
                scope="row",
            )
            rows.append(tag("tr", head, tag("td", said)))
        table = tag(
            "table", tag("caption", str(title), class_="hidden-text"), tag("tbody", rows), class_="annex"
        )
        made.append(tag("div", tag("h3", str(title)), table, class_="card"))
    return join(made)


_LEVEL = {"NOT RUN": "todo", "UNDERPOWERED": "todo", "NEEDS A PERSON": "todo"}


def markdown(card: Document) -> str:
    """The same in plain text, for repositories of data."""
    images, audit = as_dict(card.get("images")), as_dict(as_dict(card.get("privacy")).get("audit"))
    lines = [f"> **{_plain(card['first_line'])}**", ""] if card.get("first_line") else []
    lines += [
        f"# {images.get('images')} synthetic radiographs", "",
        f"**{audit.get('verdict')}.** {_plain(audit.get('statement'))}", "",
        f"- Context: {_plain(card.get('context'))}",
        f"- Intended use: {_plain(card.get('intended_use'))}",
        f"- Audits of these images: {audit.get('audits_of_these_fakes')}",
        "", "| test | verdict | p, adjusted | would have seen |", "|---|---|---|---|",
    ]  # fmt: skip
    for name, (title, _) in audited.TESTS.items():
        found = as_dict(as_dict(audit.get("tests")).get(name))
        if found:
            seen = audited.share(found.get("detects")) if found.get("verdict") != "FAIL" else "-"
            lines.append(
                f"| {title} | {found.get('verdict')} | {audited.p_text(found.get('p_holm'))} | {seen} |"
            )
        else:
            reason = as_dict(audit.get("not_run")).get(name) or "not part of this audit"
            lines.append(f"| {title} | NOT RUN: {_plain(reason)} | | |")
    lines += ["", "## Limits", "", *(f"- {_plain(text)}" for text in as_list(card.get("limits")))]
    for title, rows in as_dict(card.get("annexes")).items():
        lines += ["", f"## {title}", "", "| item | question | status | answer |", "|---|---|---|---|"]
        for entry in map(as_dict, as_list(rows)):
            cells = (entry.get(key) for key in ("item", "question", "status", "answer"))
            lines.append("| " + " | ".join(map(_plain, cells)) + " |")
    lines += [
        "",
        f"Written by spinegan {as_dict(card.get('program')).get('version')} at {card.get('written')}.",
        "",
    ]
    return "\n".join(lines)


def _plain(value: object) -> str:
    """Text that stays within its cell and its line, and means itself."""
    text = " ".join(str(value).split())
    return "".join("\\" + c if c in "|<>*_`[]\\" else c for c in text)
