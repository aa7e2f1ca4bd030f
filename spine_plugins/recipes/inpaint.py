"""Semantic inpainting: the image that G can draw and that agrees where pixels are known (arXiv:1607.07539).

AnoGAN's search with other weights: L1 on known pixels, more of it near the hole, a prior that D sets, then
Poisson blending. The encoder has seen holes in its training and starts the search.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from spine_plugins.recipes import asked, latents, skeleton, workshop
from spine_plugins.recipes.pairs import parts_of, phantom_pairs, read_pairs, write_pairs
from spine_plugins.recipes.sheets import save_sheet
from spine_plugins.resumable import seeded
from stylegan2ada.data.decode import decode_image
from stylegan2ada.data.writer import DatasetWriter
from stylegan2ada.errors import UserError
from stylegan2ada.images import to_uint8
from stylegan2ada.protocols import JsonObject
from stylegan2ada.untrusted import MIB, read_file

Train = workshop.Train
WINDOW, PRIOR = 7, 0.003  # both of the paper
_BATCH = 32
_MOST_MASK = 64 * MIB


@dataclass(frozen=True, kw_only=True)
class Apply(asked.Apply):
    """What `recipe inpaint apply` was asked."""

    mask: str | None


def importance(holes: Tensor) -> Tensor:
    """Weights [N, 1, H, W] of known pixels: the missing share of the 7x7 around (eq. 3); 0 in the hole."""
    missing = holes[:, None].float()
    return (1 - missing) * avg_pool2d(missing, WINDOW, 1, WINDOW // 2, count_include_pad=False)


def fill(net: latents.Latents, img: Tensor, holes: Tensor, steps: int) -> Tensor:
    """Images [N, C, H, W] whose holes (bool [N, H, W]) are filled; known pixels stay as they are."""
    parts = [_filled(net, a, b, steps) for a, b in zip(img.split(_BATCH), holes.split(_BATCH))]
    return torch.cat(parts)


def _filled(net: latents.Latents, img: Tensor, holes: Tensor, steps: int) -> Tensor:
    weight = importance(holes)
    # Far from the hole the paper's weight is 0; a little of it keeps the rest of the spine in place.
    weight = weight / weight.sum((1, 2, 3), keepdim=True).clamp_min(1e-6)
    known = (~holes[:, None]).float()
    weight = weight + known / known.sum((1, 2, 3), keepdim=True).clamp_min(1)
    with torch.no_grad():
        start = net.E(torch.where(holes[:, None], torch.zeros_like(img), img))

    def loss(drawn: Tensor) -> Tensor:
        context = (weight * (drawn - img).abs()).sum((2, 3)).mean(1)
        return context + PRIOR * latents.prior(net.realness(drawn))

    w = latents.search(net, start, loss, steps)
    with torch.no_grad():
        drawn = net.draw(w)
    return blended(img, drawn, holes)


def blended(img: Tensor, drawn: Tensor, holes: Tensor) -> Tensor:
    """Poisson blending: in the hole the drawn image's gradients, at its edge the known values (eq. 7)."""
    out = img.clone()
    for n, hole in enumerate(holes.numpy()):
        if hole.all():
            out[n] = drawn[n]
        elif hole.any():
            for channel in range(img.shape[1]):
                a, b = (part[n, channel].double().numpy() for part in (img, drawn))
                out[n, channel] = torch.from_numpy(_poisson(a, b, hole)).float()
    return out.clamp(-1, 1)


