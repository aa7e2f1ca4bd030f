"""The SpineClassifier: a network and its card, which says what goes in and what comes out.

`spinegan classify train` makes one; the spine loss, metrics and experiments use it frozen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

from spine_plugins.classifier import answers
from spine_plugins.classifier.answers import Task
from spine_plugins.classifier.architectures import BUILDERS
from spine_plugins.classifier.cards import FORMAT, FORMAT_VERSION, TRAIN_FIRST, Card, read_card, write_card
from spine_plugins.classifier.defaults import ARCHITECTURES
from stylegan2ada import files
from stylegan2ada.errors import MissingError
from stylegan2ada.images import LUMA

Mapping = Literal["card", "authors"]  # how images become the network's input


class SpineClassifier(nn.Module):
    """Images [N, C, H, W] in [-1, 1], grey or RGB, any size -> logits [N, k]; k = 1 for a binary task.

    The positive class of a binary classifier has index 1.
    """

    mean: Tensor  # [C, 1, 1]
    std: Tensor

    def __init__(self, card: Card) -> None:
        super().__init__()
        self.card = card
        self.task: Task = card["task"]
        self.class_names: list[str] = list(card["class_names"])
        self.size, self.channels = int(card["input"]["size"]), int(card["input"]["channels"])
        outputs = answers.num_outputs(self.task, len(self.class_names))
        self.network = BUILDERS[card["arch"]](self.channels, outputs, float(card["dropout"]))
        # Not in the state dict: the card is the one place of these numbers.
        for name in ("mean", "std"):
            values = torch.tensor(card["input"][name], dtype=torch.float32).reshape(-1, 1, 1)
            self.register_buffer(name, values, persistent=False)

    def forward(self, img: Tensor, mapping: Mapping = "card") -> Tensor:
        x = self.prepare(img) if mapping == "card" else self.prepare_as_authors(img)
        return self.logits(x)

    def logits(self, x: Tensor) -> Tensor:
        """Of images that are prepared already."""
        return self.network(x)  # [N, k]

    def prepare(self, img: Tensor) -> Tensor:
        """[-1, 1] -> [0, 1], resized (antialiased) and normalised as the card says: [N, C, size, size]."""
        return self.normalise(self.resized((img.float() + 1) / 2))

    def prepare_as_authors(self, img: Tensor) -> Tensor:
        """What the paper's program did: normalise [-1, 1] as if it were [0, 1], and cut out the centre.

        Where an image is smaller than the input, zeros are put around it.
        """
        return self.normalise(_centre(img.float(), self.size))

    def resized(self, x: Tensor) -> Tensor:
        """[N, C, H, W] at the input's size; untouched if it has it."""
        side = (self.size, self.size)
        if tuple(x.shape[2:]) == side:
            return x
        # As in augmentation: images in use must be sampled as those in training were.
        return functional.interpolate(x, side, mode="bilinear", align_corners=False, antialias=True)

    def normalise(self, x: Tensor) -> Tensor:
        """Grey or RGB to the input's channels, then minus mean, over standard deviation."""
        if x.ndim != 4 or x.shape[1] not in (1, 3):
            raise ValueError(f"images must be [N, 1 or 3, H, W], not {list(x.shape)}")
        if x.shape[1] < self.channels:
            # Grey in all three channels, which is how filters from ImageNet know it.
            x = x.repeat(1, self.channels, 1, 1)
        elif x.shape[1] > self.channels:
            x = (x * x.new_tensor(LUMA).reshape(1, 3, 1, 1)).sum(dim=1, keepdim=True)
        return (x - self.mean) / self.std

    def probabilities(self, logits: Tensor) -> Tensor:
        """[N, len(class_names)]; they sum to one unless the findings are independent."""
        return answers.probabilities(logits, self.task)


def new_classifier(
    arch: str,  # a key of ARCHITECTURES
    task: Task,
    class_names: list[str],
    *,
    size: int | None = None,  # default: what the architecture was made for
    channels: int | None = None,
    dropout: float | None = None,
) -> SpineClassifier:
    """An untrained classifier with torch's random weights and the beginning of a card."""
    kind = ARCHITECTURES[arch]
    assert task in answers.TASKS, task
    channels = channels or kind.channels
    # Mean and deviation are per channel: with another number of channels they do not fit.
    is_own = channels == kind.channels
    return SpineClassifier(
        {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "arch": arch,
            "task": task,
            "class_names": list(class_names),
            "dropout": kind.dropout if dropout is None else dropout,
            "input": {
                "size": size or kind.size,
                "channels": channels,
                "range": "[0, 1] before normalisation",
                "resize": "bilinear, antialiased",
                "mean": list(kind.mean) if is_own else [0.5] * channels,
                "std": list(kind.std) if is_own else [0.5] * channels,
            },
        }
    )


def save_classifier(classifier: SpineClassifier, path: str | Path) -> None:
    """Write the weights and the card; the card names the hash of the weights it belongs to."""
    path = Path(path)
    # safetensors takes no tensor that is a view with gaps.
    tensors = {name: value.detach().cpu().contiguous() for name, value in classifier.state_dict().items()}
    with files.atomic_write(path) as file:
        file.write(safetensors.torch.save(tensors, metadata={"format": FORMAT}))
    # Weights first: after a kill in between, the old card's hash does not fit, and reading says so.
    classifier.card["sha256"] = files.sha256_file(path)
    write_card(classifier.card, path)


def load_classifier(path: str | Path) -> SpineClassifier:
    """A trained classifier from its file, or URL, with the card beside it: eval, frozen, float32.

    >>> classifier = sp.load_classifier("classifier.safetensors")
    >>> logits = classifier(torch.zeros(4, 1, 16, 16))  # images in [-1, 1], any size
    >>> classifier.class_names, classifier.probabilities(logits).shape
    (['normal', 'abnormal'], torch.Size([4, 2]))
    """
    card = read_card(path)
    try:
        classifier = SpineClassifier(card)
        classifier.load_state_dict(safetensors.torch.load_file(files.local_copy(str(path))))
    except (KeyError, TypeError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
        # torch lists every key that does not fit; the first line is enough for a sentence.
        reason = str(error).splitlines()[0][:120]
        raise MissingError(
            f"{path} and its card do not describe a classifier of this program ({reason}); {TRAIN_FIRST}"
        ) from error
    # One such number makes every answer NaN, and a loss that asks for it.
    for name, value in classifier.state_dict().items():
        if not bool(torch.isfinite(value).all()):
            raise MissingError(f"{path} is damaged: {name} holds NaN or infinity; copy it again")
    return classifier.float().eval().requires_grad_(False)


def _centre(x: Tensor, size: int) -> Tensor:
    """The central square of [N, C, H, W]; zeros around what is smaller."""
    rows, columns = (max(size - side, 0) for side in x.shape[2:])
    if rows or columns:
        # An odd pixel goes to the right and to the bottom.
        left, top = columns // 2, rows // 2
        x = functional.pad(x, (left, columns - left, top, rows - top))
    top, left = ((side - size) // 2 for side in x.shape[2:])
    return x[:, :, top : top + size, left : left + size]
