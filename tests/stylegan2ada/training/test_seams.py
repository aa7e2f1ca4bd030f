"""Other parts in a run's seams: each maker is a toy of what a later room brings, checked by brute force."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from stylegan2ada.config import TrainConfig
from stylegan2ada.data.dataset import Dataset, ImageFolderDataset
from stylegan2ada.errors import StoppedOnRequest, UserError
from stylegan2ada.losses.base import Loss
from stylegan2ada.networks.stylegan2 import Generator
from stylegan2ada.training import run_files
from stylegan2ada.training.hooks import Hook
from stylegan2ada.training.loop import train
from stylegan2ada.training.phases import network_phases
from stylegan2ada.training.run import Run
from stylegan2ada.training.seams import Seams, build_loss, build_networks, build_phases, open_source
from stylegan2ada.training.source import DatasetLabels, DatasetSource, FakeLabels
from tests.stylegan2ada.training.toy import compare_runs, toy_config, toy_dataset, toy_run_dir

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_dataset(tmp_path_factory.mktemp("data") / "toy.zip", resolution=8)


def trained(data: Path, run_dir: Path, seams: Seams, hooks: tuple[Hook, ...] = (), **changes) -> Run:
    config = toy_config(data, **{"total_kimg": 0.016, **changes})
    return train(config, toy_run_dir(run_dir, config), device=CPU, hooks=hooks, seams=seams)


# A loss that sees the gradient of each sample.

BOUND = 0.5


class ClippedLoss(Loss):
    """Around another loss: D's gradient is the mean of the samples' gradients, each cut to a length."""

    def __init__(self, inner: Loss, D: torch.nn.Module) -> None:
        self.inner, self.D = inner, D
        self.norms: list[float] = []

    def accumulate_gradients(self, phase, real_img, real_c, gen_z, gen_c, sync, gain):
        if phase[0] != "D":
            self.inner.accumulate_gradients(phase, real_img, real_c, gen_z, gen_c, sync, gain)
            return
        parameters = list(self.D.parameters())
        kept = [p.grad for p in parameters]
        total = [torch.zeros_like(p) for p in parameters]
        for one in range(len(real_img)):
            for p in parameters:
                p.grad = None
            sample = (t[one : one + 1] for t in (real_img, real_c, gen_z, gen_c))
            self.inner.accumulate_gradients(phase, *sample, sync, gain)
            grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
            norm = math.sqrt(sum(float(g.square().sum()) for g in grads))
            self.norms.append(norm)
            for t, g in zip(total, grads):
                t.add_(g, alpha=min(1.0, BOUND / norm) / len(real_img))
        for p, before, t in zip(parameters, kept, total):
            p.grad = t if before is None else before + t


def clipped_loss(config, device, G, D, augment_pipe, draws) -> Loss:
    return ClippedLoss(build_loss(config, device, G, D, augment_pipe, draws), D)


class FirstStep(Hook):
    """Keeps what D's first main phase was given and what its optimiser was handed."""

    def on_start(self, run: Run) -> None:
        self.run = run
        self.reals = self.latents = None
        source, reals, latents = run.source, run.source.reals, run.source.latents

        def note_reals():
            batch = reals()
            self.reals = self.reals or batch
            return batch

        def note_latents(phase):
            batch = latents(phase)
            if phase == "Dmain" and self.latents is None:
                self.latents, self.D, self.G = batch, copy.deepcopy(run.D), copy.deepcopy(run.G)
            return batch

        source.reals, source.latents = note_reals, note_latents

    def after_backward(self, phase) -> None:
        if phase.name == "Dmain" and not hasattr(self, "grads"):
            self.grads = [p.grad.clone() for p in phase.module.parameters()]


