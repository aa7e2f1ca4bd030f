"""Seeds to images as recorded, and independent of how they are batched."""

from __future__ import annotations

import copy
import doctest
import functools
from types import ModuleType

import numpy as np
import pytest
import torch

from stylegan2ada import projection, synthesis
from stylegan2ada.errors import UserError
from stylegan2ada.networks.stylegan2 import Generator
from stylegan2ada.protocols import Networks

WIDTHS = {"channel_base": 64, "channel_max": 8}


@pytest.fixture(scope="module")
def G() -> Generator:
    torch.manual_seed(0)
    return Generator(
        z_dim=6, c_dim=3, w_dim=8, img_resolution=16, img_channels=1, synthesis_kwargs=WIDTHS
    ).eval()


def test_a_seed_means_the_same_image_in_any_company(G: Generator) -> None:
    seeds = [5, 0, 77, 3, 9]
    z = synthesis.seed_latents(seeds, G.z_dim)
    np.testing.assert_array_equal(z[2].numpy(), np.random.RandomState(77).randn(1, 6)[0])
    c = synthesis.labels(G, len(seeds), class_idx=1)
    together = torch.cat(list(synthesis.images_from_z(G, z, c, psi=0.7, batch=5)))
    for batch in (1, 2):
        apart = torch.cat(list(synthesis.images_from_z(G, z, c, psi=0.7, batch=batch)))
        torch.testing.assert_close(apart, together, rtol=1e-5, atol=1e-6)


def test_truncation_stops_at_the_cutoff(G: Generator) -> None:
    z, c = synthesis.seed_latents([1], G.z_dim), synthesis.labels(G, 1, class_idx=0)
    full = G.mapping(z, c)
    expected = full.clone()
    expected[:, :2] = G.mapping.w_avg
    (img,) = synthesis.images_from_z(G, z, c, psi=0, cutoff=2)
    (direct,) = synthesis.images_from_w(G, expected)
    torch.testing.assert_close(img, direct)


def test_mixing_takes_the_listed_layers_from_the_column(G: Generator) -> None:
    c = synthesis.labels(G, 1, class_idx=2)
    mixed = synthesis.mixed_styles(G, [1, 2], [2, 3], [0, 1], c, psi=0.8)
    assert set(mixed) == {(1, 1), (2, 2), (3, 3), (1, 2), (1, 3), (2, 3)}
    ws = {seed: G.mapping(synthesis.seed_latents([seed], G.z_dim), c, truncation_psi=0.8) for seed in (1, 3)}
    by_hand = torch.cat([ws[3][:, :2], ws[1][:, 2:]], dim=1)
    (img,) = synthesis.images_from_w(G, by_hand)
    np.testing.assert_allclose(mixed[1, 3].astype(int), synthesis.pixels(img)[0].astype(int), atol=1)
    everything = synthesis.mixed_styles(G, [1], [3], range(G.num_ws), c)
    np.testing.assert_array_equal(everything[1, 3], everything[3, 3])


def test_wrong_classes_are_answered_with_the_right_ones(G: Generator) -> None:
    with pytest.raises(UserError, match="classes 0 to 2"):
        synthesis.labels(G, 1, class_idx=3)
    with pytest.raises(UserError, match="--class=0..2"):
        synthesis.labels(G, 1)
    with pytest.raises(UserError, match="takes 3"):
        synthesis.labels(G, 1, vector=[1, 0])
    with pytest.raises(UserError, match="names layer 6, but this network has 0 to 5"):
        synthesis.mixed_styles(G, [1], [2], [0, 6], synthesis.labels(G, 1, class_idx=0))
    assert synthesis.labels(G, 2, vector=[0.2, 1, 0]).tolist() == [[pytest.approx(0.2), 1, 0]] * 2


