"""Both halves through D at once: the gradients and statistics of two passes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from stylegan2ada import stats
from stylegan2ada.losses import halves
from stylegan2ada.losses.stylegan2 import StyleGAN2Loss, joins_halves
from stylegan2ada.networks.augment import AugmentPipe
from stylegan2ada.networks.stylegan2 import Discriminator, Generator, MinibatchStdLayer

WIDTHS = {"channel_base": 64, "channel_max": 8}


@pytest.fixture(autouse=True)
def _clean_statistics() -> Iterator[None]:
    stats.reset()
    yield
    stats.reset()


def discriminator(**epilogue: Any) -> Discriminator:
    torch.manual_seed(0)
    return Discriminator(2, 8, 1, **WIDTHS, epilogue_kwargs=epilogue)


@pytest.mark.parametrize(("n", "size"), [(8, 4), (4, 4), (4, 2), (6, 3), (5, 1)])
def test_groups_are_of_one_kind_and_as_they_are_alone(n: int, size: int) -> None:
    layer = MinibatchStdLayer(size)
    fake, real = torch.randn(n, 3, 2, 2), torch.randn(n, 3, 2, 2) * 5 + 7
    found = halves.split(layer(halves.join(fake, real, size)), size)
    for value, alone in zip(found, (layer(fake), layer(real))):
        torch.testing.assert_close(value, alone)


@pytest.mark.parametrize(
    ("epilogue", "n", "expected"),
    [
        ({"mbstd_group_size": 4}, 8, 4),
        ({"mbstd_group_size": 4}, 4, 4),
        ({"mbstd_group_size": 4}, 2, None),  # would compare reals with fakes
        ({"mbstd_group_size": None}, 8, None),
        ({"mbstd_num_channels": 0}, 3, 1),
    ],
)
def test_who_may_be_joined(epilogue: dict[str, Any], n: int, expected: int | None) -> None:
    assert halves.members(discriminator(**epilogue), n) == expected


def test_a_discriminator_of_ones_own_sees_the_halves_apart() -> None:
    class Mine(Discriminator):
        """May do anything."""

    assert halves.members(Mine(0, 8, 1, **WIDTHS), 8) is None
    assert halves.members(torch.nn.BatchNorm2d(3), 8) is None


@pytest.mark.parametrize("objective", ["stylegan2", "lsgan"])
@pytest.mark.parametrize("group", [4, None])
def test_one_pass_is_two(objective: str, group: int | None) -> None:
    """Augmentation, labels, style mixing; the same draws in both."""
    G = Generator(4, 2, 4, 8, 1, mapping_kwargs={"num_layers": 1}, synthesis_kwargs=WIDTHS).requires_grad_(
        False
    )
    D = discriminator(mbstd_group_size=group)
    pipe = AugmentPipe(xflip=1, scale=1, brightness=1).requires_grad_(False)
    loss = StyleGAN2Loss("cpu", G.mapping, G.synthesis, D, pipe, objective=objective)
    assert not loss.joins_halves  # on a CPU
    torch.manual_seed(1)
    real, z, c = (
        torch.randn(8, 1, 8, 8),
        torch.randn(8, 4),
        torch.eye(2)[torch.tensor([0, 1, 1, 0, 1, 0, 1, 1])],
    )
    calls: list[int] = []
    D.register_forward_hook(lambda module, args, output: calls.append(len(args[0])))
    found = []
    for loss.joins_halves in (False, True):
        stats.reset()
        torch.manual_seed(2)
        D.zero_grad(set_to_none=True)
        loss.accumulate_gradients(
            "Dmain" if objective == "stylegan2" else "Dboth", real, c, z, c.flip(0), True, 2.0
        )
        counted = {
            name: stats.counted(name) for name in ("Loss/signs/real", "Loss/scores/fake", "Loss/D/loss")
        }
        found.append((torch.cat([p.grad.flatten() for p in D.parameters()]), counted, torch.rand([])))
    assert calls == ([8, 8, 16] if group else [8, 8, 8, 8])
    (two, counts, after), (one, joint_counts, joint_after) = found
    assert float((one - two).norm() / two.norm()) < 1e-5
    for name, value in counts.items():
        torch.testing.assert_close(joint_counts[name], value, rtol=1e-5, atol=1e-6)
    assert after == joint_after  # as many numbers were drawn


def test_who_judges_in_a_way_of_his_own_keeps_two_passes() -> None:
    class Mine(StyleGAN2Loss):
        def _judge(self, kind: str, seen: torch.Tensor, c: torch.Tensor, sync: bool) -> torch.Tensor:
            return super()._judge(kind, seen, c, sync) * 2

    class Renamed(StyleGAN2Loss):
        """As it is."""

    cuda = torch.device("cuda")
    assert [joins_halves(kind, cuda) for kind in (StyleGAN2Loss, Renamed, Mine)] == [True, True, False]
    assert not joins_halves(StyleGAN2Loss, torch.device("cpu"))
