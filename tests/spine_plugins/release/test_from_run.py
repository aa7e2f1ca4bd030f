"""`release make --run`: draws from the newest network, audits, and releases what it drew."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from spine_plugins.release.command import release
from stylegan2ada.checkpoints import save_network
from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.data.fingerprint import fingerprint
from stylegan2ada.training import run_files
from tests.spine_plugins.audit.making import images, write_zip
from tests.stylegan2ada.checkpoints.conftest import make_networks

N = 24


def patients(role: str) -> list[str]:
    return [f"{role}{i // 2}" for i in range(N)]


def make(run: Path, folder: Path, *words: str) -> Result:
    told = ("--context=internal", f"--run={run}", f"--out={folder / 'release'}", *words)
    return CliRunner().invoke(release, told)


@pytest.mark.slow
def test_a_run_is_drawn_from_audited_and_released_in_one_command(run_dir: Path, tmp_path: Path) -> None:
    for kimg, seed in ((100, 1), (200, 2)):
        networks = make_networks(channels=1, resolution=32, seed=seed)
        save_network(networks, run_dir / run_files.snapshot(kimg))
    train = write_zip(tmp_path / "train.zip", images(N, 1), patients("train"), labels=[0, 1] * 12)
    holdout = write_zip(tmp_path / "holdout.zip", images(N, 2), patients("holdout"), labels=[0, 1] * 12)
    audit = (f"--train={train}", f"--holdout={holdout}")
    done = make(run_dir, tmp_path, "--per-class=5", *audit)
    assert done.exit_code == 0, done.output
    out = tmp_path / "release"
    assert CliRunner().invoke(release, ["verify", str(out)]).exit_code == 0
    released = ImageFolderDataset(out / "images.zip", use_labels=True)
    assert released.raw_labels().tolist() == [0] * 5 + [1] * 5
    # What was drawn is what was audited and what is released, and it is of the newest network.
    drawn = ImageFolderDataset(tmp_path / "release-drawn.zip", use_labels=True)
    card = json.loads((out / "card.json").read_text())
    seen = json.loads((tmp_path / "release-audit" / "audit.json").read_text())["inputs"]["fakes"]
    assert fingerprint(drawn) == seen["fingerprint"] == card["images"]["fingerprint"] == fingerprint(released)
    newest = (run_dir / run_files.snapshot(200)).read_bytes()
    assert card["generator"]["network_sha256"] == hashlib.sha256(newest).hexdigest()
    assert card["generator"]["training"]["loss"] == "spine"
    assert card["privacy"]["audit"]["verdict"] == "UNDERPOWERED", "of 24 held-out images"
    assert not list(out.glob("private*")), "the audit's private half stays outside"
    # Given as the audit's hold-out, data of the classifier in the run's loss are refused; nothing is left.
    shutil.rmtree(out)
    beside = run_dir.parent.parent / "classifier.json"
    facts = json.loads(beside.read_text())
    facts["data"] = {"val": {"fingerprint": fingerprint(ImageFolderDataset(holdout, use_labels=True))}}
    beside.write_text(json.dumps(facts))
    refused = make(run_dir, tmp_path, "--per-class=5", f"--audit={tmp_path / 'release-audit'}")
    assert refused.exit_code == 2
    assert "were used before (as the val set of the classifier" in refused.output.replace("\n", " ")
    assert not out.exists()
