"""Weights of classes, the loss, learning, and interruptions that nobody can see afterwards."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from spine_plugins.classifier import fitting as recipes
from spine_plugins.classifier import load_classifier, training
from spine_plugins.classifier.evaluation import ranking_score
from spine_plugins.classifier.fitting import Recipe
from spine_plugins.classifier.labelled import open_labelled
from spine_plugins.resumable import Resumable
from stylegan2ada.errors import MissingError, StoppedOnRequest, UserError
from stylegan2ada.processes import StopRequest
from tests.spine_plugins.classifier.making import write_spots


def quiet(line: str) -> None:
    pass


def test_class_weights() -> None:
    binary = np.array([[1]] * 3 + [[0]] * 7, dtype=np.float32)
    assert training.class_weights(binary, "binary").tolist() == pytest.approx([7 / 3])
    labels = np.array([[1, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 1]], dtype=np.float32)
    assert training.class_weights(labels, "multilabel").tolist() == [3, 1, 1]
    classes = np.eye(3, dtype=np.float32)[[0, 0, 0, 1, 1, 2]]
    assert training.class_weights(classes, "multiclass").tolist() == pytest.approx([6 / 9, 6 / 6, 6 / 3])


def test_weighted_loss_is_the_closed_form() -> None:
    s, c, w = torch.tensor([[-1.2], [0.3], [2.0]]).double(), torch.tensor([[1.0], [0.0], [1.0]]).double(), 2.5
    p = 1 / (1 + (-s).exp())
    expected = -(w * c * p.log() + (1 - c) * (1 - p).log())[:, 0]
    given = training.loss_per_image(s, c, "binary", torch.tensor([w]).double())
    torch.testing.assert_close(given, expected)
    z, y = torch.randn(4, 3).double(), torch.eye(3).double()[[0, 2, 1, 1]]
    weights = torch.tensor([0.5, 2.0, 3.0]).double()
    expected = -(y * weights * z.softmax(1).log()).sum(1)
    torch.testing.assert_close(training.loss_per_image(z, y, "multiclass", weights), expected)
    y = torch.tensor([[1.0, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]]).double()
    p = z.sigmoid()
    expected = -(weights * y * p.log() + (1 - y) * (1 - p).log()).mean(1)
    torch.testing.assert_close(training.loss_per_image(z, y, "multilabel", weights), expected)


def test_learns_and_leaves_a_complete_card(trained: Path) -> None:
    card = json.loads(trained.with_suffix(".json").read_bytes())
    assert card["metrics"]["val"]["auc"]["value"] > 0.9
    assert card["metrics"]["test"]["auc"]["value"] > 0.9
    assert set(card["metrics"]["val"]["auc"]) == {"value", "low", "high", "method"}
    assert (card["task"], card["class_names"], card["arch"]) == ("binary", ["normal", "abnormal"], "cnn13k")
    assert (card["selected_on"], card["split"], card["split_note"]) == ("val", "study", None)
    assert card["weights"] == {"origin": "none"}
    assert card["provenance"]["foreign"] is False and card["licence"]
    assert set(card["versions"]) >= {"python", "torch", "numpy", "spinegan"}
    sizes = {role: facts["n"] for role, facts in card["data"].items()}
    assert sizes["train"] + sizes["val"] == 150 and sizes["test"] == 60
    prints = [facts["fingerprint"] for facts in card["data"].values()]
    assert len(set(prints)) == 3 and all(len(p) == 64 for p in prints)
    assert all(
        facts["groups_hashed"] and facts["path_name"].endswith(".zip") for facts in card["data"].values()
    )
    assert str(trained.parent) not in json.dumps(card)  # paths tell names
    assert [row["epoch"] for row in card["history"]] == [1, 2, 3]
    assert all(0 <= row["val_accuracy"] <= 1 for row in card["history"])
    best = max(card["history"], key=lambda row: (row["val_auc"], -row["val_loss"]))
    assert card["chosen_epoch"] == best["epoch"]
    assert not list(trained.parent.glob("*.state*"))
    # What was saved is what was measured.
    model, data = load_classifier(str(trained)), open_labelled(str(trained.parent / "test.zip"))
    logits = training.predict(model, data)
    assert ranking_score(data.targets, logits, "binary") == card["metrics"]["test"]["auc"]["value"]


class StopAfter(StopRequest):
    """Asks for a stop once so many batches are done."""

    def __init__(self, batches: int) -> None:
        self.left = batches
        super().__init__()

    @property
    def signal(self) -> str | None:  # type: ignore[override]
        self.left -= 1
        return "SIGTERM" if self.left <= 0 else None

    @signal.setter
    def signal(self, value: str | None) -> None:
        pass


def stop_after(batches: int, patch: pytest.MonkeyPatch, real=training.train) -> None:
    """The next trainings are asked to stop once so many batches are done."""

    def train(*args: object, keeper: Resumable, **kwargs: object) -> training.Chosen:
        keeper.stop = StopAfter(batches)
        return real(*args, keeper=keeper, **kwargs)

    patch.setattr(training, "train", train)


@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_interrupted_equals_uninterrupted(tmp_path: Path, task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = "binary" if task == "binary" else (np.random.default_rng(0).random((50, 2)) < 0.4).astype(int)
    data = write_spots(tmp_path / "d.zip", 50, size=24, labels=labels, groups="g")
    base = Recipe(
        str(data),
        str(tmp_path / "a.safetensors"),
        arch="cnn13k",
        epochs=3,
        batch=8,
        dropout=0.3,
        device="cpu",
    )
    whole = recipes.run(base, quiet)
    again = replace(base, out=str(tmp_path / "b.safetensors"))
    real, stops = training.train, 0
    for batches in (2, 4, 7):  # within an epoch, at the end of one, and one later
        stop_after(batches, monkeypatch)
        torch.manual_seed(batches)  # another process has other random numbers
        with pytest.raises(StoppedOnRequest, match="give the same command again") as caught:
            recipes.run(again, quiet)
        assert caught.value.exit_code == 75
        stops += 1
    monkeypatch.setattr(training, "train", real)
    assert stops == 3 and not Path(again.out).exists()
    continued = recipes.run(again, quiet)
    assert Path(again.out).read_bytes() == Path(base.out).read_bytes()
    assert continued == whole
    assert not list(tmp_path.glob("b.state*"))


def test_a_state_is_only_continued_by_its_own_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = Recipe(
        str(write_spots(tmp_path / "d.zip", 40, size=16)),
        str(tmp_path / "c.safetensors"),
        arch="cnn13k",
        epochs=2,
    )
    with monkeypatch.context() as patch:
        stop_after(1, patch)
        with pytest.raises(StoppedOnRequest):
            recipes.run(base, quiet)
    with pytest.raises(UserError, match=r"other settings \(lr, seed\)"):
        recipes.run(replace(base, lr=0.5, seed=3), quiet)
    write_spots(tmp_path / "d.zip", 40, size=16, seed=9)
    with pytest.raises(UserError, match="train data"):
        recipes.run(base, quiet)


def test_three_tasks_and_rgb_train(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for labels in (rng.integers(0, 3, 40), (rng.random((40, 3)) < 0.4).astype(int)):
        data = write_spots(tmp_path / "d.zip", 40, size=16, labels=labels, rgb=True)
        out = tmp_path / f"{labels.ndim}.safetensors"
        card = recipes.run(Recipe(str(data), str(out), arch="cnn13k", epochs=1, device="cpu"), quiet)
        assert card["task"] == ("multiclass" if labels.ndim == 1 else "multilabel")
        assert load_classifier(str(out))(torch.zeros(2, 3, 16, 16)).shape == (2, 3)


def test_warm_start_names_its_parent(tmp_path: Path, trained: Path) -> None:
    data = write_spots(tmp_path / "d.zip", 40, size=32, seed=8, groups="c")
    base = Recipe(
        str(data), str(tmp_path / "w.safetensors"), arch="cnn13k", init=str(trained), epochs=1, lr=1e-9,
        augment="none", select_on="last", val_share=0,
    )  # fmt: skip
    card = recipes.run(base, quiet)
    parent = json.loads(trained.with_suffix(".json").read_bytes())
    assert card["weights"]["sha256"] == parent["sha256"]
    assert card["provenance"]["starts_from"][0]["classifier"]["data"] == parent["data"]
    assert card["metrics"] == {"val": None, "test": None}
    assert (card["chosen_epoch"], card["selected_on"]) == (1, "last")
    was, now = (load_classifier(str(p)).network.state_dict() for p in (trained, base.out))
    torch.testing.assert_close(now["head.3.weight"], was["head.3.weight"], atol=1e-6, rtol=0)
    with pytest.raises(UserError, match="give --arch=cnn13k"):
        recipes.run(replace(base, arch="densenet121", out=str(tmp_path / "x.safetensors")), quiet)


@pytest.mark.slow
def test_densenet_trains_with_odd_batches(tmp_path: Path) -> None:
    data = write_spots(tmp_path / "d.zip", 13, size=32)
    out = tmp_path / "d.safetensors"
    base = Recipe(
        str(data), str(out), weights="none", size=32, epochs=1, batch=6, val_share=0, select_on="last",
        device="cpu",
    )  # fmt: skip
    card = recipes.run(base, quiet)  # 13 = 6 + 7: at 32 pixels, batch norm cannot take a single image
    assert np.isfinite(card["history"][0]["train_loss"])
    assert load_classifier(str(out))(torch.zeros(1, 1, 32, 32)).isfinite().all()


def test_bfloat16_is_near_float32(tmp_path: Path) -> None:
    data = write_spots(tmp_path / "d.zip", 32, size=16, groups="g")
    base = Recipe(str(data), str(tmp_path / "a.safetensors"), arch="cnn13k", epochs=1, batch=8, device="cpu")
    losses = [
        recipes.run(replace(base, precision=kind, out=str(tmp_path / f"{kind}.safetensors")), quiet)
        for kind in ("fp32", "bf16")
    ]
    full, half = (card["history"][0]["train_loss"] for card in losses)
    assert half != full
    assert half == pytest.approx(full, rel=0.02)


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"arch": "densenet121"}, UserError, "--weights=none to start at random"),
        ({"arch": "densenet121", "weights": "no/where.pth"}, MissingError, "no/where.pth is not a file"),
        ({"weights": "some.pth"}, UserError, "is for densenet121"),
        ({"size": 100}, UserError, "does not fit cnn13k"),
        ({"out": "c.pt"}, UserError, "must end in .safetensors"),
        ({"out": "no/where/c.safetensors"}, UserError, "folder .* does not exist"),
        ({"select_on": "test"}, UserError, "needs --test"),
        ({"val_share": 0}, UserError, "needs validation images"),
        ({"val_share": 1.5}, UserError, "below 1"),
        ({"val_share": 0.001}, UserError, "leaves 40 images to train and 0"),
        ({"init": "a.safetensors", "weights": "b.pth"}, UserError, "give one of them"),
        ({"init": "a.safetensors"}, MissingError, "a.safetensors does not exist"),
        ({"device": "abacus"}, UserError, "abacus is not known"),
    ],
)
def test_refusals(tmp_path: Path, change: dict, error: type, sentence: str) -> None:
    data = write_spots(tmp_path / "d.zip", 40, size=16)
    base = Recipe(str(data), str(tmp_path / "c.safetensors"), arch="cnn13k")
    with pytest.raises(error, match=sentence) as caught:
        recipes.run(replace(base, **change), quiet)
    assert caught.value.exit_code == (3 if error is MissingError else 2)


def test_data_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out, ones = str(tmp_path / "c.safetensors"), np.ones(20, int)
    train = str(write_spots(tmp_path / "train.zip", 60, size=16, groups="g"))
    base = Recipe(train, out, arch="cnn13k", epochs=1)

    def refused(sentence: str, **change: object) -> None:
        with pytest.raises(UserError, match=sentence):
            recipes.run(replace(base, **change), quiet)

    one_class = str(write_spots(tmp_path / "one.zip", 20, size=16, labels=ones))
    refused("cannot tell classes apart .normal: 0, abnormal: 20.; add images of normal", data=one_class)
    refused("validation data .* cannot tell classes apart", val=one_class)
    refused("has no labels", data=str(write_spots(tmp_path / "none.zip", 20, size=16, labels=None)))
    refused("training and the validation data are the same images", val=train)
    same = str(write_spots(tmp_path / "same.zip", 30, size=16, seed=4, groups="g"))
    refused("10 of the study groups have images in both the training and the validation", val=same)
    refused("does not exist", data=str(tmp_path / "nothing.zip"))
    plain = str(write_spots(tmp_path / "plain.zip", 40, size=16, seed=6))
    capsys.readouterr()
    card = recipes.run(replace(base, val=plain), quiet)
    assert card["split"] == "image"
    assert "nobody knows which images of the validation data belong" in card["split_note"]
    assert card["split_note"] in capsys.readouterr().err
    refused("exists already")


def test_divergence_is_a_sentence(tmp_path: Path) -> None:
    data = write_spots(tmp_path / "d.zip", 40, size=16)
    with pytest.raises(UserError, match="smaller --lr"):
        recipes.run(
            Recipe(str(data), str(tmp_path / "c.safetensors"), arch="cnn13k", lr=1e30, epochs=4), quiet
        )


def test_sigterm_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command) -> None:
    data, out = write_spots(tmp_path / "d.zip", 60, size=16, groups="g"), tmp_path / "c.safetensors"
    arguments = ["train", f"--data={data}", f"--out={out}", "--arch=cnn13k", "--epochs=2", "--batch=8"]
    calls = []
    with monkeypatch.context() as patch:

        def draw(*args, real=training.augment.draw):
            calls.append(args)
            if len(calls) == 9:
                signal.raise_signal(signal.SIGTERM)
            return real(*args)

        patch.setattr(training.augment, "draw", draw)
        result = command(*arguments)
    assert result.exit_code == 75
    assert "stopped by SIGTERM in epoch 2" in result.output
    result = command(*arguments)
    assert result.exit_code == 0, result.output
    assert "continuing in epoch 2, batch 3" in result.output
    assert out.exists()
