"""Labels and logits by task: hand examples, and numpy and torch saying the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import special

from spine_plugins.classifier import answers

NAMES = ["a", "b", "c"]


def test_labels_state_their_task() -> None:
    assert answers.task_of(np.eye(2)[[0, 1]], True) == "binary"
    assert answers.task_of(np.eye(3)[[0, 2]], True) == "multiclass"
    assert answers.task_of(np.array([[1, 0], [0, 1]]), False) == "binary"
    assert answers.task_of(np.array([[1, 1], [0, 1]]), False) == "multilabel"
    assert [answers.is_exclusive(task) for task in answers.TASKS] == [True, True, False]


def test_two_classes_have_one_output_and_it_speaks_of_the_second() -> None:
    labels = np.array([[1, 0], [0, 1], [0, 1]])
    assert answers.num_outputs("binary", 2) == 1
    assert answers.label_dim("binary", 2) == 2
    assert answers.has_one_logit("binary")
    assert answers.answered("binary", NAMES[:2]) == ["b"]
    targets = answers.targets_of(labels, "binary")
    assert targets.tolist() == [[0], [1], [1]]
    assert answers.class_counts(targets, "binary") == [1, 2]
    assert answers.written(targets, "binary") == ["0", "1", "1"]


@pytest.mark.parametrize(("task", "text"), [("multiclass", ["0", "2"]), ("multilabel", ["1 0 0", "0 0 1"])])
def test_more_classes_have_an_output_each(task: answers.Task, text: list[str]) -> None:
    labels = np.eye(3)[[0, 2]]
    assert answers.num_outputs(task, 3) == answers.label_dim(task, 3) == 3
    assert not answers.has_one_logit(task)
    assert answers.answered(task, NAMES) == NAMES
    assert answers.targets_of(labels, task) is labels
    assert answers.class_counts(labels, task) == [1, 0, 1]
    assert answers.written(labels, task) == text


@pytest.mark.parametrize("task", answers.TASKS)
def test_probabilities_of_arrays_and_tensors(task: answers.Task) -> None:
    logits = np.random.default_rng(0).normal(0, 3, (6, answers.num_outputs(task, 3))).astype(np.float32)
    found = answers.class_probabilities(logits, task)
    same = answers.probabilities(torch.from_numpy(logits).double(), task)
    np.testing.assert_allclose(found, same.numpy(), rtol=1e-12)
    assert np.allclose(found.sum(axis=1), 1) == (task != "multilabel")
    sure = answers.scores_of(np.array([[80.0, 0, 0], [90.0, 0, 0]]), "multiclass")[:, 0]
    assert special.expit(sure).tolist() == [1, 1]
    assert sure[0] < sure[1]  # as probabilities these would tie


def test_the_logit_that_was_asked_for() -> None:
    logits = torch.arange(6.0).reshape(2, 3)
    assert [answers.asked_logit(logits[:, :1], k, "binary").tolist() for k in (0, 1)] == [[0, 3]] * 2
    assert answers.asked_logit(logits, 2, "multiclass").tolist() == [2, 5]
