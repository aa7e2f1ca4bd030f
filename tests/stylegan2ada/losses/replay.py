"""Recorded draws instead of random ones, and a list of what a loss reported."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from stylegan2ada import stats
from stylegan2ada.losses.draws import Draws


class Replay(Draws):
    """Constant noise; path-length noise in the order in which it was recorded."""

    noise_mode = "const"

    def __init__(self, pl_noise: Tensor | None = None, augment_percentile: float | None = None) -> None:
        super().__init__("cpu", style_mixing_prob=0)
        self.augment_percentile = augment_percentile
        self.queue: Iterator[Tensor] = iter(() if pl_noise is None else [pl_noise])

    def pl_noise(self, img: Tensor) -> Tensor:
        noise = next(self.queue)
        assert noise.shape == img.shape
        return noise


def record_reports(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Tensor]]:
    """Every later report() also appends (name, values) here."""
    seen: list[tuple[str, Tensor]] = []
    plain = stats.report

    def report(name, value):
        seen.append((name, torch.as_tensor(value).detach().clone()))
        return plain(name, value)

    monkeypatch.setattr(stats, "report", report)
    return seen
