"""Inpainting: weights and blending by brute force, exact continuation, a snapshot of ours, wrong data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from spine_plugins.recipes import inpaint, workshop
from spine_plugins.recipes.pairs import phantom_pairs, write_pairs
from stylegan2ada.data.dataset import ImageFolderDataset
from tests.spine_plugins.recipes.making import check_exact, refusal, run
from tests.spine_plugins.recipes.test_anogan import snapshot, spines


def test_weights_are_the_missing_share_of_the_window() -> None:
    torch.manual_seed(0)
    holes = torch.rand(2, 12, 12) < 0.3
    found = inpaint.importance(holes)
    for n, y, x in ((0, 0, 0), (1, 5, 6), (0, 11, 3), (1, 0, 7)):
        window = holes[n, max(y - 3, 0) : y + 4, max(x - 3, 0) : x + 4]
        wanted = 0.0 if holes[n, y, x] else window.float().mean().item()
        assert found[n, 0, y, x].item() == pytest.approx(wanted)


def test_blending_keeps_what_is_known_and_the_gradients_of_what_is_drawn() -> None:
    torch.manual_seed(0)
    img, holes = torch.rand(1, 2, 16, 16) - 0.5, workshop.random_holes(1, 16)
    # Another brightness is no other image: its gradients are the same.
    torch.testing.assert_close(inpaint.blended(img, img + 0.3, holes), img)
    # Without gradients the hole is a membrane: a slope runs on through it.
    y, x = torch.meshgrid(torch.linspace(-0.5, 0.5, 16), torch.linspace(-0.4, 0.4, 16), indexing="ij")
    slope = (y + x)[None, None] / 2
    inside = torch.zeros(1, 16, 16, dtype=torch.bool)
    inside[:, 4:9, 5:12] = True
    torch.testing.assert_close(inpaint.blended(slope, torch.zeros_like(slope), inside), slope)
    drawn = torch.rand(1, 2, 16, 16) - 0.5
    out = inpaint.blended(img, drawn, inside)
    assert torch.equal(out[:, :, ~inside[0]], img[:, :, ~inside[0]])
    # Poisson's equation at a pixel inside.
    lap = [
        4 * a[0, 0, 6, 8] - a[0, 0, 5, 8] - a[0, 0, 7, 8] - a[0, 0, 6, 7] - a[0, 0, 6, 9]
        for a in (out, drawn)
    ]
    assert lap[0].item() == pytest.approx(lap[1].item(), abs=1e-4)


def test_holes_have_their_sizes() -> None:
    torch.manual_seed(0)
    holes = workshop.random_holes(5000, 32)
    heights, widths = holes.any(2).sum(1), holes.any(1).sum(1)
    assert torch.equal(heights * widths, holes.sum((1, 2)))  # rectangles
    assert (heights.min(), heights.max(), widths.min(), widths.max()) == (8, 16, 8, 16)
    assert holes.any(0).all()  # anywhere


@pytest.mark.slow
def test_continuation_is_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = spines(tmp_path, 40)
    words = ("inpaint", "train", f"--data={data}", "--gan-steps=2", "--search=1")
    check_exact(tmp_path, monkeypatch, *words, steps=3, stop_after=3)


def test_a_snapshot_of_ours_by_command_line(tmp_path: Path) -> None:
    network, model = snapshot(tmp_path, ["normal", "abnormal"]), tmp_path / "model"
    images, masks, _ = phantom_pairs(20, 0, resolution=32)
    write_pairs(tmp_path / "x.zip", images, masks)
    data = f"--data={tmp_path / 'x.zip'}"
    run("inpaint", "train", data, f"--network={network}", f"--out={model}", "--steps=2", "--search=2")
    assert {"hole_mae", "mean_fill_mae"} <= set(run("inpaint", "evaluate", f"--model={model}", data))
    # By masks beside the images, and by one for all.
    run("inpaint", "apply", f"--model={model}", data, f"--out={tmp_path / 'a.zip'}")
    hole = np.zeros((32, 32), np.uint8)
    hole[10:20, 12:18] = 255
    PIL.Image.fromarray(hole).save(tmp_path / "hole.png")
    run(
        "inpaint",
        "apply",
        f"--model={model}",
        data,
        f"--mask={tmp_path / 'hole.png'}",
        f"--out={tmp_path / 'b.zip'}",
    )
    for path, holes in (("a.zip", masks > 0), ("b.zip", np.broadcast_to(hole > 0, masks.shape))):
        filled = ImageFolderDataset(tmp_path / path)
        for i in range(20):
            is_changed = filled.raw_image(i)[0] != images[i]
            assert is_changed[holes[i]].any()
            assert not is_changed[~holes[i]].any()


def test_wrong_data(tmp_path: Path) -> None:
    data = f"--data={spines(tmp_path, 20)}"
    run("inpaint", "train", data, f"--out={tmp_path / 'm'}", "--steps=1", "--gan-steps=1", "--search=0")
    words = ("inpaint", "apply", f"--model={tmp_path / 'm'}", f"--out={tmp_path / 'x.zip'}")
    assert "--mask" in refusal(*words)
    PIL.Image.new("L", (8, 8), 255).save(tmp_path / "small.png")
    assert "8x8, the images are 32x32" in refusal(*words, data, f"--mask={tmp_path / 'small.png'}")
    (tmp_path / "plain").mkdir()
    PIL.Image.new("L", (32, 32)).save(tmp_path / "plain" / "a.png")
    assert "holds no masks" in refusal(*words, f"--data={tmp_path / 'plain'}")
    assert "is a table" in refusal("inpaint", "train", "--data=x.csv", f"--out={tmp_path / 'n'}")


@pytest.mark.slow
def test_a_trained_network_fills_better_than_the_mean_and_than_an_untrained_one(tmp_path: Path) -> None:
    data, held = spines(tmp_path, 240, seed=0, view="lateral"), spines(tmp_path, 40, seed=1, view="lateral")
    found = {}
    for name, gan, steps in (("trained", 80, 80), ("untrained", 1, 1)):
        found[name] = run(
            "inpaint", "train", f"--data={data}", f"--val={held}", f"--out={tmp_path / name}",
            f"--gan-steps={gan}", f"--steps={steps}", "--search=10",
        )  # fmt: skip
    print(found)
    assert found["trained"]["hole_mae"] < 0.7 * found["trained"]["mean_fill_mae"]
    assert found["trained"]["hole_mae"] < 0.9 * found["untrained"]["hole_mae"]


@pytest.mark.proof
def test_the_demo_shows_filled_holes(tmp_path: Path) -> None:
    from tests.spine_plugins.recipes.proving import leave

    found = run("inpaint", "demo", f"--out={tmp_path / 'demo'}")
    leave("recipe-inpaint-demo", found)
    assert (tmp_path / "demo" / "inpaint.png").stat().st_size > 5000
    assert found["hole_mae"] < 0.7 * found["mean_fill_mae"]
