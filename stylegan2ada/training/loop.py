"""The training loop: a run from its start to its end, and a step on one screen."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from stylegan2ada import processes
from stylegan2ada.config import TrainConfig
from stylegan2ada.data.dataset import Dataset
from stylegan2ada.errors import Interrupted, UserError
from stylegan2ada.images import to_float
from stylegan2ada.losses.draws import Draws
from stylegan2ada.ops.recording import Batch, Steps
from stylegan2ada.training import capture, ema, resume, run_files, snapshots, trackers
from stylegan2ada.training.beginning import Start, go_on, leave_early, show_beginning, split_to_fit
from stylegan2ada.training.build import build
from stylegan2ada.training.hooks import Hook, Hooks
from stylegan2ada.training.log import RunLog, console_copy, note, warn
from stylegan2ada.training.phases import Phase, due, rounds
from stylegan2ada.training.run import Run
from stylegan2ada.training.seams import Seams
from stylegan2ada.training.source import Source
from stylegan2ada.training.timing import Clock, PhaseTimer
from stylegan2ada.training.upkeep import Upkeep, ask_to_run_again, finish_tick, save_state


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
        go_on(run, start)
    if other_draws:
        warn(run.run_dir, "ranks", other_draws, kimg=run.kimg)
    leave_early(run, start)
    # A run that goes on has found its split already.
    if state is None and run.device.type == "cuda":
        split_to_fit(run)
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
            show_beginning(run, grid, seams, log)
            leave_early(run, start)
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
