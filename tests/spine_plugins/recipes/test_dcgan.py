"""The blog's networks to the parameter, a labelled zip out, exact continuation, wrong data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spine_plugins.recipes.nets import DcganDiscriminator, DcganGenerator
from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.data.writer import DatasetWriter
from tests.spine_plugins.recipes.making import check_exact, refusal, run

NARROW = "--width=0.06"


def data(folder: Path, side: int = 64, labels: bool = True) -> Path:
    rng = np.random.default_rng(0)
    with DatasetWriter(folder / "d.zip", overwrite=True) as writer:
        for i in range(8):
            writer.add(rng.integers(0, 255, (side, side), np.uint8), i % 2 if labels else None)
        writer.extra["label_names"] = ["normal", "abnormal"] if labels else None
    return folder / "d.zip"


def test_parameter_counts_are_those_of_the_blog() -> None:
    assert sum(p.numel() for p in DcganGenerator(3, 0).parameters()) == 3_979_651
    assert sum(p.numel() for p in DcganDiscriminator(3, 0).parameters()) == 404_801


@pytest.mark.slow
def test_continuation_is_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_exact(tmp_path, monkeypatch, "dcgan", "train", f"--data={data(tmp_path)}", NARROW)


@pytest.mark.slow
@pytest.mark.parametrize(("choice", "wanted"), [((), {0, 1}), (("--class=1",), {1})])
def test_apply_makes_a_labelled_data_set(tmp_path: Path, choice: tuple[str, ...], wanted: set[int]) -> None:
    images = data(tmp_path)
    run("dcgan", "train", f"--data={images}", f"--out={tmp_path / 'm'}", "--steps=1", NARROW, *choice)
    run("dcgan", "apply", f"--model={tmp_path / 'm'}", f"--out={tmp_path / 'x.zip'}", "--n=6")
    made = ImageFolderDataset(tmp_path / "x.zip", use_labels=True)
    assert made.image_shape == [1, 64, 64]
    assert set(made.item_labels().tolist()) == wanted
    assert made.label_names == ["normal", "abnormal"]
    assert "hf_ratio" in run("dcgan", "evaluate", f"--model={tmp_path / 'm'}", f"--data={images}")


def test_wrong_data(tmp_path: Path) -> None:
    out = f"--out={tmp_path / 'm'}"
    assert "32 pixels" in refusal("dcgan", "train", f"--data={data(tmp_path, side=32)}", out)
    assert "is a table" in refusal("dcgan", "train", f"--data={tmp_path / 'x.csv'}", out)
    assert "--class=7" in refusal("dcgan", "train", f"--data={data(tmp_path)}", out, "--class=7")
    run("dcgan", "train", f"--data={data(tmp_path)}", out, "--steps=1", NARROW)
    unlabelled = data(tmp_path, labels=False)
    said = refusal("dcgan", "evaluate", f"--model={tmp_path / 'm'}", f"--data={unlabelled}")
    assert "0 classes, the model knows 2" in said


@pytest.mark.slow
def test_a_network_per_class_learns_the_tone_of_its_class(tmp_path: Path) -> None:
    """As the blog trains them: flat images, dark or bright, and forty steps of a narrow network."""
    rng = np.random.default_rng(0)
    with DatasetWriter(tmp_path / "d.zip") as writer:
        for i in range(64):
            tone = rng.integers(185, 235) if i % 2 else rng.integers(20, 70)
            writer.add(np.full((64, 64), tone, np.uint8), i % 2)
        writer.extra["label_names"] = ["dark", "bright"]
    tones, errors = [], []
    for number, steps in ((0, 40), (1, 40), (1, 1)):
        model = tmp_path / f"{number}-{steps}"
        found = run(
            "dcgan", "train", f"--data={tmp_path / 'd.zip'}", f"--out={model}", f"--steps={steps}",
            f"--class={number}", "--width=0.0625",
        )  # fmt: skip
        errors.append(found["mean_mae"])
        run("dcgan", "apply", f"--model={model}", f"--out={model / 'x.zip'}", "--n=32")
        made = ImageFolderDataset(model / "x.zip")
        tones.append(np.mean([made.raw_image(i).mean() for i in range(len(made))]))
    print(tones, errors)
    assert tones[0] < 100 < 110 < tones[2] < 155 < tones[1]  # untrained: grey
    assert max(errors[:2]) < 0.5 * errors[2]


@pytest.mark.proof
def test_the_demo_comes_nearer_to_what_it_was_shown(tmp_path: Path) -> None:
    """Silhouettes are all that 150 narrow steps give; a network of one step is grey and always the same."""
    from tests.spine_plugins.recipes.proving import leave

    found = run("dcgan", "demo", f"--out={tmp_path / 'demo'}")
    data = tmp_path / "demo" / "train.zip"
    young = run(
        "dcgan", "train", f"--data={data}", f"--out={tmp_path / 'young'}", "--steps=1", "--width=0.0625"
    )
    leave("recipe-dcgan-demo", {"demo": found, "one step": young})
    assert (tmp_path / "demo" / "dcgan.png").stat().st_size > 5000
    assert found["mean_mae"] < 0.7 * young["mean_mae"]
    assert found["spread_ratio"] > 0.3 > young["spread_ratio"]
