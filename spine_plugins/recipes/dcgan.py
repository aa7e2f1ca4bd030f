"""The DCGAN of the bone-fracture blog: its networks exactly, one per class or one for all classes.

Keras' tutorial training: Adam 1e-4, dropout 0.2 in D, noise of 0.05 on the targets of reals. --width makes
the same networks narrower, because the full ones need an accelerator.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from spine_plugins.phantom.dataset import write_dataset_zip
from spine_plugins.recipes import asked, skeleton
from spine_plugins.recipes.nets import DCGAN_LATENTS, DCGAN_SIDE, DcganDiscriminator, DcganGenerator
from spine_plugins.recipes.scores import hf_ratio
from spine_plugins.recipes.sheets import save_sheet
from spine_plugins.resumable import seeded, step_seed
from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.data.fingerprint import fingerprint
from stylegan2ada.data.writer import DatasetWriter
from stylegan2ada.errors import MissingError, UserError
from stylegan2ada.images import to_float, to_uint8
from stylegan2ada.protocols import JsonObject

BATCH = 32
TARGET_NOISE = 0.05
LR = 1e-4


@dataclass(frozen=True, kw_only=True)
class Train(asked.TrainOnData):
    """What `recipe dcgan train` was asked."""

    class_idx: int | None
    width: float


@dataclass(frozen=True)
class _Images:
    """All images in memory, with one-hot labels where there are some."""

    pixels: np.ndarray  # uint8 [n, C, 64, 64]
    labels: np.ndarray  # float32 [n, classes]; no column for images without labels
    names: list[str]
    fingerprint: str

    def of_class(self, number: int) -> _Images:
        if not 0 <= number < self.labels.shape[1] or not (self.labels[:, number] == 1).any():
            raise UserError(
                f"--class={number}: the data set has no image of it; its classes are {self.names}"
            )
        chosen = self.labels[:, number] == 1
        return _Images(self.pixels[chosen], self.labels[chosen], self.names, self.fingerprint)


def read_images(path: str | Path) -> _Images:
    """Square images of the network's size; a UserError for others and for label vectors."""
    if str(path).lower().endswith(".csv"):
        raise UserError(f"{path} is a table; this recipe learns from images, in a zip or folder")
    dataset = ImageFolderDataset(path, use_labels=True)
    if dataset.resolution != DCGAN_SIDE:
        raise UserError(
            f"the images of {path} are {dataset.resolution} pixels wide, these networks draw {DCGAN_SIDE}; "
            f"make the data set again with dataset_tool.py --width={DCGAN_SIDE} --height={DCGAN_SIDE}"
        )
    if dataset.has_labels and not dataset.has_onehot_labels:
        raise UserError(f"{path} has label vectors; this recipe knows one class per image or none")
    pixels = np.stack([dataset.raw_image(i) for i in range(len(dataset))])
    labels = dataset.get_labels()
    names = list(dataset.label_names or map(str, range(labels.shape[1])))
    return _Images(pixels, labels, names, fingerprint(dataset))


def train(given: Train) -> asked.Numbers:
    """One GAN for all classes, or of one -> how its images compare."""
    images, held = read_images(given.data), read_images(given.val or given.data)
    names = images.names
    if held.pixels.shape[1:] != images.pixels.shape[1:] or held.labels.shape[1:] != images.labels.shape[1:]:
        raise UserError(f"--val={given.val} has other channels or classes than --data; make both alike")
    if given.class_idx is not None:
        images = images.of_class(given.class_idx)
        # One class: the networks are the blog's own, without a label.
        images = _Images(images.pixels, images.labels[:, :0], names, images.fingerprint)
    channels, classes = images.pixels.shape[1], images.labels.shape[1]
    settings: JsonObject = {
        "channels": channels, "classes": classes, "width": given.width, "names": names,
        "class": -1 if given.class_idx is None else given.class_idx,
    }  # fmt: skip
    facts = {"fingerprint": images.fingerprint, "images": len(images.pixels)}
    course = skeleton.Course("dcgan", given, settings, facts)
    with seeded(step_seed(given.seed, 1 << 30)):
        G = DcganGenerator(channels, classes, given.width)
        D = DcganDiscriminator(channels, classes, given.width)
    # The narrow networks bear, and need, a quicker pace.
    lr = LR / given.width**0.5
    optimizers: dict[str, torch.optim.Optimizer] = {
        "G": torch.optim.Adam(G.parameters(), lr=lr, betas=(0.5, 0.999)),
        "D": torch.optim.Adam(D.parameters(), lr=lr, betas=(0.5, 0.999)),
    }
    reals = to_float(torch.from_numpy(images.pixels)).to(course.device)
    labels = torch.from_numpy(images.labels).to(course.device)

    def step(number: int) -> None:
        at = torch.randint(len(reals), [BATCH], device=reals.device)
        img, c = reals[at], labels[at]
        with torch.no_grad():
            fake = G(torch.randn(BATCH, DCGAN_LATENTS, device=img.device), c)
        # Fakes get no noise: their targets would leave [0, 1] on one side or teach on the other.
        target = 1 - TARGET_NOISE * torch.rand(BATCH, 1, device=img.device)
        loss = binary_cross_entropy_with_logits(D(img, c), target) + softplus(D(fake, c)).mean()
        skeleton.descend(optimizers["D"], loss)
        fake = G(torch.randn(BATCH, DCGAN_LATENTS, device=img.device), c)
        skeleton.descend(optimizers["G"], softplus(-D(fake, c)).mean())

    course.run(skeleton.Parts({"G": G, "D": D}, optimizers, ("G",)), step, extra=dict)
    return {"out": given.out, **_compared(skeleton.load_model(given.out, "dcgan"), held, given.seed)}


