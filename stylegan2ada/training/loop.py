"""The training loop: a step on one screen, and what happens around it in the order it runs."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from stylegan2ada import processes, stats
from stylegan2ada.config import TrainConfig
from stylegan2ada.errors import StoppedOnRequest, UserError
from stylegan2ada.images import to_float
from stylegan2ada.training import ema, resume, snapshots, watch
from stylegan2ada.training.build import Run, build
from stylegan2ada.training.hooks import Hooks
from stylegan2ada.training.log import RunLog, console_copy, cut_back
from stylegan2ada.training.memory import fit_memory
from stylegan2ada.training.phases import due, rounds
from stylegan2ada.training.run_dir import REQUEUE_FILE, STATE_FILE, update_extra, update_record
from stylegan2ada.training.source import Source
from stylegan2ada.training.timing import Clock, PhaseTimer, memory_gb


def train(
    config: TrainConfig,
    run_dir: Path,  # exists
    *,
    device: torch.device,
    hooks: Hooks | None = None,
    is_continued: bool = False,  # go on from the saved state, if there is one
    source: Source | None = None,  # of images and latents; None: the data set
    draws: Any = None,  # of the loss; None: random
) -> Run:
    """Train until done. StoppedOnRequest after SIGTERM or SIGINT, with the state saved."""
    stop = processes.StopRequest()
    try:
        state = processes.on_rank0(lambda: resume.find(run_dir)) if is_continued else None
        if is_continued and processes.rank() == 0:
            cut_back(run_dir, state["log"] if state else {})
        copy = run_dir / "log.txt" if processes.rank() == 0 else None
        with stop.listening(), console_copy(copy):
            given = {"source": source, "draws": draws, "is_new": state is None}
            run = build(config, run_dir, device, hooks or Hooks(), stop, **given)
            try:
                _train(run, state)
            finally:
                run.source.close()
    except OSError as error:
        raise UserError(
            f"cannot write to {run_dir} ({error.strerror or error}); make room or give rights there, "
            f"then go on with --continue={run_dir}"
        ) from error
    return run


def _train(run: Run, state: dict[str, Any] | None) -> None:
    if state is not None:
        resume.restore(run, state)
        processes.print0(f"Continuing at {run.cur_nimg / 1000:g} kimg, tick {run.tick}")
    with snapshots.untouched_draws() if state is not None else contextlib.nullcontext():
        if hasattr(run.loss, "start"):
            run.loss.start(run)
        run.hooks.on_start(run)
    if state is None and run.device.type == "cuda":
        _split_to_fit(run)
    snapshots.prepare_grid(run)
    log = RunLog(run.run_dir, continues_at=run.cur_nimg // 1000 if state else None)
    try:
        if state is None:
            if run.config.image_snapshot_ticks is not None:
                snapshots.save_reals(run)
                snapshots.save_fakes(run, "fakes_init")
            announce_cost(run)
            processes.on_rank0(lambda: update_extra(run.run_dir, card=run.card))
        if run.is_done:
            processes.print0(
                f"Nothing left to do: {run.cur_nimg / 1000:g} kimg are trained; raise --kimg to go on"
            )
            return
        _run_ticks(run, log, Clock(run.elapsed_sec))
    finally:
        log.close()


def _run_ticks(run: Run, log: RunLog, clock: Clock) -> None:
    timer = PhaseTimer(run.device)
    state_sec = None if run.config.state_minutes is None else run.config.state_minutes * 60
    while not run.is_done:
        step(run, timer)
        tick_end_nimg = run.tick_start_nimg + run.config.kimg_per_tick * 1000
        has_saved = False
        if run.is_done or run.tick == 0 or run.cur_nimg >= tick_end_nimg:
            has_saved = finish_tick(run, log, clock, timer)
        # Ranks agree on what comes next, or one would wait for the others for ever.
        is_late = state_sec is not None and clock.since_save_sec() >= state_sec
        wish = processes.highest(2 if run.stop.signal else 1 if is_late else 0)
        if wish and not has_saved:
            save_state(run, log, clock)
        if wish == 2 and not run.is_done:
            processes.on_rank0(lambda: (run.run_dir / REQUEUE_FILE).write_text("run again with --continue\n"))
            raise StoppedOnRequest(f"stopped on request, state saved; go on with --continue={run.run_dir}")
    processes.print0("\nFinished")


def step(run: Run, timer: PhaseTimer) -> None:
    """One batch: every phase that is due, then the moving average and the augmentation's strength."""
    config = run.config
    reals, real_c = run.source.reals()  # uint8 [B, C, H, W], [B, c_dim]
    real_img = to_float(reals)
    for phase in due(run.phases, run.iteration):
        gen_z, gen_c = run.source.latents(phase.name)
        with timer.of(phase.name):
            phase.start()
            for part in rounds(config.batch_gpu, real_img, real_c, gen_z, gen_c):
                run.loss.accumulate_gradients(phase.name, *part, sync=True, gain=phase.gain)
                run.hooks.after_part(phase)
            run.hooks.after_backward(phase)
            phase.reduce_and_step()
            if hasattr(run.loss, "after_step"):
                run.loss.after_step(phase)
            run.hooks.after_step(phase)
    ema.update(run.G_ema, run.G, config.batch_size, run.cur_nimg, config.ema_kimg, config.ema_rampup)
    run.cur_nimg += config.batch_size
    run.iteration += 1
    if run.ada is not None:
        run.ada.after_iteration(run.iteration)


