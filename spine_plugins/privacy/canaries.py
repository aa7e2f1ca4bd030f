"""Made-up records that a run may or may not have seen: what an audit asks the trained discriminator about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spine_plugins.privacy.noise import Chance, tosses
from stylegan2ada.training import run_files
from stylegan2ada.training.log import private_folder

FILE = "canaries.npz"  # in the private folder


@dataclass(frozen=True)
class Canaries:
    """M patterns, each drawn from its seed; a coin per pattern says whether the training holds it."""

    seeds: np.ndarray  # int64 [M]
    is_member: np.ndarray  # bool [M]

    @classmethod
    def toss(cls, count: int, chance: Chance) -> Canaries:
        seeds = (chance.uniform(count) * 2**31).astype(np.int64)
        return cls(seeds, tosses(chance, 0.5, count))

    @classmethod
    def load(cls, run_dir: Path) -> Canaries | None:
        path = run_dir / run_files.PRIVATE / FILE
        if not path.exists():
            return None
        with np.load(path) as stored:
            return cls(stored["seeds"], stored["is_member"])

    def save(self, run_dir: Path) -> None:
        np.savez(private_folder(run_dir) / FILE, seeds=self.seeds, is_member=self.is_member)

    def record(self, index: int, image_shape: Sequence[int], classes: int) -> tuple[np.ndarray, int]:
        """(uint8 [C, H, W], class): a random black and white pattern of 4 x 4 blocks, randomly labelled."""
        rng = np.random.default_rng(int(self.seeds[index]))
        channels, height, width = image_shape
        blocks = rng.integers(0, 2, size=(channels, -(-height // 4), -(-width // 4)), dtype=np.uint8) * 255
        pattern = blocks.repeat(4, axis=1).repeat(4, axis=2)[:, :height, :width]
        return np.ascontiguousarray(pattern), int(rng.integers(classes))

    def planted(self, image_shape: Sequence[int], classes: int) -> list[tuple[np.ndarray, int]]:
        return [self.record(int(i), image_shape, classes) for i in np.flatnonzero(self.is_member)]
