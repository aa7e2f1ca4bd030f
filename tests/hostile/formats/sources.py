"""CIFAR-10, MNIST and LSUN as they are downloaded."""

from __future__ import annotations

import functools
import gzip
import io
import pickle
import random
import struct
import tarfile
import tempfile
from pathlib import Path

import numpy as np

from tests.hostile import materials
from tests.hostile.case import Case, case
from tests.hostile.mutate import NUMBERS, TEXTS, Nested, damaged, twisted

CIFAR = "cifar-10-python.tar.gz"
IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
_VALUES: tuple[object, ...] = (
    *NUMBERS,
    *TEXTS,
    None,
    [],
    {},
    [0] * 100,
    b"x",
    np.zeros(3),
    np.zeros((2, 5, 7)),
)


def make(rng: random.Random, folder: Path) -> Case:
    """One of the three, wrong."""
    return rng.choice((_cifar, _mnist, _lmdb))(rng, folder)


def _converted(attack: str, source: str, *, must_refuse: bool = False) -> Case:
    return case(
        attack, "dataset", f"--source={source}", "--dest=e.zip", "--max-images=3", must_refuse=must_refuse
    )


def _cifar(rng: random.Random, folder: Path) -> Case:
    kind, must_refuse = rng.random(), False
    if kind < 0.25:
        attack = rng.choice(sorted(_cifar_attacks()))
        data, must_refuse = _cifar_attacks()[attack], True
    elif kind < 0.6:
        batch, attack = twisted(_batch(), rng, _VALUES)
        data = _tar([pickle.dumps(batch, protocol=2)] * 5)
    elif kind < 0.8:
        data, attack = _tar([damaged(pickle.dumps(_batch(), protocol=2), rng)] * 5), "damaged batch"
    else:
        data, attack = damaged(_tar([pickle.dumps(_batch(), protocol=2)] * 5), rng), "damaged archive"
    (folder / CIFAR).write_bytes(data)
    return _converted(f"CIFAR: {attack}", CIFAR, must_refuse=must_refuse)


def _batch() -> dict[str, Nested]:
    return {"data": np.zeros((1, 3072), np.uint8), "labels": [3], "filenames": ["x"], "batch_label": "x"}


def _tar(batches: list[bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as archive:
        for i, content in enumerate(batches):
            info = tarfile.TarInfo(f"cifar-10-batches-py/data_batch_{i + 1}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


@functools.cache
def _cifar_attacks() -> dict[str, bytes]:
    def of(pickled: bytes) -> bytes:
        return _tar([pickled] * 5)

    prime = 2**61 - 1
    keys = b"\x80\x02}(" + b"".join(pickle.dumps(i * prime, 2)[2:-1] + b"N" for i in range(1, 30_000)) + b"u."
    # Members that are no files, or of another size than they say.
    folders = io.BytesIO()
    with tarfile.open(fileobj=folders, mode="w:gz") as archive:
        for i in range(1, 6):
            info = tarfile.TarInfo(f"cifar-10-batches-py/data_batch_{i}")
            info.type = tarfile.SYMTYPE
            info.linkname = "/etc/passwd"
            archive.addfile(info)
    return {
        "os.system": of(b"cos\nsystem\n(S'touch canary'\ntR."),
        "another class": of(b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R."),
        "keys that collide": of(keys),
        "a codec": of(b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00xX\x06\x00\x00\x00bz2_co\x86R."),
        "an array of objects": of(pickle.dumps({"data": np.array([print]), "labels": [1]}, 2)),
        "an array of a terabyte": of(
            b"\x80\x02}(X\x04\x00\x00\x00datacnumpy\nndarray\n\x8a\x06\x00\x00\x00\x00\x00\x01\x85RX\x06\x00\x00\x00labels]u."
        ),
        "text of four gigabytes": of(b"\x80\x02X\xff\xff\xff\xffabc."),
        "nested lists": of(b"(" * 100_000 + b"l" * 100_000 + b"."),
        "links": folders.getvalue(),
        "empty": b"",
        "gzip of gigabytes": materials.gzip_bomb(),
        "labels that are no numbers": of(
            pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": ["x"]}, 2)
        ),
        "a list": of(pickle.dumps([1, 2], 2)),
        "no labels": of(pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": None}, 2)),
    }


def _idx(shape: tuple[int, ...], content: bytes, magic: bytes = b"\0\0\x08") -> bytes:
    return magic + bytes([len(shape)]) + struct.pack(f">{len(shape)}i", *shape) + content


def _mnist(rng: random.Random, folder: Path) -> Case:
    valid = {IMAGES: _idx((2, 28, 28), bytes(2 * 784)), LABELS: _idx((2,), b"\x03\x04")}
    target = rng.choice((IMAGES, LABELS))
    kind, must_refuse = rng.random(), False
    packed = {name: gzip.compress(content, 1) for name, content in valid.items()}
    if kind < 0.25:
        attack = rng.choice(sorted(_mnist_attacks()))
        packed[target], must_refuse = _mnist_attacks()[attack], True
    elif kind < 0.6:
        attack = "damaged content"
        packed[target] = gzip.compress(damaged(valid[target], rng, head=20), 1)
    elif kind < 0.9:
        attack = "damaged gzip"
        packed[target] = damaged(packed[target], rng, head=30)
    else:
        attack = "one missing"
        del packed[target]
    materials.lay(folder, packed)
    return _converted(f"MNIST: {attack} in {target}", IMAGES, must_refuse=must_refuse)


@functools.cache
def _mnist_attacks() -> dict[str, bytes]:
    def of(content: bytes) -> bytes:
        return gzip.compress(content, 1)

    return {
        "a gzip of gigabytes": materials.gzip_bomb(),
        "negative lengths": of(_idx((-1, -28, 28), bytes(784))),
        "lengths that overflow": of(_idx((2**31 - 1,) * 6, b"")),
        "255 axes": of(_idx((1,) * 255, b"x")),
        "no axes": of(_idx((), b"")),
        "no images": of(_idx((0, 28, 28), b"")),
        "nothing": b"",
        "no gzip": b"PK\x03\x04" + bytes(50),
    }


def _lmdb(rng: random.Random, folder: Path) -> Case:
    content = _database()
    attack = rng.choice(("damaged", "damaged", "damaged", "empty", "cut", "no file", "values"))
    place = folder / "x_lmdb"
    place.mkdir()
    if attack == "damaged":
        (place / "data.mdb").write_bytes(damaged(content, rng, head=8192))
    elif attack == "empty":
        (place / "data.mdb").write_bytes(b"")
    elif attack == "cut":
        (place / "data.mdb").write_bytes(content[: rng.randrange(len(content))])
    elif attack == "values":
        (place / "data.mdb").write_bytes(content.replace(materials.png()[:16], rng.randbytes(16)))
    return _converted(f"LMDB: {attack}", "x_lmdb")


@functools.cache
def _database() -> bytes:
    import lmdb

    with tempfile.TemporaryDirectory() as folder:
        with lmdb.open(folder, map_size=1 << 17) as database, database.begin(write=True) as transaction:
            for key in (b"a", b"b", b"c"):
                transaction.put(key, materials.png())
        return Path(folder, "data.mdb").read_bytes()
