"""Drawing by recordings, with a tape in place of a GPU: the same images, from fewer calls of Python."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
import torch

from stylegan2ada import synthesis
from stylegan2ada.networks.stylegan2 import Generator
from stylegan2ada.ops import choice, recorded_images, use_impl
from stylegan2ada.ops.recording import WARM_UP
from tests.stylegan2ada.training.tape import Tape


@pytest.fixture
def tapes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Tape]]:
    """As a command on CUDA draws, with tapes that the test can look at."""
    made: list[Tape] = []
    monkeypatch.setattr(choice, "_records_drawings", True)
    monkeypatch.setattr(recorded_images, "CudaGraphs", lambda device: made.append(Tape()) or made[-1])
    yield made
    recorded_images._DRAWINGS.clear()


@pytest.fixture
def G() -> Generator:
    torch.manual_seed(0)
    G = Generator(8, 0, 8, 16, 1, synthesis_kwargs={"channel_base": 64}).eval()
    for name, parameter in G.named_parameters():
        if name.endswith("noise_strength"):
            parameter.data.fill_(1.0)
    return G


def images(G: Generator, n: int, **how: object) -> torch.Tensor:
    torch.manual_seed(5)
    z, c = synthesis.seed_latents(range(n), 8), torch.zeros([n, 0])
    return torch.cat(list(synthesis.images_from_z(G, z, c, batch=2, **how)))


@pytest.mark.parametrize("noise", ["const", "random", "none"])
def test_recorded_images_are_the_same_images(
    G: Generator, noise: str, tapes: list[Tape], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(choice, "_records_drawings", False)
        plain = images(G, 13, noise_mode=noise)
    assert not tapes
    assert torch.equal(images(G, 13, noise_mode=noise), plain)  # six full batches, and one image
    (tape,) = tapes
    assert tape.replays == 6 - WARM_UP - 2
    assert torch.equal(images(G, 12, noise_mode=noise), plain[:12])
    assert tape.replays == 6 - WARM_UP - 2 + 6


def test_ways_to_draw_do_not_mix(G: Generator, tapes: list[Tape]) -> None:
    first = [images(G, 12, noise_mode=noise) for noise in ("none", "const")]
    for _ in range(2):
        for noise, before in zip(("none", "const"), first):
            assert torch.equal(images(G, 4, noise_mode=noise), before[:4])
    assert not torch.equal(*first)


def test_weights_and_noise_may_change_in_place(G: Generator, tapes: list[Tape]) -> None:
    """As ppl draws the noise of every path anew."""
    before = images(G, 12)
    with torch.no_grad():
        G.synthesis.b16.conv1.noise_const.normal_()
    after = images(G, 12)
    assert tapes[0].replays > 6
    assert not torch.equal(before, after)
    choice._records_drawings = False
    assert torch.equal(images(G, 12), after)


def test_what_reads_values_is_drawn_ordinarily_with_one_line(
    G: Generator, tapes: list[Tape], capsys: pytest.CaptureFixture[str]
) -> None:
    plain = images(G, 12)
    G.synthesis.register_forward_hook(lambda module, given, made: made * float(made.mean() != 0))
    recorded_images._DRAWINGS.clear()
    assert torch.equal(images(G, 12), plain)
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "--graphs: drawing 2 images, noise_mode=const, force_fp32=True runs without a CUDA graph: "
        "it reads a value back from the device (aten._local_scalar_dense)"
    ]


def test_another_size_is_drawn_ordinarily_and_disturbs_nothing(tapes: list[Tape]) -> None:
    """The same number of images, so that both have one name."""
    network = torch.nn.Softplus()
    with torch.no_grad():
        for number, width in enumerate([3] * (WARM_UP + 3) + [4, 3, 4, 3]):
            x = torch.full([2, width], float(number))
            assert torch.equal(recorded_images.drawn(network, x), network(x))
    assert tapes[0].replays == 3


def test_nothing_is_recorded_with_gradients(G: Generator, tapes: list[Tape]) -> None:
    ws = torch.zeros([2, G.num_ws, G.w_dim], requires_grad=True)
    for _ in range(WARM_UP + 3):
        recorded_images.drawn(G.synthesis, ws).sum().backward()
    assert not tapes


def test_recordings_go_with_their_network(tapes: list[Tape]) -> None:
    G = Generator(8, 0, 8, 8, 1, synthesis_kwargs={"channel_base": 64}).eval()
    with use_impl("fast"):
        images(G, 4)  # not recorded yet: a tape, unlike a graph, holds what it does
    assert len(recorded_images._DRAWINGS) == 1
    del G
    gc.collect()
    assert len(recorded_images._DRAWINGS) == 0


@pytest.mark.parametrize(
    ("asked", "device", "found"),
    [(None, "cuda", True), ("auto", "cuda", True), ("off", "cuda", False), (None, "cpu", False)],
)
def test_commands_record_on_cuda_unless_told_otherwise(
    asked: str | None, device: str, found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "_records_drawings", not found)
    choice.use_for_command("plain", asked, device)
    assert choice.records_drawings() is found


@pytest.mark.gpu
@pytest.mark.parametrize("noise", ["const", "random"])
def test_on_a_card_the_images_are_those_of_ordinary_drawing(
    G: Generator, noise: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = torch.device("cuda")
    G.to(place)
    monkeypatch.setattr(choice, "_records_drawings", False)
    plain = images(G, 12, noise_mode=noise, device=place)
    monkeypatch.setattr(choice, "_records_drawings", True)
    recorded = images(G, 12, noise_mode=noise, device=place)
    assert len(recorded_images._DRAWINGS[G.synthesis].steps.recorded) == 1
    assert float((recorded - plain).norm() / plain.norm()) < 1e-3
