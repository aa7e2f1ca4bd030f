"""The whole state of a run, out of it and back into it: an interrupted run goes on bit by bit the same."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stylegan2ada import processes, stats
from stylegan2ada.checkpoints import state_checks
from stylegan2ada.checkpoints.training_state import (
    capture_rng,
    is_complete,
    load_state,
    restore_rng,
    save_state,
)
from stylegan2ada.errors import UserError
from stylegan2ada.protocols import State
from stylegan2ada.training import optimisers, run_files
from stylegan2ada.training.hooks import Hooks
from stylegan2ada.training.log import RunLog
from stylegan2ada.training.run import Run
from stylegan2ada.training.run_files import PREVIOUS, REQUEUE, STATE
from stylegan2ada.training.snapshot_grid import grid_size
from stylegan2ada.training.snapshots import Grid
from stylegan2ada.training.source import DatasetSource

_FORMAT = 1
_OF_THIS_RANK = "w_avg"  # buffers that ranks never share
_BESIDE = ("elapsed_sec", "batch_gpu")  # no counters of the run: in the file they stand beside them


def save(run: Run, hooks: Hooks, grid: Grid, log: RunLog) -> None:
    """Write the state file; every rank takes part, rank 0 writes."""
    # Gathered before rank 0 works alone: a collective in there would wait for ever.
    per_rank = processes.all_ranks(_on_cpu(rank_state(run, hooks)))

    def write() -> None:
        state = _on_cpu(shared_state(run) | grid.state_dict()) | {"ranks": per_rank, "log": log.offsets()}
        try:
            save_state(run.run_dir / STATE, state)
        except OSError as error:
            raise UserError(
                f"the state could not be written to {run.run_dir} ({error.strerror}); the one before it is "
                f"untouched: make room or give rights there, then go on with --continue={run.run_dir}"
            ) from error

    # A failure is everybody's: no rank may train on while the state is missing.
    processes.on_rank0(write)


def find(run_dir: Path) -> State | None:
    """The newest complete state of a run; None if it never came far enough to save one."""
    path = run_dir / STATE
    previous = path.with_name(path.name + PREVIOUS)
    try:
        if path.exists():
            return of_this_version(load_state(path), path)
        if is_complete(previous):  # killed between the two renames: the newer file never got its name
            return of_this_version(load_state(previous), previous)
    except OSError as error:
        raise UserError(
            f"--continue={run_dir}: the state cannot be read ({error.strerror}); give rights to it"
        ) from error
    if (came := _how_far(run_dir)) is not None:
        raise UserError(
            f"--continue={run_dir}: {STATE} is missing, but {came}; put the state back. Without it, start a "
            "new run with --resume=PKL from the newest network"
        )
    return None


def _how_far(run_dir: Path) -> str | None:
    """What shows that a run came past its first tick, at whose end a state is saved."""
    if (run_dir / (STATE + PREVIOUS)).exists():
        return f"{STATE + PREVIOUS} shows, damaged, that there was one"
    if (run_dir / REQUEUE).exists():
        return f"{REQUEUE} says that there was one"
    if any(event.event == "saved" for event in run_files.read_events(run_dir)):
        return f"{run_files.EVENTS} says that it was saved"
    # Named by whole kimg, so that what the first tick leaves is called 0.
    shown = {path.name: run_files.kimg_of(path.name) for path in run_files.snapshots_in(run_dir)}
    shown |= {grid.path.name: grid.kimg for grid in run_files.grids_in(run_dir)}
    for name, kimg in shown.items():
        if kimg:
            return f"{name} is of {kimg} kimg"
    for path in run_files.cut_back_files(run_dir):
        for line in path.read_bytes().splitlines():
            if (tick := _tick_of(line)) > 0:
                return f"{path.name} tells of tick {tick:g}"
    return None


def _tick_of(line: bytes) -> float:
    """Which tick a line of statistics closes; 0 where a line says nothing of it."""
    try:
        return float(json.loads(line)["Progress/tick"]["mean"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return 0.0


def shared_state(run: Run) -> State:
    """What is the same on every rank."""
    progress = run.progress.state_dict()
    beside = {name: progress.pop(name) for name in _BESIDE}
    return {
        "format": _FORMAT,
        "counters": progress,
        **beside,
        "networks": {name: module.state_dict() for name, module in run.modules.items()},
        "optimizers": {name: optimisers.portable_state(opt) for name, opt in run.opts.items()},
        "ada": None if run.ada is None else run.ada.state_dict(),
        "collector": run.collector.state_dict(),
        "card": run.card,
        "fingerprint": run.fingerprint,
    }


def rank_state(run: Run, hooks: Hooks) -> State:
    """What each rank has for itself."""
    # w_avg follows the fakes that a rank has seen, so each has its own.
    own = {
        f"{network}.{name}": tensor
        for network, module in run.modules.items()
        for name, tensor in module.named_buffers()
        if name.endswith(_OF_THIS_RANK)
    }
    return {
        "rng": capture_rng(),
        "buffers": own,
        "source": run.source.state_dict(),
        "loss": run.loss.state_dict(),
        "hooks": hooks.state_dict(),
        "stats": stats.local_state(),
    }


def restore(run: Run, hooks: Hooks, state: State) -> str | None:
    """Put a state into a freshly built run, and write nothing; a sentence if other random draws follow."""
    _check(run, hooks, state)
    with state_checks.explained(run.run_dir / STATE):
        return _restore(run, hooks, state)


def _restore(run: Run, hooks: Hooks, state: State) -> str | None:
    run.progress.load_state_dict(state["counters"] | {name: state[name] for name in _BESIDE})
    for name, module in run.modules.items():
        module.load_state_dict(state["networks"][name])
    for name, opt in run.opts.items():
        optimisers.load(opt, state["optimizers"][name])
    ranks = state["ranks"]
    # Random draws can go on exactly only if each rank finds its own.
    text = None
    if len(ranks) == processes.world_size():
        _restore_rank(run, hooks, ranks[processes.rank()])
    else:
        text = (
            f"saved by {len(ranks)} process(es), continued by {processes.world_size()}: exact in weights "
            "and counters, but with other random draws than an uninterrupted run"
        )
        run.progress.batch_gpu = run.config.batch_gpu  # what fitted was another share
        _restore_on_other_ranks(run, hooks, ranks)
    if run.ada is not None:  # behind the statistics that it counts on
        run.ada.load_state_dict(state["ada"])
    run.collector.load_state_dict(state["collector"])
    return text


def _restore_rank(run: Run, hooks: Hooks, own: State) -> None:
    _load_buffers(run, own["buffers"])
    run.source.load_state_dict(own["source"])
    if own["loss"]:
        run.loss.load_state_dict(own["loss"])
    hooks.load_state_dict(own["hooks"])
    stats.load_local_state(own["stats"])
    restore_rng(own["rng"])  # last: nothing may draw after it


def _restore_on_other_ranks(run: Run, hooks: Hooks, ranks: list[State]) -> None:
    """Rank 0's part for everybody; counts of all former ranks go to rank 0, random numbers begin anew."""
    first = ranks[0]
    _load_buffers(run, first["buffers"])
    # Not the labels' generator: with one state for all, ranks would ask for the same classes.
    run.source.load_state_dict({"batches": first["source"]["batches"]})
    if first["loss"]:
        run.loss.load_state_dict(first["loss"])
    hooks.load_state_dict(first["hooks"])
    # Fresh counts are summed over ranks later: each may be loaded once only.
    stats.load_local_state(first["stats"] | ({} if processes.rank() == 0 else {"fresh": {}}))
    if processes.rank() == 0:
        for other in ranks[1:]:
            stats.add_fresh(other["stats"]["fresh"])
    # With cur_nimg: a second continuation must not repeat the draws of the first.
    seed = [run.config.random_seed, run.cur_nimg, processes.world_size(), processes.rank()]
    words = np.random.SeedSequence(seed).generate_state(3)
    random.seed(int(words[0]))
    np.random.seed(int(words[1]))
    torch.manual_seed(int(words[2]))