def test_classes_are_one_for_all_or_one_per_seed(G: Generator) -> None:
    images = synthesis.generate_images(G, [4, 5, 6], classes=[2, 0, 1], noise="const")
    assert images.shape == (3, 16, 16)
    for image, seed, label in zip(images, (4, 5, 6), (2, 0, 1)):
        (alone,) = synthesis.generate_images(G, [seed], classes=label, noise="const")
        assert np.abs(image.astype(int) - alone).max() <= 1  # sizes of batches may differ in the last bit
    as_array = synthesis.generate_images(G, np.array([4, 5, 6]), classes=np.array([2, 0, 1]), noise="const")
    np.testing.assert_array_equal(as_array, images)
    assert synthesis.generate_images(G, [], classes=[]).shape == (0, 16, 16)


def test_classes_have_the_names_of_the_networks_file(G: Generator) -> None:
    named = copy.deepcopy(G)
    networks: Networks = {
        "G": None, "D": None, "G_ema": named, "augment_pipe": None, "training_set_kwargs": None,
        "card": {"label_names": ["well", "ill", "odd"]},
    }  # fmt: skip
    assert synthesis.remember_card(networks) is networks
    draw = functools.partial(synthesis.generate_images, named, [1, 2], noise="const")
    np.testing.assert_array_equal(draw(classes="ill"), draw(classes=1))
    np.testing.assert_array_equal(draw(classes=["odd", 0]), draw(classes=[2, 0]))
    np.testing.assert_array_equal(draw(classes=np.int64(1)), draw(classes=1))
    with pytest.raises(UserError, match="class bad: its classes are well, ill, odd"):
        draw(classes="bad")


def test_drawing_leaves_a_network_in_training_as_it_was(G: Generator) -> None:
    training = copy.deepcopy(G).train()
    before = training.mapping.w_avg.clone()
    images = synthesis.generate_images(training, [1, 2], classes=0, noise="const")
    np.testing.assert_array_equal(images, synthesis.generate_images(G, [1, 2], classes=0, noise="const"))
    assert training.training
    assert torch.equal(training.mapping.w_avg, before)


def test_random_noise_is_the_default_and_torch_s(G: Generator) -> None:
    noisy = copy.deepcopy(G)
    for name, value in noisy.synthesis.named_parameters():
        if name.endswith("noise_strength"):
            value.data.fill_(1.0)
    draw = functools.partial(synthesis.generate_images, noisy, [1], classes=0)
    torch.manual_seed(3)
    first, second = draw(), draw()
    torch.manual_seed(3)
    np.testing.assert_array_equal(first, draw())
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(draw(noise="const"), draw(noise="const"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "give classes, one of 0 to 2"),
        ({"classes": 3}, "class 3 does not exist"),
        ({"classes": [0, -1]}, "class -1 does not exist"),
        ({"classes": 0.5}, "class 0.5 is no whole number"),
        ({"classes": np.array([0, 1.5])}, "class 1.5 is no whole number"),
        ({"classes": "ill"}, "class ill: this network knows no names of classes"),
        ({"classes": [0, 1, 2]}, "3 entries for 2 seeds"),
        ({"classes": 0, "noise": "loud"}, "choose from const, random, none"),
    ],
)
def test_what_cannot_be_drawn_says_why(G: Generator, arguments: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        synthesis.generate_images(G, [1, 2], **arguments)


def test_a_network_without_classes_takes_none() -> None:
    G = Generator(z_dim=6, c_dim=0, w_dim=8, img_resolution=16, img_channels=3, synthesis_kwargs=WIDTHS)
    assert synthesis.generate_images(G, range(2)).shape == (2, 16, 16, 3)
    with pytest.raises(UserError, match="has no classes"):
        synthesis.generate_images(G, range(2), classes=0)
    with pytest.raises(UserError, match="holds no G_ema"):
        synthesis.averaged_generator({"G_ema": None}, "cpu")


@pytest.mark.parametrize("module", [synthesis, projection])
def test_examples_in_the_text_are_true(module: ModuleType) -> None:
    assert doctest.testmod(module).attempted > 0
    assert doctest.testmod(module).failed == 0
