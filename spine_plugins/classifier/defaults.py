"""What each architecture was made for: its input, and how it is trained if nothing else is said. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# none; the paper's; or the transforms of a tutorial for photographs, one, two and three of them.
Augment = Literal["standard", "none", "flip", "flip-rotate", "flip-rotate-zoom"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Architecture:
    """One row of the table below; `architectures` builds the network."""

    size: int  # side of the input, pixels
    channels: int
    mean: tuple[float, ...]  # per channel, of images in [0, 1]
    std: tuple[float, ...]
    dropout: float
    epochs: int
    lr: float  # of Adam


# fmt: off
ARCHITECTURES = {
    "densenet121": Architecture(224, 3, IMAGENET_MEAN, IMAGENET_STD, 0.1, 30, 1e-4),
    "cnn13k":      Architecture(64, 1, (0.5,), (0.5,), 0.1, 20, 1e-3),
}
# fmt: on
