"""What the loop does around a step: hooks, pictures, warnings, guards, timing, transfer, memory."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from stylegan2ada.checkpoints import load_network
from stylegan2ada.errors import StoppedOnRequest, UserError
from stylegan2ada.networks.stylegan2 import set_precision
from stylegan2ada.training import build, memory, run_files, watch
from stylegan2ada.training.hooks import Hook, Hooks
from stylegan2ada.training.loop import train
from stylegan2ada.training.run_dir import STATE_FILE
from stylegan2ada.training.timing import Clock
from tests.stylegan2ada.training.toy import compare_runs, toy_config, toy_dataset, toy_run_dir

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_dataset(tmp_path_factory.mktemp("data") / "toy.zip", resolution=8)


class ClipAndNoise(Hook):
    """What private training needs: bound each part's gradient, add noise before ranks mix, count steps."""

    def __init__(self, bound: float, noise: float) -> None:
        self.bound, self.noise = bound, noise
        self.calls: list[str] = []
        self.norms: list[float] = []
        self.kept: dict[int, torch.Tensor] = {}

    def on_start(self, run) -> None:
        self.run = run
        self.calls.append("start")

    def after_part(self, phase) -> None:
        """Gradients add up over parts: what this part added is the difference to what stood there before."""
        self.calls.append(f"part {phase.name}")
        parameters = [p for p in phase.module.parameters() if p.grad is not None]
        added = [p.grad - self.kept.get(id(p), torch.zeros_like(p)) for p in parameters]
        norm = torch.stack([a.square().sum() for a in added]).sum().sqrt()
        scale = min(1.0, self.bound / (float(norm) + 1e-12))
        for p, a in zip(parameters, added):
            p.grad.copy_(self.kept.get(id(p), torch.zeros_like(p)) + a * scale)
            self.kept[id(p)] = p.grad.clone()

    def after_backward(self, phase) -> None:
        self.calls.append(f"backward {phase.name}")
        total = sum(p.grad.square().sum() for p in phase.module.parameters() if p.grad is not None)
        self.norms.append(float(total) ** 0.5)
        for p in phase.module.parameters():
            if p.grad is not None:
                p.grad.add_(torch.randn_like(p) * self.noise)
        self.kept.clear()

    def after_step(self, phase) -> None:
        self.calls.append(f"step {phase.name}")

    def on_snapshot(self, run, path: Path) -> None:
        assert path.exists()
        self.calls.append("snapshot")


def test_a_toy_clip_and_noise_hook_trains(data: Path, tmp_path: Path) -> None:
    config = toy_config(data, total_kimg=0.024, batch_gpu=4)
    hook = ClipAndNoise(bound=0.01, noise=1e-4)
    before: dict[str, torch.Tensor] = {}

    class Remember(Hook):
        def on_start(self, run) -> None:
            before.update({name: p.detach().clone() for name, p in run.G.named_parameters()})

    run = train(config, toy_run_dir(tmp_path / "run", config), device=CPU, hooks=Hooks([Remember(), hook]))
    parts = ["part Gmain"] * 2 + ["backward Gmain", "step Gmain"]
    assert hook.calls[:5] == ["start", *parts]
    assert [call for call in hook.calls if call.startswith("step")] == [
        *("step " + name for name in ("Gmain", "Greg", "Dmain", "Dreg")),
        *["step Gmain", "step Dmain"] * 2,
    ]
    assert hook.calls.count("snapshot") == 2  # tick 0 and the end
    assert max(hook.norms) <= 2 * 0.01 * (1 + 1e-5)
    assert all(not torch.equal(before[name], p) for name, p in run.G.named_parameters())


