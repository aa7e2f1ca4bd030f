"""The ledger: before the release, chained, never shorter; and what verification makes of a changed one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from spine_plugins.privacy import accountant, ledger, report, verification
from spine_plugins.privacy.accountant import Query, account_queries
from spine_plugins.privacy.command import dp
from spine_plugins.privacy.ledger import BrokenLedger, Ledger, Terms
from stylegan2ada.errors import UserError

TERMS = Terms("image", "add-remove", 1000)
STEP = Query(0.05, 2.0)


@pytest.fixture(autouse=True)
def _own_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accountant, "has_library", lambda: False)  # quicker; which bound it is matters not


def written(run_dir: Path, steps: int = 5) -> Ledger:
    book = Ledger(run_dir / ledger.FILE, TERMS)
    book.charge("labels", Query(1.0, 20.0))
    for _ in range(steps):
        book.charge("dp-sgd", STEP)
    return book


def claimed(run_dir: Path, key: str | None = None, **changes: object) -> None:
    book = Ledger(run_dir / ledger.FILE)
    made = report.claim(
        book.queries, 1e-5, unit="image", adjacency="add-remove", n_public=1000,
        ledger_sha256=ledger.sha256(book.path),
    )  # fmt: skip
    report.write(run_dir, made | changes, key)


def test_a_line_is_on_disk_with_the_keys_that_were_agreed(tmp_path: Path) -> None:
    book = written(tmp_path, steps=1)
    first, second = (json.loads(line) for line in book.path.read_text().splitlines())
    assert list(first) == ["kind", "q", "noise_multiplier", "count", "unit", "adjacency", "n_public",
                           "previous_sha256"]  # fmt: skip
    assert first["previous_sha256"] == "0" * 64
    assert second | {"previous_sha256": ""} == {
        "kind": "dp-sgd", "q": 0.05, "noise_multiplier": 2.0, "count": 1, "unit": "image",
        "adjacency": "add-remove", "n_public": 1000, "previous_sha256": "",
    }  # fmt: skip


def test_it_is_synced_before_charge_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    monkeypatch.setattr(ledger.os, "fsync", lambda fd: synced.append(Path(f"/proc/self/fd/{fd}").resolve()))
    book = Ledger(tmp_path / "ledger.jsonl", TERMS)
    book.charge("dp-sgd", STEP)
    assert synced == [book.path.resolve()]


def test_going_on_appends_to_the_chain(tmp_path: Path) -> None:
    book = written(tmp_path)
    again = Ledger(book.path, TERMS)
    assert again.head == book.head and again.queries == book.queries
    again.charge("dp-sgd", STEP)
    assert len(ledger.read(book.path)[0]) == 7
    assert ledger.heads(book.path)[-1] == again.head


@pytest.mark.parametrize(
    "edit",
    [
        lambda lines: lines[:2] + lines[3:],  # one left out
        lambda lines: [line.replace('"q": 0.05', '"q": 0.01') for line in lines],
        lambda lines: [lines[0].replace("20.0", "40.0"), *lines[1:]],
        lambda lines: [lines[1], lines[0], *lines[2:]],
        lambda lines: [*lines, lines[-1]],
        lambda lines: [*lines[:3], "{}", *lines[3:]],
        lambda lines: [line.replace('"count": 1', '"count": 0') for line in lines],
    ],
)
def test_a_changed_ledger_is_refused(tmp_path: Path, edit) -> None:
    book = written(tmp_path)
    lines = book.path.read_text().splitlines()
    book.path.write_text("\n".join(edit(lines)) + "\n")
    with pytest.raises(BrokenLedger):
        Ledger(book.path, TERMS)
    result = CliRunner().invoke(dp, ["account", f"--ledger={book.path}"])
    assert result.exit_code == 5, result.output


def test_a_torn_line_was_never_charged_and_goes(tmp_path: Path) -> None:
    book = written(tmp_path)
    whole = book.path.read_bytes()
    book.path.write_bytes(whole + whole.splitlines()[-1][:40])
    assert Ledger(book.path, TERMS).head == book.head
    assert book.path.read_bytes() == whole


def test_other_terms_do_not_mix(tmp_path: Path) -> None:
    book = written(tmp_path)
    with pytest.raises(UserError, match="studys"):
        Ledger(book.path, Terms("study", "add-remove", 1000))


def test_account_reads_a_ledger(tmp_path: Path) -> None:
    book = written(tmp_path, steps=50)
    result = CliRunner().invoke(dp, ["account", f"--ledger={book.path}", "--json=-"])
    expected = account_queries([Query(1, 20), Query(0.05, 2, 50)], 1e-5)
    found = json.loads(result.stdout)
    assert found["epsilon"] == pytest.approx(expected["epsilon"])
    assert found["releases"] == 51 and found["unit"] == "image"
    both = CliRunner().invoke(dp, ["account", f"--ledger={book.path}", "--steps=3"])
    assert both.exit_code == 2 and "stands in --ledger already" in both.output


# The report, and whether it holds.


def test_a_report_has_what_was_agreed_and_verifies(tmp_path: Path) -> None:
    written(tmp_path)
    claimed(tmp_path)
    found = verification.verify(tmp_path)
    assert found["guarantee"] == "(eps, delta)-DP" and found["releases"] == 6
    for name in ("epsilon", "epsilon_rdp", "epsilon_pld", "delta", "unit", "adjacency", "risk", "excluded",
                 "statement", "ledger_sha256", "versions"):  # fmt: skip
        assert name in found
    assert {"tpr_at_fpr_1e-2", "tpr_at_fpr_1e-3", "advantage"} <= set(found["risk"])
    text = (tmp_path / report.TEXT_FILE).read_text()
    assert found["statement"] in text and "guarantee: (eps, delta)-DP" in text
    assert all(item in text for item in found["excluded"])


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"epsilon": 0.1}, "adds up to"), ({"releases": 5}, "counts 6 releases"),
        ({"unit": "patient"}, "unit"),
        ({"n_public": 2000}, "n_public"), ({"delta": 1e-3}, "adds up to"), ({"guarantee": "none"}, "nothing"),
        ({"ledger_sha256": "0" * 64}, "is not the ledger"),
    ],
)  # fmt: skip
def test_a_claim_that_is_not_the_ledgers_fails(tmp_path: Path, changes, word: str) -> None:
    written(tmp_path)
    claimed(tmp_path, **changes)
    result = CliRunner().invoke(dp, ["verify", str(tmp_path)])
    assert result.exit_code == 5
    assert word in result.output


def test_a_ledger_that_grew_or_went_fails(tmp_path: Path) -> None:
    book = written(tmp_path)
    claimed(tmp_path)
    book.charge("dp-sgd", STEP)
    with pytest.raises(verification.ClaimFails, match="is not the ledger"):
        verification.verify(tmp_path)
    book.path.unlink()
    with pytest.raises(verification.ClaimFails, match="is missing"):
        verification.verify(tmp_path)


def test_a_signature_holds_report_and_ledger_together(tmp_path: Path) -> None:
    book = written(tmp_path)
    key, other = str(tmp_path / "sign.key"), str(tmp_path / "other.key")
    claimed(tmp_path, key)
    assert Path(key).stat().st_mode & 0o777 == 0o600
    report.read_key(other, create=True)
    args = ["verify", str(tmp_path), f"--sign-key={key}"]
    assert CliRunner().invoke(dp, args).exit_code == 0
    assert CliRunner().invoke(dp, [*args[:2], f"--sign-key={other}"]).exit_code == 5
    # Somebody without the key leaves out steps and writes everything anew, in itself consistent.
    book.path.unlink()
    written(tmp_path, steps=2)
    claimed(tmp_path)
    assert CliRunner().invoke(dp, args[:2]).exit_code == 0
    assert CliRunner().invoke(dp, args).exit_code == 5


def test_a_run_without_a_claim_says_so(tmp_path: Path) -> None:
    report.write(tmp_path, report.no_claim(["the noise comes before the clipping"]))
    result = CliRunner().invoke(dp, ["verify", str(tmp_path)])
    assert result.exit_code == 5
    assert "noise comes before" in result.output
    assert "guarantee: none" in (tmp_path / report.TEXT_FILE).read_text()
    assert CliRunner().invoke(dp, ["verify", str(tmp_path / "nowhere")]).exit_code == 3