@pytest.mark.parametrize("batch_gpu", [8, 4])
def test_a_loss_may_look_at_each_samples_gradient(data: Path, tmp_path: Path, batch_gpu: int) -> None:
    """The reference is autograd on one sample at a time, from the formula, without the loss or the loop."""
    hook = FirstStep()
    small = {"augment_kwargs": None, "ada_target": None, "batch_gpu": batch_gpu}
    config = toy_config(data, total_kimg=0.008, **small)
    config.loss_kwargs["style_mixing_prob"] = 0
    config.G_kwargs["synthesis_kwargs"] |= {"use_noise": False}
    config.D_kwargs["epilogue_kwargs"] = {"mbstd_num_channels": 0}
    seams = Seams(loss=clipped_loss)
    run = train(config, toy_run_dir(tmp_path / "run", config), device=CPU, hooks=[hook], seams=seams)
    assert len(run.loss.norms) == 2 * 8  # Dmain and Dreg
    assert any(norm > BOUND for norm in run.loss.norms)

    (reals, real_c), (gen_z, gen_c) = hook.reals, hook.latents
    D = hook.D.requires_grad_(True)
    parameters = list(D.parameters())
    expected = [torch.zeros_like(p) for p in parameters]
    for n in range(8):
        with torch.no_grad():
            fake = hook.G(gen_z[n : n + 1], gen_c[n : n + 1])
        real = reals[n : n + 1].float() / 127.5 - 1
        softplus = torch.nn.functional.softplus
        loss = softplus(D(fake, gen_c[n : n + 1])) + softplus(-D(real, real_c[n : n + 1]))
        grads = torch.autograd.grad(loss.sum(), parameters, allow_unused=True)
        grads = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, grads)]
        norm = math.sqrt(sum(float(g.square().sum()) for g in grads))
        for e, g in zip(expected, grads):
            e += g * min(1.0, BOUND / norm)
    # Each round of a batch in two parts is a mean over 4 and weighs as much: upstream's accumulation.
    for e, found in zip(expected, hook.grads):
        torch.testing.assert_close(found, e / batch_gpu, rtol=1e-4, atol=1e-6)


# Samplers by name, batches of any size.


class PoissonSampler:
    """Every image by chance, each time anew: the sampling that private training accounts for."""

    def __init__(self, dataset, *, rank: int, num_replicas: int, seed: int) -> None:
        self.n, self.rank, self.num_replicas = len(dataset), rank, num_replicas
        self.seed, self.step = seed, 0

    def take(self, count: int) -> np.ndarray:
        share = count * self.num_replicas / self.n / 8  # seldom: empty batches must come, too
        is_in = np.random.default_rng([self.seed, self.step]).random(self.n) < share
        self.step += 1
        return np.flatnonzero(is_in)[self.rank :: self.num_replicas]

    def state_dict(self) -> dict:
        return {"step": self.step, "seed": self.seed}

    def load_state_dict(self, state: dict) -> None:
        self.step, self.seed = state["step"], state["seed"]


NAME = f"{__name__}.PoissonSampler"


class Sizes(Hook):
    """Notes how many images came, and what D got of them; may stop the run."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.sizes: list[int] = []
        self.stop_at = stop_at

    def on_start(self, run: Run) -> None:
        self.run, reals = run, run.source.reals

        def noted():
            images, labels = reals()
            self.sizes.append(len(images))
            assert len(images) == len(labels)
            return images, labels

        run.source.reals = noted

    def after_step(self, phase) -> None:
        if self.run.iteration + 1 == self.stop_at:
            self.run.stop.request("test")


def test_a_sampler_by_import_path_with_batches_of_any_size_continues_exactly(
    data: Path, tmp_path: Path
) -> None:
    changes = {"sampler": NAME, "total_kimg": 0.08, "batch_gpu": 4}
    whole = Sizes()
    one = trained(data, tmp_path / "whole", Seams(), (whole,), **changes)
    assert len(whole.sizes) == 10 == one.iteration
    assert len(set(whole.sizes)) > 2 and 0 in whole.sizes
    assert one.cur_nimg == 80  # counters advance by the public batch size, not by what chance gave
    config = toy_config(data, **changes)
    run_dir = toy_run_dir(tmp_path / "parts", config)
    parts = [Sizes(stop_at=4), Sizes()]
    with pytest.raises(StoppedOnRequest):
        train(config, run_dir, device=CPU, hooks=[parts[0]])
    other = train(config, run_dir, device=CPU, hooks=[parts[1]], is_continued=True)
    assert parts[0].sizes + parts[1].sizes == whole.sizes
    compare_runs(one, other)


def test_an_unknown_sampler_is_refused_by_name(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="sampler 'nope' is not known; use one of: balanced, uniform"):
        trained(data, tmp_path / "run", Seams(), sampler="nope")


class NothingAtAll(DatasetSource):
    """No images and no latents either: what a rank sees when chance gives it nothing."""

    def reals(self):
        images, labels = super().reals()
        return images[:0], labels[:0]

    def latents(self, phase):
        z, c = super().latents(phase)
        return z[:0], c[:0]


def nothing_at_all(config, dataset, device, labels) -> DatasetSource:
    usual = open_source(config, dataset, device, labels)
    usual.__class__ = NothingAtAll
    return usual


def test_a_rank_without_samples_hands_in_zeros(data: Path, tmp_path: Path) -> None:
    shapes: list[bool] = []

    class Look(Hook):
        def after_part(self, phase) -> None:
            raise AssertionError("there is no part")

        def after_backward(self, phase) -> None:
            grads = [p.grad for p in phase.module.parameters()]
            shapes.append(all(g is not None and not g.any() for g in grads))

    run = trained(data, tmp_path / "run", Seams(source=nothing_at_all), (Look(),))
    assert run.iteration == 2
    assert shapes == [True] * 6


# Networks, phases, labels, data.


class NamedGenerator(Generator):
    """A network of one's own."""


