"""A classifier that is a plain function of the mean grey level, with the interface of the real one."""

from __future__ import annotations

import pytest
import torch


class GreyJudge(torch.nn.Module):
    """logits = scale * (mean - offset), one per output."""

    def __init__(self, task: str = "binary", outputs: int = 1) -> None:
        super().__init__()
        self.task = task
        self.scale = torch.nn.Parameter(torch.linspace(1, 3, outputs, dtype=torch.float64))
        self.card: dict = {"task": task}

    def forward(self, img: torch.Tensor, mapping: str = "card") -> torch.Tensor:
        return img.double().mean([1, 2, 3])[:, None] * self.scale * (1 if mapping == "card" else 2)


@pytest.fixture
def grey_judge() -> type[GreyJudge]:
    return GreyJudge
