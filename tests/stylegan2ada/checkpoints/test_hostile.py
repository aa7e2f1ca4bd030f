"""Hostile and broken files are refused in one sentence; nothing is run, no memory taken."""

from __future__ import annotations

import contextlib
import json
import pickle
import random
import subprocess
import sys
from pathlib import Path

import pytest

from stylegan2ada.checkpoints import load_network, save_network
from stylegan2ada.errors import UserError
from tests.stylegan2ada.checkpoints import hostile
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
    changed = hostile.changed_files(valid[0])
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
        assert seconds < 20, (name, seconds)
        if name in changed:
            assert changed[name][1] in message, (name, message)


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
