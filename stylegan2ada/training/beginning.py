"""How a run begins, or goes on: what is said, what changes in its folder, how much fits on the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stylegan2ada import files, processes
from stylegan2ada.errors import Interrupted
from stylegan2ada.protocols import State
from stylegan2ada.training import run_files, snapshots
from stylegan2ada.training.log import RunLog, cut_back, note, warn
from stylegan2ada.training.memory import fit_memory
from stylegan2ada.training.run import Run
from stylegan2ada.training.run_dir import update_extra, update_record
from stylegan2ada.training.seams import Seams
from stylegan2ada.training.status import announce_cost
from stylegan2ada.training.upkeep import ask_to_run_again


@dataclass(frozen=True)
class Start:
    """How a run begins."""

    state: State | None  # to go on from
    is_continued: bool  # it may be so without a state, if it never came far enough to save one
    when_accepted: Callable[[], None] | None  # called on rank 0
    begin_copy: Callable[[], None]  # of the console, into the log


def go_on(run: Run, start: Start) -> None:
    """The first change to the folder of a run that goes on: nothing is left that could refuse it."""

    def change() -> list[str]:
        run_dir, state = run.run_dir, start.state
        for folder in (
            run_dir,
            *filter(Path.is_dir, (run_dir / run_files.CLASSES, run_dir / run_files.PRIVATE)),
        ):
            files.sweep(folder)
        for leftover in run_dir.glob(f".{run_files.STATE}.*.tmp"):
            leftover.unlink()  # whoever wrote it: nobody but us does now
        if start.when_accepted is not None:
            start.when_accepted()
        gaps = cut_back(run_dir, state["log"] if state is not None else {})
        start.begin_copy()  # its new lines belong behind the cut
        return gaps

    gaps = processes.on_rank0(change)
    if start.state is None:
        processes.print0("Nothing was saved before the run ended: it is begun again, in its folder")
    else:
        processes.print0(f"Continuing at {run.kimg:g} kimg, tick {run.tick}")
    note(run.run_dir, "continued", kimg=run.kimg)
    for gap in gaps:
        warn(run.run_dir, "gap", gap, kimg=run.kimg)


def leave_early(run: Run, start: Start) -> None:
    """Before the first iteration nothing need be saved: who is asked to stop goes at once."""
    if not processes.any_rank(run.stop.is_signalled):
        return
    if start.state is not None:
        ask_to_run_again(run)
    raise Interrupted(f"stopped before the first iteration; --continue={run.run_dir} begins again")


def show_beginning(run: Run, grid: snapshots.Grid, seams: Seams, log: RunLog) -> None:
    if run.config.image_snapshot_ticks is not None:
        snapshots.save_reals(run, grid, is_private=not seams.shows_reals)
        fakes = snapshots.save_fakes(run, grid, is_first=True, compares=seams.shows_reals)
        log.pictures(fakes, step_kimg=0)
    announce_cost(run)
    origin = {"weights_origin": run.card["starts_from"]} if run.card["starts_from"] else {}
    processes.on_rank0(lambda: update_extra(run.run_dir, card=run.card, **origin))


def split_to_fit(run: Run) -> None:
    """Fewer images at once if the device's memory asks for it; accumulation makes up for the rest."""
    batch_gpu = fit_memory(run)
    if batch_gpu < run.config.batch_gpu:
        text = f"Out of memory with {run.config.batch_gpu} images at once; now {batch_gpu}"
        warn(run.run_dir, "memory", text, kimg=run.kimg)
        run.progress.batch_gpu = batch_gpu
        processes.on_rank0(lambda: update_record(run.run_dir, batch_gpu=batch_gpu))
