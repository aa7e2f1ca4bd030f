"""The ring by command line: exact continuation, label smoothing, and the gate of notes on modes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from spine_plugins.recipes.toy8 import Game
from tests.spine_plugins.recipes.making import check_exact, refusal, run


def test_continuation_is_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_exact(tmp_path, monkeypatch, "toy8", "train", "--objective=wgan-gp")


def test_smoothing_is_cross_entropy_with_a_softer_target() -> None:
    logits = torch.linspace(-3, 3, 7)
    game = Game("ns", hidden=4, smoothing=0.1)
    wanted = binary_cross_entropy_with_logits(logits, torch.full([7], 0.9), reduction="none")
    torch.testing.assert_close(game.loss.objective.on_real(logits), wanted)


def test_smoothing_is_for_ns_alone(tmp_path: Path) -> None:
    assert "for --objective=ns" in refusal("toy8", "train", f"--out={tmp_path / 'm'}", "--smoothing=0.1")


def test_apply_writes_points(tmp_path: Path) -> None:
    run("toy8", "train", f"--out={tmp_path / 'm'}", "--steps=1", "--objective=ns")
    run("toy8", "apply", f"--model={tmp_path / 'm'}", f"--out={tmp_path / 'x.csv'}", "--n=5")
    assert len((tmp_path / "x.csv").read_text().splitlines()) == 6
    assert "--overwrite" in refusal(
        "toy8", "apply", f"--model={tmp_path / 'm'}", f"--out={tmp_path / 'x.csv'}"
    )


@pytest.mark.slow
def test_clipping_pushes_weights_to_the_bounds_and_a_penalty_does_not(tmp_path: Path) -> None:
    """The talk's picture as numbers: the share of the critic's weights at their largest value."""
    import safetensors.torch

    shares = {}
    for objective in ("wgan", "wgan-gp"):
        out = tmp_path / objective
        run("toy8", "train", f"--out={out}", "--steps=100", f"--objective={objective}")
        tensors = safetensors.torch.load_file(out / "model.safetensors")
        weights = torch.cat(
            [t.flatten().abs() for n, t in tensors.items() if n.startswith("D/") and t.ndim == 2]
        )
        shares[objective] = float((weights > 0.95 * weights.max()).float().mean())
    print(shares)
    assert shares["wgan"] > 0.2
    assert shares["wgan-gp"] < 0.01


@pytest.mark.proof
def test_the_gate(tmp_path: Path) -> None:
    """wgan-gp 0.1: eight modes, the smallest with 5 %, 85 % of the samples near one."""
    from tests.spine_plugins.recipes.proving import leave

    found = leave("recipe-toy8", run("toy8", "train", f"--out={tmp_path / 'm'}"))
    assert found["modes"] == 8
    assert found["smallest_share"] >= 0.05
    assert found["near"] >= 0.85
