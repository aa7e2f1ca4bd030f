"""Cards are found where they were recorded, or moved together with the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from spine_plugins.runs.cards import classifier_card, synthetic_cards
from stylegan2ada.errors import UserError
from tests.spine_plugins.runs.making import write_classifier


def test_the_classifier_that_moved_with_its_run(tmp_path: Path) -> None:
    recorded = write_classifier(tmp_path)
    there = classifier_card(str(recorded), Path("/none/run"))
    assert there is not None and there["arch"] == "cnn13k"
    assert classifier_card(f"/none/{recorded.name}", tmp_path / "runs" / "x") == there
    for nothing in ("/none/x.safetensors", "", "/", None, 3):
        assert classifier_card(nothing, tmp_path / "runs" / "x") is None


def test_cards_of_synthetic_sets(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "b_card.json").write_text('{"is_synthetic": true}')
    (run / "a_card.json").write_text('{"is_synthetic": false}')
    (tmp_path / "c_card.json").write_text('{"is_synthetic": true, "n": 1}')
    found = [("b_card.json", {"is_synthetic": True}), ("c_card.json", {"is_synthetic": True, "n": 1})]
    assert synthetic_cards(run, [str(tmp_path / "c.zip"), str(tmp_path / "c_card.json")]) == found
    with pytest.raises(UserError, match=r"d_card.json is not a card"):
        synthetic_cards(run, [str(tmp_path / "d.zip")])