def test_grids_of_classes_and_old_snapshots(data: Path, tmp_path: Path) -> None:
    config = toy_config(
        data, kimg_per_tick=0.008, network_snapshot_ticks=1, keep_snapshots=1, image_snapshot_ticks=1
    )
    config = replace(config, total_kimg=1.008, batch_size=504, batch_gpu=504, G_reg_interval=16)
    run = train(config, toy_run_dir(tmp_path / "run", config), device=CPU)
    assert run.cur_nimg == 1008
    assert [p.name for p in run.run_dir.glob("network-*.pkl")] == ["network-snapshot-000001.pkl"]
    names = sorted(p.name for p in (run.run_dir / "classes").iterdir())
    whole = ("fakes000000", "fakes000001", "fakes_init")
    assert names == [f"{name}-class{c}.png" for name in whole for c in (0, 1)]


def test_waiting_for_data_is_reported_as_a_share_of_the_tick() -> None:
    clock = Clock()
    clock.tick_sec = 10.0
    assert clock.share_of_tick(1.0) == pytest.approx(0.1)
    assert clock.share_of_tick(1.5) == pytest.approx(0.05)  # only what is new


def test_data_wait_is_small_at_64_pixels(tmp_path: Path) -> None:
    data = toy_dataset(tmp_path / "toy.zip", resolution=64)
    config = toy_config(data, total_kimg=0.024, kimg_per_tick=0.016)
    run = train(config, toy_run_dir(tmp_path / "run", config), device=CPU)
    line = json.loads((run.run_dir / "stats.jsonl").read_text().splitlines()[-1])
    assert 0 < line["Timing/data_wait"]["mean"] < 0.01


# Signs of trouble.


def test_a_run_that_diverges_stops_and_keeps_its_last_good_state(data: Path, tmp_path: Path) -> None:
    class Break(Hook):
        def on_start(self, run) -> None:
            self.run = run

        def after_step(self, phase) -> None:
            if self.run.iteration == 2:
                torch.nn.init.constant_(next(self.run.G.parameters()), float("nan"))

    config = toy_config(data, kimg_per_tick=0.008, network_snapshot_ticks=1)
    run_dir = toy_run_dir(tmp_path / "run", config)
    with pytest.raises(UserError, match="diverged at 0.024 kimg.*last good state.*training-state") as caught:
        train(config, run_dir, device=CPU, hooks=Hooks([Break()]))
    assert caught.value.exit_code == 1
    assert told(run_dir)[-1] == ("diverged", 0.024, "")
    run = train(replace(config, total_kimg=0.032), run_dir, device=CPU, is_continued=True)
    assert run.iteration == 4
    assert (run_dir / STATE_FILE).exists()


def test_numbers_that_mean_divergence() -> None:
    fine = {
        "Loss/D/loss": {"num": 4, "mean": 1.0, "std": 0.1},
        "Timing/x": {"num": 0, "mean": float("nan"), "std": 0},
    }
    module = torch.nn.Linear(2, 2)
    watch.check_numbers(fine, {"G": module})
    for bad in (float("nan"), float("inf")):
        with pytest.raises(watch.Diverged, match="Loss/D/loss"):
            watch.check_numbers({"Loss/D/loss": {"num": 4, "mean": bad, "std": 0}}, {})
    with pytest.raises(watch.Diverged, match="Loss/scores/real"):
        watch.check_numbers({"Loss/scores/real": {"num": 4, "mean": -1e7, "std": 0}}, {})
    torch.nn.init.constant_(module.weight, 3e38)
    assert watch.first_non_finite(module) is None  # the sum overflows, the values do not
    module.bias.data[1] = float("inf")
    assert watch.first_non_finite(module) == "bias"


def test_a_leak_is_announced_once_per_rise() -> None:
    moves = [(0.7, 0.8), (0.8, 0.81), (0.81, 0.9), (0.9, 0.7), (0.7, 0.9)]
    said = [watch.leak_warning(p, was) for was, p in moves]
    assert [text is not None for text in said] == [False, True, False, False, True]
    assert "--ada-max-p=0.8" in str(said[1])


