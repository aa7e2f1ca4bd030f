"""Whether a run's claim is what its ledger adds up to, and report, snapshots and state agree with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from spine_plugins.privacy import ledger, report
from spine_plugins.privacy.accountant import account_queries
from stylegan2ada.errors import UserError
from stylegan2ada.protocols import JsonObject
from stylegan2ada.training import run_files

_SAME_VERSION = 1e-6  # relative
_OTHER_VERSION = 0.1


class ClaimFails(UserError):  # noqa: N818 - a verdict
    """The claim does not hold as it stands."""

    exit_code = 5


def verify(run_dir: Path, sign_key: str | None = None) -> JsonObject:
    """The report, if all agrees; ClaimFails in one sentence otherwise."""
    claimed = report.read(run_dir)
    if claimed.get("guarantee") != report.GUARANTEE:
        raise ClaimFails(f"{run_dir} claims nothing: {claimed.get('statement', 'guarantee: none')}")
    if sign_key is not None and not report.has_signature_of(claimed, report.read_key(sign_key)):
        raise ClaimFails(f"{run_dir / report.JSON_FILE} was not signed with this key, or changed afterwards")
    path = run_dir / ledger.FILE
    if not path.exists():
        raise ClaimFails(f"{path} is missing; without it the claim rests on nothing")
    lines, _ = ledger.read(path)
    if ledger.sha256(path) != claimed.get("ledger_sha256"):
        raise ClaimFails(f"{path} is not the ledger that the report was written from")
    _compare_terms(lines, claimed)
    _compare_numbers(lines, claimed)
    known = {head: count for count, head in enumerate(ledger.heads(path))}
    for snapshot in run_files.snapshots_in(run_dir):
        _compare_copy(snapshot.name, _card(snapshot), known)
    state = run_dir / run_files.STATE
    if state.exists():
        _compare_copy(state.name, _of_state(state), known)
    return claimed


def _compare_terms(lines: list[ledger.Line], claimed: JsonObject) -> None:
    for line in lines:
        for name in ("unit", "adjacency", "n_public"):
            if getattr(line, name) != claimed.get(name):
                raise ClaimFails(
                    f"the ledger has {name} {getattr(line, name)}, but the report says {claimed.get(name)}"
                )


def _compare_numbers(lines: list[ledger.Line], claimed: JsonObject) -> None:
    found = account_queries([line.query for line in lines], claimed["delta"], adjacency=claimed["adjacency"])
    if found["releases"] != claimed.get("releases"):
        raise ClaimFails(
            f"the ledger counts {found['releases']} releases, but the report {claimed.get('releases')}"
        )
    near = _SAME_VERSION if found["versions"] == claimed.get("versions") else _OTHER_VERSION
    # Looser bounds than the claim's say nothing against it: another machine may lack dp-accounting.
    is_tighter_there = claimed.get("epsilon_pld") is not None and found["epsilon_pld"] is None
    name = "epsilon_own" if is_tighter_there else "epsilon"
    said, real = claimed.get(name), found["epsilon_own" if is_tighter_there else "epsilon"]
    if not isinstance(said, float | int) or not math.isclose(real, said, rel_tol=near):
        raise ClaimFails(f"the ledger adds up to {name} {real:.6g}, but the report says {said}")


def _compare_copy(name: str, facts: Mapping[str, object] | None, known: dict[str, int]) -> None:
    """A copy is of an earlier moment: its last line must be one of the ledger's, at that very number."""
    if facts is None:
        raise ClaimFails(f"{name} says nothing of the ledger; it is not of this private run")
    if known.get(str(facts.get("ledger_head"))) != facts.get("ledger_lines"):
        raise ClaimFails(f"{name} was written with another ledger: lines were left out or changed since")


def _card(path: Path) -> Mapping[str, object] | None:
    from stylegan2ada.checkpoints import load_network

    card = load_network(str(path)).get("card") or {}
    found = card.get("privacy")
    return found if isinstance(found, Mapping) else None


def _of_state(path: Path) -> Mapping[str, object] | None:
    from stylegan2ada.checkpoints.training_state import load_state

    hooks = load_state(path)["ranks"][0].get("hooks") or {}
    return next(
        (state for state in hooks.values() if isinstance(state, dict) and "ledger_head" in state), None
    )
