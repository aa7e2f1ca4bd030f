"""The augmentations against closed forms and hand-made places."""

from __future__ import annotations

import math

import torch

from spine_plugins.classifier import augment


def places_of(mirror: float = 1, degrees: float = 0, side: float = 1, shift: tuple = (0, 0)) -> torch.Tensor:
    """[1, 2, 3], by its own formula: mirror(rotate(side * p + shift))."""
    a = math.radians(degrees)
    rotate = torch.tensor([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]])
    place = torch.cat([rotate * side, rotate @ torch.tensor([shift]).float().T], dim=1)
    return (torch.diag(torch.tensor([mirror, 1.0])) @ place)[None]


def test_draws_have_the_papers_ranges() -> None:
    drawn = augment.draw(20_000, torch.Generator().manual_seed(0)).double()
    mirrored = torch.linalg.det(drawn[:, :, :2]) < 0
    assert abs(mirrored.double().mean() - 0.3) < 0.01
    drawn[mirrored, 0] *= -1  # undo
    side = torch.linalg.det(drawn[:, :, :2]).sqrt()
    assert side.square().min() >= 0.8 - 1e-6
    assert side.square().max() <= 1 + 1e-6
    assert abs(side.square().mean() - 0.9) < 0.002  # uniform in area
    turn = torch.rad2deg(torch.atan2(drawn[:, 1, 0], drawn[:, 0, 0]))
    assert 4.9 < turn.max() <= 5.0001
    assert -5.0001 <= turn.min() < -4.9
    assert abs(turn.mean()) < 0.1
    # The crop is inside the rotated image: |shift| <= 1 - side, before rotation.
    shift = torch.linalg.solve(drawn[:, :, :2] / side[:, None, None], drawn[:, :, 2:])[:, :, 0]
    assert (shift.abs() <= (1 - side)[:, None] + 1e-6).all()
    assert (shift.abs().amax(0) > 0.1).all()


def test_identity_flip_and_rotation() -> None:
    x = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(augment.apply(x, places_of(), 32), x, atol=1e-5, rtol=0)
    torch.testing.assert_close(augment.apply(x, places_of(mirror=-1), 32), x.flip(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        augment.apply(x, places_of(degrees=90), 32), torch.rot90(x, 1, (2, 3)), atol=1e-4, rtol=0
    )


def test_crop_shows_the_asked_for_part() -> None:
    # Bilinear resampling keeps a ramp exactly: the value of a pixel is where it came from.
    centres = (2 * torch.arange(32) + 1) / 32 - 1
    ramps = torch.stack([centres.expand(32, 32), centres[:, None].expand(32, 32)])[None]  # x, y
    crop = augment.apply(ramps, places_of(side=0.5, shift=(-0.25, 0.125)), 28)
    output = (2 * torch.arange(28) + 1) / 28 - 1
    torch.testing.assert_close(crop[0, 0], (0.5 * output - 0.25).expand(28, 28), atol=1e-5, rtol=0)
    torch.testing.assert_close(crop[0, 1], (0.5 * output + 0.125)[:, None].expand(28, 28), atol=1e-5, rtol=0)


def test_draw_composes_as_flip_then_rotation_then_crop() -> None:
    drawn = augment.draw(8, torch.Generator().manual_seed(3))
    flip, turn, area, right, down = torch.rand(5, 8, generator=torch.Generator().manual_seed(3))
    for i in range(8):
        side = math.sqrt(0.8 + 0.2 * float(area[i]))
        shift = ((2 * float(right[i]) - 1) * (1 - side), (2 * float(down[i]) - 1) * (1 - side))
        mirror = -1.0 if flip[i] < 0.3 else 1.0
        expected = places_of(mirror, (2 * float(turn[i]) - 1) * 5, side, shift)[0]
        torch.testing.assert_close(drawn[i], expected)


def test_outside_is_black_and_large_images_shrink_smoothly() -> None:
    rotated = augment.apply(torch.ones(1, 1, 32, 32), places_of(degrees=5), 32)
    assert rotated[0, 0, 0, 0] < 0.9 and rotated[0, 0, 16, 16] == 1
    stripes = (torch.arange(1024) % 2).float().expand(1, 1, 1024, 1024)  # alias unless averaged
    assert (augment.apply(stripes, places_of(), 64)[..., 2:-2, 2:-2] - 0.5).abs().max() < 0.05
