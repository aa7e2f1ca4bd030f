"""What experiments ask of a training: more sets, equal steps, shuffled labels; and sifted sets."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from spine_plugins.classifier import augment, fitting, sifting, training
from spine_plugins.classifier.labelled import JoinedPixels, Pixels, open_labelled
from spine_plugins.classifier.parts import open_parts
from spine_plugins.classifier.recipe import Recipe
from spine_plugins.resumable import Resumable
from stylegan2ada.errors import NothingToDoError, UserError
from tests.spine_plugins.classifier.making import write_spots


def quiet(line: str) -> None:
    pass


@pytest.fixture
def base(tmp_path: Path) -> Recipe:
    data = write_spots(tmp_path / "real.zip", 40, seed=1, groups="a")
    val = write_spots(tmp_path / "val.zip", 20, seed=2, groups="b")
    return Recipe(
        str(data),
        str(tmp_path / "c.safetensors"),
        val=str(val),
        arch="cnn13k",
        epochs=3,
        batch=8,
        device="cpu",
    )


def test_joined_images_are_those_of_each_set(base: Recipe, tmp_path: Path) -> None:
    sets = [open_labelled(base.data), open_labelled(str(base.val))]
    alone = torch.cat([Pixels(data)(np.arange(len(data))) for data in sets])
    at = np.random.default_rng(0).permutation(60)[:17]
    assert torch.equal(JoinedPixels(sets)(at), alone[at])


def test_added_images_are_learned_from_and_stand_on_the_card(base: Recipe, tmp_path: Path) -> None:
    fakes = write_spots(tmp_path / "fakes.zip", 30, seed=3)
    card = fitting.run(replace(base, add=(str(fakes),)), quiet)
    assert card["data"]["added 1"]["n"] == 30 and set(card["metrics"]) == {"val", "test"}
    alone = fitting.run(replace(base, out=str(tmp_path / "alone.safetensors")), quiet)
    assert "added 1" not in alone["data"]
    assert alone["history"][0]["train_loss"] != card["history"][0]["train_loss"]


def test_added_images_of_held_out_patients_or_another_size_are_refused(base: Recipe, tmp_path: Path) -> None:
    leaking = write_spots(tmp_path / "leak.zip", 12, seed=5, groups="b")
    with pytest.raises(UserError, match=r"--add=.*leak.zip holds images of patients of the validation data"):
        open_parts(replace(base, add=(str(leaking),)))
    with pytest.raises(UserError, match="images of patients of the validation data"):
        open_parts(replace(base, add=(str(base.val),)))
    small = write_spots(tmp_path / "small.zip", 12, size=16)
    with pytest.raises(UserError, match="images of 16x16 and 1 channels"):
        open_parts(replace(base, add=(str(small),)))
    other = write_spots(tmp_path / "other.zip", 12, names=["healthy", "ill"])
    with pytest.raises(
        UserError, match="has the classes healthy, ill, the classifier knows normal, abnormal"
    ):
        open_parts(replace(base, add=(str(other),)))


class _Steps(training._Run):
    """Counts images instead of learning."""

    def one_step(self, positions: np.ndarray) -> float:
        self.seen.update(positions.tolist())
        self.sizes.append(len(positions))
        return 0.0

    seen: Counter[int] = Counter()
    sizes: list[int] = []


@pytest.mark.parametrize("steps", [None, 3, 10, 23])
def test_steps_are_the_same_for_any_number_of_images(base: Recipe, tmp_path: Path, steps: int | None) -> None:
    recipe = replace(base, steps=steps)
    classifier, _ = fitting.start(recipe, open_labelled(base.data))
    data = [open_labelled(base.data)]
    keeper = Resumable(tmp_path / "s.pt", {})
    run = _Steps(classifier, data, fitting.schedule_of(recipe), None, keeper, quiet)
    run.seen, run.sizes = Counter(), []
    for _ in range(recipe.epochs or 0):
        run.epoch()
    assert len(run.sizes) == (15 if steps is None else steps)  # 40 images by 8: five batches a pass
    # Pass after pass: no image is seen twice before all have been seen once.
    counts = [run.seen[i] for i in range(40)]
    assert max(counts) - min(counts) <= 1 and sum(counts) == 8 * len(run.sizes)
    assert len(run.at.history) == 3  # measured as often as without


def test_one_pass_by_steps_is_one_pass_by_epochs(base: Recipe, tmp_path: Path) -> None:
    by_epochs = fitting.run(base, quiet)
    by_steps = fitting.run(replace(base, steps=15, out=str(tmp_path / "s.safetensors")), quiet)
    assert by_steps["sha256"] == by_epochs["sha256"] and by_steps["history"] == by_epochs["history"]
    with pytest.raises(UserError, match="--steps=2 are fewer than the --epochs=3"):
        fitting.run(replace(base, steps=2, out=str(tmp_path / "t.safetensors")), quiet)


def test_shuffled_labels_are_a_permutation_of_learned_and_chosen_on(base: Recipe) -> None:
    true, shuffled = open_parts(base), open_parts(replace(base, shuffle_labels=True))
    for before, after in ((true.train, shuffled.train), (true.val, shuffled.val)):
        assert before is not None and after is not None
        assert before.targets is not None and after.targets is not None
        assert before.targets.sum() == after.targets.sum()
        assert (before.targets != after.targets).any()
    assert shuffled.note is not None and "labels were shuffled" in shuffled.note


@pytest.mark.parametrize(
    ("kind", "flips", "degrees", "side"),
    [("flip", 0.5, 0, (1, 1)), ("flip-rotate", 0.5, 36, (1, 1)), ("flip-rotate-zoom", 0.5, 36, (0.8, 1.2))],
)
def test_each_classic_strength_adds_one_transform(
    kind: str, flips: float, degrees: float, side: tuple[float, float]
) -> None:
    drawn = augment.draw(20_000, torch.Generator().manual_seed(0), kind).double()
    mirrored = torch.linalg.det(drawn[:, :, :2]) < 0
    assert abs(mirrored.double().mean() - flips) < 0.02
    drawn[mirrored, 0] *= -1
    found = torch.linalg.det(drawn[:, :, :2]).sqrt()
    assert side[0] - 1e-6 <= found.min() <= side[0] + 0.01 and side[1] - 0.01 <= found.max() <= side[1] + 1e-6
    turn = torch.rad2deg(torch.atan2(drawn[:, 1, 0], drawn[:, 0, 0]))
    assert turn.abs().max() <= degrees + 1e-3 and turn.abs().max() >= degrees * 0.99


def test_sift_by_lot_and_by_a_classifier(base: Recipe, tmp_path: Path) -> None:
    fitting.run(base, quiet)
    # Half the labels are wrong, and the classifier knows.
    fakes = write_spots(tmp_path / "fakes.zip", 40, seed=9, groups="f", contrast=200)
    sieve = sifting.Sieve(str(fakes), str(tmp_path / "out.zip"), device="cpu", overwrite=True)
    lot = sifting.sift(replace(sieve, images=10, seed=4))
    assert (lot.of, lot.written, lot.agreeing) == (40, 10, None)
    part = open_labelled(sieve.out)
    whole = open_labelled(str(fakes))
    pixels = {image.tobytes() for image in Pixels(whole)(np.arange(40)).numpy()}
    assert all(image.tobytes() in pixels for image in Pixels(part)(np.arange(10)).numpy())
    assert part.groups is not None and set(part.groups) <= set(whole.groups or ())

    by = replace(sieve, classifier=base.out)
    agreeing = sifting.sift(replace(by, only="agreeing"))
    assert agreeing.written == agreeing.agreeing
    relabelled = sifting.sift(replace(by, labels="classifier", out=str(tmp_path / "named.zip")))
    assert relabelled.written == 40
    # Every image that it has named itself, it agrees with.
    again = sifting.sift(replace(by, data=str(tmp_path / "named.zip"), only="agreeing"))
    assert again.written == 40
    with pytest.raises(UserError, match="--only=agreeing ask a classifier; give --classifier=FILE"):
        sifting.sift(replace(sieve, only="agreeing"))


def test_nothing_that_agrees_is_said(base: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fitting.run(base, quiet)
    labels = np.ones(8, dtype=int)
    fakes = write_spots(tmp_path / "fakes.zip", 8, labels=labels)
    monkeypatch.setattr(sifting, "predict", lambda *args, **kwargs: np.full((8, 1), -9.0, dtype=np.float32))
    sieve = sifting.Sieve(str(fakes), str(tmp_path / "o.zip"), base.out, only="agreeing", device="cpu")
    with pytest.raises(NothingToDoError, match="agrees on no label"):
        sifting.sift(sieve)
    assert not (tmp_path / "o.zip").exists()