def of_this_version(state: State, path: Path) -> State:
    """The same state, if this program can have written it."""
    written = state.get("format")
    if type(written) is not type(_FORMAT) or written != _FORMAT:
        raise UserError(f"{path} is of another version; continue with that one")
    return state_checks.check_layout(state, path)


def _check(run: Run, hooks: Hooks, state: State) -> None:
    # The saved order of images is an order of these very images.
    if state["fingerprint"] != run.fingerprint:
        raise UserError(
            f"--data={run.dataset.path}: not the same images and labels as this run was started with; give "
            "the place of the same data set, or start a new run with --resume=PKL"
        )
    # Freshly built, the run has everything that a state must fit.
    own = rank_state(run, hooks)
    if type(run.source) is not DatasetSource or run.config.sampler not in ("uniform", "balanced"):
        own["source"] = {}
    columns, rows = grid_size(run.dataset.image_shape)
    widths = {"grid_z": run.G.z_dim, "grid_c": run.G.c_dim}
    grid = {name: torch.empty([columns * rows, width]) for name, width in widths.items()}
    expected = _on_cpu(shared_state(run) | grid | {"ranks": [own]})
    state_checks.check_fits(state, expected, run.opts, run.run_dir / STATE)


def _load_buffers(run: Run, saved: dict[str, torch.Tensor]) -> None:
    modules = run.modules
    for name, value in saved.items():
        network, _, buffer = name.partition(".")
        modules[network].get_buffer(buffer).copy_(value)


def _on_cpu(value: Any) -> Any:
    """The same nesting with all tensors on the CPU."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu()
    if isinstance(value, dict):
        return {key: _on_cpu(item) for key, item in value.items()}
    return type(value)(_on_cpu(item) for item in value) if type(value) in (list, tuple) else value
