"""What a run says of its own course: what it will cost, and a line per tick."""

from __future__ import annotations

import shutil

import torch

from stylegan2ada import processes, stats
from stylegan2ada.training.log import warn
from stylegan2ada.training.run import Run
from stylegan2ada.training.timing import Clock, PhaseTimer, memory_gb


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
        text = "that is more than the disk has; use --keep-snapshots=N or a larger --snap"
        warn(run.run_dir, "disk", text, kimg=run.kimg)


def announce_time(run: Run, clock: Clock) -> None:
    """How long the whole run will take, once a tick has shown the pace."""
    if not run.fingerprint:
        return  # images that may not be known by their hash may not be by their pace, either
    sec_per_kimg = clock.tick_sec / max((run.cur_nimg - run.progress.tick_start_nimg) / 1000, 1e-9)
    whole = stats.format_time(sec_per_kimg * run.config.total_kimg)
    processes.print0(f"Cost: {sec_per_kimg:.2f} sec/kimg, so {whole} for the whole run, metrics not counted")


def report_progress(run: Run, clock: Clock, timer: PhaseTimer) -> None:
    """The status line, and the same numbers for stats.jsonl; names and order are upstream's."""
    config = run.config
    tick_kimg = (run.cur_nimg - run.progress.tick_start_nimg) / 1000
    total_sec = clock.total_sec()
    cpu_gb, gpu_gb = memory_gb(run.device)
    sec_per_kimg = clock.tick_sec / max(tick_kimg, 1e-9)
    rows = {
        "Progress/tick": run.tick,
        "Progress/kimg": run.kimg,
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
    left_sec = sec_per_kimg * max(config.total_kimg - run.kimg, 0)
    if not run.fingerprint:
        processes.print0(f"tick {run.tick:<5d} kimg {run.kimg:<8.1f} augment {run.p:.3f}")
        return
    processes.print0(
        f"tick {run.tick:<5d} kimg {run.kimg:<8.1f} time {stats.format_time(total_sec):<12s} "
        f"sec/tick {clock.tick_sec:<7.1f} sec/kimg {sec_per_kimg:<7.2f} "
        f"maintenance {clock.maintenance_sec:<6.1f} cpumem {cpu_gb:<6.2f} gpumem {gpu_gb:<6.2f} "
        f"augment {run.p:.3f} left {stats.format_time(left_sec)}"
    )


def _nbytes(module: torch.nn.Module) -> int:
    return sum(tensor.nbytes for tensor in [*module.parameters(), *module.buffers()])
