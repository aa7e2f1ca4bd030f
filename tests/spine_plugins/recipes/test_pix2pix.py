"""pix2pix both ways: exact continuation, noise that matters, wrong data, and the gates of sharpness."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spine_plugins.recipes.scores import hf_ratio
from stylegan2ada.data.dataset import ImageFolderDataset
from tests.spine_plugins.recipes.making import check_exact, refusal, run
from tests.spine_plugins.recipes.test_segan import pairs


@pytest.mark.parametrize("direction", ["mask2img", "img2mask"])
def test_continuation_is_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, direction: str) -> None:
    words = ("pix2pix", "train", f"--data={pairs(tmp_path)}", f"--direction={direction}")
    check_exact(tmp_path, monkeypatch, *words)


def test_both_ways_by_command_line(tmp_path: Path) -> None:
    data, keys = pairs(tmp_path), {"mask2img": {"mae", "hf_ratio"}, "img2mask": {"dice", "iou"}}
    for direction, wanted in keys.items():
        model = f"--model={tmp_path / direction}"
        out = f"--out={tmp_path / direction}"
        run("pix2pix", "train", f"--data={data}", out, "--steps=1", f"--direction={direction}")
        assert wanted <= set(run("pix2pix", "evaluate", model, f"--data={data}"))
        drawn = [tmp_path / f"{direction}{seed}.zip" for seed in (0, 1)]
        for seed, path in enumerate(drawn):
            run("pix2pix", "apply", model, f"--data={data}", f"--out={path}", f"--seed={seed}")
        a, b = (ImageFolderDataset(path) for path in drawn)
        assert (len(a), a.image_shape) == (20, [1, 32, 32])
        if direction == "mask2img":  # the noise channel: another seed, another image
            assert not np.array_equal(a.raw_image(0), b.raw_image(0))


def test_wrong_data(tmp_path: Path) -> None:
    data = pairs(tmp_path)
    out = f"--out={tmp_path / 'm'}"
    assert "nothing to learn from" in refusal("pix2pix", "train", f"--data={data}", out, "--l1=0", "--gan=0")
    assert "is a table" in refusal("pix2pix", "train", "--data=x.csv", out)
    run("pix2pix", "train", f"--data={data}", out, "--steps=1")
    images = tmp_path / "images.zip"
    run("pix2pix", "apply", f"--model={tmp_path / 'm'}", f"--data={data}", f"--out={images}")
    said = refusal(
        "pix2pix", "apply", f"--model={tmp_path / 'm'}", f"--data={images}", f"--out={tmp_path / 'y.zip'}"
    )
    assert "no mask of kinds" in said


def test_blurring_lowers_the_ratio() -> None:
    sharp = np.random.default_rng(0).normal(size=(2, 32, 32))
    blurred = (sharp + np.roll(sharp, 1, 2)) / 2
    assert hf_ratio(sharp, sharp) == 1
    assert hf_ratio(sharp, blurred) < 0.8


@pytest.mark.slow
def test_the_critic_gives_the_sharpness_that_l1_lacks(tmp_path: Path) -> None:
    data, held = pairs(tmp_path, 160, 64, 0, is_open=True), pairs(tmp_path, 30, 64, 1, is_open=True)
    found = {
        gan: run("pix2pix", "train", f"--data={data}", f"--val={held}", f"--out={tmp_path / gan}",
                 "--steps=100", f"--gan={gan}")
        for gan in ("0", "1")
    }  # fmt: skip
    print(found)
    assert found["1"]["hf_ratio"] > found["0"]["hf_ratio"] + 0.08
    assert found["0"]["hf_ratio"] < 0.75


@pytest.mark.proof
def test_the_gate(tmp_path: Path) -> None:
    from tests.spine_plugins.recipes.proving import leave

    # A collimator's border, white on some films, is no matter of the spine: of the detail of all images it is
    # a quarter, and no mask tells of it.
    data, held = pairs(tmp_path, 600, 64, 0, is_open=True), pairs(tmp_path, 100, 64, 1, is_open=True)
    found = {}
    for name, flags in (
        ("L1 and critic", ()),
        ("L1 alone", ("--gan=0",)),
        ("masks", ("--direction=img2mask",)),
    ):
        out = f"--out={tmp_path / name}"
        found[name] = run("pix2pix", "train", f"--data={data}", f"--val={held}", out, *flags)
    leave("recipe-pix2pix", found)
    assert found["L1 and critic"]["hf_ratio"] > 0.85
    assert found["L1 and critic"]["mae"] < 0.22
    assert found["L1 alone"]["hf_ratio"] < 0.75
    assert found["masks"]["dice"] > 0.85