def apply(given: asked.Apply) -> asked.Numbers:
    """A labelled data set of --n images, classes in turn."""
    model = skeleton.load_model(given.model, "dcgan")
    one = model.settings.get("class")
    with DatasetWriter(given.out, overwrite=given.overwrite) as writer:
        images, numbers = _draw(model, given.n, given.seed)
        for image, number in zip(to_uint8(images).permute(0, 2, 3, 1).numpy(), numbers.tolist()):
            label = one if type(one) is int and one >= 0 else number
            writer.add(image if image.shape[2] == 3 else image[:, :, 0], label)
        writer.extra["label_names"] = _names(model)
    return {"out": given.out, "n": given.n}


def evaluate(given: asked.Evaluate) -> asked.Numbers:
    """Mean image per class and sharpness against --data."""
    if given.data is None:
        raise UserError("give --data, images to compare with")
    return _compared(skeleton.load_model(given.model, "dcgan"), read_images(given.data), given.seed)


def _compared(model: skeleton.Model, images: _Images, seed: int) -> asked.Numbers:
    """Against the images that the model was to learn: of its class, or of all."""
    one, classes = model.settings.get("class"), skeleton.number(model, "classes", 1000)
    if type(one) is int and one >= 0:
        images = images.of_class(one)
        images = _Images(images.pixels, images.labels[:, :0], images.names, images.fingerprint)
    if images.labels.shape[1] != classes:
        raise UserError(f"the data has {images.labels.shape[1]} classes, the model knows {classes}")
    return _scores(model, images, seed)


def demo(given: asked.Demo) -> asked.Numbers:
    """Phantoms of two classes, a narrow conditional network: reals above, drawn images below."""
    folder = skeleton.demo_folder(given.out)
    write_dataset_zip(folder / "train.zip", 300, given.seed, resolution=DCGAN_SIDE)
    found = train(Train(
        out=str(folder / "model"), steps=150, seed=given.seed, continue_run=False, device="cpu",
        json_file=None,
        data=str(folder / "train.zip"), val=None, class_idx=None, width=0.0625,
    ))  # fmt: skip
    images = read_images(folder / "train.zip")
    real = to_float(torch.from_numpy(images.pixels[:8]))
    fake, _ = _draw(skeleton.load_model(folder / "model", "dcgan"), 8, given.seed)
    save_sheet([("real", real), ("drawn", fake)], folder / "dcgan.png")
    return {"picture": str(folder / "dcgan.png"), **found}


def _draw(model: skeleton.Model, n: int, seed: int) -> tuple[Tensor, Tensor]:
    """(images [n, C, 64, 64], class numbers [n])."""
    channels, classes = skeleton.number(model, "channels", 3), skeleton.number(model, "classes", 1000)
    width = skeleton.setting(model, "width", float, 4)
    assert isinstance(width, float)
    G = model.into("G", DcganGenerator(channels, classes, width))
    numbers = torch.arange(n) % max(classes, 1)
    c = torch.nn.functional.one_hot(numbers, max(classes, 1)).float()[:, :classes]
    with seeded(seed), torch.no_grad():
        z = torch.randn(n, DCGAN_LATENTS)
        images = [G(a, b) for a, b in zip(z.split(32), c.split(32))]
    return torch.cat(images), numbers


def _names(model: skeleton.Model) -> list[str]:
    names = model.settings.get("names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise MissingError(f"{model.folder / skeleton.CARD} is damaged: it lists no class names")
    return names


def _scores(model: skeleton.Model, images: _Images, seed: int) -> asked.Numbers:
    """Grey levels in 0..1: error of the mean image per class, and the energy of fine detail."""
    fake, numbers = _draw(model, 256, seed)
    drawn, real = (fake.numpy() + 1) / 2, images.pixels / np.float32(255)
    classes = images.labels.shape[1]
    errors = [
        np.abs(drawn[numbers.numpy() == k].mean(0) - real[images.labels[:, k] == 1].mean(0)).mean()
        for k in range(classes)
        if (images.labels[:, k] == 1).any()
    ]
    mean_mae = float(np.mean(errors)) if errors else float(np.abs(drawn.mean(0) - real.mean(0)).mean())
    spread = float(drawn.std(0).mean() / max(real.std(0).mean(), 1e-12))
    return {"mean_mae": mean_mae, "hf_ratio": hf_ratio(real[:, 0], drawn[:, 0]), "spread_ratio": spread}
