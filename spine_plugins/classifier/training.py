"""Training of a classifier: epochs over the labelled images, the best one chosen, exact after interruptions.

Every step's random numbers follow from (seed, epoch, step) alone, so that the state to save is small.
"""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from spine_plugins.classifier import augment
from spine_plugins.classifier.answers import Task, scores_of
from spine_plugins.classifier.defaults import Augment
from spine_plugins.classifier.evaluation import accuracy, ranking_score
from spine_plugins.classifier.labelled import JoinedPixels, LabelledImages, Pixels
from spine_plugins.classifier.model import Mapping, SpineClassifier
from spine_plugins.resumable import Resumable, seeded, step_seed
from stylegan2ada.checkpoints import state_checks
from stylegan2ada.errors import UserError
from stylegan2ada.images import to_float
from stylegan2ada.progress import Progress
from stylegan2ada.protocols import State


@dataclass(frozen=True)
class Schedule:
    """How to train; what is trained is the classifier."""

    epochs: int
    lr: float
    steps: int | None = None  # in all, cut into `epochs` stretches; None: an epoch is a pass over the images
    batch: int = 32
    class_weights: Literal["ratio", "none"] = "ratio"
    augment: Augment = "standard"
    select_on: Literal["val", "test", "last"] = "val"  # test: for replication only
    seed: int = 0
    precision: Literal["fp32", "bf16"] = "fp32"


