"""pix2pix, both ways: mask to radiograph (as the Retinal GAN) and image to mask (as the skin-lesion talk).

A U-Net, a critic of patches that sees the pair, and an L1 term (Isola et al. 2017, arXiv:1611.07004). Noise
enters as a channel of its own: by dropout alone, as in the paper, a mask nearly always gives one texture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss, softplus

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
from spine_plugins.recipes.retinal import retinal_scores
from spine_plugins.recipes.scores import hf_ratio, overlap
from spine_plugins.recipes.sheets import mask_pictures, save_sheet
from spine_plugins.resumable import seeded, step_seed
from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.data.writer import DatasetWriter
from stylegan2ada.errors import UserError
from stylegan2ada.images import to_float, to_uint8
from stylegan2ada.protocols import JsonObject

DIRECTIONS = ("mask2img", "img2mask")
BATCH = 8
WIDTH, LEVELS = 12, 4


@dataclass(frozen=True, kw_only=True)
class Train(asked.TrainOnData):
    """What `recipe pix2pix train` was asked."""

    direction: str
    l1: float
    gan: float


class Translator:
    """The U-Net of one direction, and what goes in and comes out."""

    def __init__(self, direction: str, channels: int, kinds: int) -> None:
        self.is_drawing = direction == "mask2img"
        self.channels, self.kinds = channels, kinds
        width_in, width_out = (kinds + 1, channels) if self.is_drawing else (channels + 1, kinds)
        self.G = UNet(width_in, width_out, WIDTH, LEVELS)
        self.D = PatchCritic(channels + kinds)

    def __call__(self, source: Tensor) -> Tensor:
        """Images in [-1, 1], or probabilities of kinds; noise is drawn from the global generator."""
        noise = torch.randn(len(source), 1, *source.shape[2:], device=source.device)
        said = self.G(torch.cat([source, noise], 1))
        return said.tanh() if self.is_drawing else said.sigmoid()

    def judged(self, source: Tensor, target: Tensor) -> Tensor:
        """The critic's logits for a pair."""
        return self.D(torch.cat([source, target], 1))

    def pair(self, images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """(source, target) of this direction."""
        drawn = planes(masks, self.kinds)
        return (drawn, images) if self.is_drawing else (images, drawn)


def train(given: Train) -> asked.Numbers:
    """The game of one direction -> its scores on held-out pairs."""
    if not given.l1 and not given.gan:
        raise UserError("--l1=0 and --gan=0 leave nothing to learn from; give one of them")
    data, held = parts_of(given.data, given.val, given.seed)
    channels, kinds = data.images.shape[1], max(data.kinds, 1)
    settings: JsonObject = {
        "direction": given.direction, "channels": channels, "kinds": kinds, "l1": given.l1, "gan": given.gan,
    }  # fmt: skip
    facts = {"fingerprint": data.fingerprint, "pairs": len(data.names)}
    course = skeleton.Course("pix2pix", given, settings, facts)
    with seeded(step_seed(given.seed, 1 << 30)):
        translate = Translator(given.direction, channels, kinds)
    optimizers: dict[str, torch.optim.Optimizer] = {
        "G": torch.optim.Adam(translate.G.parameters(), lr=1e-3, betas=(0.5, 0.999)),
        "D": torch.optim.Adam(translate.D.parameters(), lr=5e-4, betas=(0.5, 0.999)),
    }
    images, masks = data.tensors(course.device)

    def step(number: int) -> None:
        at = torch.randint(len(images), [BATCH], device=images.device)
        source, target = translate.pair(*flipped_together(images[at], masks[at]))
        said = translate(source)
        if given.gan:
            real, fake = translate.judged(source, target), translate.judged(source, said.detach())
            # Halved, so that D is the slower of the two.
            skeleton.descend(optimizers["D"], (softplus(-real).mean() + softplus(fake).mean()) / 2)
        loss = given.l1 * _distance(said, target, is_image=translate.is_drawing)
        if given.gan:
            loss = loss + given.gan * softplus(-translate.judged(source, said)).mean()
        skeleton.descend(optimizers["G"], loss)

    parts = skeleton.Parts({"G": translate.G, "D": translate.D}, optimizers, ("G",), keep=0.9)
    course.run(parts, step, extra=dict)
    return {"out": given.out, **_scores(skeleton.load_model(given.out, "pix2pix"), held, given.seed)}


def apply(given: asked.Apply) -> asked.Numbers:
    """Translate all of --data: masks (a set of pairs, or of mask pictures alone) or images."""
    if given.data is None:
        raise UserError("give --data, the masks or images to translate")
    model = skeleton.load_model(given.model, "pix2pix")
    translate = _load(model)
    dataset = ImageFolderDataset(given.data)
    names = dataset.image_names
    of_masks = [name for name in names if name.startswith("masks/")]
    wanted = (of_masks or names) if translate.is_drawing else [n for n in names if n not in of_masks]
    with DatasetWriter(given.out, overwrite=given.overwrite) as writer, seeded(given.seed), torch.no_grad():
        for name in wanted:
            pixels = torch.from_numpy(dataset.raw_image(names.index(name))[None])
            writer.add(_translated(translate, pixels, name))
    return {"out": given.out, "n": len(wanted)}


def evaluate(given: asked.Evaluate) -> asked.Numbers:
    """mask2img: mean absolute error, sharpness and the retinal scores; img2mask: Dice and IoU."""
    if given.data is None:
        raise UserError("give --data, images with masks")
    return _scores(skeleton.load_model(given.model, "pix2pix"), read_pairs(given.data), given.seed)


def demo(given: asked.Demo) -> asked.Numbers:
    """Vertebrae to radiographs, with the critic and without: what sharpness a game adds to L1."""
    folder = skeleton.demo_folder(given.out)
    images, masks, _ = phantom_pairs(220, given.seed, is_open=True)
    write_pairs(folder / "train.zip", images[:200], masks[:200])
    write_pairs(folder / "test.zip", images[200:], masks[200:])
    held = read_pairs(folder / "test.zip")
    real, numbers = held.part(np.arange(8)).tensors("cpu")
    rows = [("mask", mask_pictures(numbers, 1)), ("real", real)]
    found: asked.Numbers = {}
    for title, gan in (("L1 alone", 0.0), ("L1 and critic", 1.0)):
        out = folder / title.replace(" ", "-")
        found[title] = train(Train(
            out=str(out), steps=200, seed=given.seed, continue_run=False, device="cpu",
            json_file=None,
            data=str(folder / "train.zip"), val=str(folder / "test.zip"), direction="mask2img",
            l1=2.0, gan=gan,
        ))  # fmt: skip
        translate = _load(skeleton.load_model(out, "pix2pix"))
        with seeded(given.seed), torch.no_grad():
            rows.append((title, translate(planes(numbers, translate.kinds))))
    save_sheet(rows, folder / "pix2pix.png")
    return {"picture": str(folder / "pix2pix.png"), **found}


def _distance(said: Tensor, target: Tensor, *, is_image: bool) -> Tensor:
    """L1 of images; of masks the cross-entropy, which a vanishing lesion cannot minimise by silence."""
    return l1_loss(said, target) if is_image else _cross_entropy(said, target)


def _cross_entropy(said: Tensor, target: Tensor) -> Tensor:
    return binary_cross_entropy_with_logits(torch.logit(said, eps=1e-6), target)


def _translated(translate: Translator, pixels: Tensor, name: str) -> np.ndarray:
    """uint8 [1, C, H, W] of a mask or an image -> uint8 [H, W] or [H, W, C]."""
    if translate.is_drawing:
        if pixels.shape[1] != 1 or int(pixels.max()) > translate.kinds:
            raise UserError(
                f"{name} is no mask of kinds 0 to {translate.kinds}, which the model was trained on"
            )
        image = to_uint8(translate(planes(pixels[:, 0].long(), translate.kinds)))[0]
        return image.permute(1, 2, 0).numpy() if translate.channels == 3 else image[0].numpy()
    if pixels.shape[1] != translate.channels:
        raise UserError(
            f"{name} has {pixels.shape[1]} channels, the model was trained on {translate.channels}"
        )
    return _classes(translate(to_float(pixels)))[0].numpy().astype(np.uint8)


def _classes(said: Tensor) -> Tensor:
    best, kind = said.max(1)
    return torch.where(best > 0.5, kind + 1, 0)


def _load(model: skeleton.Model) -> Translator:
    channels, kinds = skeleton.number(model, "channels", 3), skeleton.number(model, "kinds", 32)
    translate = Translator(skeleton.word(model, "direction", DIRECTIONS), channels, kinds)
    model.into("G", translate.G)
    return translate


def _scores(model: skeleton.Model, held: Pairs, seed: int) -> asked.Numbers:
    """Errors in grey levels of -1..1, as the networks see them."""
    translate = _load(model)
    images, masks = held.tensors("cpu")
    if images.shape[1] != translate.channels or held.kinds > translate.kinds:
        raise UserError(
            f"{model.folder} was trained on {translate.channels} channels and {translate.kinds} kinds, this "
            f"data has {images.shape[1]} and {held.kinds}"
        )
    source, target = translate.pair(images, masks)
    with seeded(seed), torch.no_grad():
        said = torch.cat([translate(part) for part in source.split(32)])
    if translate.is_drawing:
        real, fake = target.mean(1).numpy(), said.mean(1).numpy()
        return {
            "mae": float((said - target).abs().mean()), "hf_ratio": hf_ratio(real, fake),
            **retinal_scores(real, fake), "n": len(said),
        }  # fmt: skip
    dice, iou = overlap(held.masks, _classes(said).numpy(), translate.kinds)
    return {"dice": float(dice.mean()), "iou": float(iou.mean()), "n": len(dice)}
