"""Whether a loaded state is one of this run, value by value: everything is looked at before anything is set.

What only its owner can judge (a loss, a hook) is left to it; `explained` makes its complaint a sentence.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

from stylegan2ada.errors import UserError
from stylegan2ada.protocols import State

_SHARED: dict[str, tuple[type, ...]] = {
    "counters": (dict,), "elapsed_sec": (int, float), "batch_gpu": (int,), "networks": (dict,),
    "optimizers": (dict,), "ada": (dict, type(None)), "collector": (dict,), "card": (dict, type(None)),
    "fingerprint": (str,), "grid_z": (torch.Tensor,), "grid_c": (torch.Tensor,), "ranks": (list,),
    "log": (dict,),
}  # fmt: skip
_PER_RANK = dict.fromkeys(("rng", "buffers", "source", "hooks", "stats"), (dict,))
_ADVICE = "continue with the version that wrote it, or start anew from the last snapshot with --resume=PKL"
_COMPLAINTS = (
    ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
_LARGEST = 2**53  # of counters: exact as floating point, too
_TWISTER_WORDS = 624  # numpy believes any place among them, and reads there
_MOMENTS = 3  # of a counter: number, sum, sum of squares


def check_layout(state: State, path: Path) -> State:
    """The same state, if all that one must have is there and of its kind."""
    _check_kinds("", state, _SHARED, path)
    if not state["ranks"]:
        _refuse(path, "ranks", "is empty; a run has one process at least")
    for number, own in enumerate(state["ranks"]):
        where = f"ranks[{number}]"
        if not isinstance(own, dict):
            _refuse(path, where, "is no record of a process")
        if "loss" not in own:  # of any kind: it is the loss's own
            _refuse(path, f"{where}.loss", "is missing")
        _check_kinds(where + ".", own, _PER_RANK, path)
    for name, size in state["log"].items():
        if not isinstance(name, str) or not _is_count(size):
            _refuse(path, f"log.{name}", f"is {_shown(size)} instead of a number of bytes")
    roots = (state["card"] or {}).get("starts_from")
    roots = [] if roots is None else roots  # not by its truth: that of a tensor is an error
    if not isinstance(roots, list) or not all(isinstance(root, dict) for root in roots):
        _refuse(path, "card.starts_from", "is no list of origins")
    return state


def check_fits(
    state: State,  # of the right layout
    expected: State,  # what the run would save now; ranks: its own part alone
    optimizers: Mapping[str, torch.optim.Optimizer],
    path: Path,
) -> None:
    """UserError unless names, kinds, sizes and ranges of values are those of the run that goes on."""
    # Of a run whose end was not set, as of all earlier versions, there is none.
    counters = {"last_nimg": None} | state["counters"]
    if counters["last_nimg"] is not None and not _is_count(counters["last_nimg"]):
        _refuse(path, "counters.last_nimg", f"is {_shown(counters['last_nimg'])} instead of a count")
    _check_like("counters", counters | {"last_nimg": None}, expected["counters"], path)
    for name in ("elapsed_sec", "batch_gpu", "networks", "ada"):
        _check_like(name, state[name], expected[name], path)
    if state["batch_gpu"] < 1:
        _refuse(path, "batch_gpu", f"is {state['batch_gpu']}")
    (here,) = expected["ranks"]
    for number, own in enumerate(state["ranks"]):
        where = f"ranks[{number}]"
        _check_like(f"{where}.buffers", own["buffers"], here["buffers"], path)
        if here["source"]:  # empty: of a kind that is not ours to judge
            _check_like(f"{where}.source", own["source"], here["source"], path)
        _check_generators(f"{where}.rng", own["rng"], here["rng"], path)
        for name in ("totals", "fresh"):
            _check_moments(f"{where}.stats.{name}", own["stats"].get(name), path)
    for name in ("seen", "moments"):
        _check_moments(f"collector.{name}", state["collector"].get(name), path)
    _check_names("optimizers", state["optimizers"], optimizers, path)
    for name, optimizer in optimizers.items():
        check_optimizer(f"optimizers.{name}", state["optimizers"][name], optimizer, path)
    z, c = state["grid_z"], state["grid_c"]
    for name, value in (("grid_z", z), ("grid_c", c)):
        wanted = expected[name]
        if value.shape != wanted.shape or value.dtype != wanted.dtype:
            _refuse(path, name, f"is {_shown(value)} instead of {_shown(wanted)}")


@contextlib.contextmanager
def explained(path: Path, advice: str = _ADVICE) -> Iterator[None]:
    """Inside, a complaint of whoever takes its part of the state is the file's fault."""
    try:
        yield
    except (
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as e:
        reason = (str(e).splitlines() or [""])[0][:200]
        raise UserError(f"{path} does not fit this run ({type(e).__name__}: {reason}); {advice}") from e


def _refuse(path: Path, where: str, why: str) -> NoReturn:
    raise UserError(f"{path} does not fit this run: {where} {why}; {_ADVICE}")


def _check_kinds(where: str, values: State, kinds: Mapping[str, tuple[type, ...]], path: Path) -> None:
    for name, wanted in kinds.items():
        if name not in values:
            _refuse(path, where + name, "is missing")
        value = values[name]
        if not isinstance(value, wanted) or isinstance(value, bool):
            _refuse(path, where + name, f"is {_shown(value)} instead of a {wanted[0].__name__}")


def _check_names(where: str, value: object, wanted: Mapping[Any, object], path: Path) -> None:
    if not isinstance(value, dict) or value.keys() != wanted.keys():
        names = ", ".join(map(str, list(value)[:5])) if isinstance(value, dict) else _shown(value)
        _refuse(path, where, f"holds {names or 'nothing'} instead of {', '.join(map(str, list(wanted)[:5]))}")


def _check_like(where: str, value: Any, wanted: Any, path: Path) -> None:
    """Same nesting, kinds and sizes; numbers finite, and not negative where those of the run are not."""
    if isinstance(wanted, dict):
        if isinstance(value, dict) and where.endswith((".seen", ".moments")):
            return _check_moments(where, value, path)
        _check_names(where, value, wanted, path)
        for name, inner in wanted.items():
            _check_like(f"{where}.{name}", value[name], inner, path)
    elif isinstance(wanted, torch.Tensor):
        if not isinstance(value, torch.Tensor) or (value.shape, value.dtype) != (wanted.shape, wanted.dtype):
            _refuse(path, where, f"is {_shown(value)} instead of {_shown(wanted)}")
        # An order of images must be one of these images.
        if where.endswith(".order") and not torch.equal(value.sort().values, wanted.sort().values.to("cpu")):
            _refuse(path, where, "is no order of the run's images")
    elif isinstance(wanted, int) and not isinstance(wanted, bool):
        if not _is_count(value) or (where.endswith("spot") and value > _TWISTER_WORDS):
            _refuse(path, where, f"is {_shown(value)} instead of a count")
    elif isinstance(wanted, float):
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 <= value <= _LARGEST:  # spelt so that NaN fails, too
            _refuse(path, where, f"is {_shown(value)} instead of a number from 0 on")
    elif type(value) is not type(wanted):
        _refuse(path, where, f"is {_shown(value)} instead of {_shown(wanted)}")
    return None


def _check_generators(where: str, value: State, wanted: State, path: Path) -> None:
    """As `capture_rng` gives them."""
    _check_names(where, value, wanted, path)
    lists = {name: value[name] for name in ("python", "numpy", "cuda")}
    for name, parts in lists.items():
        if type(parts) is not list or (name != "cuda" and len(parts) != len(wanted[name])):
            _refuse(path, f"{where}.{name}", f"is {_shown(parts)} instead of a generator's state")
    version, words, gauss = value["python"]
    ours_version, ours, _ = wanted["python"]
    _check_array(f"{where}.python", words, ours, path)
    # Types first: a tensor compared with a number is a tensor, which is neither true nor false.
    if (
        type(version) is not int
        or version != ours_version
        or not (gauss is None or _is_finite(gauss))
        or words[-1] > _TWISTER_WORDS
    ):
        _refuse(path, f"{where}.python", "is of another version of Python, or damaged")
    kind, keys, spot, has_gauss, cached = value["numpy"]
    _check_array(f"{where}.numpy", keys, wanted["numpy"][1], path)
    is_sane = _is_count(spot) and spot <= _TWISTER_WORDS and _is_count(has_gauss) and _is_finite(cached)
    if type(kind) is not str or kind != wanted["numpy"][0] or not is_sane or has_gauss > 1:
        _refuse(path, f"{where}.numpy", "is no state of numpy's generator")
    for name, own in (("torch", value["torch"]), *(("cuda", own) for own in value["cuda"])):
        if not isinstance(own, torch.Tensor) or own.dtype != torch.uint8 or own.ndim != 1:
            _refuse(path, f"{where}.{name}", f"is {_shown(own)} instead of a generator's state")
    if value["torch"].shape != wanted["torch"].shape:
        _refuse(path, f"{where}.torch", "is of another length than this version's generator")


def _check_array(where: str, value: object, wanted: np.ndarray, path: Path) -> None:
    is_same = isinstance(value, np.ndarray) and (value.shape, value.dtype) == (wanted.shape, wanted.dtype)
    if not is_same:
        _refuse(path, where, f"is {_shown(value)} instead of {wanted.size} words")


def _check_moments(where: str, value: object, path: Path) -> None:
    """Counters by name, or by name and device."""
    if not isinstance(value, dict):
        _refuse(path, where, f"is {_shown(value)} instead of counters")
    for name, counter in value.items():
        for inner in counter.values() if isinstance(counter, dict) else (counter,):
            if (
                not isinstance(inner, torch.Tensor)
                or inner.shape != (_MOMENTS,)
                or not inner.is_floating_point()
            ):
                _refuse(path, f"{where}.{name}", f"is {_shown(inner)} instead of a counter")


def check_optimizer(where: str, value: object, optimizer: torch.optim.Optimizer, path: Path) -> None:
    """torch itself would take moments of any size, and stumble over them in the next step."""
    ours = optimizer.state_dict()
    _check_names(where, value, ours, path)
    assert isinstance(value, dict)
    groups, state = value["param_groups"], value["state"]
    if type(groups) is not list or len(groups) != len(ours["param_groups"]) or type(state) is not dict:
        _refuse(path, where, "is no state of this optimiser")
    for number, (group, wanted) in enumerate(zip(groups, ours["param_groups"], strict=True)):
        _check_names(f"{where}.param_groups[{number}]", group, wanted, path)
        for name, setting in wanted.items():
            if not _is_setting_like(group[name], setting):
                _refuse(path, f"{where}.param_groups[{number}].{name}", f"is {_shown(group[name])}")
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for index, moments in state.items():
        if not _is_count(index) or index >= len(parameters) or not isinstance(moments, dict):
            _refuse(path, f"{where}.state.{index}", "belongs to no parameter")
        for name, moment in moments.items():
            shapes = (torch.Size([]), torch.Size([1])) if name == "step" else (parameters[index].shape,)
            if not isinstance(moment, torch.Tensor | int | float) or (
                isinstance(moment, torch.Tensor) and moment.shape not in shapes
            ):
                _refuse(path, f"{where}.state.{index}.{name}", f"is {_shown(moment)}")


def _is_setting_like(value: object, wanted: object) -> bool:
    if isinstance(wanted, list | tuple):
        return (
            isinstance(value, list | tuple)
            and len(value) == len(wanted)
            and all(_is_setting_like(a, b) for a, b in zip(value, wanted, strict=True))
        )
    if isinstance(wanted, int | float) and not isinstance(wanted, bool):
        return _is_finite(value)
    # Switches such as `fused` differ between devices: yes, no, or whatever is best.
    return isinstance(value, bool | type(None)) if isinstance(wanted, bool | type(None)) else True


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= _LARGEST


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) <= _LARGEST and math.isfinite(value)


def _shown(value: object) -> str:
    if isinstance(value, torch.Tensor | np.ndarray):
        return f"{str(value.dtype).removeprefix('torch.')} of size {list(value.shape)}"
    is_plain = value is None or isinstance(value, bool | int | float | str)
    return repr(value)[:40] if is_plain else f"a {type(value).__name__}"
