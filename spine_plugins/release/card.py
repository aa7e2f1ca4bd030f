"""The card of a release: what is known, from files that others wrote; public by choice of every key.

Nothing is copied whole: a key that is not named here does not reach the card, so a path or a name that some
file holds stays there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from spine_plugins.release import annexes
from spine_plugins.runs.documents import (
    Document,
    as_dict,
    as_list,
    cell,
    finite,
    read_json,
    read_lines,
    whole,
)
from stylegan2ada import __version__, provenance
from stylegan2ada.errors import UserError
from stylegan2ada.training import run_files

FORMAT = "spinegan-release"
CONTEXTS = {
    "public": "Public: anybody may download the images.",
    "controlled": "Controlled: named recipients under an agreement.",
    "internal": "Internal: the images do not leave the institution.",
}
LIMITS = (
    "Synthetic images are no evidence about any patient, and no basis for a decision about one.",
    "Findings of models trained on them have to be confirmed on real images.",
    "Rare findings are rarer or missing; biases of the training data remain.",
    "An audit is a lower bound: no evidence of a leak is no proof that there is none.",
)
_TEST_KEYS = ("p_holm", "estimate", "low", "high", "detects", "verdict", "means", "copy_share_at_most")
_DP_KEYS = ("guarantee", "epsilon", "delta", "unit", "adjacency", "releases", "statement")
_SUMMARY_KEYS = ("files", "kept", "failed")
_SUMMARY_COUNTS = ("by_label", "by_split", "by_reason")
_RUN_KEYS = ("batch_size", "total_kimg", "random_seed", "num_gpus")


@dataclass(frozen=True)
class Sources:
    """The files that a card is made from; None where there is none."""

    audit: Document
    images: Document  # facts of images.zip: images, fingerprint, sha256, geometry, label_names, recipe
    context: str
    intended_use: str
    accepted_risk: str | None
    run: Path | None = None
    summary: Path | None = None
    utility: Path | None = None
    metrics: tuple[Path, ...] = ()
    dp: Path | None = None
    has_weights: bool = False


def make_card(sources: Sources, files: Mapping[str, str], written: str) -> Document:
    """The whole card; `files` are the SHA-256 of what lies beside it."""
    audit = sources.audit
    card: Document = {
        "format": FORMAT,
        "format_version": 1,
        "written": written,
        "program": {"version": __version__, "source_sha256": provenance.source_sha256()},
        "first_line": _first_line(sources),
        "context": CONTEXTS[sources.context],
        "intended_use": sources.intended_use,
        "images": dict(sources.images),
        "data": _data(sources),
        "generator": _generator(sources),
        "utility": _utility(sources.utility),
        "quality": _quality(sources.metrics),
        "privacy": {"audit": _audit(audit), "dp": _dp(sources.dp)},
        "limits": list(LIMITS) + [str(text) for text in as_list(audit.get("warnings"))],
        "files": dict(files),
    }
    return card | {"annexes": annexes.of_card(card)}


def _first_line(sources: Sources) -> str | None:
    if sources.accepted_risk is None:
        return None
    return f"RELEASED IN SPITE OF THE VERDICT {sources.audit.get('verdict')}: {sources.accepted_risk}"


def _audit(audit: Document) -> Document:
    tests = {name: picked(as_dict(test), _TEST_KEYS) for name, test in as_dict(audit.get("tests")).items()}
    return {
        "verdict": audit.get("verdict"),
        "statement": audit.get("statement"),
        "detects": audit.get("detects"),
        "unit": audit.get("unit"),
        "features": as_dict(audit.get("features")),
        "tests": tests,
        "not_run": as_dict(audit.get("not_run")),
        "audits_of_these_fakes": audit.get("audits_of_these_fakes"),
    }


def _data(sources: Sources) -> Document:
    """What the images learned from: counts only."""
    sets = as_dict(sources.audit.get("inputs"))
    found: Document = {
        role: picked(as_dict(sets.get(role)), ("fingerprint", "images", "units", "unit", "geometry"))
        for role in ("train", "holdout")
    }
    if sources.summary is not None:
        summary = _required(sources.summary, "--summary")
        found["conversion"] = picked(summary, _SUMMARY_KEYS)
        for key in _SUMMARY_COUNTS:
            counts = {
                name: n
                for name, value in as_dict(summary.get(key)).items()
                if (n := whole(value)) is not None
            }
            if counts:
                found[key] = counts
    return found


def _generator(sources: Sources) -> Document:
    recipe = as_dict(sources.images.get("recipe"))
    origin = as_dict(recipe.get("provenance"))
    found: Document = {
        "network_sha256": recipe.get("network_sha256") or sources.audit.get("network_sha256"),
        "seeds_from": recipe.get("first_seed"),
        "truncation_psi": recipe.get("truncation_psi"),
        "licence": origin.get("licence"),
        "starts_from": [
            picked(as_dict(root), ("origin", "sha256", "licence"))
            for root in as_list(origin.get("starts_from"))
        ],
        "weights_released": sources.has_weights,
    }
    if sources.run is not None:
        options = read_json(sources.run / run_files.OPTIONS)
        found["training"] = picked(options, _RUN_KEYS)
        loss = str(as_dict(options.get("loss_kwargs")).get("class_name") or "").rsplit(".", 1)[-1]
        found["training"] = as_dict(found["training"]) | {"loss": loss}
    return {key: value for key, value in found.items() if value not in (None, "", [])}


def _utility(path: Path | None) -> list[Document]:
    """Rows of an experiment's table, or the one result of an evaluation."""
    if path is None:
        return []
    document = _required(path, "--utility")
    rows = as_list(document.get("rows")) or [document]
    found: list[Document] = []
    for entry in map(as_dict, rows):
        auc = picked(as_dict(entry.get("auc")), ("value", "low", "high", "method"))
        if finite(auc.get("value")) is not None:
            found.append({"row": str(entry.get("row") or "evaluation"), "auc": auc})
    if not found:
        raise UserError(
            "--utility: the file holds no AUC; give table1.json of an experiment, or --json of an evaluation"
        )
    return found


def _quality(paths: Iterable[Path]) -> Document:
    """Numbers of calc_metrics, the last line of each file."""
    found: Document = {}
    for path in paths:
        lines = list(read_lines(path, {}))
        results = as_dict(lines[-1].get("results")) if lines else {}
        found |= {name: value for name, value in results.items() if finite(value) is not None}
    return found


def _dp(path: Path | None) -> Document:
    if path is None:
        return {}
    report = _required(path, "--dp")
    found = picked(report, _DP_KEYS)
    risk = as_dict(report.get("risk"))
    found["risk"] = {name: value for name, value in risk.items() if finite(value) is not None}
    found["excluded"] = [str(text) for text in as_list(report.get("excluded"))]
    return found


def picked(document: Document, keys: Iterable[str]) -> Document:
    """These keys of it, plain values only."""
    found = {}
    for key in keys:
        value = document.get(key)
        if isinstance(value, bool) or cell(value) is not None:
            found[key] = value
    return found


def _required(path: Path, flag: str) -> Document:
    found = read_json(path)
    if not found:
        raise UserError(f"{flag}={path} holds no JSON object; check the path")
    return found
