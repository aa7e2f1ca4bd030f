"""Training of a classifier: epochs over the labelled images, the best one chosen, exact after interruptions.

Every step's random numbers follow from (seed, epoch, step) alone, so that the state to save is small.
"""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from spine_plugins.classifier import SpineClassifier, augment
from spine_plugins.classifier.evaluation import ranking_score
from spine_plugins.classifier.labelled import LabelledImages, Pixels
from stylegan2ada.checkpoints.training_state import load_state, save_state
from stylegan2ada.errors import StoppedOnRequest, UserError
from stylegan2ada.images import to_float
from stylegan2ada.processes import StopRequest
from stylegan2ada.progress import Progress

_STATE_FORMAT = 1


@dataclass(frozen=True)
class Schedule:
    """How to train; what is trained is the classifier."""

    epochs: int
    lr: float
    batch: int = 32
    class_weights: str = "ratio"  # or none
    augment: str = "standard"  # or none
    select_on: str = "val"  # or test (replication only), or last
    seed: int = 0
    precision: str = "fp32"  # or bf16


@dataclass
class Progressed:
    """Where a training is."""

    epoch: int = 0
    step: int = 0  # within the epoch
    loss_sum: float = 0.0  # of this epoch's images so far
    best_epoch: int | None = None  # counted from 1, as in the history
    best_score: float | None = None
    best_loss: float = 0.0  # decides between epochs of one score, as easy tasks have
    best: dict[str, Tensor] | None = None
    history: list[dict[str, Any]] | None = None


def class_weights(targets: np.ndarray, task: str) -> Tensor:
    """For binary and independent labels n_neg / n_pos; for exclusive classes n / (k n_class).

    A finding that nobody or everybody has keeps weight 1: there is nothing to balance.
    """
    n, k = targets.shape
    positive = targets.sum(axis=0).astype(np.float64)
    if task == "multiclass":
        return torch.from_numpy(n / (k * np.maximum(positive, 1))).float()
    is_mixed = (positive > 0) & (positive < n)
    return torch.from_numpy(np.where(is_mixed, (n - positive) / np.maximum(positive, 1), 1.0)).float()


def loss_per_image(logits: Tensor, targets: Tensor, task: str, weights: Tensor | None) -> Tensor:
    """Weighted cross-entropy, [N]; over independent labels the mean."""
    if task == "multiclass":
        loss = functional.cross_entropy(logits, targets, reduction="none")
        return loss if weights is None else loss * (targets @ weights)
    return functional.binary_cross_entropy_with_logits(
        logits, targets, pos_weight=weights, reduction="none"
    ).mean(dim=1)


