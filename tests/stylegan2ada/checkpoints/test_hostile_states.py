"""Training states of strangers: whoever can write the file can write its checksum."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import pickle
import random
import sys
import time
import zipfile

import numpy as np
import pytest
import torch

from stylegan2ada.checkpoints.training_state import is_complete, load_state, save_state
from stylegan2ada.errors import MissingError, UserError
from tests.stylegan2ada.checkpoints import fuzz
from tests.stylegan2ada.checkpoints.hostile import call, named, number, text, tuple_of
from tests.stylegan2ada.checkpoints.test_training_state import assert_same, example

FLOATS = named("torch", "FloatStorage")
ONE = b"\0\0\x80?"


def sealed(data: bytes) -> bytes:
    """torch's zip with our checksum as its comment."""
    digest = hashlib.sha256(data).hexdigest().encode()
    return data[:-2] + (71).to_bytes(2, "little") + b"sha256:" + digest


def state_file(pickled: bytes, members: dict[str, bytes] | None = None, *, packed: bool = False) -> bytes:
    """A file with this structure."""
    buffer = io.BytesIO()
    kind = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", kind) as archive:
        archive.writestr("archive/data.pkl", pickled)
        for name, content in (members or {}).items():
            archive.writestr(f"archive/{name}", content)
    return sealed(buffer.getvalue())


def holding(value: bytes) -> bytes:
    """A pickle of a dictionary with one value."""
    return b"\x80\x02}" + text("x") + value + b"s."


def plain(value: object) -> bytes:
    """A value of plain data as opcodes."""
    return pickle.dumps(value, protocol=2)[2:-1]


def storage(key: str = "0", kind: bytes = FLOATS) -> bytes:
    return tuple_of(text("storage"), kind, text(key), text("cpu"), number(1)) + b"Q"


def tensor(
    size: tuple[int, ...] = (1,), stride: tuple[int, ...] = (1,), source: bytes | None = None
) -> bytes:
    parts = [source or storage(), number(0), *(tuple_of(*map(number, numbers)) for numbers in (size, stride))]
    return call(named("torch._utils", "_rebuild_tensor_v2"), *parts, b"\x89", b"}")


def laughs(start: bytes, one: bytes) -> bytes:
    return b"(" + start + b"q\x00" + b"".join(one % (i, i, i + 1) for i in range(40)) + b"l"


def big_endian() -> bytes:
    return state_file(holding(tensor()), {"data/0": ONE, "byteorder": b"big"})


def aliased() -> bytes:
    """Many members that are the same bytes of the file."""
    data = bytearray(state_file(holding(tensor()), {"data/0": bytes(100_000)})[:-73] + b"\0\0")
    end = data.rindex(b"PK\x05\x06")
    start = int.from_bytes(data[end + 16 : end + 20], "little")
    entries = bytes(data[start:end])
    last = entries[entries.rindex(b"PK\x01\x02") :]
    copies = b"".join(last.replace(b"data/0", b"data/%d" % i) for i in range(1, 9))
    listed = entries + copies
    tail = bytearray(data[end:])
    for place in (8, 10):
        tail[place : place + 2] = (10).to_bytes(2, "little")
    tail[12:16] = len(listed).to_bytes(4, "little")
    return sealed(bytes(data[:start]) + listed + bytes(tail))


@functools.cache
def attacks() -> dict[str, tuple[bytes, str]]:
    codec = named("_codecs", "encode")
    many = b"".join(number(k * (2**61 - 1)) + b"N" for k in range(1, 60_001))
    again = codec + b"q\x00" + text("x" * 1_000_000) + b"q\x01(" + b"h\x00h\x01" * 9 + b"l"

    def numpy_array(code: object, shape: object) -> bytes:
        content = tensor((4,), (1,), storage("0", named("torch", "ByteStorage")))
        parts = plain(code) + plain(shape) + b"}" + text("<bytes>") + content + b"s"
        return state_file(holding(b"}" + text("<numpy>") + b"](" + parts + b"es"), {"data/0": bytes(4)})

    def bomb(**parts: bytes) -> bytes:
        return state_file(parts.pop("pickled", holding(tensor())), {"data/0": bytes(1), **parts}, packed=True)

    return {
        "packed members": (bomb(bulk=bytes(50 << 20)), "claim more"),
        "packed structure": (bomb(pickled=b" " * (50 << 20)), "claim more"),
        "one content under many names": (aliased(), "claim more"),
        "two structures": (state_file(holding(b"N"), {"x/data.pkl": holding(b"N")}), "one structure"),
        "no structure": (sealed(_zip({"archive/version": b"3"})), "one structure"),
        "no zip": (sealed(b"x" * 500 + b"\0\0"), "not a usable zip"),
        "big-endian": (big_endian(), "big-endian"),
        "a structure of nine megabytes": (state_file(holding(text("x" * (9 << 20)))), "over 8 MiB"),
        "a function that a state has no need of": (state_file(holding(again)), "_codecs.encode"),
        "a list": (state_file(b"\x80\x02]."), "a list instead of a state"),
        "keys that collide": (state_file(holding(b"}(" + many + b"u")), "as a key"),
        "lists that double": (state_file(holding(laughs(b"]", b"](h%ch%ceq%c"))), "contain each other"),
        "dictionaries that double": (
            state_file(holding(laughs(b"}", b"}(K\x01h%cK\x02h%cuq%c"))), "contain each other"),
        "a list inside itself": (state_file(holding(b"]q\x00(h\x00e")), "contain each other"),
        "lists nested a hundred thousand deep": (
            state_file(holding(b"(" * 100_000 + b"l" * 100_000)), "contain each other"),
        "a storage that is missing": (state_file(holding(tensor())), "is not there"),
        "a storage elsewhere": (
            state_file(holding(tensor(source=storage("../../x"))), {"data/0": ONE}), "is not there"),
        "a storage of half an element": (
            state_file(holding(tensor()), {"data/0": b"abc"}), "whole number of"),
        "a storage of no type": (
            state_file(holding(tensor(source=storage("0", text("x")))), {"data/0": ONE}), "no element type"),
        "a tensor of a billion elements": (
            state_file(holding(tensor((10**9,), (0,))), {"data/0": ONE}), "reaches outside"),
        "a tensor of nothing with huge sides": (
            state_file(holding(tensor((0, 2**31 - 1, 2**31 - 1), (1, 1, 1))), {"data/0": ONE}), "huge sides"),
        "bytes that are a number": (state_file(holding(plain({"<bytes>": 5}))), "where bytes belong"),
        "bytes that are numbers": (
            state_file(holding(b"}" + text("<bytes>") + tensor() + b"s"), {"data/0": ONE}), "bytes belong"),
        "an array that is a number": (state_file(holding(plain({"<numpy>": 5}))), "not described"),
        "an array without content": (
            state_file(holding(plain({"<numpy>": ["<f4", [1], {"<bytes>": None}]}))), "bytes belong"),
        "an array of objects": (numpy_array("O", [1]), "does not fit|of type 'O'"),
        "an array of records": (numpy_array("f2,f2", [1]), "of type 'f2,f2'"),
        "an array of no type": (numpy_array("zz", [1]), "does not fit"),
        "an array of another size": (numpy_array("<f4", [7]), "does not fit"),
        "an array of negative size": (numpy_array("<f4", [-1]), "no size"),
        "an array of huge sides": (numpy_array("<f4", [2**62, 2**62]), "does not fit"),
    }  # fmt: skip


