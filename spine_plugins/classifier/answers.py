"""What labels and logits mean by task; only here is a binary task's single logit known.

Exclusive classes are labelled one-hot, two of them as [N, 2]. A network for two classes has one output, the
log odds of the second, so its targets have one column. torch is imported with the first tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from torch import Tensor

Task = Literal["binary", "multiclass", "multilabel"]
TASKS: tuple[Task, ...] = get_args(Task)


# Labels


def task_of(labels: np.ndarray, is_class_index: bool) -> Task:
    """The task that labels [N, k] of 0 and 1 state; is_class_index: they were stored as class numbers."""
    # Several findings in an image, or none, cannot be a choice of one class.
    if not is_class_index and not (labels.sum(axis=1) == 1).all():
        return "multilabel"
    return "binary" if labels.shape[1] == 2 else "multiclass"


def is_exclusive(task: Task) -> bool:
    """Whether an image has exactly one class."""
    return task != "multilabel"


def label_dim(task: Task, num_classes: int) -> int:
    """Width of the labels that such a task needs."""
    return 2 if task == "binary" else num_classes


def targets_of(labels: np.ndarray, task: Task) -> np.ndarray:
    """Labels [N, k] -> what the outputs are trained to say, a column per output."""
    return labels[:, 1:] if task == "binary" else labels


def class_counts(targets: np.ndarray, task: Task) -> list[int]:
    """Images per class; with independent findings an image counts for each it has."""
    counts: list[int] = targets.sum(axis=0).astype(int).tolist()
    return [len(targets) - counts[0], counts[0]] if task == "binary" else counts


def written(targets: np.ndarray, task: Task) -> list[str]:
    """Each image's label for a table: the number of its class, or a 0 or 1 per finding."""
    if task == "multiclass":
        return [str(k) for k in targets.argmax(axis=1)]
    return [" ".join(str(int(v)) for v in row) for row in targets]


# Outputs


def has_one_logit(task: Task) -> bool:
    """Whether one output answers for all classes, so that its measures are those of the whole."""
    return task == "binary"


def num_outputs(task: Task, num_classes: int) -> int:
    return 1 if task == "binary" else num_classes


def answered(task: Task, class_names: Sequence[str]) -> list[str]:
    """The class that each output speaks of."""
    return list(class_names[1:] if task == "binary" else class_names)


def scores_of(logits: np.ndarray, task: Task) -> np.ndarray:
    """float64 log odds of each output's class against the rest: they rank without saturating."""
    z = logits.astype(np.float64)
    if task != "multiclass":
        return z
    # Each class's logit against the others' together; as probabilities, sure answers would all tie at 1.
    others = np.where(np.eye(z.shape[1], dtype=bool), -np.inf, z[:, None, :])  # [N, k, k], itself left out
    return z - special.logsumexp(others, axis=2)


def class_probabilities(logits: np.ndarray, task: Task) -> np.ndarray:
    """float64 [N, classes]; they sum to one unless the findings are independent."""
    # The sigmoid of log odds against the rest is the softmax, so one formula serves all tasks.
    p = special.expit(scores_of(logits, task))
    return np.concatenate([1 - p, p], axis=1) if task == "binary" else p


# The same on tensors, where gradients are wanted


def probabilities(logits: Tensor, task: Task) -> Tensor:
    """[N, classes]; they sum to one unless the findings are independent."""
    import torch

    if task == "multiclass":
        return logits.softmax(dim=1)
    p = logits.sigmoid()
    return torch.cat([1 - p, p], dim=1) if task == "binary" else p


def class_loss(logits: Tensor, c: Tensor, task: Task) -> Tensor:
    """Cross-entropy per sample, [N], of classifier logits [N, outputs] and wanted labels c [N, k]."""
    from torch.nn import functional

    if task == "binary":
        wanted = c[:, 1]
        # -log of the wanted class's probability; softplus never takes the log of 0, so gradients live on.
        return functional.softplus((1 - 2 * wanted) * logits[:, 0])
    if task == "multiclass":
        return functional.cross_entropy(logits, c, reduction="none")
    # Independent findings: the joint surprise is the sum over them.
    return functional.binary_cross_entropy_with_logits(logits, c, reduction="none").sum(dim=1)


def is_as_wanted(logits: Tensor, c: Tensor, task: Task) -> Tensor:
    """1.0 where the classifier sees what was asked for (all findings of a vector), [N]."""
    if task == "binary":
        return ((logits[:, 0] > 0) == (c[:, 1] > 0.5)).float()
    if task == "multiclass":
        return (logits.argmax(dim=1) == c.argmax(dim=1)).float()
    return ((logits > 0) == (c > 0.5)).all(dim=1).float()


def asked_logit(logits: Tensor, k: int, task: Task) -> Tensor:
    """[N]: what is said of class k; of the second one for two classes, whichever is asked."""
    return logits[:, 0 if task == "binary" else k]
