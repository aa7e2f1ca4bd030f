"""Our own format: one safetensors file that holds everything, and a card beside it for people to read.

Tensors are named `G/<state-dict key>`; the header's one text entry is JSON with the constructor arguments.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch

from stylegan2ada import files
from stylegan2ada.checkpoints import official_names
from stylegan2ada.checkpoints.pickle_machine import Unreadable, shown
from stylegan2ada.checkpoints.pickle_tensors import is_sane_size
from stylegan2ada.checkpoints.rebuild import Description, assemble, describe_module
from stylegan2ada.protocols import Networks

_HEADER_KEY = "stylegan2ada"
FORMAT_VERSION = 1
Json = Any
_MAX_HEADER = 4 << 20  # bytes; a 1024x1024 network has 47 thousand
_MAX_TENSORS = 4000  # of all networks; those have 400
_MAX_NAME = 200  # letters
_MAX_DEPTH = 16  # of the facts; as in official files
_DTYPES = frozenset({"F16", "BF16", "F32", "F64", "I8", "I16", "I32", "I64", "U8"})  # as in official files
_TUPLE = "tuple"  # JSON has only lists: {"tuple": [...]} stands for a tuple


def is_native(data: bytes) -> bool:
    """Does it start like a safetensors file: eight bytes of length, then a JSON object? No pickle does."""
    return data[8:10] == b'{"'


def write_native(networks: Mapping[str, Any], path: Path) -> None:
    """Write `path` and its card `path` with the ending .json; equal networks give equal bytes."""
    tensors: dict[str, torch.Tensor] = {}
    described: dict[str, Json] = {}
    # In the table's order, not the caller's: equal networks give equal bytes.
    for entry in official_names.ENTRY_CLASSES:
        module = networks.get(entry)
        if module is None:
            continue
        description = describe_module(module)
        described[entry] = {
            "class": description.class_name,
            "init_args": _to_json(f"{entry} arguments", description.init_args),
            "init_kwargs": _to_json(f"{entry} arguments", description.init_kwargs),
        }
        for key, value in description.tensors.items():
            # A clone: the format refuses tensors that share memory, as G and G_ema may.
            tensors[f"{entry}/{key}"] = value.clone(memory_format=torch.contiguous_format)
    facts = {
        "format_version": FORMAT_VERSION,
        "networks": described,
        "training_set_kwargs": _to_json("training_set_kwargs", networks.get("training_set_kwargs")),
        "card": _to_json("card", networks.get("card") or {}),
    }
    data = safetensors.torch.save(tensors, metadata={_HEADER_KEY: json.dumps(facts)})
    with files.atomic_write(path) as file:
        file.write(data)
    summary = {
        **facts,
        "tensors": {name: [str(t.dtype), list(t.shape)] for name, t in sorted(tensors.items())},
    }
    files.write_json(path.with_suffix(".json"), summary)


def read_native(data: bytes) -> Networks:
    """The networks of a file's bytes; the card beside the file is not needed."""
    try:
        # torch's reader drops the header's text and believes sizes, so the header is read by hand first.
        header = _checked_header(data)
        known = header.get("__metadata__") or {}
        if _HEADER_KEY not in known:
            what = "a classifier" if "spinegan-classifier" in str(known) else "weights of another program"
            raise Unreadable(f"it is {what}, not a generator with its discriminator")
        facts = json.loads(known[_HEADER_KEY])
        tensors = safetensors.torch.load(data)
    # JSON nested too deeply ends in RecursionError, a RuntimeError; so do torch's own complaints.
    except (safetensors.SafetensorError, ValueError, LookupError, TypeError, RuntimeError) as error:
        raise Unreadable(
            f"it is no complete safetensors file of this program ({shown(str(error))})"
        ) from error
    if type(facts) is not dict or facts.get("format_version") != FORMAT_VERSION:
        raise Unreadable(f"it is not of format version {FORMAT_VERSION}; a newer program wrote it")
    told = {key: _from_json(facts.get(key)) for key in ("training_set_kwargs", "card")}
    for key, value in told.items():
        if value is not None and type(value) is not dict:
            raise Unreadable(f"its {key} is no dictionary")
    described = facts.get("networks")
    if type(described) is not dict or not described.keys() <= official_names.ENTRY_CLASSES.keys():
        raise Unreadable("its header does not list the networks")
    # A tensor that nobody asked for means that this is not the file that the header describes.
    strays = [name for name in tensors if name.partition("/")[0] not in described]
    if strays:
        raise Unreadable(f"its tensor {shown(min(strays))} belongs to no network")
    networks = assemble(_descriptions(described, tensors))
    networks["training_set_kwargs"], networks["card"] = told["training_set_kwargs"], told["card"]
    return networks


