"""The training loop: a step on one screen, and what happens around it in the order it runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from stylegan2ada import files, processes
from stylegan2ada.config import TrainConfig
from stylegan2ada.data.dataset import Dataset
from stylegan2ada.errors import Interrupted, StoppedOnRequest, UserError
from stylegan2ada.images import to_float
from stylegan2ada.losses.draws import Draws
from stylegan2ada.ops.recording import Batch, Steps
from stylegan2ada.protocols import State
from stylegan2ada.training import capture, ema, resume, run_files, snapshots, trackers, watch
from stylegan2ada.training.build import build
from stylegan2ada.training.hooks import Hook, Hooks
from stylegan2ada.training.log import RunLog, Statistics, console_copy, cut_back, note, warn
from stylegan2ada.training.memory import fit_memory
from stylegan2ada.training.phases import Phase, due, rounds
from stylegan2ada.training.run import Run
from stylegan2ada.training.run_dir import update_extra, update_record
from stylegan2ada.training.seams import Seams
from stylegan2ada.training.source import Source
from stylegan2ada.training.status import announce_cost, announce_time, report_progress
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


@dataclass(frozen=True)
class Start:
    """How a run begins."""

    state: State | None  # to go on from
    is_continued: bool  # it may be so without a state, if it never came far enough to save one
    when_accepted: Callable[[], None] | None  # called on rank 0
    begin_copy: Callable[[], None]  # of the console, into the log


def train(
    config: TrainConfig,
    run_dir: Path,  # exists
    *,
    device: torch.device,
    hooks: Sequence[Hook] | None = None,
    is_continued: bool = False,  # go on from the saved state, if there is one
    seams: Seams | None = None,  # who makes the parts; None: the usual makers
    dataset: Dataset | None = None,  # already open; None: as the seams say
    source: Source | None = None,  # of images and latents; None: as the seams say
    draws: Draws | None = None,  # of the loss; None: random
    when_accepted: Callable[[], None] | None = None,  # of a run that goes on: nothing can refuse it any more
) -> Run:
    """Train until done. StoppedOnRequest after SIGTERM or SIGINT, with the state saved.

    A run that goes on is first checked whole; until it is accepted its folder stays as it was.
    """
    stop, seams = processes.StopRequest(), seams or Seams()
    copy = run_dir / run_files.LOG if processes.rank() == 0 else None
    try:
        with stop.listening(), console_copy(copy, waits=is_continued) as begin_copy:
            # Rank 0 looks for all: a shared disk may show the others an older folder.
            state = processes.on_rank0(lambda: resume.find(run_dir)) if is_continued else None
            run = build(
                config,
                run_dir,
                device,
                stop,
                seams,
                dataset=dataset,
                source=source,
                draws=draws,
                card=None if state is None else state["card"],
            )
            try:
                start = Start(state, is_continued, when_accepted, begin_copy)
                _train(run, Hooks(hooks or ()), seams, start)
            finally:
                run.source.close()
    except RuntimeError as error:
        # Of a group that is asked to stop, one may be gone before it could listen; the rest cannot go on.
        if stop.signal and processes.world_size() > 1:
            raise Interrupted(f"stopped by {stop.signal}, before the state could be saved") from error
        raise
    except UserError:  # some are OSErrors, too, and say themselves what is wrong
        raise
    except OSError as error:
        raise UserError(
            f"cannot write to {run_dir} ({error.strerror or error}); make room or give rights there, "
            f"then go on with --continue={run_dir}"
        ) from error
    return run


def _train(run: Run, hooks: Hooks, seams: Seams, start: Start) -> None:
    state = start.state
    other_draws = None if state is None else resume.restore(run, hooks, state)
    if not start.is_continued:
        note(run.run_dir, "started", kimg=run.kimg)
    # What starting draws was drawn when the run began; the saved generators are past it.
    with snapshots.untouched_draws() if state is not None else contextlib.nullcontext():
        run.loss.start(run)
        hooks.on_start(run)
    if start.is_continued:
        _go_on(run, start)
    if other_draws:
        warn(run.run_dir, "ranks", other_draws, kimg=run.kimg)
    _leave_early(run, start)
    # A run that goes on has found its split already.
    if state is None and run.device.type == "cuda":
        _split_to_fit(run)
    grid = snapshots.Grid.choose(run) if state is None else snapshots.Grid.from_state(run, state)
    continues_at = None if state is None else run.cur_nimg // 1000
    log = RunLog(
        run.run_dir,
        continues_at=continues_at,
        private=seams.private_statistics,
        services=run.config.log,
        settings=trackers.settings_of(run.config),
    )
    try:
        if state is None:
            _show_beginning(run, grid, seams, log)
            _leave_early(run, start)
        if run.is_done:
            processes.print0(f"Nothing left to do: {run.kimg:g} kimg are trained; raise --kimg to go on")
        else:
            clock, timer = Clock(run.progress.elapsed_sec), PhaseTimer(run.device)
            steps = capture.steps_for(run, hooks)
            _run_ticks(run, Upkeep(hooks, seams, grid, log, clock, timer, steps))
            processes.print0("\nFinished")
        note(run.run_dir, "finished", kimg=run.kimg)
    finally:
        log.close()


def _go_on(run: Run, start: Start) -> None:
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


def _leave_early(run: Run, start: Start) -> None:
    """Before the first iteration nothing need be saved: who is asked to stop goes at once."""
    if not processes.any_rank(run.stop.is_signalled):
        return
    if start.state is not None:
        ask_to_run_again(run)
    raise Interrupted(f"stopped before the first iteration; --continue={run.run_dir} begins again")


def _show_beginning(run: Run, grid: snapshots.Grid, seams: Seams, log: RunLog) -> None:
    if run.config.image_snapshot_ticks is not None:
        snapshots.save_reals(run, grid, is_private=not seams.shows_reals)
        fakes = snapshots.save_fakes(run, grid, is_first=True, compares=seams.shows_reals)
        log.pictures(fakes, step_kimg=0)
    announce_cost(run)
    origin = {"weights_origin": run.card["starts_from"]} if run.card["starts_from"] else {}
    processes.on_rank0(lambda: update_extra(run.run_dir, card=run.card, **origin))


def _run_ticks(run: Run, upkeep: Upkeep) -> None:
    state_sec = None if run.config.state_minutes is None else run.config.state_minutes * 60
    while not run.is_done:
        step(run, upkeep.hooks, upkeep.timer, upkeep.steps)
        tick_end_nimg = run.progress.tick_start_nimg + run.config.kimg_per_tick * 1000
        has_saved = False
        # upstream: tick 0 is a single batch, so that the first line comes at once.
        if run.is_done or run.tick == 0 or run.cur_nimg >= tick_end_nimg:
            has_saved = finish_tick(run, upkeep)
        # Ranks agree on what comes next, or one would wait for the others for ever.
        is_late = state_sec is not None and upkeep.clock.since_save_sec() >= state_sec
        wish = processes.highest(2 if run.stop.signal else 1 if is_late else 0)
        if wish and not has_saved:
            save_state(run, upkeep)
        if wish == 2 and not run.is_done:
            ask_to_run_again(run)


def step(run: Run, hooks: Hooks, timer: PhaseTimer, steps: Steps) -> None:
    """One batch: every phase that is due, then the moving average and the augmentation's strength."""
    config, progress = run.config, run.progress
    reals, real_c = run.source.reals()  # uint8 [B, C, H, W], [B, c_dim]
    real_img = to_float(reals)
    for phase in due(run.phases, run.iteration):
        gen_z, gen_c = run.source.latents(phase.name)
        with timer.of(phase.name):
            work, facts_now = partial(train_phase, run, hooks, phase), partial(capture.facts_of, run, phase)
            steps.run(phase.name, (real_img, real_c, gen_z, gen_c), work, facts_now)
            hooks.after_step(phase)
    ema.update(run.G_ema, run.G, config.batch_size, run.cur_nimg, config.ema_kimg, config.ema_rampup)
    progress.cur_nimg += config.batch_size
    progress.iteration += 1
    if run.ada is not None:
        run.ada.after_iteration(run.iteration)


