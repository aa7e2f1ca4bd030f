"""Small files that cost much: functions called again and again on one large value, keys that collide."""

from __future__ import annotations

import copy
import json
import struct

import torch

from stylegan2ada.checkpoints import official_names as names
from stylegan2ada.checkpoints.pickle_tensors import write_storage
from tests.stylegan2ada.checkpoints.hostile import (
    beside_networks,
    call,
    dict_of,
    named,
    network_with_tensor,
    number,
    one_network,
    raw,
    state_with,
    tensor,
    text,
    tuple_of,
    whole,
)

_HASH_MODULUS = 2**61 - 1
Attacks = dict[str, tuple[bytes, str]]  # name -> (file, what the sentence must say)


def again_and_again(function: bytes, large: bytes, times: int, *, arguments: bytes = b"h\x01\x85") -> bytes:
    """`times` calls of a function on one large value out of the memo; the results are all kept."""
    head = function + b"\x94" + large + b"\x94"
    return beside_networks(b"(" + head + (b"h\x00" + arguments + b"R") * times + b"l")


def work_attacks(*, times: int = 3000, size: int = 1_800_000) -> Attacks:
    """Each would take minutes or gigabytes if it were done as told."""
    storage = raw(write_storage(torch.zeros(size // 4)))
    names_list = b"](" + text("a") * 100_000 + b"e"
    colliding = b"".join(number(k * _HASH_MODULUS) + b"N" for k in range(1, 60_001))
    items = b"".join(number(k * _HASH_MODULUS) for k in range(1, 60_001))
    memo = b"".join(b"p%d\n" % (k * _HASH_MODULUS) for k in range(1, 60_001))
    fan = dict_of(*((f"c{i}", b"h\x00") for i in range(50)))
    inside_itself = named(*names.TF_NETWORK) + b")\x81\x94" + _tf_state(components=fan) + b"b"
    long_name = b"\x8c\xff" + b"n" * 255
    wide = b"}\x94(" + b"".join(text(f"p{i}") + tensor(size=(0,)) for i in range(5_000)) + b"u"
    return {
        "keys that collide": (beside_networks(b"}(" + colliding + b"u"), "as a key"),
        "items that collide": (beside_networks(b"\x8f(" + items + b"\x90"), "as a key"),
        "memo entries that collide": (whole(b"N" + memo), "memo entry"),
        "a storage read again and again": (
            again_and_again(named(*names.STORAGE), storage, times), "more work to read"),
        "a text encoded again and again": (
            again_and_again(named(*names.ENCODE), text("x" * size), times,
                            arguments=b"h\x01" + text("latin1") + b"\x86"), "more work to read"),
        "a type named by a megabyte": (
            again_and_again(named(*names.NUMPY_DTYPE), text("<" * size + "f4"), times), "more work to read"),
        "a set made again and again": (
            again_and_again(named("builtins", "set"), names_list, times), "more work to read"),
        "components in each other": (whole(inside_itself + b"h\x00h\x00\x87"), "more components"),
        "endless names": (one_network(state_with(parameters=b"}(" + long_name + tensor() + b"u")), "named"),
        "one wide module": (one_network(state_with(parameters=wide)), "_parameters, more than"),
    }  # fmt: skip


def _tf_state(*, components: bytes = b"}") -> bytes:
    return dict_of(
        ("version", number(4)), ("static_kwargs", b"}"), ("variables", b"]"), ("components", components)
    )


def size_claims() -> Attacks:
    """Sizes that nothing in the file backs."""
    huge = (0,) + (2**31 - 1,) * 7
    f4 = call(named(*names.NUMPY_DTYPE), text("f4"))
    sides = tuple_of(*map(number, huge))
    array = call(named(*names.NUMPY_ARRAYS[1]), named(*names.NUMPY_NDARRAY), b")", text("b"))
    array += b"(K\x01" + sides + f4 + b"\x89C\x00tb"
    return {
        "tensor of nothing with huge sides": (network_with_tensor(tensor(size=huge, stride=huge)), "huge"),
        "tensor of nothing with one huge side": (
            network_with_tensor(tensor(size=(0, 2**40), stride=(1, 1))), "no whole number"),
        "array of nothing with huge sides": (beside_networks(array), "does not match its content"),
        "no network at all": (beside_networks(b"}"), "holds no network"),
        "memo entry two billion": (whole(b"}r\x00\x00\x00\x80"), "no entry G"),
    }  # fmt: skip


def native_claims(valid: bytes) -> Attacks:
    """Headers of safetensors files that claim what is not so."""
    (size,) = struct.unpack("<Q", valid[:8])
    header, body = json.loads(valid[8 : 8 + size]), valid[8 + size :]

    def packed(content: str) -> bytes:
        return struct.pack("<Q", len(content)) + content.encode() + body

    def with_entry(**facts: object) -> bytes:
        entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} | facts
        return packed(json.dumps(header | {"G/x": entry}))

    def with_facts(**changes: object) -> bytes:
        changed = copy.deepcopy(header)
        facts = json.loads(changed["__metadata__"]["stylegan2ada"]) | changes
        changed["__metadata__"]["stylegan2ada"] = json.dumps(facts)
        return packed(json.dumps(changed))

    nest: object = 1
    for _ in range(300):
        nest = {"x": [nest]}
    twice = json.dumps(header)[:-1] + ', "G/mapping.w_avg": ' + json.dumps(header["G/mapping.w_avg"]) + "}"
    offsets = header["G/mapping.w_avg"]["data_offsets"]
    says = "no complete safetensors file"
    return {
        "native tensor of nothing, huge": (with_entry(shape=[0, 2**40]), says),
        "native tensor of nothing, overflowing": (with_entry(shape=[0, 2**62, 2**62]), says),
        "native tensor of nothing, beyond": (with_entry(shape=[2**63, 0]), says),
        "native tensor of many sides": (with_entry(shape=[0] * 100_000), says),
        "native size that is no number": (with_entry(shape=["a"]), says),
        "native size that is no list": (with_entry(shape=7), says),
        "native type of eight bits": (with_entry(dtype="F8_E4M3"), says),
        "native type of four bits": (with_entry(dtype="F4"), says),
        "native type that is a list": (with_entry(dtype=[]), says),
        "native entry that is a number": (packed(json.dumps(header | {"G/x": 5})), says),
        "native tensors that overlap": (with_entry(shape=[6], data_offsets=offsets), says),
        "native name that stands twice": (packed(twice), says),
        "native header of many tensors": (
            packed(json.dumps(header | {f"G/{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
                                        for i in range(5000)})), says),
        "native card nested deep": (with_facts(card={"x": nest}), "nested too deeply"),
        "native card that is a number": (with_facts(card=5), "card"),
        "native file without a network": (
            packed(json.dumps({"__metadata__": {"stylegan2ada": json.dumps(
                {"format_version": 1, "networks": {}, "card": {}})}}))[: -len(body)], "holds no network"),
    }  # fmt: skip