def _poisson(known: np.ndarray, drawn: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """known with the hole [H, W] solved: sum over neighbours of x_p - x_q equals that of the drawn image."""
    number = np.full(hole.shape, -1)
    places = np.argwhere(hole)
    number[hole] = np.arange(len(places))
    rows, columns, values = [], [], []
    right = np.zeros(len(places))
    for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        y, x = (places + (dy, dx)).T
        is_inside = (y >= 0) & (y < hole.shape[0]) & (x >= 0) & (x < hole.shape[1])
        here, (y, x) = np.flatnonzero(is_inside), (y[is_inside], x[is_inside])
        right[here] += drawn[hole][here] - drawn[y, x]
        neighbour = number[y, x]
        is_unknown = neighbour >= 0
        rows += [here, here[is_unknown]]
        columns += [here, neighbour[is_unknown]]
        values += [np.ones(len(here)), -np.ones(is_unknown.sum())]
        right[here[~is_unknown]] += known[y[~is_unknown], x[~is_unknown]]
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    solved = known.copy()
    matrix = scipy.sparse.csc_matrix(entries, shape=(len(places), len(places)))
    solved[hole] = scipy.sparse.linalg.spsolve(matrix, right)
    return solved


def train(given: Train) -> asked.Numbers:
    """GAN (unless --network) and an encoder that sees images with holes."""
    data, held = parts_of(given.data, given.val, given.seed, needs_masks=False)
    img = data.tensors("cpu")[0]
    work = workshop.Workshop(given, img, has_holes=True)
    settings: JsonObject = {
        "channels": img.shape[1], "side": img.shape[2], "search": given.search, "gan_steps": work.before,
        **work.about,
    }  # fmt: skip
    facts: JsonObject = {"fingerprint": data.fingerprint, "images": len(img)}
    course = skeleton.Course("inpaint", given, settings, facts, before=work.before)
    work.to(course.device)

    def finish() -> JsonObject:
        workshop.keep_snapshot(given)
        return {}

    course.run(work.parts, work.step, extra=finish)
    model = skeleton.load_model(given.out, "inpaint")
    return {"out": given.out, **_scores(model, held.tensors("cpu")[0], given.seed)}


def apply(given: Apply) -> asked.Numbers:
    """All images of --data with their holes filled: where their masks/ are not 0, or --mask is not."""
    if given.data is None:
        raise UserError("give --data, the images to fill, and --mask, unless they have masks/ beside them")
    data = read_pairs(given.data, needs_masks=given.mask is None)
    img, masks = data.tensors("cpu")
    model = skeleton.load_model(given.model, "inpaint")
    latents.check_fits(model, img)
    holes = masks > 0 if given.mask is None else _one_mask(given.mask, img)
    filled = fill(latents.load(model), img, holes, skeleton.number(model, "search", 100_000))
    with DatasetWriter(given.out, overwrite=given.overwrite) as writer:
        for image in to_uint8(filled).permute(0, 2, 3, 1).numpy():
            writer.add(image)
    return {"out": given.out, "n": len(filled), "pixels": int(holes.sum())}


def evaluate(given: asked.Evaluate) -> asked.Numbers:
    """Errors in holes that the seed cuts into complete images, beside two ways without a network."""
    if given.data is None:
        raise UserError("give --data, complete images")
    img = read_pairs(given.data, needs_masks=False).tensors("cpu")[0]
    return _scores(skeleton.load_model(given.model, "inpaint"), img, given.seed)


def demo(given: asked.Demo) -> asked.Numbers:
    """Phantoms from the side with a rectangle cut out."""
    folder = skeleton.demo_folder(given.out)
    images, masks, _ = phantom_pairs(440, given.seed, view="lateral")
    write_pairs(folder / "train.zip", images[:400], masks[:400])
    write_pairs(folder / "test.zip", images[400:], masks[400:])
    found = train(Train(
        out=str(folder / "model"), steps=120, seed=given.seed, continue_run=False, device="cpu",
        json_file=None, data=str(folder / "train.zip"), val=str(folder / "test.zip"), network=None,
        class_idx=None, gan_steps=200, search=30,
    ))  # fmt: skip
    img = read_pairs(folder / "test.zip").tensors("cpu")[0][:8]
    holes = holes_of(img, given.seed)
    filled = fill(latents.load(skeleton.load_model(folder / "model", "inpaint")), img, holes, 30)
    seen = torch.where(holes[:, None], -torch.ones_like(img), img)
    save_sheet([("hole", seen), ("filled", filled), ("truth", img)], folder / "inpaint.png")
    return {"picture": str(folder / "inpaint.png"), **found}


def holes_of(img: Tensor, seed: int) -> Tensor:
    """bool [N, H, W]: a rectangle each."""
    with seeded(seed):
        return workshop.random_holes(len(img), img.shape[2])


def _scores(model: skeleton.Model, img: Tensor, seed: int) -> asked.Numbers:
    latents.check_fits(model, img)
    holes = holes_of(img, seed)
    filled = fill(latents.load(model), img, holes, skeleton.number(model, "search", 100_000))
    known = (~holes[:, None]).float()
    mean = (img * known).sum((1, 2, 3), keepdim=True) / known.sum((1, 2, 3), keepdim=True) / img.shape[1]
    spots = holes[:, None].expand_as(img)
    # No network at all: a rubber sheet fixed at the hole's edge, which is hard to beat in small holes.
    sheet = blended(img, torch.zeros_like(img), holes)
    return {
        "hole_mae": float((filled - img).abs()[spots].mean()),
        "mean_fill_mae": float((mean - img).abs()[spots].mean()),
        "membrane_mae": float((sheet - img).abs()[spots].mean()),
        "n": len(img),
    }


def _one_mask(path: str, img: Tensor) -> Tensor:
    """bool [N, H, W]: one picture's holes for all images."""
    pixels = decode_image(read_file(path, _MOST_MASK), path)
    mask = pixels if pixels.ndim == 2 else pixels.max(2)
    if mask.shape != tuple(img.shape[2:]):
        raise UserError(
            f"--mask={path} is {mask.shape[1]}x{mask.shape[0]}, the images are {img.shape[3]}x{img.shape[2]}"
        )
    return torch.from_numpy(mask > 0).expand(len(img), -1, -1)
