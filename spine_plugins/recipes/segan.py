"""SegAN: a segmentor that only a critic teaches, by its features of the masked image (Xue et al. 2018).

The critic maximises, the segmentor minimises (1/L) sum_l mean|f_l(x * S(x)) - f_l(x * y)| (arXiv:1706.01805,
eq. 1). Each layer counts the same, whatever its size; a Dice term is a choice and not a secret.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from spine_plugins.recipes import asked, skeleton
from spine_plugins.recipes.nets import PatchCritic, UNet
from spine_plugins.recipes.pairs import (
    Pairs,
    flipped_together,
    parts_of,
    phantom_pairs,
    planes,
    read_pairs,
    write_pairs,
)
from spine_plugins.recipes.scores import overlap
from spine_plugins.recipes.sheets import mask_pictures, save_sheet
from spine_plugins.resumable import seeded, step_seed
from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.data.writer import DatasetWriter
from stylegan2ada.errors import UserError
from stylegan2ada.images import to_float
from stylegan2ada.protocols import JsonObject

BATCH = 16
LEVELS = 4
# Of the critic's weights. The released program's 0.05 lets a layer that sums hundreds of inputs drown the
# pixels: it teaches the brightness of patches instead of shapes (Dice 0.77 against 0.93 after 100 steps).
CLIP = 0.01
WIDTH, CRITIC_WIDTH, CRITIC_LAYERS = 12, 16, 3


@dataclass(frozen=True, kw_only=True)
class Train(asked.TrainOnData):
    """What `recipe segan train` was asked."""

    dice: float
    critic: str


def multi_scale(critic: PatchCritic, a: Tensor, b: Tensor) -> Tensor:
    """(1/L) sum over layers of the mean absolute difference of features, a scalar."""
    pairs = zip(critic.features(a), critic.features(b), strict=True)
    return torch.stack([(p - q).abs().mean() for p, q in pairs]).mean()


def soft_dice_loss(said: Tensor, true: Tensor) -> Tensor:
    """1 - Dice of probabilities [N, K, H, W], averaged over images and kinds."""
    both = (said * true).sum((2, 3))
    return 1 - ((2 * both + 1) / (said.sum((2, 3)) + true.sum((2, 3)) + 1)).mean()


def masked(images: Tensor, masks: Tensor) -> Tensor:
    """The image seen through each kind's mask, [N, K * C, H, W]; black lies at 0, so that a mask can hide."""
    return ((images + 1) / 2).repeat(1, masks.shape[1], 1, 1) * masks.repeat_interleave(images.shape[1], 1)


def train(given: Train) -> asked.Numbers:
    """Segmentor against critic -> Dice and IoU on held-out pairs."""
    if given.critic == "none" and not given.dice:
        raise UserError("--critic=none leaves nothing to learn from; give --dice=1 beside it")
    data, held = parts_of(given.data, given.val, given.seed)
    channels, kinds = data.images.shape[1], max(data.kinds, 1)
    settings: JsonObject = {"channels": channels, "kinds": kinds, "dice": given.dice, "critic": given.critic}
    course = skeleton.Course(
        "segan", given, settings, {"fingerprint": data.fingerprint, "pairs": len(data.names)}
    )
    with seeded(step_seed(given.seed, 1 << 30)):
        S = UNet(channels, kinds, WIDTH, LEVELS)
        D = PatchCritic(kinds * channels, CRITIC_WIDTH, CRITIC_LAYERS)
    optimizers: dict[str, torch.optim.Optimizer] = {
        "S": torch.optim.Adam(S.parameters(), lr=2e-3, betas=(0.5, 0.99)),
        "D": torch.optim.Adam(D.parameters(), lr=1e-3, betas=(0.5, 0.99)),
    }
    images, masks = data.tensors(course.device)

    def step(number: int) -> None:
        at = torch.randint(len(images), [BATCH], device=images.device)
        real, numbers = flipped_together(images[at], masks[at])
        true = planes(numbers, kinds)
        if given.critic == "trained":
            with torch.no_grad():
                said = S(real).sigmoid()
            skeleton.descend(optimizers["D"], -multi_scale(D, masked(real, said), masked(real, true)))
            with torch.no_grad():
                for weight in D.parameters():
                    weight.clamp_(-CLIP, CLIP)
        said = S(real).sigmoid()
        loss = (
            multi_scale(D, masked(real, said), masked(real, true))
            if given.critic != "none"
            else said.sum() * 0
        )
        skeleton.descend(optimizers["S"], loss + given.dice * soft_dice_loss(said, true))

    course.run(skeleton.Parts({"S": S, "D": D}, optimizers, ("S",), keep=0.9), step, extra=dict)
    return {"out": given.out, **_scores(skeleton.load_model(given.out, "segan"), held)}


