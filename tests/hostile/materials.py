"""What hostile files are made of: small valid ones of every kind, made once, before workers are forked."""

from __future__ import annotations

import functools
import io
import json
import os
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

RESOLUTION = 8


@functools.cache
def network_files() -> tuple[bytes, bytes, bytes, bytes]:
    """An official and a native file of conditional networks, and the two of a generator alone, 4x4."""
    from stylegan2ada.checkpoints import save_network
    from tests.stylegan2ada.checkpoints.conftest import make_networks

    small = {**make_networks(c_dim=0, resolution=4, with_d=False), "D": None}
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for networks in (make_networks(), small):
            for name in ("x.pkl", "x.safetensors"):
                save_network(networks, Path(folder, name))
                found.append(Path(folder, name).read_bytes())
    return found[0], found[1], found[2], found[3]


def picture(side: int = RESOLUTION, mode: str = "L", seed: int = 0) -> PIL.Image.Image:
    """Noise, of any mode that Pillow can convert RGB to."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return PIL.Image.fromarray(pixels).convert(mode)


@functools.cache
def png(side: int = RESOLUTION, mode: str = "L", seed: int = 0) -> bytes:
    """One of them as a file."""
    file = io.BytesIO()
    picture(side, mode, seed).save(file, "PNG")
    return file.getvalue()


DESCRIPTION: dict[str, Any] = {
    "labels": [[f"00000/img{i:08d}.png", i % 2] for i in range(4)],
    "label_names": ["normal", "abnormal"],
    "groups": {f"00000/img{i:08d}.png": {"study": f"s{i}", "patient": f"p{i}"} for i in range(4)},
    "recipe": {"tool": "dataset_tool", "version": "0.1.0", "flags": {"width": 8}, "resize_filter": "area"},
}


def zip_of(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip with these files."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


MB = 1 << 20


@functools.cache
def deflated_zeros(megabytes: int) -> bytes:
    """A raw deflate stream of so many zeros, a thousandth of them in size."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    # A full flush: the block stands for itself, so it can be repeated.
    block = packer.compress(bytes(MB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * megabytes + packer.flush()


# Name, compression method, stored bytes, CRC-32, size that it is said to have.
Member = tuple[str, int, bytes, int, int]


def zip_of_raw(members: list[Member]) -> bytes:
    """A zip written by hand: its numbers are what they are said to be, its content is as it is given."""
    body, directory = bytearray(), bytearray()
    for name, method, raw, crc, size in members:
        facts = struct.pack("<HHHHIII", 0x800, method, 0, 0x21, crc, len(raw), size)
        label = name.encode()
        place = struct.pack("<HHHHHII", len(label), 0, 0, 0, 0, 0, len(body))
        directory += b"PK\x01\x02" + struct.pack("<HH", 20, 20) + facts + place + label
        body += b"PK\x03\x04" + struct.pack("<H", 20) + facts
        body += struct.pack("<HH", len(label), 0) + label + raw
    count = len(members)
    end = struct.pack("<HHHHIIH", 0, 0, count, count, len(directory), len(body), 0)
    return bytes(body + directory + b"PK\x05\x06" + end)


def stored(name: str, content: bytes) -> Member:
    """An honest member."""
    return name, 0, content, zlib.crc32(content), len(content)


def bomb(name: str, megabytes: int = 2000) -> Member:
    """A member of gigabytes in two megabytes; nobody should come as far as its checksum, which is wrong."""
    return name, zipfile.ZIP_DEFLATED, deflated_zeros(megabytes), 0, megabytes * MB


def gzip_bomb(megabytes: int = 2000) -> bytes:
    """The same as gzip."""
    end = struct.pack("<II", 0, megabytes * MB % 2**32)
    return b"\x1f\x8b\x08" + bytes(7) + deflated_zeros(megabytes) + end


@functools.cache
def data_members(side: int = RESOLUTION) -> dict[str, bytes]:
    """The files of a small labelled data set."""
    members = {name: png(side, seed=i) for i, (name, _) in enumerate(DESCRIPTION["labels"])}
    return members | {"dataset.json": json.dumps(DESCRIPTION).encode()}


@functools.cache
def data_zip(side: int = RESOLUTION) -> bytes:
    """The small labelled data set."""
    return zip_of(data_members(side))


@functools.cache
def classifier_files() -> tuple[dict[str, Any], bytes]:
    """The card and the weights of a classifier that was never trained."""
    from spine_plugins.classifier.model import new_classifier, save_classifier

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "c.safetensors")
        save_classifier(new_classifier("cnn13k", "binary", ["normal", "abnormal"]), path)
        return json.loads(path.with_suffix(".json").read_text()), path.read_bytes()


@functools.cache
def trained_run() -> dict[str, bytes]:
    """The files of a run that trained for two steps; its data is `data.zip` beside the folder of the runs.

    Made by a process of its own: after a backward pass this one should not be forked.
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "data.zip").write_bytes(data_zip())
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.chdir(folder)
                _train()
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, "the run could not be made"
        run = Path(folder, "run")
        return {
            path.relative_to(run).as_posix(): path.read_bytes() for path in run.rglob("*") if path.is_file()
        }


def _train() -> None:
    import contextlib

    import torch

    from stylegan2ada.training.loop import train
    from tests.stylegan2ada.training.toy import toy_config, toy_run_dir

    config = toy_config(Path("data.zip"), total_kimg=0.016, network_snapshot_ticks=1, image_snapshot_ticks=1)
    run = toy_run_dir(Path("run"), config)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        train(config, run, device=torch.device("cpu"))
        train(config, run, device=torch.device("cpu"), is_continued=True)


@functools.cache
def new_run() -> dict[str, bytes]:
    """The files of a run that has not begun: enough to say how it would go on."""
    from tests.stylegan2ada.training.toy import toy_config, toy_run_dir

    here = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # the data is found from there
        try:
            Path("data.zip").write_bytes(data_zip())
            run = toy_run_dir(Path("run"), toy_config(Path("data.zip")))
            return {path.relative_to(run).as_posix(): path.read_bytes() for path in run.iterdir()}
        finally:
            os.chdir(here)


@functools.cache
def reported_run() -> dict[str, bytes]:
    """The files of a run as the report likes it."""
    from tests.spine_plugins.runs.making import write_run

    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder, "run")
        write_run(run, Path("data.zip"), Path("c.safetensors"), ticks=3, snapshots=2)
        return {
            path.relative_to(run).as_posix(): path.read_bytes() for path in run.rglob("*") if path.is_file()
        }


def lay(folder: Path, files: dict[str, bytes]) -> None:
    """The files at their places below the folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
