"""Pairs and SegAN: the formula, exact continuation, wrong data, and the gates."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from spine_plugins.recipes.nets import PatchCritic
from spine_plugins.recipes.pairs import ellipses, phantom_pairs, read_pairs, write_pairs
from spine_plugins.recipes.scores import overlap
from spine_plugins.recipes.segan import masked, multi_scale, soft_dice_loss
from stylegan2ada.errors import UserError
from tests.spine_plugins.recipes.making import check_exact, refusal, run


def pairs(
    folder: Path,
    n: int = 20,
    side: int = 32,
    seed: int = 0,
    what: str = "vertebrae",
    *,
    is_open: bool = False,
    difficulty: float = 1.0,
) -> Path:
    images, masks, _ = phantom_pairs(
        n, seed, resolution=side, what=what, is_open=is_open, difficulty=difficulty
    )
    path = folder / f"{what}{seed}.zip"
    write_pairs(path, images, masks)
    return path


def test_layers_count_the_same_whatever_their_size() -> None:
    critic = PatchCritic(1, 4, 2)
    a, b = torch.rand(2, 3, 1, 16, 16)
    layers = [(p - q).abs().mean() for p, q in zip(critic.features(a), critic.features(b))]
    assert len(layers) == 3
    torch.testing.assert_close(multi_scale(critic, a, b), sum(layers) / 3)
    assert multi_scale(critic, a, a) == 0


def test_masks_hide_and_dice_is_dice() -> None:
    image = torch.full([1, 1, 2, 2], -0.5)
    mask = torch.tensor([[[[1.0, 0], [0, 1]], [[0, 0], [1, 0]]]])
    assert masked(image, mask)[0].tolist() == [[[0.25, 0], [0, 0.25]], [[0, 0], [0.25, 0]]]
    assert soft_dice_loss(mask, mask) == 0
    dice, iou = overlap(np.array([[[1, 1, 0]]]), np.array([[[1, 0, 0]]]), 1)
    assert (dice[0], iou[0]) == (pytest.approx(2 / 3), 0.5)


def test_boxes_become_ellipses() -> None:
    mask = ellipses([(3, 2, 4, 12, 10)], 16, 16)
    assert set(np.unique(mask)) == {0, 3}
    assert (mask > 0).sum() == pytest.approx(np.pi * 5 * 3, rel=0.1)
    assert mask[4, 2] == 0  # a corner of the box


def test_continuation_is_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_exact(tmp_path, monkeypatch, "segan", "train", f"--data={pairs(tmp_path)}")


def test_apply_writes_a_mask_per_image(tmp_path: Path) -> None:
    data = pairs(tmp_path)
    run("segan", "train", f"--data={data}", f"--out={tmp_path / 'm'}", "--steps=1", "--dice=1")
    found = run(
        "segan", "apply", f"--model={tmp_path / 'm'}", f"--data={data}", f"--out={tmp_path / 'x.zip'}"
    )
    assert found["n"] == 20
    assert {"dice", "iou"} <= set(run("segan", "evaluate", f"--model={tmp_path / 'm'}", f"--data={data}"))


def test_wrong_data(tmp_path: Path) -> None:
    out = f"--out={tmp_path / 'm'}"
    assert "is a table" in refusal("segan", "train", "--data=x.csv", out)
    data = pairs(tmp_path)
    assert "nothing to learn from" in refusal("segan", "train", f"--data={data}", out, "--critic=none")
    with zipfile.ZipFile(data) as whole:
        content = {name: whole.read(name) for name in whole.namelist()}
    masks = sorted(name for name in content if name.startswith("masks/"))

    def told(changed: dict[str, bytes | None]) -> str:
        with zipfile.ZipFile(tmp_path / "w.zip", "w") as archive:
            for name, value in (content | changed).items():
                if value is not None:
                    archive.writestr(name, value)
        with pytest.raises(UserError) as caught:
            read_pairs(tmp_path / "w.zip")
        return str(caught.value)

    assert "holds no masks" in told(dict.fromkeys(masks))
    assert "1 of 20 images lack a mask" in told({masks[0]: None})
    assert "no grey picture of kinds" in told({masks[0]: content[masks[0].removeprefix("masks/")]})
    (tmp_path / "big").mkdir()
    with zipfile.ZipFile(pairs(tmp_path / "big", n=1, side=48)) as big:
        assert "another size" in told({masks[0]: big.read(masks[0])})


@pytest.mark.slow
def test_the_critic_teaches_the_shape_of_vertebrae(tmp_path: Path) -> None:
    """The critic's gradient alone; a wrong sign or a mask that does not hide leaves Dice near 0."""
    data, held = pairs(tmp_path, 160, 64, 0), pairs(tmp_path, 30, 64, 1)
    found = run("segan", "train", f"--data={data}", f"--val={held}", f"--out={tmp_path / 'm'}", "--steps=60")
    print(found)
    assert found["dice"] > 0.6


@pytest.mark.proof
@pytest.mark.parametrize(
    ("name", "n", "difficulty", "dice", "steps", "between"),
    [
        ("vertebrae", 600, 1.0, 0, 600, (0.95, 1)),
        ("lesions", 2000, 0.5, 1, 1000, (0.85, 1)),
        # No gates, but what the Dice term and the strength of lesions do.
        ("lesions, critic alone", 2000, 0.5, 0, 1000, (0.5, 0.8)),
        ("lesions, not strengthened", 2000, 1.0, 1, 1000, (0.6, 0.85)),
    ],
)
def test_the_gate(
    tmp_path: Path, name: str, n: int, difficulty: float, dice: int, steps: int, between: tuple[float, float]
) -> None:
    """Lesions are drawn twice as strong: the usual narrowed discs and foramina are under the grain."""
    from tests.spine_plugins.recipes.proving import leave

    what = name.split(",")[0]
    data, held = (
        pairs(tmp_path, count, 64, seed, what, difficulty=difficulty) for count, seed in ((n, 0), (200, 1))
    )
    found = run(
        "segan", "train", f"--data={data}", f"--val={held}", f"--out={tmp_path / 'model'}", f"--dice={dice}",
        f"--steps={steps}",
    )  # fmt: skip
    leave("recipe-segan", {name: found})
    assert between[0] < found["dice"] <= between[1]
