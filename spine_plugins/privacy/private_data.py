"""The private images behind one door that counts every look, and the face that everything public sees."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch

from spine_plugins.privacy.noise import Chance
from spine_plugins.privacy.private_step import Reals
from spine_plugins.privacy.sampling import PoissonSampler, Unit, histogram_weights, shard, units_of
from stylegan2ada.data.dataset import ContentKey, Dataset, ImageFolderDataset
from stylegan2ada.errors import UserError
from stylegan2ada.images import to_float
from stylegan2ada.protocols import Options

NO_FINGERPRINT = ""  # stands where the data set's hash would: whoever has a candidate could compare


class Door:
    """The only object through which a private training reads; what is read here is private until noised."""

    def __init__(
        self,
        dataset: Dataset,  # as it is stored, with its labels
        classes: int,  # columns of a label; 0: labels are not used
        unit: Unit,
        *,
        canaries: Sequence[tuple[np.ndarray, int]] = (),  # (uint8 [C, H, W], class): units of their own
    ) -> None:
        self.reads: Counter[str] = Counter({"opening": 1})
        self.classes, self.unit = classes, unit
        self._dataset, self._canaries = dataset, list(canaries)
        stored = units_of(dataset, unit)
        first = int(stored.max()) + 1 if len(stored) else 0
        self._unit_of = np.concatenate([stored, first + np.arange(len(self._canaries))]).astype(np.int64)
        self._sampler: PoissonSampler | None = None
        self._items = np.arange(len(self._unit_of))

    @property
    def num_units(self) -> int:
        """Private, unless adjacency is replace-one."""
        return int(self._unit_of.max()) + 1 if len(self._unit_of) else 0

    def share(self, q: float, chance: Chance, rank: int = 0, ranks: int = 1) -> None:
        """Units that this process alone draws, each with probability q."""
        self._items = shard(self._unit_of, rank, ranks)
        # Numbered anew within the share, so that no coin is tossed for others' units.
        _, own = np.unique(self._unit_of[self._items], return_inverse=True)
        self._sampler = PoissonSampler(own, q, chance)

    def draw(self) -> Reals:
        """The units of one step."""
        assert self._sampler is not None, "no share was taken"
        drawn = self._sampler.draw()
        items = self._items[drawn.items]
        self.reads["batches"] += 1
        self.reads["images"] += len(items)
        self.reads["labels"] += len(items)
        channels, height, width = self._dataset.image_shape
        pixels = np.zeros([len(items), channels, height, width], np.uint8)
        for row, item in enumerate(items):
            pixels[row] = self._pixels(int(item))
        return Reals(
            to_float(torch.from_numpy(pixels)),
            torch.from_numpy(self._labels(items)),
            torch.from_numpy(np.asarray(drawn.units)),
        )

    def histogram(self) -> np.ndarray:
        """float64 [classes]: how often each class is there, a unit counting at most once."""
        self.reads["labels"] += len(self._unit_of)
        return histogram_weights(self._unit_of, self._labels(np.arange(len(self._unit_of))))

    def picture(self, index: int) -> np.ndarray:
        """uint8 [C, H, W] for the folder that only the owner sees; black where there is no such image."""
        self.reads["picture"] += 1
        return self._pixels(index) if index < len(self._unit_of) else np.zeros(self._shape, np.uint8)

    def fingerprint(self) -> str:
        """SHA-256 of the stored files and labels, for the private folder: a continued run meets the same."""
        assert isinstance(self._dataset, ImageFolderDataset)
        self.reads["fingerprint"] += 1
        found = hashlib.sha256()
        for name in self._dataset.image_names:
            found.update(hashlib.sha256(self._dataset.read_bytes(name)).digest())
        labels = self._dataset.stored_labels()
        found.update(b"" if labels is None else np.ascontiguousarray(labels).tobytes())
        return found.hexdigest()

    def close(self) -> None:
        self._dataset.close()

    @property
    def _shape(self) -> list[int]:
        return self._dataset.image_shape

    def _pixels(self, item: int) -> np.ndarray:
        stored = self._dataset.raw_shape[0]
        if item >= stored:
            return self._canaries[item - stored][0]
        try:
            return self._dataset.raw_image(item)
        except (UserError, OSError, ValueError):
            # A run that stopped here would tell that this very image took part.
            self.reads["undecodable"] += 1
            return np.zeros(self._shape, np.uint8)

    def _labels(self, items: np.ndarray) -> np.ndarray:
        """float32 [n, classes]; a class beyond those that were declared counts as none."""
        found = np.zeros((len(items), self.classes), np.float32)
        if not self.classes:
            return found
        stored = self._dataset.raw_labels()
        for row, item in enumerate(items):
            number = int(stored[item]) if item < len(stored) else self._canaries[item - len(stored)][1]
            if 0 <= number < self.classes:
                found[row, number] = 1
        return found


class PublicFace(Dataset):
    """What may be known of a private data set: its name, the form of an image, the classes, a public number.

    Its length is that number and its labels are all classes in turn; neither is read from the data.
    """

    def __init__(self, door: Door, dataset: ImageFolderDataset, length: int, names: Sequence[str]) -> None:
        super().__init__(dataset.name, [length, *dataset.image_shape], use_labels=bool(names))
        self.path = dataset.path
        self.door, self.class_names = door, list(names)
        # One that is known already, so that nobody reads the images for it.
        self._source_fingerprint = NO_FINGERPRINT

    @property
    def label_names(self) -> list[str] | None:  # type: ignore[override]
        return self.class_names or None

    def _load_raw_image(self, raw_idx: int) -> np.ndarray:
        return self.door.picture(raw_idx)

    def _load_raw_labels(self) -> np.ndarray | None:
        count = len(self.class_names)
        if not count:
            return None
        # The last item has the last class: the number of classes is read off the largest.
        return (count - 1 - np.arange(self.raw_shape[0])[::-1] % count).astype(np.int64)

    def content_key(self) -> ContentKey | None:
        return None

    def as_if_opened(self, **kwargs: Options) -> PublicFace:  # type: ignore[override]
        """The face is made for the run's flags already."""
        return self

    def close(self) -> None:
        door = getattr(self, "door", None)
        if door is not None:
            door.close()


def declared_classes(dataset: ImageFolderDataset, *, cond: bool) -> list[str]:
    """Names of the classes as they were declared; UserError where they would have to be read off the data."""
    if not cond:
        return []
    labels, names = dataset.stored_labels(), dataset.label_names
    if labels is None:
        raise UserError(f"--cond=1 needs labels, and {dataset.path} has none; pack it with labels")
    if labels.dtype != np.int64:
        raise UserError(
            "--dp-mode=sgd with --cond=1 needs one class per image; these are vectors, so leave --cond out"
        )
    if not names:
        raise UserError(
            f"--dp-mode=sgd: {dataset.path} does not declare its classes (label_names), and "
            "their number would be read off private labels; pack it with names, or leave --cond out"
        )
    return list(names)
