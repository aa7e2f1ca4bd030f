"""How the recorded numbers are compared."""

from __future__ import annotations

import numpy as np
import torch


def tensors(arrays: dict[str, np.ndarray], dtype: torch.dtype | None = None) -> dict[str, torch.Tensor]:
    return {key: torch.tensor(value, dtype=dtype) for key, value in arrays.items()}


def assert_forward(result: torch.Tensor, expected: np.ndarray) -> None:
    torch.testing.assert_close(result.detach(), torch.tensor(expected), rtol=1e-4, atol=1e-5)


def relative_error(result: torch.Tensor, expected: np.ndarray | torch.Tensor) -> float:
    """Largest deviation in units of the largest expected element."""
    truth = torch.as_tensor(expected).double()
    assert result.shape == truth.shape, (result.shape, truth.shape)
    if truth.numel() == 0:
        return 0.0
    return float((result.detach().double() - truth).abs().max() / truth.abs().max().clamp(min=1e-30))


def assert_gradient(result: torch.Tensor | None, expected: np.ndarray, name: str = "") -> None:
    """Within 1e-3 of the largest element; an expected zero must be (nearly) zero, given or not."""
    if not expected.any():
        assert result is None or float(result.abs().max()) < 1e-6, name
        return
    assert result is not None, f"{name} got no gradient"
    assert relative_error(result, expected) < 1e-3, (name, relative_error(result, expected))


def gradients(of: torch.Tensor, inputs: dict[str, torch.Tensor], **options) -> dict[str, torch.Tensor | None]:
    return dict(zip(inputs, torch.autograd.grad(of, list(inputs.values()), allow_unused=True, **options)))
