"""training-state.pt of a run that is continued: other values in it, correctly signed, or a damaged file."""

from __future__ import annotations

import functools
import hashlib
import io
import random
import zipfile
from pathlib import Path

import torch

from stylegan2ada.training import run_files
from tests.hostile import materials
from tests.hostile.case import Case, case
from tests.hostile.mutate import NUMBERS, TEXTS, Nested, damaged, twisted

VALUES: tuple[object, ...] = (
    *NUMBERS, *TEXTS, None, True, [], {}, (), [0] * 100, torch.zeros(3), torch.zeros(0), torch.zeros(2, 0, 5),
    torch.full((4,), float("nan")), torch.arange(700), torch.zeros(1, dtype=torch.int64), {"<bytes>": 3},
    {"<numpy>": ["O", [1], {"<bytes>": torch.zeros(8, dtype=torch.uint8)}]},
    {"<numpy>": ["<f8", [2**40], {}]},
    torch.zeros(1).expand(3), torch.zeros(3, dtype=torch.complex64),
)  # fmt: skip


def make(rng: random.Random, folder: Path) -> Case:
    """The run folder with such a state; a refusal leaves every file of the run as it was."""
    files = dict(materials.trained_run())
    kind = rng.random()
    if kind < 0.75:
        state, attack = twisted(_state(), rng, VALUES, times=rng.choice((1, 1, 2, 3)))
        data = signed(saved(state))
    elif kind < 0.85:
        attack = rng.choice(sorted(_known()))
        data = _known()[attack]
    elif kind < 0.93:
        data, attack = signed(damaged(files[run_files.STATE], rng)), "damaged, signed anew"
    else:
        data, attack = damaged(files[run_files.STATE], rng), "damaged"
    files[run_files.STATE] = data
    if rng.random() < 0.5:
        files.pop(f"{run_files.STATE}{run_files.PREVIOUS}", None)
    materials.lay(folder / "run", files)
    (folder / "data.zip").write_bytes(materials.data_zip())
    return case(
        attack,
        "train",
        "--continue=run",
        "--workers=0",
        "--device=cpu",
        keeps=("run/stats.jsonl", "data.zip"),
    )


@functools.cache
def _state() -> Nested:
    return torch.load(io.BytesIO(materials.trained_run()[run_files.STATE]), weights_only=True)


def saved(state: Nested) -> bytes:
    """As torch writes it."""
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def signed(data: bytes) -> bytes:
    """With the checksum behind it that the reader looks for: anybody can write one."""
    end = data.rfind(b"PK\x05\x06")
    if end < 0 or len(data) < end + 22:
        return data
    data = data[: end + 20] + b"\0\0"
    comment = b"sha256:" + hashlib.sha256(data).hexdigest().encode()
    return data[:-2] + len(comment).to_bytes(2, "little") + comment


@functools.cache
def _known() -> dict[str, bytes]:
    state = _state()
    evil = io.BytesIO()
    with zipfile.ZipFile(evil, "w") as archive:
        archive.writestr("archive/data.pkl", b"cos\nsystem\n(X\x04\x00\x00\x00truetR.")
        archive.writestr("archive/version", "3")
    first = state["ranks"][0]
    return {
        "no ranks": signed(saved({**state, "ranks": []})),
        "a thousand ranks": signed(saved({**state, "ranks": [first] * 1000})),
        "ranks that are one text": signed(saved({**state, "ranks": "x"})),
        "a pickle that runs a program": signed(evil.getvalue()),
        "a list": signed(saved([1, 2])),
        "nothing in it": signed(saved({})),
        "only the format": signed(saved({"format": 1})),
        "log that begins before the file": signed(
            saved({**state, "log": {"stats.jsonl": -5, "../data.zip": 0}})
        ),
        "log of a file outside": signed(saved({**state, "log": {"../data.zip": 3, "/dev/shm/x": 0}})),
        "counters with other names": signed(saved({**state, "counters": {"__class__": 1, "cur_nimg": 8}})),
        "a zip bomb": signed(_bomb()),
        "another data set": signed(saved({**state, "fingerprint": "00"})),
    }


def _bomb() -> bytes:
    """torch's reader inflates what zips deflate."""
    return materials.zip_of_raw(
        [materials.bomb("archive/data.pkl"), materials.stored("archive/version", b"3")]
    )