def _checked_header(data: bytes) -> dict[str, Any]:
    """The header, each name in it once, no tensor of a size or type that no network has."""
    size = struct.unpack("<Q", data[:8])[0]
    if size > min(_MAX_HEADER, len(data) - 8):
        raise ValueError(f"its header claims {size} bytes")
    header: dict[str, Any] = json.loads(data[8 : 8 + size], object_pairs_hook=_each_once)
    if len(header) > _MAX_TENSORS:
        raise ValueError(f"its header lists {len(header)} tensors")
    for name, facts in header.items():
        if name != "__metadata__":
            shape = facts["shape"]
            if len(name) > _MAX_NAME or not all(type(n) is int and n >= 0 for n in shape[:_MAX_NAME]):
                raise ValueError("a tensor in it has no proper name or size")
            if facts["dtype"] not in _DTYPES or not is_sane_size(shape):
                raise ValueError(f"a tensor of type {facts['dtype']}, size {shape[:8]}")
    return header


def _each_once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    # Readers differ in which of two they take.
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in its header")
    return found


def _descriptions(
    described: dict[str, Json], tensors: dict[str, torch.Tensor]
) -> Iterator[tuple[str, Description]]:
    for entry in official_names.ENTRY_CLASSES:
        if entry in described:
            prefix = entry + "/"
            own = {
                name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)
            }
            yield entry, _description(entry, described[entry], own)


def _description(entry: str, facts: Json, tensors: dict[str, torch.Tensor]) -> Description:
    if type(facts) is dict and type(facts.get("class")) is str:
        arguments, keywords = _from_json(facts.get("init_args")), _from_json(facts.get("init_kwargs"))
        if type(arguments) is tuple and type(keywords) is dict:
            return Description(facts["class"], arguments, keywords, tensors)
    raise Unreadable(f"its header does not say how {entry} was constructed")


def _to_json(path: str, value: object, depth: int = 0) -> Json:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        # JSON has no NaN and no infinity that every reader accepts.
        return value if math.isfinite(value) else {"float": repr(value)}
    if depth >= _MAX_DEPTH:
        raise Unreadable(f"{path} is nested too deeply for a network file")
    if isinstance(value, tuple):
        return {_TUPLE: [_to_json(path, item, depth + 1) for item in value]}
    if isinstance(value, list):
        return [_to_json(path, item, depth + 1) for item in value]
    # A dict that looks like one of the stand-ins above would come back as something else.
    if (
        isinstance(value, dict)
        and all(type(key) is str for key in value)
        and value.keys() not in ({_TUPLE}, {"float"})
    ):
        return {key: _to_json(f"{path}.{key}", item, depth + 1) for key, item in value.items()}
    raise Unreadable(f"{path} holds a {type(value).__name__}, which a network file cannot hold")


def _from_json(value: Json, depth: int = 0) -> Any:
    if isinstance(value, list | dict) and depth > _MAX_DEPTH:
        raise Unreadable("its header is nested too deeply")
    if isinstance(value, list):
        return [_from_json(item, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {_TUPLE} and isinstance(value[_TUPLE], list):
        return tuple(_from_json(item, depth + 1) for item in value[_TUPLE])
    if value.keys() == {"float"} and value["float"] in ("nan", "inf", "-inf"):
        return float(value["float"])
    return {key: _from_json(item, depth + 1) for key, item in value.items()}
