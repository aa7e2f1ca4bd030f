"""Hostile and broken files are refused in one sentence; nothing is run, no memory taken."""

from __future__ import annotations

import contextlib
import functools
import json
import pickle
import random
import subprocess
import sys
from pathlib import Path

import pytest

from stylegan2ada.checkpoints import load_network, save_network
from stylegan2ada.errors import UserError
from tests.golden_data import golden_path
from tests.stylegan2ada.checkpoints import fuzz, hostile, hostile_work
from tests.stylegan2ada.checkpoints.conftest import make_networks

ROOT = Path(__file__).parents[3]

# Reads each file with little more memory than the interpreter has at the start; says what came of it.
READER = """
import json, resource, sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import stylegan2ada.networks.stylegan2, stylegan2ada.networks.augment
from stylegan2ada.checkpoints import load_network
from stylegan2ada.errors import UserError
load_network(sys.argv[3], log=lambda _: None)  # so that all is imported
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 400 * 2**20,) * 2)
told = {}
for path in sorted(Path(sys.argv[2]).iterdir()):
    start = time.monotonic()
    try:
        load_network(path, log=lambda _: None)
        answer = ["loaded", ""]
    except UserError as error:
        answer = ["UserError", str(error)]
    except BaseException as error:
        answer = [type(error).__name__, repr(error)[:500]]
    told[path.name] = [*answer, time.monotonic() - start]
print(json.dumps(told))
"""


# Why some of them are refused: most would trip over something else further on.
SAYS = {
    "newobj_ex": "NEWOBJ_EX",
    "newobj of an allowed function": "creates an instance",
    "build on a dict": "sets the inner state",
    "build on an EasyDict": "sets the inner state",
    "build on a record": "sets the inner state",
    "storage with an evil pickle": "'os.system'",
    "storage with an evil object": "'os.system'",
    "storage that carries a module's source": "not described as one",
    "storage of class torch.load": "'torch.load'",
    "codec that decompresses": "encodes text",
    "numpy object scalar": "numpy type 'O8'",
    "text of a terabyte": "cut off",
    "frame of a terabyte": "frame is longer",
    "number of a million bits": "whole number of",
    "keys that take forever to hash": "as a key",
    "set of what takes forever to hash": "as a key",
    "more operations than any file": "more work",
    "modules nested two hundred deep": "contain each other",
    "modules that double forty times": "contain each other",
    "module inside itself": "contain each other",
    "billion laughs": "among its options",
    "storage that claims a terabyte": "claims 1099511627776 elements",
    "storage of negative size": "claims -1 elements",
    "storage cut off": "claims 4 elements",
    "storage of big-endian numbers": "big-endian",
    "tensor of a billion elements": "reaches outside",
    "tensor that repeats one element": "reaches outside",
    "tensor with a far stride": "reaches outside",
    "tensor with a negative stride": "no whole number",
    "tensor with an offset outside": "reaches outside",
    "tensor with a negative offset": "no whole number",
    "tensor whose size overflows": "no whole number",
    "tensor of ten thousand dimensions": "does not match its stride",
    "tensor without a storage": "has no storage",
    "parameter that is a text": "'x' where the tensor",
    "goes on after its end": "goes on after its end",
    "state that is a list": "as its state",
    "old version": "version 5 instead of 6",
    "version that is a text": "version '6' instead of 6",
    "type that is no class": "'function' instead of a class",
    "class that does not exist": "'Styler'",
    "TensorFlow network of a huge size": "img_resolution",
    "header of a terabyte": "no complete safetensors file",
    "newer version": "a newer program wrote it",
    "network of class os.system": "'os.system' instead of Generator",
    "unknown native argument": "G.colour",
}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"PK\x03\x04" + b"\0" * 90, "a zip file, like a data set or the state of a run"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12", "git lfs pull"),
    ],
)
def test_what_people_take_for_networks_is_called_by_its_name(content: bytes, said: str, tmp_path) -> None:
    path = tmp_path / "network.pkl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=said):
        load_network(path)


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    """(official bytes, native bytes) of one set of networks, and the path of the first."""
    folder = tmp_path_factory.mktemp("valid")
    for name in ("x.pkl", "x.safetensors"):
        save_network({**make_networks(c_dim=0, resolution=4, with_d=False), "G_ema": None}, folder / name)
    return (folder / "x.pkl").read_bytes(), (folder / "x.safetensors").read_bytes(), folder / "x.pkl"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")
