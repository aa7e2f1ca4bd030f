"""Model folders: whole, of the right recipe, and never overwritten; `recipe list`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spine_plugins.recipes import skeleton
from spine_plugins.recipes.command import RECIPES
from tests.spine_plugins.recipes.making import invoke, refusal, run


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "m"
    run("toy8", "train", f"--out={folder}", "--steps=1")
    return folder


def test_list_names_every_recipe() -> None:
    assert set(run("list")) == set(RECIPES)
    assert all(name in invoke("list").output for name in RECIPES)


def test_a_model_is_not_overwritten(model: Path) -> None:
    assert "holds a model already" in refusal("toy8", "train", f"--out={model}", "--steps=1")
    assert "finished" in refusal("toy8", "train", f"--out={model}", "--steps=1", "--continue", code=4)


def test_a_model_folder_is_whole_or_refused(model: Path, tmp_path: Path) -> None:
    assert "holds no model" in refusal("toy8", "evaluate", f"--model={tmp_path}", code=3)
    card = json.loads((model / skeleton.CARD).read_text())
    weights = (model / skeleton.WEIGHTS).read_bytes()
    (tmp_path / skeleton.WEIGHTS).write_bytes(weights[:-1] + b"x")
    (tmp_path / skeleton.CARD).write_text(json.dumps(card))
    assert "not the file that its card describes" in refusal(
        "toy8", "evaluate", f"--model={tmp_path}", code=3
    )
    (tmp_path / skeleton.WEIGHTS).write_bytes(weights)
    for wrong in ({"recipe": "other"}, {"format": "x"}, {"settings": None}, {"settings": {"objective": 7}}):
        (tmp_path / skeleton.CARD).write_text(json.dumps(card | wrong))
        found = invoke("toy8", "evaluate", f"--model={tmp_path}")
        assert found.exit_code in (2, 3), found.output
    (tmp_path / skeleton.CARD).write_text(json.dumps(card))
    assert "modes" in run("toy8", "evaluate", f"--model={tmp_path}")