def half_frozen(config: TrainConfig, dataset: Dataset) -> tuple[torch.nn.Module, torch.nn.Module]:
    G, D = build_networks(config, dataset)
    G.__class__ = NamedGenerator
    G.mapping.requires_grad_(False)
    return G, D


def save_weights(networks: dict, path: Path) -> None:
    torch.save(networks["G_ema"].state_dict(), path)


def test_networks_of_ones_own_with_a_part_that_stays(data: Path, tmp_path: Path) -> None:
    before: dict[str, torch.Tensor] = {}

    class Remember(Hook):
        def on_start(self, run: Run) -> None:
            self.run = run
            assert isinstance(run.G, NamedGenerator) and isinstance(run.G_ema, NamedGenerator)
            before.update({name: p.detach().clone() for name, p in run.G.named_parameters()})

        def after_backward(self, phase) -> None:
            assert all(p.grad is None for p in self.run.G.mapping.parameters())

    with pytest.raises(UserError, match="its G is a NamedGenerator"):  # the official format knows none
        trained(data, tmp_path / "refused", Seams(networks=half_frozen))
    run = trained(data, tmp_path / "run", Seams(networks=half_frozen, save=save_weights), (Remember(),))
    saved = torch.load(run.run_dir / run_files.snapshot(0), weights_only=True)
    assert saved.keys() == run.G_ema.state_dict().keys()
    for name, p in run.G.named_parameters():
        assert torch.equal(before[name], p) == name.startswith("mapping."), name
    learned = run.opts["G"].param_groups[0]["params"]
    assert {id(p) for p in learned} == {id(p) for p in run.G.synthesis.parameters()}


def doubled(gradients: list[torch.Tensor]) -> None:
    for gradient in gradients:
        gradient.mul_(2)


def phases_with_doubled_gradients(config, G, D) -> list:
    phases = build_phases(config, G, D)
    return [replace(p, reduce=doubled if p.name.startswith("D") else None) for p in phases]


def test_a_phase_with_a_way_of_its_own_from_gradients_to_step() -> None:
    """What the optimiser sees is what `reduce` made of the gradients; the usual one repairs NaN."""
    module = torch.nn.Linear(1, 1, bias=False)
    for reduce, expected in ((None, 0.0), (doubled, 6.0)):
        (phase,) = network_phases("D", module, {"lr": 1.0}, None, optimizer=torch.optim.SGD)
        phase.reduce = reduce
        before = module.weight.detach().clone()
        phase.start()
        module.weight.grad = torch.full_like(module.weight, float("nan") if reduce is None else 3.0)
        phase.reduce_and_step()
        torch.testing.assert_close(before - module.weight.detach(), torch.full((1, 1), expected))


def test_phases_by_a_maker_of_ones_own(data: Path, tmp_path: Path) -> None:
    """Adam does not see a constant factor, so its second moment tells: it is four times as large."""
    usual = trained(data, tmp_path / "usual", Seams(), total_kimg=0.008)
    other = trained(data, tmp_path / "other", Seams(phases=phases_with_doubled_gradients), total_kimg=0.008)
    for name, factor in (("G", 1), ("D", 4)):
        for slots in zip(usual.opts[name].state.values(), other.opts[name].state.values()):
            mine, theirs = (slot["exp_avg_sq"] for slot in slots)
            # Of two steps the second begins from weights that differ by rounding alone.
            torch.testing.assert_close(theirs, factor * mine, rtol=0.05, atol=1e-9)