def test_diversity_and_collapse() -> None:
    rnd = np.random.RandomState(0)
    images = rnd.randn(6, 2, 8, 8)
    pairs = [np.square(a - b).mean() for i, a in enumerate(images) for b in images[:i]]
    assert watch.diversity(images) == pytest.approx(np.sqrt(np.mean(pairs)), rel=1e-6)
    assert watch.diversity(images[:1].repeat(4, 0)) < 1e-6
    assert watch.collapse_warning(images, images) is None
    assert "mode collapse" in str(watch.collapse_warning(images[:1] + 0.01 * images, images))
    assert watch.diversity(rnd.randn(3, 1, 64, 64)) > 0


def test_warnings_reach_the_log(data: Path, tmp_path: Path) -> None:
    config = toy_config(data, total_kimg=0.016, ada_target=None, augment_p=0.85)
    run = train(config, toy_run_dir(tmp_path / "run", config), device=CPU)
    log = (run.run_dir / "log.txt").read_text()
    assert "Warning: augmentation strength p = 0.850" in log
    assert "kimg in 2 iterations" in log  # the cost, told before the first step


def told(run_dir: Path) -> list[tuple[str, float, str]]:
    """(event, kimg, code) of a run."""
    return [(e.event, e.kimg, e.code) for e in run_files.read_events(run_dir)]


def test_events_say_what_happened(data: Path, tmp_path: Path) -> None:
    class Stop(Hook):
        def on_start(self, run) -> None:
            self.run = run

        def after_step(self, phase) -> None:
            if self.run.iteration + 1 == 2:
                self.run.stop.request("test")

    config = toy_config(data, total_kimg=0.032, ada_target=None, augment_p=0.85)
    run_dir = toy_run_dir(tmp_path / "run", config)
    with pytest.raises(StoppedOnRequest):
        train(config, run_dir, device=CPU, hooks=[Stop()])
    first = [("started", 0, ""), ("warning", 0.008, "leak"), ("saved", 0.008, ""), ("saved", 0.016, ""),
             ("stopped", 0.016, "")]  # fmt: skip
    assert told(run_dir) == first
    assert run_files.state_of(run_files.read_events(run_dir)) == "stopped"
    train(config, run_dir, device=CPU, is_continued=True)
    assert told(run_dir) == [*first, ("continued", 0.016, ""), ("saved", 0.032, ""), ("finished", 0.032, "")]
    train(config, run_dir, device=CPU, is_continued=True)  # nothing left to do
    assert told(run_dir)[-2:] == [("continued", 0.032, ""), ("finished", 0.032, "")]
    assert (run_dir / "log.txt").read_text().count("Warning: ") == 1


# Starting from other networks.


def test_transfer_copies_networks_and_strength(data: Path, tmp_path: Path) -> None:
    config = toy_config(data, total_kimg=0.008)
    first = train(config, toy_run_dir(tmp_path / "first", config), device=CPU)
    torch.nn.init.constant_(first.augment_pipe.p, 0.3)
    from stylegan2ada.training.snapshots import save_networks

    snapshot = save_networks(first)
    seen: dict = {}

    class Look(Hook):
        def on_start(self, run) -> None:
            seen.update({name: getattr(run, name).state_dict() for name in ("G", "D", "G_ema")})
            seen["p"] = (run.p, float(run.augment_pipe.p))
            raise KeyboardInterrupt

    config = replace(config, resume_pkl=str(snapshot), random_seed=5)
    run_dir = toy_run_dir(tmp_path / "second", config)
    with pytest.raises(KeyboardInterrupt):
        train(config, run_dir, device=CPU, hooks=Hooks([Look()]))
    assert seen["p"] == pytest.approx((0.3, 0.3))
    for name in ("G", "D", "G_ema"):
        for key, value in getattr(first, name).state_dict().items():
            assert torch.equal(seen[name][key], value), key
    assert "strength p = 0.300" in (run_dir / "log.txt").read_text()


