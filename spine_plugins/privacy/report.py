"""What a run claims: privacy_report.json and .md, signed on request; numbers come from the ledger alone."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from spine_plugins.privacy.accountant import Account, Adjacency, Query, account_queries
from spine_plugins.privacy.risk import in_words, risk_of_queries
from stylegan2ada import files
from stylegan2ada.errors import MissingError, UserError
from stylegan2ada.protocols import JsonObject

JSON_FILE, TEXT_FILE = "privacy/privacy_report.json", "privacy/privacy_report.md"
NONE = "none"
GUARANTEE = "(eps, delta)-DP"
EXCLUDED = (
    "conversion and deduplication of the images",
    "tuning runs on these data",
    "audits",
    "TSTR, FID and counts on a release's card",
    "timing",
)
_SIGNATURE = "signature"


def claim(
    queries: Iterable[Query],
    delta: float,
    *,
    unit: str,
    adjacency: Adjacency,
    n_public: int | None,
    ledger_sha256: str,
    doubts: Iterable[str] = (),  # why nothing is guaranteed all the same
    facts: Mapping[str, object] | None = None,  # how it was trained
) -> JsonObject:
    """The report of a private run: epsilon, delta and risk of what its ledger counts, and a sentence."""
    found = list(queries)
    bounds = account_queries(found, delta, adjacency=adjacency)
    risks = risk_of_queries(found, adjacency=adjacency)
    reasons = list(doubts)
    statement = (
        f"Guarantee: none, because {'; '.join(reasons)}."
        if reasons
        else f"The published files are ({bounds['epsilon']:.4g}, {delta:.3g})-differentially private for one "
        f"{unit} ({_neighbours(adjacency, unit)}): {in_words(risks)}."
    )
    return {
        "guarantee": NONE if reasons else GUARANTEE,
        **_bounds(bounds),
        "unit": unit,
        "adjacency": adjacency,
        "n_public": n_public,
        "releases": bounds["releases"],
        "risk": risks,
        "excluded": list(EXCLUDED),
        "doubts": reasons,
        "statement": statement,
        "ledger_sha256": ledger_sha256,
        "versions": bounds["versions"],
        **(facts or {}),
    }


def no_claim(reasons: Iterable[str], **facts: object) -> JsonObject:
    """The report of a run that promises nothing."""
    why = list(reasons)
    return {
        "guarantee": NONE,
        "epsilon": None,
        "epsilon_rdp": None,
        "epsilon_pld": None,
        "delta": None,
        "unit": None,
        "adjacency": None,
        "releases": None,
        "risk": None,
        "excluded": list(EXCLUDED),
        "doubts": why,
        "statement": f"Guarantee: none, because {'; '.join(why)}.",
        "ledger_sha256": None,
        **facts,
    }


def _bounds(bounds: Account) -> JsonObject:
    names = ("epsilon", "epsilon_rdp", "epsilon_pld", "epsilon_own", "delta")
    return {name: bounds[name] for name in names}  # type: ignore[literal-required]  # keys of the record


def _neighbours(adjacency: str, unit: str) -> str:
    return f"one {unit} more or less" if adjacency == "add-remove" else f"one {unit} instead of another"


def write(run_dir: Path, report: JsonObject, sign_key: str | None = None) -> None:
    """Both files below run_dir/privacy/."""
    signed = dict(report) if sign_key is None else sign(report, read_key(sign_key, create=True))
    (run_dir / JSON_FILE).parent.mkdir(parents=True, exist_ok=True)
    files.write_json(run_dir / JSON_FILE, signed)
    (run_dir / TEXT_FILE).write_text(as_text(signed), encoding="utf-8")


def read(run_dir: Path) -> JsonObject:
    path = run_dir / JSON_FILE
    try:
        found = json.loads(path.read_text())
    except OSError as error:
        raise MissingError(f"{path} is not there; only runs with --dp-mode have a privacy report") from error
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); write it again from the ledger") from error
    if not isinstance(found, dict):
        raise UserError(f"{path} is not a privacy report")
    return found


def as_text(report: Mapping[str, object]) -> str:
    """The report for people."""
    rows = [
        (name, value) for name, value in report.items() if name not in ("statement", "excluded", "doubts")
    ]
    lines = [
        "# Privacy report", "", f"**guarantee: {report['guarantee']}**", "", str(report["statement"]), "",
        "| fact | value |", "|---|---|", *(f"| {name} | {_cell(value)} |" for name, value in rows), "",
        "Not covered by this statement:", "", *(f"- {text}" for text in _texts(report["excluded"])), "",
    ]  # fmt: skip
    return "\n".join(lines)


def _texts(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else []


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return json.dumps(value) if isinstance(value, dict | list) else str(value)


# Signatures: whoever has the key can tell that the claim is the one that was written.


def sign(report: JsonObject, key: bytes) -> JsonObject:
    """The report with a keyed hash of all else that stands in it, the ledger's hash included."""
    bare = {name: value for name, value in report.items() if name != _SIGNATURE}
    return bare | {_SIGNATURE: {"method": "hmac-sha256", "value": _keyed_hash(bare, key)}}


def is_signed(report: Mapping[str, object]) -> bool:
    return _SIGNATURE in report


def has_signature_of(report: Mapping[str, object], key: bytes) -> bool:
    signature = report.get(_SIGNATURE)
    bare = {name: value for name, value in report.items() if name != _SIGNATURE}
    value = str(signature.get("value")) if isinstance(signature, dict) else ""
    return hmac.compare_digest(value, _keyed_hash(bare, key))


def read_key(path: str, *, create: bool = False) -> bytes:
    """The secret in a key file; a new one (mode 600) if there is none and `create` says so."""
    if create and not Path(path).exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32) + "\n")
    try:
        key = bytes.fromhex(Path(path).read_text().strip())
    except OSError as error:
        raise MissingError(
            f"--sign-key={path} cannot be read ({error.strerror}); give the key file"
        ) from error
    except ValueError as error:
        raise UserError(f"--sign-key={path} is not a key file: 64 hexadecimal digits are wanted") from error
    if len(key) < 32:
        raise UserError(f"--sign-key={path} is too short: 64 hexadecimal digits are wanted")
    return key


def _keyed_hash(report: Mapping[str, object], key: bytes) -> str:
    text = json.dumps(report, sort_keys=True, default=str).encode()
    return hmac.new(key, text, hashlib.sha256).hexdigest()
