"""Several chunks in one call of a generator: the noise of each is its own, number by number."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stylegan2ada.images import to_uint8
from stylegan2ada.metrics.chunks import images_of_chunks
from stylegan2ada.metrics.features import latents_and_labels
from stylegan2ada.networks.stylegan2 import Generator

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def G() -> Generator:
    torch.manual_seed(0)
    widths = {"channel_base": 64, "channel_max": 8}
    G = Generator(8, 0, 8, 16, 1, mapping_kwargs={"num_layers": 1}, synthesis_kwargs=widths).eval()
    with torch.no_grad():
        for name, parameter in G.named_parameters():
            if name.endswith("noise_strength"):
                parameter.fill_(1.0)
    return G.requires_grad_(False)


def inputs_of(G: Generator):
    return lambda chunk: latents_and_labels(G, None, 4, 0, chunk)


def test_images_are_those_of_single_chunks(G: Generator) -> None:
    calls = []

    def run(z: Tensor, c: Tensor) -> Tensor:
        calls.append(len(z))
        return to_uint8(G(z, c))

    alone, joint = (
        images_of_chunks(run, inputs_of(G), [3, 7, 8], joins=joins, device=CPU) for joins in (False, True)
    )
    assert calls == [4, 4, 4, 12]
    for one, other in zip(alone, joint, strict=True):
        assert one.shape == other.shape == (4, 1, 16, 16)
        assert int((one.int() - other.int()).abs().max()) <= 1  # the last bit of a sum, once rounded
    assert not torch.equal(joint[0], joint[1])


def test_every_number_is_the_same() -> None:
    """Element by element, where no sum can round otherwise; noise by shape and by example."""
    G = type("G", (), {"z_dim": 3, "c_dim": 0})()

    def run(z: Tensor, c: Tensor) -> Tensor:
        return z.sum(1) * 0 + torch.randn([len(z), 2], device=z.device).sum(1) + torch.randn_like(z)[:, 0]

    alone, joint = (
        images_of_chunks(run, inputs_of(G), range(5), joins=joins, device=CPU) for joins in (False, True)
    )
    assert all(torch.equal(one, other) for one, other in zip(alone, joint, strict=True))


@pytest.mark.parametrize(
    "draw", [lambda z: torch.rand(len(z)), lambda z: torch.randn(7)[0], lambda z: z.normal_()[:, 0]]
)
def test_other_draws_are_made_chunk_by_chunk(draw) -> None:
    G = type("G", (), {"z_dim": 3, "c_dim": 0})()

    def run(z: Tensor, c: Tensor) -> Tensor:
        return z[:, 0] + draw(z.clone())

    alone, joint = (
        images_of_chunks(run, inputs_of(G), range(3), joins=joins, device=CPU) for joins in (False, True)
    )
    assert all(torch.equal(one, other) for one, other in zip(alone, joint, strict=True))