def apply(given: asked.Apply) -> asked.Numbers:
    """A mask for every image of --data: a folder or zip of grey pictures of kinds."""
    if given.data is None:
        raise UserError("give --data, images to segment")
    model = skeleton.load_model(given.model, "segan")
    dataset = ImageFolderDataset(given.data)
    names = [name for name in dataset.image_names if not name.startswith("masks/")]
    with DatasetWriter(given.out, overwrite=given.overwrite) as writer:
        for position, name in enumerate(dataset.image_names):
            if name in names:
                image = to_float(torch.from_numpy(dataset.raw_image(position))[None])
                writer.add(segment(model, image)[0].numpy().astype(np.uint8))
    return {"out": given.out, "n": len(names)}


def evaluate(given: asked.Evaluate) -> asked.Numbers:
    """Dice and IoU against the masks of --data."""
    if given.data is None:
        raise UserError("give --data, images with masks")
    return _scores(skeleton.load_model(given.model, "segan"), read_pairs(given.data))


def demo(given: asked.Demo) -> asked.Numbers:
    """Vertebrae of phantoms, 100 steps; image, truth and answer."""
    folder = skeleton.demo_folder(given.out)
    images, masks, _ = phantom_pairs(260, given.seed)
    write_pairs(folder / "train.zip", images[:240], masks[:240])
    write_pairs(folder / "test.zip", images[240:], masks[240:])
    found = train(Train(
        out=str(folder / "model"), steps=100, seed=given.seed, continue_run=False, device="cpu",
        json_file=None,
        data=str(folder / "train.zip"), val=str(folder / "test.zip"), dice=0.0, critic="trained",
    ))  # fmt: skip
    show(
        skeleton.load_model(folder / "model", "segan"), read_pairs(folder / "test.zip"), folder / "segan.png"
    )
    return {"picture": str(folder / "segan.png"), **found}


def show(model: skeleton.Model, pairs: Pairs, path: Path) -> None:
    """A sheet: image, true mask, answer."""
    real, numbers = pairs.part(np.arange(min(8, len(pairs.images)))).tensors("cpu")
    kinds = skeleton.number(model, "kinds", 32)
    rows = [("image", real), ("truth", mask_pictures(numbers, kinds))]
    save_sheet([*rows, ("answer", mask_pictures(segment(model, real), kinds))], path)


def segment(model: skeleton.Model, images: Tensor) -> Tensor:
    """Class numbers [N, H, W]: the likeliest kind where its probability is over one half."""
    channels, kinds = skeleton.number(model, "channels", 3), skeleton.number(model, "kinds", 32)
    if images.shape[1] != channels:
        raise UserError(
            f"{model.folder} was trained on {channels} channels, these images have {images.shape[1]}"
        )
    S = model.into("S", UNet(channels, kinds, WIDTH, LEVELS))
    with torch.no_grad():
        said = torch.cat([S(part).sigmoid() for part in images.split(64)])
    best, kind = said.max(1)
    return torch.where(best > 0.5, kind + 1, 0)


def _scores(model: skeleton.Model, held: Pairs) -> asked.Numbers:
    said = segment(model, held.tensors("cpu")[0]).numpy()
    kinds = max(skeleton.number(model, "kinds", 32), held.kinds)
    dice, iou = overlap(held.masks, said, kinds)
    return {
        "dice": float(dice.mean()),
        "iou": float(iou.mean()),
        "dice_std": float(dice.std()),
        "n": len(dice),
    }
