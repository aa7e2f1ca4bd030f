"""Whether training_options.json is what this program writes: it says what a run that goes on imports.

A run folder may be a stranger's. Its values are checked by the annotations of what they are handed to, and a
name that stands for a module is imported only if the user typed it, or vouches for the folder.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from stylegan2ada.config import LAST_SEED, TrainConfig, TrainOptions
from stylegan2ada.data.samplers import SAMPLERS
from stylegan2ada.errors import UserError
from stylegan2ada.losses.registry import LOSSES, TERMS
from stylegan2ada.metrics.detectors import was_used_before
from stylegan2ada.protocols import JsonObject
from stylegan2ada.registry import Registry
from stylegan2ada.untrusted import is_regular

_POSITIVE = frozenset({
    "num_gpus", "batch_size", "batch_gpu", "ada_interval", "ada_kimg", "G_reg_interval", "D_reg_interval",
    "image_snapshot_ticks", "network_snapshot_ticks", "keep_snapshots", "kimg_per_tick",
})  # fmt: skip
_SIGNED = frozenset({"ada_target", "target"})  # a mean of signs
_MOST = {"num_gpus": 1024, "num_workers": 1024, "random_seed": LAST_SEED}
_LARGEST = 2**53
_DATA = {"path": str, "use_labels": bool, "max_size": int, "xflip": bool, "resolution": int}
_DATA_TOO = {"random_seed": int}
_LOADER = {"pin_memory": bool, "num_workers": int, "prefetch_factor": int}
_OPTIMISER = {"lr": float, "betas": list[float], "eps": float}
_OURS = {"flags": dict, "provenance": dict, "earlier": list, "card": dict, "spine": dict}
# `build_loss` gives these itself; from a file they could be anything.
_NOT_FROM_FILES = frozenset({"device", "G_mapping", "G_synthesis", "D", "augment_pipe", "terms", "draws"})


def check_record(record: Mapping[str, Any], ours: object, path: Path) -> None:
    """UserError unless a configuration can be made of it: all there, of its kind and of a sane size."""

    def refuse(name: str, value: object, wanted: str) -> NoReturn:
        shown = (
            repr(value)[:60] if isinstance(value, bool | int | float | str) else f"a {type(value).__name__}"
        )
        shown = "missing" if value is dataclasses.MISSING else shown
        raise UserError(f"{path} is damaged: {name} is {shown} instead of {wanted}; put back a copy of it")

    if not isinstance(ours, dict):
        refuse("our part", ours, "a dictionary")
    for name, kind in _OURS.items():
        if not isinstance(ours.get(name, kind()), kind):
            refuse(name, ours[name], f"a {kind.__name__}")
    if "flags" not in ours:
        refuse("flags", dataclasses.MISSING, "a dictionary")
    if not isinstance((ours.get("spine") or {}).get("judge") or "", str):
        refuse("judge", ours["spine"]["judge"], "a path")
    both = {**record, **ours}
    _check_fields(TrainConfig, both, refuse, is_whole=True)
    _check_fields(TrainOptions, ours["flags"], refuse, is_whole=False)
    _check_keys("training_set_kwargs", both["training_set_kwargs"], _DATA, _DATA_TOO, refuse)
    _check_keys("data_loader_kwargs", both["data_loader_kwargs"], {}, _LOADER, refuse)
    for name in ("G_opt_kwargs", "D_opt_kwargs"):
        _check_keys(name, both[name], {"lr": float, "betas": list[float]}, _OPTIMISER, refuse)
        betas = both[name]["betas"]
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            refuse(f"{name}.betas", betas, "two numbers from 0 to less than 1")
    for name, value in both["loss_kwargs"].items():
        if name in _NOT_FROM_FILES or not _fits(value, str | float | bool | int | None):
            refuse(f"loss_kwargs.{name}", value, "a number or text that a loss may be given")
    _check_networks(both, path)


def check_names(
    config: TrainConfig,  # of the run that goes on
    before: TrainOptions,  # the flags that it was started with
    asked: TrainOptions,  # those of now
    run_dir: Path,
) -> None:
    """Import paths are programs: they must have been typed now, or the folder vouched for (--trust-run)."""
    if asked.trust_run:
        return
    typed = {asked.loss, asked.sampler, *(asked.term or ())}
    places: list[tuple[str, Registry, list[str | None]]] = [
        ("loss", LOSSES, [config.loss, before.loss]),
        ("term", TERMS, [*config.terms, *(before.term or ())]),
        ("sampler", SAMPLERS, [config.sampler, before.sampler]),
    ]
    for flag, registry, found in places:
        for text in found:
            if text is None or text in typed or not registry.is_import_path(_without_weight(text)):
                continue
            raise UserError(
                f"--continue={run_dir}: its options name the {flag} {text!r}, which is no registered name: a "
                f"module would be imported and run; if you know it, give --{flag}={text}, or --trust-run"
            )
    _check_detectors(config.detectors, dict(asked.detector or ()), run_dir)


def _check_detectors(recorded: dict[str, str], typed: dict[str, str], run_dir: Path) -> None:
    """TorchScript files are programs, too: they must have been used here before, or be typed now."""
    for name, place in recorded.items():
        path = Path(place)
        # What is missing has a sentence of its own when it is needed.
        if name in typed or place == "tiny" or not is_regular(path) or was_used_before(path):
            continue
        raise UserError(
            f"--continue={run_dir}: its options name the detector {place}, a program that was not used "
            f"on this computer before; if you know it, give --detector {name}={place}, or --trust-run"
        )


def _without_weight(text: str) -> str:
    """The name in "NAME:WEIGHT", and in plain "NAME"."""
    name, _, number = text.rpartition(":")
    try:
        float(number)
    except ValueError:
        return text
    return name


def check_loss_arguments(config: TrainConfig, make: Callable[..., Any], run_dir: Path) -> None:
    """The recorded arguments of a loss are some of its own, and numbers where its own are."""
    parameters = inspect.signature(make).parameters
    # Some take anything; and some are made by who knows more than the recorded arguments.
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()) or getattr(make, "made_by_seams", False):
        return
    for name, value in config.loss_kwargs.items():
        usual = parameters[name].default if name in parameters else dataclasses.MISSING
        is_number = isinstance(usual, int | float) and not isinstance(usual, bool)
        if usual is dataclasses.MISSING or (is_number and not _fits(value, float)):
            raise UserError(
                f"--continue={run_dir}: its options build the loss {config.loss} with {name} = {value!r}, "
                "which that does not take; put back a copy of them"
            )


Refuse = Callable[[str, object, str], NoReturn]


def _check_fields(cls: type, values: Mapping[str, Any], refuse: Refuse, *, is_whole: bool) -> None:
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        is_needed = is_whole and field.default is field.default_factory is dataclasses.MISSING
        value = values.get(field.name, dataclasses.MISSING)
        if value is dataclasses.MISSING:
            if is_needed:
                refuse(field.name, value, _spoken(hints[field.name]))
        elif not _fits(value, hints[field.name]):
            refuse(field.name, value, _spoken(hints[field.name]))
        elif not _is_sane(field.name, value):
            refuse(field.name, value, "a number from {:.3g} to {:.12g}".format(*_bounds(field.name)))


def _check_keys(
    place: str, values: JsonObject, needed: Mapping[str, Any], allowed: Mapping[str, Any], refuse: Refuse
) -> None:
    known = {**needed, **allowed}
    for name in {**needed, **values}:
        value = values.get(name, dataclasses.MISSING)
        if name == "class_name":
            continue
        if name not in known:
            refuse(f"{place}.{name}", value, f"one of {', '.join(known)}")
        kind = known[name]
        if not _fits(value, kind | None if name == "max_size" else kind) or not _is_sane(name, value):
            refuse(f"{place}.{name}", value, _spoken(kind))


def _check_networks(values: Mapping[str, Any], path: Path) -> None:
    from stylegan2ada.checkpoints.pickle_machine import Unreadable
    from stylegan2ada.checkpoints.rebuild import check_keywords

    for name, class_name in (
        ("G_kwargs", "Generator"),
        ("D_kwargs", "Discriminator"),
        ("augment_kwargs", "AugmentPipe"),
    ):
        given = {key: value for key, value in (values.get(name) or {}).items() if key != "class_name"}
        missing = [key for key in ("z_dim", "w_dim") if name == "G_kwargs" and key not in given]
        try:
            check_keywords(name, class_name, given)
            if missing:
                raise Unreadable(f"{name}.{missing[0]} is missing")
            widths = {**given, **(given.get("synthesis_kwargs") or {})}
            side = values["training_set_kwargs"].get("resolution") or 4
            if widths.get("channel_base", side) < side or widths.get("channel_max", 1) < 1:
                raise Unreadable(f"{name} leaves no channels at {side}x{side} (channel_base, channel_max)")
        except Unreadable as reason:
            raise UserError(f"{path} is damaged: {reason}; put back a copy of it") from reason


def _fits(value: object, hint: Any) -> bool:
    """Whether a value of JSON is of an annotated type; lists stand for tuples."""
    if hint is Any:
        return True
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return any(_fits(value, one) for one in inside)
    if origin is list or (origin is tuple and inside[-1] is Ellipsis):
        return isinstance(value, list) and all(_fits(item, inside[0]) for item in value)
    if origin is tuple:
        return (
            isinstance(value, list)
            and len(value) == len(inside)
            and all(_fits(item, one) for item, one in zip(value, inside, strict=True))
        )
    if origin is dict:
        return isinstance(value, dict) and all(
            isinstance(key, inside[0]) and _fits(item, inside[1]) for key, item in value.items()
        )
    if hint in (int, float):
        if isinstance(value, bool) or not isinstance(value, int if hint is int else int | float):
            return False
        # Infinity and NaN are no JSON, but Python reads them.
        return abs(value) <= _LARGEST and math.isfinite(value)
    return value is None if hint is type(None) else isinstance(value, hint)


def _is_sane(name: str, value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return True
    least, most = _bounds(name)
    return least <= value <= most


def _bounds(name: str) -> tuple[float, float]:
    least = -1 if name in _SIGNED else 1e-9 if name in _POSITIVE else 0
    return least, _MOST.get(name, _LARGEST)


def _spoken(hint: Any) -> str:
    names = {
        int: "a whole number",
        float: "a number",
        str: "a text",
        bool: "true or false",
        dict: "a dictionary",
    }
    return names.get(hint) or str(hint).replace("typing.", "").replace("NoneType", "None")
