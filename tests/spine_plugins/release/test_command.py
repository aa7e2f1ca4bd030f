"""`spinegan release make` and `verify`: the gate, the card, and one changed byte anywhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner, Result

from spine_plugins.release.command import release
from spine_plugins.release.package import ClaimError, verify
from spine_plugins.release.pages import html, markdown
from spine_plugins.release.schema import SCHEMA
from stylegan2ada.data.dataset import ImageFolderDataset
from tests.spine_plugins.release.making import write_audit, write_fakes

MARKER = "MUSTERMANN"


def run(*words: str) -> Result:
    return CliRunner().invoke(release, words)


def made(folder: Path, *extra: str, verdict: str = "NO EVIDENCE") -> tuple[Path, Result]:
    fakes = write_fakes(folder)
    audit = write_audit(folder / "audit", fakes, verdict)
    out = folder / "release"
    return out, run("--context=public", f"--fakes={fakes}", f"--audit={audit}", f"--out={out}", *extra)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release")
    weights = folder / "net.pkl"
    weights.write_bytes(b"weights")
    out, result = made(folder, f"--weights={weights}")
    assert result.exit_code == 0, result.output
    return out


def test_a_release_has_its_files_and_verifies(finished: Path) -> None:
    assert {path.name for path in finished.iterdir()} == {
        "audit.json", "card.html", "card.json", "card.md", "card.schema.json", "checksums.txt", "images.zip",
        "network.pkl",
    }  # fmt: skip
    result = run("verify", str(finished), "--json=-")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"is_verified": True, "verdict": "NO EVIDENCE"}


def test_the_card_keeps_to_its_schema(finished: Path) -> None:
    card = json.loads((finished / "card.json").read_text())
    assert json.loads((finished / "card.schema.json").read_text()) == SCHEMA
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(card, SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(card | {"patient": MARKER}, SCHEMA)


def test_one_changed_byte_anywhere_is_found(finished: Path, tmp_path: Path) -> None:
    for name in sorted(path.name for path in finished.iterdir()):
        size = (finished / name).stat().st_size
        for at in (0, size // 2, size - 1):
            copy = tmp_path / "copy"
            shutil.copytree(finished, copy)
            content = bytearray((copy / name).read_bytes())
            content[at] ^= 1
            (copy / name).write_bytes(content)
            assert run("verify", str(copy)).exit_code == 5, (name, at)
            shutil.rmtree(copy)


def test_missing_and_further_files_are_found(finished: Path, tmp_path: Path) -> None:
    for change in ("audit.json", "images.zip", "checksums.txt", "more"):
        copy = tmp_path / change
        shutil.copytree(finished, copy)
        if change == "more":
            (copy / "more.txt").write_text("")
        else:
            (copy / change).unlink()
        with pytest.raises(ClaimError):
            verify(copy)


def test_whoever_recomputes_the_sums_still_has_to_agree_with_the_audit(
    finished: Path, tmp_path: Path
) -> None:
    from spine_plugins.release import package

    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    card = json.loads((copy / "card.json").read_text())
    card["privacy"]["audit"]["tests"]["membership"]["verdict"] = "NO EVIDENCE"
    (copy / "card.json").write_text(json.dumps(card))
    (copy / "card.html").write_text(html(card))
    (copy / "card.md").write_text(markdown(card))
    (copy / "checksums.txt").write_text(package._sums(copy))
    with pytest.raises(ClaimError, match="verdicts"):
        verify(copy)


def test_a_leak_is_not_released(tmp_path: Path) -> None:
    out, result = made(tmp_path, verdict="FAIL")
    assert result.exit_code == 6
    assert "--accept-risk" in result.output
    assert not out.exists()
    assert not [path for path in tmp_path.iterdir() if "partial" in path.name]


def test_an_accepted_risk_is_the_first_line(tmp_path: Path) -> None:
    out, result = made(tmp_path, "--accept-risk=Dr X: phantoms only", verdict="FAIL")
    assert result.exit_code == 0, result.output
    assert (out / "card.md").read_text().splitlines()[0].startswith("> **RELEASED IN SPITE OF")
    page = (out / "card.html").read_text()
    assert page.index("Dr X: phantoms only") < page.index("<h1>")
    assert run("verify", str(out)).exit_code == 0
    # Without a FAIL there is no risk to accept, and no such line.
    (tmp_path / "b").mkdir()
    other, _ = made(tmp_path / "b", "--accept-risk=no need")
    assert json.loads((other / "card.json").read_text())["first_line"] is None


def test_the_audit_must_be_of_these_images(tmp_path: Path) -> None:
    fakes = write_fakes(tmp_path)
    audit = write_audit(tmp_path / "audit", fakes)
    document = json.loads((audit / "audit.json").read_text())
    document["inputs"]["fakes"]["fingerprint"] = "c" * 64
    (audit / "audit.json").write_text(json.dumps(document))
    result = run("--context=public", f"--fakes={fakes}", f"--audit={audit}", f"--out={tmp_path / 'out'}")
    assert result.exit_code == 2
    assert "other images" in result.output
    assert not (tmp_path / "out").exists()


def test_nothing_identifying_is_released(tmp_path: Path) -> None:
    fakes = write_fakes(
        tmp_path, f"{MARKER}.zip",
        groups={f"0000{MARKER}": {"patient": MARKER, "study": MARKER}},
        recipe={"tool": "generate", "network": f"/home/{MARKER}/net.pkl", "flags": {"outdir": MARKER},
                "provenance": {"licence": "CC0", "dataset": {"path": MARKER}, "starts_from": []}},
    )  # fmt: skip
    audit = write_audit(tmp_path / "audit", fakes, extra=MARKER)
    summary = tmp_path / "summary.json"
    summary.write_text(
        json.dumps({"files": 9, "source": MARKER, "by_reason": {"decode_failed": 2}, "rows": [MARKER]})
    )
    out = tmp_path / "release"
    result = run(
        "--context=public", f"--fakes={fakes}", f"--audit={audit}", f"--out={out}", f"--summary={summary}"
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    for path in out.iterdir():
        if path.name != "audit.json":  # as the audit wrote it; its own test looks at what that is
            assert MARKER.encode() not in path.read_bytes(), path.name
    assert MARKER not in result.output
    card = json.loads((out / "card.json").read_text())
    assert card["data"]["conversion"] == {"files": 9}
    assert card["data"]["by_reason"] == {"decode_failed": 2}
    assert card["generator"]["licence"] == "CC0"
    # The pixels are the same, under neutral names.
    with_names = ImageFolderDataset(out / "images.zip", use_labels=True)
    assert with_names.image_names[0] == "00000/img00000000.png"
    assert with_names.groups is None


def test_annexes_say_what_was_not_run(finished: Path) -> None:
    annexes = json.loads((finished / "card.json").read_text())["annexes"]
    assert set(annexes) == {
        "EDPB Opinion 28/2024", "WP29 Opinion 05/2014", "NIST SP 800-226", "HIPAA 164.514(b)",
        "Seven-C scorecard",
    }  # fmt: skip
    of = {row["question"]: row["status"] for row in annexes["EDPB Opinion 28/2024"]}
    assert of["Membership inference"] == "UNDERPOWERED"
    assert of["Attribute inference"] == "NOT RUN"
    assert of["Regurgitation: do outputs repeat training data?"] == "ANSWERED"
    assert {row["item"] for row in annexes["EDPB Opinion 28/2024"]} == {"46", "55", "58"}
    identifiers = [row["item"] for row in annexes["HIPAA 164.514(b)"] if "(i)" in row["item"]]
    assert identifiers == [f"(b)(2)(i)({letter})" for letter in "ABCDEFGHIJKLMNOPQR"]
    assert all(row["status"] == "NOT RUN" for row in annexes["NIST SP 800-226"])


def test_dp_and_utility_reach_the_card(tmp_path: Path) -> None:
    dp, table, metric = tmp_path / "dp.json", tmp_path / "table1.json", tmp_path / "metric-kid.jsonl"
    dp.write_text(json.dumps({
        "guarantee": "(3, 1e-05)-DP", "epsilon": 3.0, "delta": 1e-5, "unit": "patient",
        "adjacency": "add/remove", "risk": {"tpr_at_fpr_1e-2": 0.0536}, "excluded": ["tuning runs"],
        "statement": "(3, 1e-5)-DP per patient.",
    }))  # fmt: skip
    auc = {"value": 0.8, "low": 0.7, "high": 0.9, "method": "DeLong"}
    table.write_text(json.dumps({"rows": [{"row": "TSTR", "auc": auc}]}))
    metric.write_text(json.dumps({"results": {"kid50k_full": 0.01}}) + "\n")
    out, result = made(tmp_path, f"--dp={dp}", f"--utility={table}", f"--metrics={metric}")
    assert result.exit_code == 0, result.output
    card = json.loads((out / "card.json").read_text())
    jsonschema.validate(card, SCHEMA)
    assert card["utility"] == [{"row": "TSTR", "auc": auc}]
    statuses = {row["item"]: row["status"] for row in card["annexes"]["NIST SP 800-226"]}
    assert set(statuses.values()) == {"ANSWERED"}
    assert "0.800 (0.700" in (out / "card.html").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--context=public", "--out=x"], "say what to release"),
        (["--context=public", "--out=x", "--fakes=f.zip"], "say how private"),
        (["--context=public", "--out=x", "--fakes=f.zip", "--train=t.zip"], "--holdout"),
        (["--context=public", "--out=x", "--run=r", "--audit=a"], "--per-class"),
        (["verify", "nowhere"], "is no release"),
    ],
)
def test_wrong_requests_are_answered_in_a_sentence(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*words)
    assert result.exit_code in (2, 5)
    assert said in result.output


def test_a_release_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / "release").mkdir()
    (tmp_path / "release" / "mine.txt").write_text("kept")
    _, result = made(tmp_path)
    assert result.exit_code == 2
    assert (tmp_path / "release" / "mine.txt").read_text() == "kept"
