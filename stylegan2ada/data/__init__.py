"""Images and labels on their way into training: written, read, cached, drawn in batches.

>>> with sg.data.DatasetWriter("squares.zip") as writer:
...     for side in (4, 8):
...         image = np.zeros([16, 16], dtype=np.uint8)
...         image[:side, :side] = 255
...         _ = writer.add(image, label=int(side > 4))
>>> len(sg.ImageFolderDataset("squares.zip"))
2
"""

from typing import TYPE_CHECKING

from stylegan2ada.lazy import exports

if TYPE_CHECKING:
    from stylegan2ada.data import batches, cache, dataset, fingerprint, labels, sampler, transforms, writer
    from stylegan2ada.data.dataset import Dataset, ImageFolderDataset
    from stylegan2ada.data.writer import DatasetWriter

__all__ = [
    "Dataset", "DatasetWriter", "ImageFolderDataset", "batches", "cache", "dataset", "fingerprint", "labels",
    "sampler", "transforms", "writer",
]  # fmt: skip

_CLASSES = {"Dataset": "dataset", "ImageFolderDataset": "dataset", "DatasetWriter": "writer"}
if not TYPE_CHECKING:  # a type checker that sees __getattr__ lets every misspelt name pass
    __getattr__, __dir__ = exports(
        __name__, {name: f"{__name__}.{_CLASSES[name]}" if name in _CLASSES else "" for name in __all__}
    )
