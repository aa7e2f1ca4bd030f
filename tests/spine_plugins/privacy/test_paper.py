"""The paper's mode: both orders by hand, on all phases of both networks, and `guarantee: none` everywhere."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from spine_plugins.privacy import paper, report
from spine_plugins.privacy.flags import DpOptions
from spine_plugins.privacy.paper import PaperDP, PaperSettings, clip_and_noise, hypothetical, why_not
from spine_plugins.training import command
from stylegan2ada.checkpoints import load_network
from stylegan2ada.config import TrainOptions
from stylegan2ada.errors import StoppedOnRequest, UserError
from stylegan2ada.training import run_files
from stylegan2ada.training.loop import train
from tests.spine_plugins.training.test_command import data
from tests.stylegan2ada.training.toy import StopAfter, toy_config, toy_dataset, toy_run_dir

CPU = torch.device("cpu")


def by_hand(gradients: list[torch.Tensor], order: str, clip: float, noise: float) -> list[torch.Tensor]:
    """With the generator where the hook finds it."""
    found = [g.clone() for g in gradients]
    for step in order:
        if step == "n":
            found = [g + noise * torch.randn_like(g) for g in found]
        else:
            norm = math.sqrt(sum(float(g.double().square().sum()) for g in found))
            found = [g * min(1.0, clip / norm) for g in found]
    return found


@pytest.mark.parametrize(("variant", "order"), [("text", "cn"), ("release", "nc")])
def test_text_clips_then_noises_and_release_the_other_way(variant, order: str) -> None:
    gradients = [10 * torch.randn(5, 3), torch.randn(7)]
    torch.manual_seed(3)
    expected = by_hand(gradients, order, 1.5, 0.2)
    torch.manual_seed(3)
    clip_and_noise(gradients, PaperSettings(variant))
    for found, wanted in zip(gradients, expected):
        assert torch.allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_small_gradients_are_not_stretched_and_none_means_no_clipping() -> None:
    small, large = [torch.full([4], 0.1)], [torch.full([4], 100.0)]
    clip_and_noise(small, PaperSettings(noise=0))
    clip_and_noise(large, PaperSettings(noise=0, clip=None))
    assert torch.equal(small[0], torch.full([4], 0.1)) and torch.equal(large[0], torch.full([4], 100.0))


def test_an_outlier_shows_through_noise_that_comes_first() -> None:
    """Why the program's order promises nothing: a gradient of norm 100 stands 500 deviations off."""
    along = []
    for size in (0.0, 100.0):
        gradient = torch.zeros(1000)
        gradient[0] = size
        clip_and_noise([gradient], PaperSettings("release"))
        along.append(float(gradient[0] / gradient.norm()))
    assert abs(along[0]) < 0.2 and along[1] > 0.99


@pytest.mark.parametrize(
    ("arm", "noise", "clip", "batch"),
    [(None, 0.2, 1.5, 1), ("b", 0.2, 1.5, 1), ("c", 0.02, 1.5, 1), ("d", 0.2, 1.5, 4), ("e", 0.2, None, 1)],
)
def test_arms_of_figure_3(arm, noise: float, clip, batch: int) -> None:
    settings, options = paper.expanded(DpOptions(dp_mode="paper", dp_ablation=arm), TrainOptions())
    assert (settings.noise, settings.clip, options.batch) == (noise, clip, batch)
    given = DpOptions(dp_mode="paper", dp_ablation=arm, dp_noise=0.0, dp_clip="3")
    settings, options = paper.expanded(given, TrainOptions(batch=16))
    assert (settings.noise, settings.clip, options.batch) == (0.0, 3.0, 16)


@pytest.mark.parametrize("clip", ["0", "-1", "many", "inf", "nan"])
def test_a_clip_norm_must_be_one(clip: str) -> None:
    with pytest.raises(UserError, match="positive number, or none"):
        paper.expanded(DpOptions(dp_mode="paper", dp_clip=clip), TrainOptions())


def test_the_hypothetical_epsilon_of_the_paper_and_where_it_is_infinite() -> None:
    found = hypothetical(PaperSettings(), 3773, 1, 4_200_000)
    assert found["classic"] == pytest.approx(3362510.588, rel=1e-6)
    assert 20_000 < found["epsilon"] < 27_000
    assert hypothetical(PaperSettings(), 3773, 4, 4_200_000)["noise_multiplier"] == pytest.approx(0.2 / 3)
    for settings in (PaperSettings("release"), PaperSettings(clip=None), PaperSettings(noise=0)):
        assert hypothetical(settings, 3773, 1, 100)["epsilon"] is None
        assert "infinite" in why_not(settings, 1)[0]
    assert "twice the clip norm" in why_not(PaperSettings(), 4)[0]