def finish_tick(run: Run, log: RunLog, clock: Clock, timer: PhaseTimer) -> bool:
    """Report, show, keep, measure; True if the state was saved."""
    config = run.config
    clock.end_tick()
    _report_progress(run, clock, timer)
    _guard(run, {})
    shows = _is_turn(run, config.image_snapshot_ticks)
    keeps = _is_turn(run, config.network_snapshot_ticks)
    if shows:
        snapshots.save_fakes(run, f"fakes{run.cur_nimg // 1000:06d}")
    if keeps:
        path = snapshots.save_networks(run)
        snapshots.measure(run, log, path, wall_sec=clock.total_sec())
        run.hooks.on_snapshot(run, path)
    run.collector.update()
    statistics = run.collector.as_dict()
    log.write(statistics, step_kimg=run.cur_nimg // 1000, wall_sec=clock.total_sec())
    _guard(run, statistics)
    _warn_of_leak(run)
    if run.tick == 1:
        _announce_time(run, clock)
    run.tick += 1
    run.tick_start_nimg = run.cur_nimg
    if keeps:
        save_state(run, log, clock)
    clock.start_tick()
    return keeps


def save_state(run: Run, log: RunLog, clock: Clock) -> None:
    """Everything that --continue needs; never over a good state with a broken one."""
    _guard(run, {})
    resume.save(run, log, clock.total_sec())
    clock.saved()


def _split_to_fit(run: Run) -> None:
    """Fewer images at once if the device's memory asks for it; accumulation makes up for the rest."""
    batch_gpu = fit_memory(run)
    if batch_gpu < run.config.batch_gpu:
        processes.print0(f"Out of memory with {run.config.batch_gpu} images at once; now {batch_gpu}")
        run.config = replace(run.config, batch_gpu=batch_gpu)
        processes.on_rank0(lambda: update_record(run.run_dir, batch_gpu=batch_gpu))


def announce_cost(run: Run) -> None:
    """What this run will take, as far as it is known before the first step."""
    config = run.config
    ticks = max(config.total_kimg / config.kimg_per_tick, 1)
    per_network = [_nbytes(module) for module in (run.G, run.D, run.G_ema)]
    kept = ticks // max(config.network_snapshot_ticks or ticks, 1) + 2
    if config.keep_snapshots is not None:
        kept = min(kept, config.keep_snapshots)
    # Two states (the newest and the one before), each with Adam's two moments of G and D.
    states = 2 * (sum(per_network) + 2 * sum(per_network[:2]))
    need_gb = (kept * sum(per_network) + states) / 2**30
    free_gb = shutil.disk_usage(run.run_dir).free / 2**30
    processes.print0(
        f"Cost: {config.total_kimg:g} kimg in {config.total_kimg * 1000 / config.batch_size:.0f} iterations, "
        f"{ticks:.0f} ticks; {kept:.0f} network snapshots and the state take about {need_gb:.2f} GB "
        f"({free_gb:.1f} GB are free). Time is told after tick 1."
    )
    if need_gb > free_gb:
        processes.print0("Warning: that is more than the disk has; use --keep-snapshots=N or a larger --snap")


def _announce_time(run: Run, clock: Clock) -> None:
    sec_per_kimg = clock.tick_sec / max((run.cur_nimg - run.tick_start_nimg) / 1000, 1e-9)
    whole = stats.format_time(sec_per_kimg * run.config.total_kimg)
    processes.print0(f"Cost: {sec_per_kimg:.2f} sec/kimg, so {whole} for the whole run, metrics not counted")


def _report_progress(run: Run, clock: Clock, timer: PhaseTimer) -> None:
    """The status line, and the same numbers for stats.jsonl; names and order are upstream's."""
    config = run.config
    tick_kimg = (run.cur_nimg - run.tick_start_nimg) / 1000
    total_sec = clock.total_sec()
    cpu_gb, gpu_gb = memory_gb(run.device)
    sec_per_kimg = clock.tick_sec / max(tick_kimg, 1e-9)
    rows = {
        "Progress/tick": run.tick,
        "Progress/kimg": run.cur_nimg / 1000,
        "Timing/total_sec": total_sec,
        "Timing/sec_per_tick": clock.tick_sec,
        "Timing/sec_per_kimg": sec_per_kimg,
        "Timing/maintenance_sec": clock.maintenance_sec,
        "Resources/cpu_mem_gb": cpu_gb,
        "Resources/peak_gpu_mem_gb": gpu_gb,
        "Progress/augment": run.p,
        "Timing/total_hours": total_sec / 3600,
        "Timing/total_days": total_sec / 86400,
    }
    rows |= {f"Timing/{name}": milliseconds for name, milliseconds in timer.latest().items()}
    rows["Timing/data_wait"] = clock.share_of_tick(run.source.wait_sec)  # ours: share of the tick
    for name, value in rows.items():
        stats.report0(name, value)
    left_sec = sec_per_kimg * max(config.total_kimg - run.cur_nimg / 1000, 0)
    processes.print0(
        f"tick {run.tick:<5d} kimg {run.cur_nimg / 1000:<8.1f} time {stats.format_time(total_sec):<12s} "
        f"sec/tick {clock.tick_sec:<7.1f} sec/kimg {sec_per_kimg:<7.2f} "
        f"maintenance {clock.maintenance_sec:<6.1f} cpumem {cpu_gb:<6.2f} gpumem {gpu_gb:<6.2f} "
        f"augment {run.p:.3f} left {stats.format_time(left_sec)}"
    )


def _guard(run: Run, statistics: dict[str, Any]) -> None:
    """Stop a run that cannot recover, before a good state is overwritten; ranks stop together."""
    reason = ""
    try:
        watch.check_numbers(statistics, {"G": run.G, "D": run.D, "G_ema": run.G_ema})
    except watch.Diverged as error:
        reason = str(error)
    found = next((text for text in processes.all_ranks(reason) if text), None)
    if found is None:
        return
    has_state = (run.run_dir / STATE_FILE).exists()
    last = (
        f"the last good state is kept in {run.run_dir / STATE_FILE}"
        if has_state
        else "no state was saved yet"
    )
    raise watch.Diverged(
        f"training diverged at {run.cur_nimg / 1000:g} kimg: {found}; {last}. A larger --gamma, --fp32=1 or "
        "a look at the training images may help"
    )


def _warn_of_leak(run: Run) -> None:
    warning = watch.leak_warning(run.p, run.warned_p)
    run.warned_p = run.p
    if warning is not None:
        processes.print0(f"Warning: {warning}")


def _is_turn(run: Run, every: int | None) -> bool:
    return every is not None and (run.is_done or run.tick % every == 0)


def _nbytes(module: torch.nn.Module) -> int:
    return sum(tensor.nbytes for tensor in [*module.parameters(), *module.buffers()])
