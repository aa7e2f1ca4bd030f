"""Speed of getting training images: decoding from the zip against the decoded cache, A B A B, parity first.

python benchmarks/data.py                      # 400 grey images of 256x256
python benchmarks/data.py --images 64 --repeats 3 --data my.zip
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import torch

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the clone, so that this folder shadows nothing

from benchmarks import timing  # noqa: E402
from stylegan2ada.data.batches import Batches  # noqa: E402
from stylegan2ada.data.dataset import ImageFolderDataset  # noqa: E402
from stylegan2ada.data.writer import DatasetWriter, encode_png  # noqa: E402
from stylegan2ada.images import to_float  # noqa: E402


def radiograph_like(n: int, side: int) -> np.ndarray:
    """uint8 [n, side, side]: smooth shapes and noise, so that compression has something typical to do."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.normal(size=(n, 1, 8, 8)))
    smooth = torch.nn.functional.interpolate(coarse, size=side, mode="bicubic")[:, 0].numpy()
    return np.clip(128 + 45 * smooth + rng.normal(scale=4, size=smooth.shape), 0, 255).astype(np.uint8)


def write(dest: Path, images: np.ndarray, compress_level: int) -> ImageFolderDataset:
    with DatasetWriter(dest) as writer:
        for index, image in enumerate(images):
            writer.add_encoded(encode_png(image, compress_level), index % 2)
    return ImageFolderDataset(dest, use_labels=True)


@click.command()
@click.option("--images", default=400, help="How many images to make [default: 400]")
@click.option("--side", default=256, help="Their side in pixels [default: 256]")
@click.option("--batch", default=32, help="Images per batch [default: 32]")
@click.option("--repeats", default=5, help="A B A B ... so often [default: 5]")
@click.option("--data", type=click.Path(exists=True), help="A data set of your own instead")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder of the JSON [default: benchmarks/results]"
)
def main(images: int, side: int, batch: int, repeats: int, data: str | None, out: Path | None) -> None:
    """Images per second on one thread, by each way to a batch."""
    torch.set_num_threads(1)
    device = torch.device("cpu")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DNNLIB_CACHE_DIR"] = folder
        if data is not None:
            datasets = {"own files": ImageFolderDataset(data, use_labels=True)}
        else:
            pixels = radiograph_like(images, side)
            datasets = {
                "uncompressed PNG": write(Path(folder, "plain.zip"), pixels, 0),
                "compressed PNG": write(Path(folder, "small.zip"), pixels, 6),
            }
        record: dict = {"machine": timing.machine(device), "batch": batch, "results": {}}
        for name, dataset in datasets.items():
            record["shape"] = dataset.raw_shape
            record["results"][name] = measure(name, dataset, batch, repeats)
    timing.save("data", record, out)


def measure(name: str, dataset: ImageFolderDataset, batch: int, repeats: int) -> dict:
    begin = time.perf_counter()
    batches = Batches(dataset, batch)
    built_sec = time.perf_counter() - begin
    epoch = [np.arange(start, start + batch) % len(dataset) for start in range(0, len(dataset), batch)]

    def decode() -> list[torch.Tensor]:
        return [torch.from_numpy(np.stack([dataset[int(i)][0] for i in indices])) for indices in epoch]

    order = iter(epoch)

    class InOrder:
        def take(self, count: int) -> np.ndarray:
            return next(order)

    batches.sampler = InOrder()  # type: ignore[assignment]  # both sides get the same items

    def gather() -> list[torch.Tensor]:
        nonlocal order
        order = iter(epoch)
        return [next(batches)[0] for _ in epoch]

    assert all(torch.equal(a, b) for a, b in zip(decode(), gather(), strict=True)), "the two ways differ"
    print(f"{name}: same pixels by both ways; cache built in {built_sec:.2f} s")
    clock_name, clock = timing.clock_for(torch.device("cpu"), threads=1)
    sides = {
        "decode": decode,
        "gather": gather,
        "gather and convert": lambda: [to_float(x) for x in gather()],
    }
    seconds = timing.interleaved(sides, repeats, clock)
    count = sum(map(len, epoch))
    rates = {side: sorted(count / s for s in values)[len(values) // 2] for side, values in seconds.items()}
    for side, rate in rates.items():
        print(f"  {side:<20s} {rate:10.0f} images per second")
    found = timing.summary(seconds["decode"], seconds["gather"])
    print("  " + timing.line("decode / gather, one epoch", found))
    return {
        "clock": clock_name,
        "built_sec": built_sec,
        "images_per_sec": rates,
        "seconds": seconds,
        "ratio": found,
    }


if __name__ == "__main__":
    main()