def test_hostile_files_are_refused_without_running_anything_or_taking_memory(valid, tmp_path):
    canary = tmp_path / "canary"
    fires, quiet = hostile.opcode_attacks(canary)
    claims = hostile_work.work_attacks() | hostile_work.size_claims() | hostile_work.native_claims(valid[1])
    changed = hostile.changed_files(valid[0]) | claims
    files = {
        **fires, **quiet, **hostile.size_attacks(), **hostile.broken_streams(),
        **hostile.native_attacks(valid[1]), **{name: data for name, (data, _) in changed.items()},
    }  # fmt: skip
    assert len(set(files.values())) == len(files) >= 150

    # The canary is alive: Python's own unpickler does run these.
    for name, data in fires.items():
        with contextlib.suppress(pickle.UnpicklingError):
            pickle.loads(data)
        assert canary.exists(), name
        canary.unlink()

    folder = tmp_path / "files"
    folder.mkdir()
    for name, data in files.items():
        (folder / name.replace("/", "|")).write_bytes(data)
    command = [sys.executable, "-W", "error", "-c", READER, str(ROOT), str(folder), str(valid[2])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert not canary.exists()
    assert told.keys() == files.keys()
    for name, (kind, message, seconds) in told.items():
        assert kind == "UserError", (name, kind, message)
        assert name in message, (name, message)  # says which file
        assert "\n" not in message, (name, message)
        assert len(message) < 600 + len(str(folder)), (name, message)
        assert seconds < 10, (name, seconds)
        says = changed[name][1] if name in changed else SAYS.get(name, "")
        assert says in message.removeprefix(str(folder / name)), (name, message)
    assert told.keys() >= SAYS.keys()


def test_refusals_name_what_was_refused(tmp_path):
    for name, data in hostile.opcode_attacks("/nowhere")[1].items():
        (tmp_path / name).write_bytes(data)
    for name, says in [
        ("torch.load", "'torch.load'"),
        ("globals of the reconstructor", "_reconstruct_persistent_obj.__globals__"),
        ("newobj_ex", "NEWOBJ_EX"),
        ("newobj", "subprocess.Popen"),
        ("ext1", "EXT1"),
    ]:
        with pytest.raises(UserError, match=says.replace(".", r"\.")):
            load_network(tmp_path / name)


@pytest.mark.parametrize("which", [0, 1], ids=["official", "native"])
def test_truncated_files_are_refused_wherever_they_end(valid, which, tmp_path):
    data, path = valid[which], tmp_path / "x"
    rng = random.Random(0)
    ends = [
        *range(40),
        *(len(data) - n for n in range(1, 20)),
        *(rng.randrange(len(data)) for _ in range(80)),
    ]
    for end in ends:
        path.write_bytes(data[:end])
        with pytest.raises(UserError, match="cannot be used as a network file"):
            load_network(path)


@pytest.mark.parametrize("which", [0, 1], ids=["official", "native"])
def test_flipped_bytes_never_lead_to_anything_but_a_network_or_a_sentence(valid, which, tmp_path):
    data, path = valid[which], tmp_path / "x"
    rng = random.Random(1)
    refused = 0
    for _ in range(150):
        broken = bytearray(data)
        for _ in range(rng.choice([1, 1, 4])):
            # Mostly where structure is: tensors are the bulk, and their bits may be anything.
            place = rng.randrange(4000 if rng.random() < 0.5 else len(data))
            broken[place] ^= 1 << rng.randrange(8)
        path.write_bytes(broken)
        try:
            load_network(path)
        except UserError:
            refused += 1
    assert 20 < refused < 150


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")
def test_files_broken_at_random_are_read_or_refused(valid, tmp_path):
    other = make_networks(c_dim=2, resolution=8, with_d=True)
    for name in ("y.pkl", "y.safetensors"):
        save_network(other, tmp_path / name)
    others = [golden_path("checkpoints/legacy_tf_style.pkl"), tmp_path / "y.pkl", tmp_path / "y.safetensors"]
    contents = [*valid[:2], *(path.read_bytes() for path in others)]
    rng = random.Random(3)
    read = functools.partial(load_network, log=lambda _: None)
    refused = fuzz.check(read, (fuzz.broken(rng, *contents) for _ in range(300)), tmp_path, "x")
    assert 150 < refused < 300
