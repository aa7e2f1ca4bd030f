"""The hold-out of an audit must have been used for nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spine_plugins.release.package import check_holdout, fitted_to
from stylegan2ada.errors import UserError


def test_data_of_the_classifier_in_the_loss_are_known(run_dir: Path) -> None:
    card_path = run_dir.parent.parent / "classifier.json"
    card = json.loads(card_path.read_text())
    card["data"] = {"val": {"fingerprint": "e" * 64, "source_fingerprint": "f" * 64}}
    card_path.write_text(json.dumps(card))
    used = fitted_to(run_dir)
    assert set(used) >= {"e" * 64, "f" * 64}
    with pytest.raises(UserError, match="val set of the classifier"):
        check_holdout({"inputs": {"holdout": {"fingerprint": "f" * 64}}}, used)
    check_holdout({"inputs": {"holdout": {"fingerprint": "0" * 64}}}, used)
    assert fitted_to(None) == {}
