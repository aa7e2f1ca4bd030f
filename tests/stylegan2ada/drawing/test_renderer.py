"""Renderer and numbered images, without a command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from stylegan2ada import synthesis
from stylegan2ada.drawing.numbered import write_images
from stylegan2ada.drawing.renderer import Renderer
from stylegan2ada.errors import UserError
from tests.stylegan2ada.checkpoints.conftest import make_networks


def test_seeds_and_their_w_are_drawn_alike_whatever_the_batch() -> None:
    G = make_networks(resolution=16, c_dim=3)["G_ema"]
    seeds, c = [5, 0, 5], torch.eye(3)
    expected = synthesis.generate_images(G, seeds, classes=[0, 1, 2], psi=0.7, noise="const")
    drawn = np.stack(list(Renderer(G, psi=0.7, batch=2).of_seeds(seeds, c)))
    assert np.abs(drawn.astype(int) - expected).max() <= 1  # another batch may round otherwise
    ws = G.mapping(synthesis.seed_latents(seeds, G.z_dim), c, truncation_psi=0.7).detach()
    np.testing.assert_array_equal(list(Renderer(G, batch=2).of_w(ws)), drawn)


def test_images_are_written_as_they_come_and_kept_only_for_a_grid(tmp_path: Path) -> None:
    images = [(number, np.full([4, 6, 1], number, np.uint8)) for number in (7, 9, 7)]

    def coming() -> Iterator[tuple[int, np.ndarray]]:
        for i, (number, image) in enumerate(images):
            assert len(list(tmp_path.glob("n*.png"))) == min(i, 2)
            yield number, image

    written = write_images(coming(), tmp_path, "n{:02d}.png", has_grid=True)
    assert [path.name for path in written.files] == ["n07.png", "n09.png", "n07.png", "grid.png"]
    with PIL.Image.open(tmp_path / "grid.png") as grid:
        pixels = np.asarray(grid)
    np.testing.assert_array_equal(pixels[::4, ::6], [[7, 9], [7, 0]])  # a number twice is two places
    assert write_images([], tmp_path / "none", "n{}.png", has_grid=True).files == []
    with pytest.raises(UserError, match="a .zip needs --per-class"):
        write_images([], tmp_path / "a.zip", "n{}.png", has_grid=False)