class OnlyClassOne:
    """A declared prior: every fake is of class 1, whatever the data say."""

    def draw(self, count: int, rng: np.random.RandomState) -> np.ndarray:
        return np.tile(np.float32([0, 1]), (count, 1))

    def for_grid(self, columns: int, rows: int) -> np.ndarray:
        return self.draw(columns * rows, np.random.RandomState(0))


def only_class_one(config: TrainConfig, dataset: Dataset) -> FakeLabels:
    return OnlyClassOne()


def test_labels_of_fakes_and_of_the_picture_come_from_the_prior(data: Path, tmp_path: Path) -> None:
    seen: list[torch.Tensor] = []

    class Look(Hook):
        def on_start(self, run: Run) -> None:
            seen.append(run.source.latents("Gmain")[1])
            self.run = run

    run = trained(data, tmp_path / "run", Seams(labels=only_class_one), (Look(),), image_snapshot_ticks=1)
    assert torch.equal(seen[0], torch.tensor([[0.0, 1.0]]).repeat(8, 1))
    state = torch.load(run.run_dir / run_files.STATE, weights_only=True)
    assert (state["grid_c"] == torch.tensor([0.0, 1.0])).all()
    # By default the picture shows the classes of the training images, cell by cell.
    dataset = ImageFolderDataset(data, use_labels=True)
    usual = DatasetLabels(dataset).for_grid(7, 4)
    assert usual[:7, 0].all() and usual[7:14, 1].all()


class Brightened(ImageFolderDataset):
    """A data set of one's own."""


def brightened(config: TrainConfig) -> Dataset:
    return Brightened(**config.training_set_kwargs)


def test_a_data_set_of_ones_own(data: Path, tmp_path: Path) -> None:
    assert isinstance(trained(data, tmp_path / "run", Seams(dataset=brightened)).dataset, Brightened)


# What may be seen.


def test_private_statistics_and_reals_lie_in_the_private_folder_alone(data: Path, tmp_path: Path) -> None:
    seams = Seams(private_statistics=r"Loss/(scores|signs)/real|Timing/.*", shows_reals=False)
    changes = {"image_snapshot_ticks": 1, "total_kimg": 0.024}
    run = trained(data, tmp_path / "run", seams, **changes)
    private = run.run_dir / run_files.PRIVATE
    assert (private.stat().st_mode & 0o777) == 0o700
    assert {path.name for path in private.iterdir()} == {"stats.jsonl", "reals.png"}
    assert not (run.run_dir / "reals.png").exists()
    public = [json.loads(line) for line in (run.run_dir / "stats.jsonl").read_text().splitlines()]
    hidden = [json.loads(line) for line in (private / "stats.jsonl").read_text().splitlines()]
    assert len(public) == len(hidden) == run.tick
    assert {"Loss/scores/real", "Loss/signs/real", "Timing/sec_per_kimg"} <= set(hidden[0])
    assert not {name for name in public[0] if name.startswith("Timing/") or name.endswith("/real")}
    assert {"Loss/scores/fake", "Progress/kimg"} <= set(public[0]) - set(hidden[0])
    usual = trained(data, tmp_path / "usual", Seams(), **changes)
    line = json.loads((usual.run_dir / "stats.jsonl").read_text().splitlines()[0])
    assert set(line) == set(public[0]) | set(hidden[0])
    assert not (usual.run_dir / "privacy").exists()
    # And they are cut back together.
    longer = replace(usual.config, total_kimg=0.032)
    with open(private / "stats.jsonl", "a") as file:
        file.write('{"after": "the state"}\n')
    train(longer, run.run_dir, device=CPU, is_continued=True, seams=seams)
    assert "after" not in (private / "stats.jsonl").read_text()


def test_everything_that_a_run_leaves_is_on_the_list(data: Path, tmp_path: Path) -> None:
    run = trained(data, tmp_path / "run", Seams(), image_snapshot_ticks=1, keep_snapshots=1)
    names = [p.relative_to(run.run_dir).as_posix() for p in run.run_dir.rglob("*") if p.is_file()]
    assert [name for name in names if run_files.find_row(name) is None] == []
    public = {name for name in names if run_files.is_public(name)}
    assert set(names) - public == {"reals.png", run_files.STATE, f"{run_files.STATE}{run_files.PREVIOUS}"}