def train_phase(run: Run, hooks: Hooks, phase: Phase, batch: Batch) -> None:
    """Gradients and step of one phase: all that a recording replays."""
    accumulate(run, hooks, phase, batch)
    hooks.after_backward(phase)
    phase.reduce_and_step()
    run.loss.after_step(phase)


def accumulate(
    run: Run,
    hooks: Hooks,
    phase: Phase,
    batch: Batch,  # images and their labels, latents and theirs
) -> None:
    """The gradients of one phase on this rank, as many samples at once as fit."""
    phase.start()
    is_empty = True
    for real_img, real_c, gen_z, gen_c in rounds(run.progress.batch_gpu, *batch):
        is_empty = False
        # `sync` is for losses written for upstream; reduce_and_step adds up the ranks, whatever it says.
        run.loss.accumulate_gradients(phase.name, real_img, real_c, gen_z, gen_c, sync=True, gain=phase.gain)
        hooks.after_part(phase)
    if is_empty:
        phase.no_samples()


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


def _split_to_fit(run: Run) -> None:
    """Fewer images at once if the device's memory asks for it; accumulation makes up for the rest."""
    batch_gpu = fit_memory(run)
    if batch_gpu < run.config.batch_gpu:
        text = f"Out of memory with {run.config.batch_gpu} images at once; now {batch_gpu}"
        warn(run.run_dir, "memory", text, kimg=run.kimg)
        run.progress.batch_gpu = batch_gpu
        processes.on_rank0(lambda: update_record(run.run_dir, batch_gpu=batch_gpu))


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