def test_foreign_weights_stay_named_in_options_and_snapshots(data: Path, tmp_path: Path) -> None:
    from tests.golden_data import golden_path

    origin = golden_path("checkpoints/uncond_gray_r16.pkl")
    place = toy_dataset(tmp_path / "grey.zip", resolution=16)
    loaded = load_network(origin)
    config = toy_config(place, cond=False, total_kimg=0.008, resume_pkl=str(origin))
    config = replace(
        config,
        G_kwargs={k: v for k, v in loaded["G"].init_kwargs.items() if not k.startswith(("img_", "c_dim"))},
        D_kwargs={k: v for k, v in loaded["D"].init_kwargs.items() if not k.startswith(("img_", "c_dim"))},
    )
    run = train(config, toy_run_dir(tmp_path / "run", config), device=CPU)
    card = load_network(next(run.run_dir.glob("network-*.pkl")))["card"]
    ours = json.loads((run.run_dir / "training_options.json").read_text())["spinegan"]
    for roots in (card["starts_from"], ours["card"]["starts_from"], ours["weights_origin"]):
        (root,) = roots
        assert root["origin"] == str(origin)
        assert len(root["sha256"]) == 64
        assert "non-commercial" in root["licence"]


# Devices and memory.


def test_precision_follows_the_device() -> None:
    assert build.block_precision("auto", CPU) == "float32"
    assert build.block_precision("auto", torch.device("cuda")) is None
    assert build.block_precision("bf16", CPU) == "bfloat16"
    assert build.block_precision("fp16", torch.device("cuda")) is None
    with pytest.raises(UserError, match="--precision=fp16"):
        build.block_precision("fp16", CPU)


def test_bf16_trains_on_a_cpu(data: Path, tmp_path: Path) -> None:
    config = toy_config(data, total_kimg=0.016, precision="bf16")
    run = train(config, toy_run_dir(tmp_path / "run", config), device=CPU)
    assert run.G.init_kwargs["synthesis_kwargs"]["num_fp16_res"] == 4  # recorded as resolved
    assert all(torch.isfinite(p).all() for p in run.G.parameters())
    z, c = torch.randn(2, 8), torch.eye(2)
    as_trained = run.G_ema(z, c, noise_mode="const")
    set_precision(run.G_ema, "float32")
    exact = run.G_ema(z, c, noise_mode="const")
    assert 0 < (as_trained - exact).abs().max() < 0.1 * exact.abs().max() + 0.1  # it did compute in bf16


@pytest.mark.parametrize(("fits", "expected"), [(8, 8), (4, 4), (3, 3), (1, 1), (5, 4)])
def test_a_batch_that_does_not_fit_is_split(fits: int, expected: int) -> None:
    tried = []

    def attempt(size: int) -> None:
        tried.append(size)
        if size > fits:
            raise torch.OutOfMemoryError("CUDA out of memory")

    assert memory.fitting_batch_gpu(8 if fits != 3 else 12, attempt, 8 if fits != 3 else 12) == expected
    assert tried == sorted(tried, reverse=True)


def test_a_batch_of_one_that_does_not_fit_is_an_error() -> None:
    def attempt(size: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(UserError, match="memory"):
        memory.fitting_batch_gpu(4, attempt, 4)


def test_trying_what_fits_leaves_no_trace(data: Path, tmp_path: Path) -> None:
    """A new run on a GPU tries its first step; here the same on a CPU, compared bit by bit."""
    config = toy_config(data, total_kimg=0.024)
    plain = train(config, toy_run_dir(tmp_path / "plain", config), device=CPU)

    class Try(Hook):
        def on_start(self, run) -> None:
            assert memory.fit_memory(run) == config.batch_gpu

    tried = train(config, toy_run_dir(tmp_path / "tried", config), device=CPU, hooks=Hooks([Try()]))
    compare_runs(plain, tried)