@torch.no_grad()
def predict(
    classifier: SpineClassifier,
    data: LabelledImages,
    *,
    batch: int = 64,
    mapping: Any = "card",
    label: str | None = None,  # of the progress lines
) -> np.ndarray:
    """float32 logits [n, k] of all images, in eval mode; the mode is put back afterwards."""
    pixels, device = Pixels(data), classifier.mean.device
    was_training = classifier.training
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
    data: LabelledImages,
    schedule: Schedule,
    *,
    selection: LabelledImages | None,  # measured after every epoch, and the best is kept; None: the last
    state_file: Path,
    identity: dict[str, Any],  # of all that must be the same to continue, plain JSON values
    stop: StopRequest | None = None,
    log: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Train in place; leaves the chosen epoch's weights and returns epoch, score and history.

    A state that an interrupted training left is continued; StoppedOnRequest after saving one.
    """
    run = _Run(classifier, data, schedule, selection, state_file, identity, stop or StopRequest(), log)
    with run.stop.listening():
        run.restore()
        while run.at.epoch < schedule.epochs:
            run.epoch()
    return run.finish()


class _Run:
    def __init__(
        self,
        classifier: SpineClassifier,
        data: LabelledImages,
        schedule: Schedule,
        selection: LabelledImages | None,
        state_file: Path,
        identity: dict[str, Any],
        stop: StopRequest,
        log: Callable[[str], None],
    ) -> None:
        assert data.targets is not None
        self.classifier, self.data, self.schedule = classifier, data, schedule
        self.selection, self.state_file, self.identity = selection, state_file, identity
        self.stop, self.log = stop, log
        self.device = classifier.mean.device
        self.pixels = Pixels(data)
        self.targets = torch.from_numpy(data.targets).to(self.device)
        self.weights: Tensor | None = None
        if schedule.class_weights != "none":
            self.weights = class_weights(data.targets, classifier.task).to(self.device)
        self.optimizer = torch.optim.Adam(classifier.parameters(), lr=schedule.lr)
        self.at = Progressed(history=[])

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
            if self.stop.signal:
                self.save()
                raise StoppedOnRequest(
                    f"stopped by {self.stop.signal} in epoch {self.at.epoch + 1}; the state is in "
                    f"{self.state_file}: give the same command again to continue"
                )
        counter.close()
        self.measure(time.monotonic() - start)
        self.at.epoch, self.at.step, self.at.loss_sum = self.at.epoch + 1, 0, 0.0
        self.save()

    def batches(self) -> list[np.ndarray]:
        """This epoch's order, cut up; a last single image joins the batch before (batch norm needs two)."""
        order = np.random.default_rng([self.schedule.seed, self.at.epoch]).permutation(len(self.data))
        cuts = [*range(self.schedule.batch, len(order), self.schedule.batch)]
        if cuts and len(order) - cuts[-1] == 1:
            cuts.pop()
        return np.split(order, cuts)

    def one_step(self, positions: np.ndarray) -> float:
        """One update; the sum of the images' losses before it."""
        seed = int(
            np.random.SeedSequence([self.schedule.seed, self.at.epoch, self.at.step]).generate_state(1)[0]
        )
        with _seeded(seed, self.device), self.autocast():
            x = self.inputs(self.pixels(positions), torch.Generator().manual_seed(seed))
            logits = self.classifier.logits(x)
        targets = self.targets[torch.from_numpy(positions).to(self.device)]
        loss = loss_per_image(logits.float(), targets, self.classifier.task, self.weights)
        self.optimizer.zero_grad(set_to_none=True)
        loss.mean().backward()
        self.optimizer.step()
        total = float(loss.detach().sum())
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
        places = augment.draw(len(img), generator)
        return self.classifier.normalise(augment.apply((img + 1) / 2, places, self.classifier.size))

    def measure(self, seconds: float) -> None:
        """Append to the history; keep the weights if they are the best so far."""
        assert self.at.history is not None
        row: dict[str, Any] = {
            "epoch": self.at.epoch + 1,
            "train_loss": self.at.loss_sum / len(self.data),
        }
        text = f"epoch {row['epoch']}/{self.schedule.epochs}  loss {row['train_loss']:.4f}"
        if self.selection is not None:
            assert self.selection.targets is not None
            logits = predict(self.classifier, self.selection)
            score = ranking_score(self.selection.targets, logits, self.classifier.task)
            loss = self.mean_loss(logits, self.selection.targets)
            row |= {f"{self.schedule.select_on}_auc": score, f"{self.schedule.select_on}_loss": loss}
            is_best = self.at.best_score is None or (score, -loss) > (self.at.best_score, -self.at.best_loss)
            if is_best:
                self.at.best_score, self.at.best_loss, self.at.best_epoch = score, loss, row["epoch"]
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

    def finish(self) -> dict[str, Any]:
        """Put the chosen weights in place; the state file stays until the caller has saved the result."""
        if self.at.best is not None:
            self.classifier.load_state_dict(self.at.best)
        return {
            "epoch": self.at.best_epoch or self.at.epoch,
            "score": self.at.best_score,
            "history": self.at.history,
        }

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        is_bf16 = self.schedule.precision == "bf16"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=is_bf16)

    def save(self) -> None:
        state = {
            "format": _STATE_FORMAT,
            "identity": self.identity,
            "at": {**self.at.__dict__},
            "network": self.classifier.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        try:
            save_state(self.state_file, _plain_dicts(state))
        except OSError as error:
            raise UserError(f"the state {self.state_file} cannot be written ({error.strerror})") from error

    def restore(self) -> None:
        """Continue from the state file, if there is one."""
        previous = self.state_file.with_name(self.state_file.name + ".previous")
        if not self.state_file.exists() and not previous.exists():
            return
        # Killed between two renames: the file before is complete.
        state = load_state(self.state_file if self.state_file.exists() else previous)
        was, now = state.get("identity"), self.identity
        if state.get("format") != _STATE_FORMAT or not isinstance(was, dict):
            raise UserError(f"{self.state_file} is not the state of such a training; move it away")
        differing = sorted(key for key in was.keys() | now.keys() if was.get(key) != now.get(key))
        if differing:
            raise UserError(
                f"{self.state_file} is of a training with other settings ({', '.join(differing)}); "
                "give that command again to finish it, or delete the file to start anew"
            )
        self.classifier.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.at = Progressed(**state["at"])
        self.log(f"continuing in epoch {self.at.epoch + 1}, batch {self.at.step + 1}")


@contextlib.contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """torch's global generator (dropout draws from it) starts at `seed` inside, and is as before after."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield


def _plain_dicts(value: Any) -> Any:
    """Ordered and other dictionaries as plain ones."""
    if isinstance(value, dict):
        return {key: _plain_dicts(item) for key, item in value.items()}
    return [_plain_dicts(item) for item in value] if isinstance(value, list) else value
