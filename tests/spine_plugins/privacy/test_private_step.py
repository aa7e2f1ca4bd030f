"""The whole step: noise law, constant divisor, empty batches, layers that mix, and the one-step audit."""

from __future__ import annotations

import math
import os
import socket
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch

from spine_plugins.privacy import private_step
from spine_plugins.privacy.noise import SystemChance
from spine_plugins.privacy.private_step import PrivateStep, Reals, StepSettings, refuse_mixing
from stylegan2ada.errors import UserError
from tests.spine_plugins.privacy.making import pipe, some_fakes, some_reals, step_of, tiny_D


def flat(gradients) -> np.ndarray:
    return torch.cat([gradient.reshape(-1) for gradient in gradients]).double().numpy()


class Canaries(torch.nn.Module):
    """Logit = weight . image: the gradient of sample i is, up to a factor, its image."""

    c_dim, img_channels = 0, 1

    def __init__(self, side: int) -> None:
        super().__init__()
        self.img_resolution = side
        self.weight = torch.nn.Parameter(torch.zeros(side * side))

    def forward(self, img, c):
        return (img.flatten(1) * self.weight).sum(1, keepdim=True)


def canary_step(noise_multiplier: float, batch: float = 1.0, side: int = 40, **changes) -> PrivateStep:
    settings = StepSettings(clip=1.0, noise_multiplier=noise_multiplier, batch=batch, chunk=500, **changes)
    return PrivateStep(Canaries(side), ["weight"], settings, SystemChance())


NO_FAKES = (torch.zeros(0, 1, 40, 40), torch.zeros(0, 0))
NOBODY = Reals(torch.zeros(0, 1, 40, 40), torch.zeros(0, 0), torch.zeros(0, dtype=torch.int64))


# The law of the noise.


def test_the_noise_is_z_times_clip_on_the_sum() -> None:
    """An update less its clipped sum: N(0, (z C / B)^2), no value seen twice, steps independent."""
    D, reals, fakes = tiny_D(), some_reals(3), some_fakes(4)
    step = step_of(D, noise_multiplier=2.0, clip=0.5, batch=8, chunk=4)
    drawn = []
    for _ in range(8):
        clipped = flat(step.real_sum(reals)) + flat(step.fake_sum(*fakes))
        drawn.append(flat(step.gradients(reals, *fakes)) * 8 - clipped)
    noise = np.concatenate(drawn)
    assert noise.std() == pytest.approx(1.0, rel=0.02)
    assert abs(noise.mean()) < 4.5 / math.sqrt(len(noise))
    assert scipy.stats.kstest(noise, "norm").pvalue > 1e-6
    assert len(np.unique(noise)) > 0.99 * len(noise)  # float32 keeps 24 bits
    assert abs(np.corrcoef(drawn[0], drawn[1])[0, 1]) < 4.5 / math.sqrt(len(drawn[0]))


def test_an_empty_batch_takes_a_noisy_step() -> None:
    found = flat(canary_step(3.0, batch=10).gradients(NOBODY, *NO_FAKES))
    assert found.std() == pytest.approx(0.3, rel=0.1)


@pytest.mark.parametrize("count", [1, 7, 12])
def test_the_divisor_is_the_public_number_whatever_was_drawn(count: int) -> None:
    images = torch.eye(1600)[:count].reshape(count, 1, 40, 40) * 100
    step = canary_step(1e-9, batch=10)
    found = flat(step.gradients(Reals(images, torch.zeros(count, 0), torch.arange(count)), *NO_FAKES))
    assert np.allclose(found[:count], -0.1, atol=1e-6)  # one clip norm over B each, downhill
    assert np.allclose(found[count:], 0, atol=1e-6)


def test_fakes_may_go_unclipped_and_reals_never() -> None:
    D, fakes = tiny_D(), some_fakes(4)
    clipped = flat(step_of(D, clip=1e-3).fake_sum(*fakes))
    free = flat(step_of(D, clip=1e-3, clips_fakes=False).fake_sum(*fakes))
    assert np.linalg.norm(clipped) <= 4e-3 * (1 + 1e-5)
    logits = D(*fakes)
    mean = torch.autograd.grad(torch.nn.functional.softplus(logits).sum(), list(D.parameters()))
    assert np.allclose(free, flat(mean), rtol=1e-3, atol=1e-5)
    reals = flat(step_of(D, clip=1e-3, clips_fakes=False).real_sum(some_reals(4)))
    assert np.linalg.norm(reals) <= 4e-3 * (1 + 1e-5)


@pytest.mark.parametrize(("kind", "moves"), [("off", False), ("fake", True), ("real", False)])
def test_r1_on_fakes_touches_no_real(kind, moves: bool) -> None:
    D, reals, fakes = tiny_D(), some_reals(3), some_fakes(3)
    plain, other = step_of(D, clip=100), step_of(D, clip=100, r1=kind, r1_gamma=5)
    assert (not np.allclose(flat(plain.fake_sum(*fakes)), flat(other.fake_sum(*fakes)))) == moves
    assert np.allclose(flat(plain.real_sum(reals)), flat(other.real_sum(reals))) == (kind != "real")


def test_how_many_reals_were_drawn_moves_no_public_draw() -> None:
    """The stream that latents come from goes on the same after 0, 1 or 9 augmented reals."""
    D, fakes, after = tiny_D(), some_fakes(2), []
    for count in (1, 3):
        step = step_of(D, augment_pipe=pipe())
        torch.manual_seed(7)
        step.gradients(some_reals(count), *fakes)
        after.append(torch.rand(3))
    assert torch.equal(*after)