@dataclass
class Progressed:
    """Where a training is."""

    epoch: int = 0
    step: int = 0  # within the epoch
    loss_sum: float = 0.0  # of this epoch's images so far
    best_epoch: int | None = None  # counted from 1, as in the history
    best_score: float | None = None
    best_loss: float = 0.0
    best: dict[str, Tensor] | None = None
    history: list[dict[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        # It may come from a file.
        if not all(type(count) is int and count >= 0 for count in (self.epoch, self.step)):
            raise ValueError(f"epoch {self.epoch!r}, step {self.step!r}")
        if not isinstance(self.history, list) or not all(isinstance(row, dict) for row in self.history):
            raise ValueError("a history that is no list of rows")


@dataclass(frozen=True)
class Chosen:
    """The epoch whose weights were kept, and what led to it."""

    epoch: int
    history: list[dict[str, float]]  # a row per epoch


def class_weights(targets: np.ndarray, task: Task) -> Tensor:
    """For binary and independent labels n_neg / n_pos; for exclusive classes n / (k n_class).

    A finding that nobody or everybody has keeps weight 1: there is nothing to balance.
    """
    n, k = targets.shape
    positive = targets.sum(axis=0).astype(np.float64)
    if task == "multiclass":
        # The mean weight over the images is 1, so that the learning rate keeps its meaning.
        return torch.from_numpy(n / (k * np.maximum(positive, 1))).float()
    # As pos_weight it lets all positives together weigh as much as all negatives.
    is_mixed = (positive > 0) & (positive < n)
    return torch.from_numpy(np.where(is_mixed, (n - positive) / np.maximum(positive, 1), 1.0)).float()


def loss_per_image(logits: Tensor, targets: Tensor, task: Task, weights: Tensor | None) -> Tensor:
    """Weighted cross-entropy, [N]; over independent labels the mean."""
    if task == "multiclass":
        loss = functional.cross_entropy(logits, targets, reduction="none")
        # One-hot rows pick the weight of each image's class, [N].
        return loss if weights is None else loss * (targets @ weights)
    # The mean over findings, not their sum: then one learning rate fits any number of them.
    return functional.binary_cross_entropy_with_logits(
        logits, targets, pos_weight=weights, reduction="none"
    ).mean(dim=1)


@torch.no_grad()
def predict(
    classifier: SpineClassifier,
    data: LabelledImages,
    *,
    batch: int = 64,
    mapping: Mapping = "card",
    label: str | None = None,  # of the progress lines
) -> np.ndarray:
    """float32 logits [n, k] of all images, in eval mode; the mode is put back afterwards."""
    pixels, device = Pixels(data), classifier.mean.device
    was_training = classifier.training
    # In training mode batch norm would make an image's answer depend on its neighbours.
    classifier.eval()
    starts = range(0, len(data), batch)
    if label is not None:
        counter = Progress(len(starts), label)
    found = []
    for start in starts if label is None else counter.over(starts):
        images = pixels(np.arange(start, min(start + batch, len(data)))).to(device)
        found.append(classifier(to_float(images), mapping=mapping).float().cpu().numpy())
    classifier.train(was_training)
    return np.concatenate(found)


def train(
    classifier: SpineClassifier,
    data: Sequence[LabelledImages],  # one behind the other
    schedule: Schedule,
    *,
    selection: LabelledImages | None,  # measured after every epoch, and the best is kept; None: the last
    keeper: Resumable,
    log: Callable[[str], None] = print,
) -> Chosen:
    """Train in place and leave the chosen epoch's weights.

    A state that an interrupted training left is continued; StoppedOnRequest after saving one. The last state
    stays with the keeper until the caller has saved the result and removes it.
    """
    run = _Run(classifier, data, schedule, selection, keeper, log)
    with keeper.listening():
        run.restore()
        while run.at.epoch < schedule.epochs:
            run.epoch()
    return run.finish()


class _Run:
    def __init__(
        self,
        classifier: SpineClassifier,
        data: Sequence[LabelledImages],
        schedule: Schedule,
        selection: LabelledImages | None,
        keeper: Resumable,
        log: Callable[[str], None],
    ) -> None:
        targets = np.concatenate([part.targets for part in data if part.targets is not None])
        self.n = len(targets)
        assert self.n == sum(map(len, data)), "all parts have targets"
        self.classifier, self.schedule = classifier, schedule
        self.selection, self.keeper, self.log = selection, keeper, log
        self.device = classifier.mean.device
        self.pixels = JoinedPixels(data)
        self.targets = torch.from_numpy(targets).to(self.device)
        self.weights: Tensor | None = None
        if schedule.class_weights != "none":
            self.weights = class_weights(targets, classifier.task).to(self.device)
        self.optimizer = torch.optim.Adam(classifier.parameters(), lr=schedule.lr)
        self.at = Progressed()

    def epoch(self) -> None:
        """One pass, from wherever the last one stopped, and the measurement after it."""
        start = time.monotonic()
        batches = self.batches()
        self.classifier.train()
        counter = Progress(len(batches), f"epoch {self.at.epoch + 1}")
        counter.done = self.at.step
        while self.at.step < len(batches):
            self.at.loss_sum += self.one_step(batches[self.at.step])
            self.at.step += 1
            counter.step()
            # A function: the state is only collected when a signal has come.
            self.keeper.save_if_asked_to_stop(self.state, f"in epoch {self.at.epoch + 1}")
        counter.close()
        self.measure(sum(map(len, batches)), time.monotonic() - start)
        # Moved on before the save: a state never shows a measured epoch as still open.
        self.at.epoch, self.at.step, self.at.loss_sum = self.at.epoch + 1, 0, 0.0
        self.keeper.save(self.state())

    def batches(self) -> list[np.ndarray]:
        """This epoch's batches: a pass over the images, or its stretch of the steps, pass after pass."""
        steps, epochs = self.schedule.steps, self.schedule.epochs
        if steps is None:
            return self.one_pass(self.at.epoch)
        first, last = (steps * at // epochs for at in (self.at.epoch, self.at.epoch + 1))
        per_pass = len(self.one_pass(0))
        passes = range(first // per_pass, (last - 1) // per_pass + 1)
        found = [batch for number in passes for batch in self.one_pass(number)]
        skipped = first - passes.start * per_pass
        return found[skipped : skipped + last - first]

    def one_pass(self, number: int) -> list[np.ndarray]:
        """Its order, cut up; a last single image joins the batch before (batch norm needs two)."""
        # From seed and number alone: a continued epoch finds the order in which it began.
        order = np.random.default_rng([self.schedule.seed, number]).permutation(self.n)
        cuts = [*range(self.schedule.batch, len(order), self.schedule.batch)]
        if cuts and len(order) - cuts[-1] == 1:
            cuts.pop()
        return np.split(order, cuts)

    def one_step(self, positions: np.ndarray) -> float:
        """One update; the sum of the images' losses before it."""
        seed = step_seed(self.schedule.seed, self.at.epoch, self.at.step)
        # Dropout draws from torch's generator, augmentation from its own, so neither shifts the other.
        with seeded(seed, self.device), self.autocast():
            x = self.inputs(self.pixels(positions), torch.Generator().manual_seed(seed))
            logits = self.classifier.logits(x)
        targets = self.targets[torch.from_numpy(positions).to(self.device)]
        # float32 again: bfloat16 keeps 8 bits of a number, too few to add up losses.
        loss = loss_per_image(logits.float(), targets, self.classifier.task, self.weights)
        self.optimizer.zero_grad(set_to_none=True)
        loss.mean().backward()
        self.optimizer.step()
        total = float(loss.detach().sum())
        # Raised before the next save: NaN must not take the place of a state that is sound.
        if not np.isfinite(total):
            raise UserError(
                f"the training diverged in epoch {self.at.epoch + 1} (the loss is {total}); "
                f"use a smaller --lr than {self.schedule.lr:g}"
            )
        return total

    def inputs(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """uint8 [N, C, H, W] -> augmented and normalised input."""
        img = to_float(pixels.to(self.device))
        if self.schedule.augment == "none":
            return self.classifier.prepare(img)
        places = augment.draw(len(img), generator, self.schedule.augment)
        # In [0, 1], where the zeros beside a rotated image are black and not grey.
        return self.classifier.normalise(augment.apply((img + 1) / 2, places, self.classifier.size))

    def measure(self, images: int, seconds: float) -> None:
        """Append to the history; keep the weights if they are the best so far."""
        epoch = self.at.epoch + 1
        # Taken while the weights move and dropout is on: not to be compared with the loss below.
        row: dict[str, float] = {"epoch": epoch, "train_loss": self.at.loss_sum / images}
        text = f"epoch {epoch}/{self.schedule.epochs}  loss {row['train_loss']:.4f}"
        if self.selection is not None:
            assert self.selection.targets is not None
            logits = predict(self.classifier, self.selection)
            score = ranking_score(self.selection.targets, logits, self.classifier.task)
            loss = self.mean_loss(logits, self.selection.targets)
            scores = scores_of(logits, self.classifier.task)
            right = accuracy(self.selection.targets, scores, self.classifier.task)
            measured = {"auc": score, "loss": loss, "accuracy": right}
            row |= {f"{self.schedule.select_on}_{name}": value for name, value in measured.items()}
            # Easy tasks reach an AUC of 1 early; among equals the surer epoch is the better one.
            is_best = self.at.best_score is None or (score, -loss) > (self.at.best_score, -self.at.best_loss)
            if is_best:
                self.at.best_score, self.at.best_loss, self.at.best_epoch = score, loss, epoch
                # A copy, for state_dict hands out the very tensors that the next step changes.
                self.at.best = copy.deepcopy(self.classifier.state_dict())
            text += f"  {self.schedule.select_on} AUC {score:.4f}{' (best)' if is_best else ''}"
        self.at.history.append(row)
        self.log(f"{text}  {seconds:.1f} s")

    def mean_loss(self, logits: np.ndarray, targets: np.ndarray) -> float:
        """With the training's class weights."""
        weights = None if self.weights is None else self.weights.cpu()
        found = loss_per_image(
            torch.from_numpy(logits), torch.from_numpy(targets), self.classifier.task, weights
        )
        return float(found.mean())

    def finish(self) -> Chosen:
        """Put the chosen weights in place."""
        if self.at.best is not None:
            self.classifier.load_state_dict(self.at.best)
        return Chosen(self.at.best_epoch or self.at.epoch, self.at.history)

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        # No loss scaling is needed: bfloat16 has the range of float32.
        is_bf16 = self.schedule.precision == "bf16"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=is_bf16)

    def state(self) -> State:
        """All that the next step depends on; its random numbers follow from where it is."""
        # Plain values: the reader of states knows no class of ours.
        return {
            "at": {**self.at.__dict__},
            "network": self.classifier.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self) -> None:
        """Continue from the state that was kept, if there is one."""
        state = self.keeper.restore()
        if state is None:
            return
        with self.keeper.fitting():
            state_checks.check_optimizer("optimizer", state["optimizer"], self.optimizer, self.keeper.path)
            self.at = Progressed(**state["at"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.classifier.load_state_dict(state["network"])
        self.log(f"continuing in epoch {self.at.epoch + 1}, batch {self.at.step + 1}")
