"""Recorded steps on a card: the numbers of ordinary ones, and states that go on without a card."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from stylegan2ada import stats
from stylegan2ada.losses.stylegan2 import StyleGAN2Loss
from stylegan2ada.ops.recording import CudaGraphs, Steps
from stylegan2ada.training import capture
from stylegan2ada.training.hooks import Hook
from stylegan2ada.training.loop import train
from stylegan2ada.training.phases import Phase
from stylegan2ada.training.run import Run
from tests.stylegan2ada.training.toy import toy_config, toy_dataset, toy_run_dir, weights

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def _repeatable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    stats.reset()
    yield
    stats.reset()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_dataset(tmp_path_factory.mktemp("data") / "toy.zip", resolution=16)


def a_run(
    data: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, graphs: str, **changes: object
) -> tuple[Run, Steps]:
    config = replace(
        toy_config(data, G_reg_interval=2, D_reg_interval=2), cudnn_benchmark=False, graphs=graphs
    )
    config = replace(config, **changes)
    kept: list[Steps] = []
    original = capture.steps_for
    monkeypatch.setattr(capture, "steps_for", lambda run, hooks: kept.append(original(run, hooks)) or kept[0])
    run = train(config, toy_run_dir(folder, config), device=torch.device("cuda"))
    monkeypatch.setattr(capture, "steps_for", original)
    return run, kept[0]


def test_a_recorded_run_is_the_same_run(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, steps = a_run(data, tmp_path / "plain", monkeypatch, "off")
    assert steps.recorder is None
    recorded, steps = a_run(data, tmp_path / "recorded", monkeypatch, "on")
    assert steps.recorded == ["Gmain", "Greg", "Dmain", "Dreg"], capsys.readouterr().out
    assert recorded.p == plain.p
    mine, theirs = weights(recorded), weights(plain)
    apart = {
        name: float((mine[name].float() - theirs[name].float()).norm() / (theirs[name].float().norm() + 1e-6))
        for name in mine
    }
    assert max(apart.values()) < 1e-2, sorted(apart.items(), key=lambda pair: -pair[1])[:5]


def test_the_random_numbers_are_those_of_ordinary_steps() -> None:
    """Element by element; a generator that a recording did not know would repeat itself."""
    found = []
    for recorder in (None, CudaGraphs(torch.device("cuda"))):
        torch.manual_seed(0)
        seen, steps, drawn = [], Steps(recorder), torch.zeros([4], device="cuda")
        for number in range(8):
            batch = (torch.full([4], float(number), device="cuda"),)
            steps.run(
                "Gmain", batch, lambda given, drawn=drawn: drawn.copy_(torch.randn_like(given[0]) + given[0])
            )
            seen.append(drawn.clone())
        found.append(torch.stack(seen))
    assert torch.equal(*found)


def test_a_state_goes_on_without_the_card(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = a_run(data, tmp_path / "run", monkeypatch, "on")
    longer = replace(run.config, total_kimg=run.config.total_kimg + 0.016, graphs="off")
    again = train(longer, run.run_dir, device=torch.device("cpu"), is_continued=True)
    assert again.cur_nimg == run.cur_nimg + 16
    assert not again.opts["G"].param_groups[0]["fused"]


def test_a_loss_that_reads_goes_on_without_graphs(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = StyleGAN2Loss._fool

    def reads(self, *args: object) -> torch.Tensor:
        loss = original(self, *args)
        return loss * (1.0 if float(loss.detach()) > -1e9 else 0.0)

    monkeypatch.setattr(StyleGAN2Loss, "_fool", reads)
    run, steps = a_run(data, tmp_path / "run", monkeypatch, "on")
    assert "Gmain" not in steps.recorded and "Dmain" in steps.recorded
    assert "Gmain runs without a CUDA graph" in capsys.readouterr().out
    assert run.is_done


def test_a_hook_between_keeps_a_run_from_graphs(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Between(Hook):
        def after_backward(self, phase: Phase) -> None:
            assert any(p.grad is not None for p in phase.parameters)

    config = toy_config(data, graphs="on")
    run = train(config, toy_run_dir(tmp_path / "run", config), device=torch.device("cuda"), hooks=[Between()])
    assert run.is_done
    assert "hook Between works between gradients and step" in capsys.readouterr().out