def _zip(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_hostile_states_are_refused_in_a_sentence(tmp_path):
    for name, (data, says) in attacks().items():
        path = tmp_path / "state.pt"
        path.write_bytes(data)
        assert is_complete(path), (name, "its checksum fits")
        start = time.process_time()
        with pytest.raises(UserError, match=rf"state\.pt cannot be read as .*({says})") as error:
            load_state(path)
        assert "\n" not in str(error.value), name
        assert time.process_time() - start < 5, name


@pytest.mark.parametrize("name", ["packed members", "packed structure", "one content under many names"])
def test_bombs_take_no_memory(name, tmp_path):
    path = tmp_path / "state.pt"
    path.write_bytes(attacks()[name][0])

    def read() -> None:
        with pytest.raises(UserError):
            load_state(path)

    assert fuzz.peak_of(read) < 5 << 20


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_no_state(tmp_path):
    os.mkfifo(tmp_path / "state.pt")
    with pytest.raises(MissingError, match="does not exist"):
        load_state(tmp_path / "state.pt")


def test_every_type_of_tensor_comes_back(tmp_path):
    kinds = [
        torch.uint16,
        torch.uint32,
        torch.float8_e5m2,
        torch.bool,
        torch.complex64,
        torch.int8,
        torch.bfloat16,
    ]
    state = {
        str(kind): torch.arange(6).remainder(2).to(torch.float32).to(kind).reshape(2, 3) for kind in kinds
    }
    shared = torch.arange(4.0)
    state |= {
        "turned": torch.arange(6.0).reshape(2, 3).t(),
        "one": shared,
        "two": shared,
        "none": torch.zeros(0, 3),
    }
    save_state(tmp_path / "state.pt", state)
    loaded = load_state(tmp_path / "state.pt")
    assert loaded.keys() == state.keys()
    for name, value in state.items():
        assert loaded[name].dtype == value.dtype, name
        assert loaded[name].shape == value.shape, name
        assert loaded[name].stride() == value.stride(), name
        assert loaded[name].untyped_storage().tolist() == value.untyped_storage().tolist(), name


@pytest.mark.parametrize(
    "value", [2**300, {2**62: 1}, [0.5] * 1_000_000], ids=["huge number", "huge key", "endless list"]
)
def test_what_could_not_be_read_back_is_not_written(value, tmp_path):
    save_state(tmp_path / "state.pt", {"n": 1})
    with pytest.raises(TypeError, match="state"):
        save_state(tmp_path / "state.pt", {"x": value})
    assert load_state(tmp_path / "state.pt") == {"n": 1}
    save_state(tmp_path / "state.pt", {"x": np.full(1_000_000, 0.5)})
    assert len(load_state(tmp_path / "state.pt")["x"]) == 1_000_000


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")
def test_states_broken_at_random_are_read_or_refused(tmp_path):
    save_state(tmp_path / "a.pt", example())
    save_state(
        tmp_path / "b.pt", {"networks": {"G": {"w": torch.randn(3, 4)}}, "ranks": [], "n": [1, 2.5, None]}
    )
    valid = [(tmp_path / name).read_bytes()[:-73] + b"\0\0" for name in ("a.pt", "b.pt")]
    for path, content in zip(("a.pt", "b.pt"), valid):
        assert sealed(content) == (tmp_path / path).read_bytes()
    rng = random.Random(2)
    refused = fuzz.check(load_state, (sealed(fuzz.broken(rng, *valid)) for _ in range(300)), tmp_path, "x.pt")
    assert 100 < refused < 300
    assert_same(example(), load_state(tmp_path / "a.pt"))