def test_one_rank_of_several_adds_the_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another rank's part is its sum alone: W draws would be more noise than is counted, equal ones none."""
    step = canary_step(3.0, batch=10)
    monkeypatch.setattr(private_step.processes, "rank", lambda: 1)
    assert not flat(step.gradients(NOBODY, *NO_FAKES)).any()


def rank_of_two(rank: int, port: int, folder: str) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    private_step.processes.init(torch.device("cpu"))
    draws, real = [], private_step.add_noise
    private_step.add_noise = lambda *args: (draws.append(1), real(*args))
    reals, fakes = some_reals(6), some_fakes(4)
    mine = Reals(reals.images[rank::2], reals.labels[rank::2], reals.units[rank::2])
    step = step_of(tiny_D(), noise_multiplier=1e-9)
    found = step.gradients(mine, fakes[0][rank::2], fakes[1][rank::2])
    torch.save((found, len(draws)), f"{folder}/{rank}.pt")
    private_step.processes.close()


@pytest.mark.slow
def test_two_processes_are_one_sum_and_one_draw_of_noise(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(rank_of_two, (port, str(tmp_path)), nprocs=2)
    (first, drawn0), (second, drawn1) = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    alone = step_of(tiny_D(), noise_multiplier=1e-9).gradients(some_reals(6), *some_fakes(4))
    assert (drawn0, drawn1) == (1, 0)
    assert np.array_equal(flat(first), flat(second))
    assert np.allclose(flat(first), flat(alone), rtol=1e-4, atol=1e-6)


# Layers that mix samples.


def test_minibatch_stddev_and_batch_norm_are_refused() -> None:
    with pytest.raises(UserError, match="minibatch-stddev"):
        step_of(tiny_D(mbstd=1))
    refuse_mixing(tiny_D())
    # The trial sees it without knowing its name, too.
    hidden = tiny_D(mbstd=1)
    type(hidden.b4.mbstd).__name__, name = "Renamed", type(hidden.b4.mbstd).__name__
    try:
        with pytest.raises(UserError, match="minibatch-stddev"):
            refuse_mixing(hidden)
    finally:
        type(hidden.b4.mbstd).__name__ = name

    class Normed(Canaries):
        def __init__(self) -> None:
            super().__init__(16)
            self.norm = torch.nn.BatchNorm2d(1)

        def forward(self, img, c):
            return super().forward(self.norm(img), c)

    with pytest.raises(UserError, match="batch norm"):
        refuse_mixing(Normed())


def test_a_neighbour_does_not_move_anothers_gradient_by_a_bit() -> None:
    D, reals = tiny_D(), some_reals(4)
    alone = []
    for last in (reals.images[3], reals.images[3] * 100):
        images = torch.cat([reals.images[:3], last[None]])
        step = step_of(D, chunk=4, clip=1e9)
        step.real_sum(Reals(images, reals.labels, reals.units))
        alone.append(step.last_norms[:3])
    assert torch.equal(*alone)


# The one-step audit: a Gaussian mechanism seen from outside, by canaries that do not meet.


def separation(step: PrivateStep, clip: float = 1.0) -> tuple[float, float]:
    """(mean over canaries of what their presence adds to the update along them, in units of what noise adds,
    and its standard error): 1/z for correct code."""
    count, side = 1000, 40
    rng = np.random.default_rng()
    taken = rng.random(count) < 0.5
    images = (100 * torch.eye(side * side)[:count]).reshape(count, 1, side, side)
    reals = Reals(images[taken], torch.zeros(int(taken.sum()), 0), torch.arange(int(taken.sum())))
    update = -flat(step.gradients(reals, *NO_FAKES))[:count] * step.settings.batch
    deviation = update[~taken].std()  # of the noise, as the attacker sees it
    found = (update[taken].mean() - update[~taken].mean()) / deviation
    # Of a difference of two means, and of the deviation that both are measured in.
    error = math.sqrt(1 / taken.sum() + 1 / (~taken).sum() + found**2 / (2 * (~taken).sum()))
    return found, error


def alarm(step: PrivateStep) -> bool:
    """Whether members stand out by more than the claimed noise allows, at 4.5 standard errors."""
    found, error = separation(step)
    return found > 1 / step.settings.noise_multiplier + 4.5 * error


@pytest.mark.parametrize("noise_multiplier", [0.5, 1.0, 2.0])
def test_the_audit_is_silent_on_correct_code(noise_multiplier: float) -> None:
    found, error = separation(canary_step(noise_multiplier, batch=64))
    assert abs(found - 1 / noise_multiplier) < 4.5 * error
    assert not alarm(canary_step(noise_multiplier, batch=64))


def test_the_audit_is_loud_on_halved_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    real = private_step.add_noise
    monkeypatch.setattr(private_step, "add_noise", lambda tensors, s, chance: real(tensors, s / 2, chance))
    assert alarm(canary_step(1.0, batch=64))


def test_the_audit_is_loud_without_clipping(monkeypatch: pytest.MonkeyPatch) -> None:
    real = private_step.clipped_sum
    monkeypatch.setattr(
        private_step, "clipped_sum", lambda loss, p, batch, clip, **more: real(loss, p, batch, 1e9, **more)
    )
    assert alarm(canary_step(1.0, batch=64))
