"""Network files: the official pickle and the native safetensors."""

from __future__ import annotations

import functools
import json
import random
import struct
from pathlib import Path

import torch

from stylegan2ada.checkpoints import official_names as names
from stylegan2ada.checkpoints.official_read import read_records
from tests.hostile import materials
from tests.hostile.case import Case, case
from tests.hostile.mutate import bad_json, damaged
from tests.stylegan2ada.checkpoints import hostile as opcodes
from tests.stylegan2ada.checkpoints.hostile import (
    NONE,
    beside_networks,
    call,
    dict_of,
    encode,
    named,
    network_with_tensor,
    number,
    one_network,
    state_with,
    tensor,
    tuple_of,
    whole,
)


def make(rng: random.Random, folder: Path) -> Case:
    """A file that is wrong, and a command that reads it."""
    kind = rng.random()
    must_refuse = False
    if kind < 0.15:
        attack = rng.choice(sorted(_known()))
        data, must_refuse = _known()[attack]
        is_native = attack.startswith("native: ")
    elif kind < 0.3:
        is_native, data, attack = True, *_bad_header(rng)
    else:
        files = materials.network_files()
        which = rng.randrange(4)
        is_native = which % 2 == 1
        data, attack = damaged(files[which], rng, files[which ^ rng.choice((1, 2, 3))]), "damaged"
    network = folder / ("n.safetensors" if is_native else "n.pkl")
    network.write_bytes(data)
    words = _command(rng, network.name, is_native=is_native)
    must_refuse = must_refuse and (
        words[0] != "legacy" or not attack.startswith("weights")
    )  # no picture, no harm
    return case(attack, *words, must_refuse=must_refuse, keeps=(network.name,))


def _command(rng: random.Random, name: str, *, is_native: bool) -> tuple[str, ...]:
    return rng.choice((
        ("legacy", f"--source={name}", f"--dest=out{'.pkl' if is_native else '.safetensors'}"),
        ("legacy", f"--source={name}", f"--dest=out{rng.choice(('.pkl', '.safetensors'))}", "--force-fp16=1"),
        ("generate", f"--network={name}", "--seeds=0", "--outdir=out", "--device=cpu"),
        ("generate", f"--network={name}", "--seeds=0,1", "--class=0", "--outdir=out", "--device=cpu"),
        ("generate", f"--network={name}", "--per-class=1", "--outdir=out.zip", "--device=cpu"),
        ("mix", f"--network={name}", "--rows=0", "--cols=1", "--styles=0", "--class=0", "--outdir=out",
         "--device=cpu"),
    ))  # fmt: skip


def _bad_header(rng: random.Random) -> tuple[bytes, str]:
    """A safetensors file whose header, or whose facts in it, say something else."""
    valid = materials.network_files()[rng.choice((1, 3))]
    (size,) = struct.unpack("<Q", valid[:8])
    header, body = json.loads(valid[8 : 8 + size]), valid[8 + size :]
    if rng.random() < 0.7:
        facts, attack = bad_json(json.loads(header["__metadata__"]["stylegan2ada"]), rng)
        header["__metadata__"]["stylegan2ada"] = facts.decode("utf-8", "replace")
        text = json.dumps(header).encode()
    else:
        text, attack = bad_json(header, rng)
    return struct.pack("<Q", len(text)) + text + body, f"header: {attack}"


@functools.cache
def _known() -> dict[str, tuple[bytes, bool]]:
    """{attack: (file, whether it must be refused)}: what was found before, assembled by hand."""
    official, native = materials.network_files()[2:]
    fires, quiet = opcodes.opcode_attacks("/nowhere/canary")
    changed = {name: data for name, (data, _) in opcodes.changed_files(official).items()}
    official_files = {
        **fires, **quiet, **opcodes.size_attacks(), **opcodes.broken_streams(), **changed, **_budgets(),
    }  # fmt: skip
    found = {name: (data, True) for name, data in official_files.items()}
    found |= {f"native: {name}": (data, True) for name, data in opcodes.native_attacks(native).items()}
    found |= {name: (data, True) for name, data in _no_numbers(official).items()}
    return found


def _budgets() -> dict[str, bytes]:
    """Work and memory out of all proportion to the file's size."""
    prime = 2**61 - 1  # Python hashes whole numbers modulo this
    colliding = b"}(" + b"".join(number(i * prime) + b"N" for i in range(1, 30_000)) + b"u"
    many = b"(" + b"N" * 100_000 + b"l\x94"
    sets = b"".join(call(named("builtins", "set"), b"h\x00") for _ in range(20_000))
    # An allowed function, asked for the same large thing again and again.
    ordered = b"".join(call(named("collections", "OrderedDict")) + b"0" for _ in range(100_000))
    big_text = b"X" + struct.pack("<I", 1_000_000) + b"x" * 1_000_000 + b"\x94"
    encoded = b"".join(call(named(*names.ENCODE), b"h\x00", opcodes.text("latin1")) for _ in range(3000))
    deep_card = b"}"
    for _ in range(5000):
        deep_card = b"}(" + opcodes.text("a") + deep_card + b"u"
    return {
        "keys that collide": beside_networks(colliding),
        "sets of one list": whole(b"(" + many + sets + b"l"),
        "an allowed call a hundred thousand times": whole(ordered + b"}"),
        "one text encoded three thousand times": whole(b"(" + big_text + encoded + b"l"),
        "a card five thousand deep": whole(
            dict_of(("G", NONE), ("D", NONE), ("G_ema", NONE), ("spinegan", deep_card))
        ),
        "no networks at all": whole(dict_of(("G", NONE), ("D", NONE), ("G_ema", NONE))),
        "empty tensor of huge other sizes": network_with_tensor(tensor(size=(0, 2**62), stride=(1, 1))),
        "empty tensor whose sizes overflow": network_with_tensor(tensor(size=(0, 2**62, 2**62), stride=(1, 1,
         1))),
        "module named by a number": one_network(
            state_with(modules=b"}(" + number(1) + NONE + b"u")
        ),
        "arguments that are a tuple of tuples": one_network(
            dict_of(("_parameters", b"}"), ("_buffers", b"}"), ("_modules", b"}"),
                    ("_init_args", tuple_of(*[b")"] * 30)), ("_init_kwargs", b"}"))
        ),
    }  # fmt: skip


def _no_numbers(valid: bytes) -> dict[str, bytes]:
    """Networks whose weights are not finite: their pictures would be black."""
    found = {}
    for value in (float("nan"), float("inf")):
        content = read_records(valid)
        for network in (content["G"], content["G_ema"]):
            weights = opcodes.inside(network, "mapping.fc0").state["_parameters"]
            weights["weight"] = torch.full_like(weights["weight"], value)
        found[f"weights are {value}"] = encode(content)
    return found
