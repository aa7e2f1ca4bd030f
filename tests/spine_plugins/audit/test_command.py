"""`spinegan audit`: exit codes, what it writes and who may read it; nothing identifying in what is public."""

from __future__ import annotations

import csv
import json
import stat
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from spine_plugins.audit.command import audit
from spine_plugins.audit.report import page
from tests.spine_plugins.audit.making import images, write_sets, write_zip

MARKER = "MUSTERMANN"  # planted wherever a name could stand


def run(*words: str) -> Result:
    return CliRunner().invoke(audit, words)


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """An audit of a leaking generator; every name in its inputs is a marker."""
    folder = tmp_path_factory.mktemp(MARKER)
    rng = np.random.default_rng(0)
    train, holdout, fakes = images(60, 1), images(60, 2), images(60, 3)
    fakes[:20] = train[:20]
    for at, image in enumerate(train[:20]):
        image[0, :3] = rng.integers(256, size=(3, 32))  # a pattern that no other image has
        fakes[at] = image
    label = {"label_names": [f"{MARKER} label", "other"]}
    sets = {
        "train": write_zip(folder / f"{MARKER}.zip", train, [f"{MARKER}-{i // 2}" for i in range(60)]),
        "holdout": write_zip(folder / f"{MARKER}-2.zip", holdout, [f"{MARKER}+{i // 2}" for i in range(60)]),
        "fakes": write_zip(folder / f"{MARKER}-3.zip", fakes, **label),
    }
    out = folder / "out"
    words = [f"--{role}={path}" for role, path in sets.items()]
    return out, run(*words, f"--out={out}", "--no-plant", "--json=-")


def test_a_leak_ends_with_six(failed: tuple[Path, Result]) -> None:
    out, result = failed
    assert result.exit_code == 6, result.output
    found = json.loads(result.stdout)
    assert found == json.loads((out / "audit.json").read_text())
    assert found["verdict"] == "FAIL"
    assert found["audits_of_these_fakes"] == 1
    copies = found["tests"]["copies"]
    assert copies["fakes_like_a_training_image"] == 20
    keys = {"statistic", "p_value", "p_holm", "estimate", "low", "high", "power", "detects", "verdict"}
    assert all(keys <= set(test) for test in found["tests"].values())
    assert set(found["inputs"]) == {"train", "holdout", "fakes"}
    assert "inference" in found["not_run"]


def test_the_private_half_is_for_its_owner_alone(failed: tuple[Path, Result]) -> None:
    private = failed[0] / "private"
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert {path.name for path in private.iterdir()} == {
        "fakes-pixels.csv", "pairs-pixels.png", "patients-pixels.csv"
    }  # fmt: skip
    assert {stat.S_IMODE(path.stat().st_mode) for path in private.iterdir()} == {0o600}


def test_the_worst_patient_stands_first(failed: tuple[Path, Result]) -> None:
    with open(failed[0] / "private" / "patients-pixels.csv") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["fakes_that_copy_it"] == "2"
    worst = {row["patient"] for row in rows if row["fakes_that_copy_it"] == "2"}
    assert worst == {f"patient {MARKER}-{i}" for i in range(10)}


def test_nothing_identifying_is_public(failed: tuple[Path, Result]) -> None:
    out, result = failed
    public = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    assert set(public) == {"audit.json", "audit.html"}
    for name, content in public.items():
        assert MARKER.encode() not in content, name
        assert b"data:image" not in content, name  # no pixel of anybody
    # The folder that the user named is repeated to the user; nothing else of the kind is.
    said = result.output.replace(str(out), "")
    assert MARKER not in said
    # In private/, where patients are told apart, the marker is found: the test looks for the right thing.
    assert MARKER in (out / "private" / "patients-pixels.csv").read_text()


class _Reader(HTMLParser):
    """What a screen reader needs: headings in order, names of pictures, column heads."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_page_can_be_heard(failed: tuple[Path, Result]) -> None:
    text = (failed[0] / "audit.html").read_text()
    reader = _Reader()
    reader.feed(text)
    levels = [int(tag[1]) for tag, _ in reader.tags if tag in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:]))
    assert all("aria-label" in at or "aria-hidden" in at for tag, at in reader.tags if tag == "svg")
    assert all("scope" in at for tag, at in reader.tags if tag == "th")
    assert text.index("FAIL") < text.index("Evidence</h2>")  # the verdict first


def test_a_damaged_document_still_makes_a_page() -> None:
    assert "UNKNOWN" in page({})
    assert "&lt;b&gt;" in page({"verdict": "<b>", "tests": [1], "ratios": {"train": "x"}, "not_run": 3})


def test_underpowered_ends_with_seven_and_audits_are_counted(tmp_path: Path) -> None:
    sets = write_sets(tmp_path, n=20, n_fakes=20)
    words = (*sets, f"--out={tmp_path / 'out'}", "--no-plant", "--only=copies,singling_out")
    first, second = run(*words), run(*words, "--json=-")
    assert first.exit_code == second.exit_code == 7, first.output
    assert "UNDERPOWERED" in first.output
    assert json.loads(second.stdout)["audits_of_these_fakes"] == 2
    # The same seed gives the same numbers.
    found = [json.loads(second.stdout), json.loads(run(*words, "--json=-").stdout)]
    assert found[0]["tests"] == found[1]["tests"]


def test_wrong_requests_are_answered_in_a_sentence(tmp_path: Path) -> None:
    sets = write_sets(tmp_path, n=20, n_fakes=20)
    for extra, word in (("--only=copys", "give some of copies"), ("--features=x", "--features=x is neither")):
        result = run(*sets, f"--out={tmp_path / 'out'}", extra)
        assert result.exit_code == 2
        assert word in result.output
    (tmp_path / "file").write_text("")
    assert "is a file" in run(*sets, f"--out={tmp_path / 'file'}").output


def test_two_features_are_compared(tmp_path: Path) -> None:
    sets = write_sets(tmp_path, n=20, n_fakes=20)
    words = ("--features=pixels", "--features=tiny", "--no-plant", "--only=copies", "--json=-")
    found = json.loads(run(*sets, f"--out={tmp_path / 'out'}", *words).stdout)
    assert [part["features"]["name"] for part in found["compared"]] == ["detector tiny"]
    assert "Other features" in (tmp_path / "out" / "audit.html").read_text()
