"""What happens around the steps: the end of a tick, the saved state, what ends a run before its time."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from stylegan2ada import processes
from stylegan2ada.errors import StoppedOnRequest
from stylegan2ada.ops.recording import Steps
from stylegan2ada.training import resume, run_files, snapshots, watch
from stylegan2ada.training.hooks import Hooks
from stylegan2ada.training.log import RunLog, Statistics, note, warn
from stylegan2ada.training.run import Run
from stylegan2ada.training.seams import Seams
from stylegan2ada.training.status import announce_time, report_progress
from stylegan2ada.training.timing import Clock, PhaseTimer


@dataclass(frozen=True)
class Upkeep:
    """What happens around the steps: who is called, what is written, what is shown."""

    hooks: Hooks
    seams: Seams
    grid: snapshots.Grid
    log: RunLog
    clock: Clock
    timer: PhaseTimer
    steps: Steps


def finish_tick(run: Run, upkeep: Upkeep) -> bool:
    """Report, show, keep, measure; True if the state was saved."""
    config, clock, progress = run.config, upkeep.clock, run.progress
    clock.end_tick()
    report_progress(run, clock, upkeep.timer)
    _guard(run, {})
    shows = _is_turn(run, config.image_snapshot_ticks)
    keeps = _is_turn(run, config.network_snapshot_ticks)
    if shows:
        fakes = snapshots.save_fakes(run, upkeep.grid, compares=upkeep.seams.shows_reals)
        upkeep.log.pictures(fakes, step_kimg=run.cur_nimg // 1000)
    if keeps:
        path = snapshots.save_networks(run, upkeep.seams.save)
        snapshots.measure(run, upkeep.log, path, wall_sec=clock.total_sec())
        upkeep.hooks.on_snapshot(run, path)
    run.collector.update()
    statistics = run.collector.as_dict()
    upkeep.log.write(statistics, step_kimg=run.cur_nimg // 1000, wall_sec=clock.total_sec())
    _guard(run, statistics)
    _warn_of_leak(run)
    if run.tick == 1:
        announce_time(run, clock)
    progress.tick += 1
    progress.tick_start_nimg = run.cur_nimg
    # Behind the counters: a continued run begins with the next tick.
    if keeps:
        save_state(run, upkeep)
    clock.start_tick()
    return keeps


def save_state(run: Run, upkeep: Upkeep) -> None:
    """Everything that --continue needs; never over a good state with a broken one."""
    _guard(run, {})
    run.progress.elapsed_sec = upkeep.clock.total_sec()
    resume.save(run, upkeep.hooks, upkeep.grid, upkeep.log)
    note(run.run_dir, "saved", kimg=run.kimg)
    upkeep.clock.saved()


def ask_to_run_again(run: Run) -> None:
    """Leave with the state saved, and with a file that says so to schedulers."""

    def tell() -> None:
        (run.run_dir / run_files.REQUEUE).write_text("run again with --continue\n")
        note(run.run_dir, "stopped", kimg=run.kimg, text=f"by {run.stop.signal}" if run.stop.signal else "")

    processes.on_rank0(tell)
    raise StoppedOnRequest(f"stopped on request, state saved; go on with --continue={run.run_dir}")


def _guard(run: Run, statistics: Statistics) -> None:
    """Stop a run that cannot recover, before a good state is overwritten; ranks stop together."""
    reason = ""
    try:
        watch.check_numbers(statistics, {"G": run.G, "D": run.D, "G_ema": run.G_ema})
    except watch.Diverged as error:
        reason = str(error)
    found = next((text for text in processes.all_ranks(reason) if text), None)
    if found is None:
        return
    state = run.run_dir / run_files.STATE
    last = f"the last good state is kept in {state}" if state.exists() else "no state was saved yet"
    with contextlib.suppress(OSError):  # a full disk must not hide the reason
        note(run.run_dir, "diverged", kimg=run.kimg, text=found)
    raise watch.Diverged(
        f"training diverged at {run.kimg:g} kimg: {found}; {last}. A larger --gamma, --fp32=1 or "
        "a look at the training images may help"
    )


def _warn_of_leak(run: Run) -> None:
    warning = watch.leak_warning(run.p, run.progress.warned_p)
    run.progress.warned_p = run.p
    if warning is not None:
        warn(run.run_dir, "leak", warning, kimg=run.kimg)


def _is_turn(run: Run, every: int | None) -> bool:
    return every is not None and (run.is_done or run.tick % every == 0)