class Seen(PaperDP):
    """Keeps what went in and what came out, of every phase once."""

    def __init__(self, settings: PaperSettings) -> None:
        super().__init__(settings)
        self.before: dict[str, list[torch.Tensor]] = {}
        self.after: dict[str, list[torch.Tensor]] = {}

    def after_backward(self, phase) -> None:
        gradients = [p.grad for p in phase.parameters if p.grad is not None]
        self.before.setdefault(phase.name, [g.clone() for g in gradients])
        super().after_backward(phase)
        self.after.setdefault(phase.name, [g.clone() for g in gradients])


def length(gradients: list[torch.Tensor]) -> float:
    return math.sqrt(sum(float(g.square().sum()) for g in gradients))


def test_it_reaches_every_phase_of_both_networks_and_sums_both_halves_of_D(tmp_path: Path) -> None:
    path = toy_dataset(tmp_path / "toy.zip", resolution=8)
    config = toy_config(path, total_kimg=0.002, batch_size=1, batch_gpu=1)
    hook = Seen(PaperSettings(noise=0.0, clip=1e-3))
    run = train(config, toy_run_dir(tmp_path / "run", config), device=CPU, hooks=[hook])
    assert set(hook.before) == {"Gmain", "Greg", "Dmain", "Dreg"}
    for name in hook.before:
        assert length(hook.before[name]) > 1e-3
        assert length(hook.after[name]) == pytest.approx(1e-3, rel=1e-4)
    assert hook.releases == 3  # Dmain twice, Dreg once
    found = report.read(run.run_dir)
    assert found["guarantee"] == "none" and found["hypothetical"]["releases"] == 3
    assert run.card["privacy"]["guarantee"] == "none"


@pytest.mark.slow
def test_the_command_says_guarantee_none_and_goes_on_as_it_began(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DNNLIB_CACHE_DIR", str(tmp_path / "cache"))
    flags = [f"--data={data(tmp_path / 'd.zip')}", f"--outdir={tmp_path / 'runs'}", "--cond=1", "--cbase=64",
             "--cmax=4", "--tick=0.002", "--device=cpu", "--workers=1", "--metrics=none", "--snap=1",
             "--kimg=1", "--aug=noaug", "--dp-mode=paper", "--dp-ablation=d"]  # fmt: skip
    plain = command.train.run

    def stopped(options, **given):
        with pytest.raises(StoppedOnRequest):
            plain(options, **{**given, "hooks": [*given.get("hooks", ()), StopAfter(stop_after)]})

    monkeypatch.setattr(command.train, "run", stopped)
    stop_after = 2
    result = CliRunner().invoke(command.main, flags)
    assert result.exit_code == 0, result.output
    assert "Guarantee: none" in result.output
    (run_dir,) = (tmp_path / "runs").iterdir()
    found = report.read(run_dir)
    assert found["guarantee"] == "none" and found["batch"] == 4 and found["noise"] == 0.2
    assert json.loads((run_dir / run_files.OPTIONS).read_text())["batch_size"] == 4
    card = load_network(str(run_files.snapshots_in(run_dir)[-1]))["card"]
    assert card["privacy"]["guarantee"] == "none"
    stop_after = 4
    again = CliRunner().invoke(command.main, [f"--continue={run_dir}"])
    assert again.exit_code == 0, again.output
    assert report.read(run_dir)["releases_so_far"] > found["releases_so_far"]
    other = CliRunner().invoke(command.main, [f"--continue={run_dir}", "--dp-noise=0.1"])
    assert other.exit_code == 2 and "cannot change on --continue" in other.output


def test_flags_of_a_mode_that_is_off_are_refused(tmp_path: Path) -> None:
    base = [f"--data={data(tmp_path / 'd.zip')}", f"--outdir={tmp_path}", "-n"]
    result = CliRunner().invoke(command.main, [*base, "--dp-noise=0.1"])
    assert result.exit_code == 2 and "--dp-noise means nothing with --dp-mode=off" in result.output


@pytest.mark.parametrize("arm", ["b", "c", "d", "e"])
def test_presets_expand(tmp_path: Path, arm: str) -> None:
    base = [f"--data={data(tmp_path / 'd.zip')}", f"--outdir={tmp_path}", "-n", f"--preset=paper-dp-{arm}"]
    result = CliRunner().invoke(command.main, base)
    assert result.exit_code == 0, result.output
    assert f"--dp-ablation={arm}" in result.output
    start = result.output.index("Options:\n") + len("Options:\n")
    resolved = json.JSONDecoder().raw_decode(result.output[start:])[0]
    assert resolved["batch_size"] == (4 if arm == "d" else 1) and resolved["total_kimg"] == 200
