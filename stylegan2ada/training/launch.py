"""From a decided job to processes that train: alone, in a group that exists, or in one that we start."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from stylegan2ada import locks, processes, provenance
from stylegan2ada.config import TrainConfig, TrainOptions
from stylegan2ada.data.dataset import Dataset
from stylegan2ada.errors import Interrupted, StoppedOnRequest, UserError
from stylegan2ada.ops import choice
from stylegan2ada.protocols import JsonObject
from stylegan2ada.training import config_file, run_files
from stylegan2ada.training import run_dir as folders
from stylegan2ada.training.hooks import Hook
from stylegan2ada.training.seams import Seams


@dataclass(frozen=True)
class Job:
    """One training run as the command decided it; picklable, so that it can be sent to processes."""

    config: TrainConfig
    options: TrainOptions  # the flags that led to it, for the record
    outdir: str
    run_dir: Path | None = None  # None: to be made
    is_continued: bool = False
    hooks: tuple[Hook, ...] = ()
    seams: Seams = field(default_factory=Seams)
    dataset: Dataset | None = None  # as the command opened it; None: every process opens its own
    settings: JsonObject = field(default_factory=dict)  # flags as the command knows them, for config.toml
    record: JsonObject = field(default_factory=dict)  # further facts for the options file
    warnings: tuple[tuple[str, str], ...] = ()  # (code, text) that were told before there was a folder
    has_launcher: bool = False  # this process was started by ours, which holds the folder


def start(job: Job) -> Path:
    """Train until done, in as many processes as the configuration says; the folder of the run."""
    if processes.is_launched() or job.config.num_gpus == 1:
        return run_process(job)
    # Before a folder is made that would stay empty.
    check_devices(job.config, torch.cuda.device_count() if torch.cuda.is_available() else 0)
    job = settled(job, processes.pick_device(job.config.device))
    with contextlib.ExitStack() as held:
        # Here, so that this process knows the folder too: it looks for the processes' word in it.
        job, lock = claim(job, os.environ, held)
        lock.share()
        assert job.run_dir is not None
        try:
            processes.launch(run_process, (dataclasses.replace(job, has_launcher=True),), job.config.num_gpus)
        except (StoppedOnRequest, Interrupted) as stopped:
            # Only the processes know whether they could save; this file is their word.
            if (job.run_dir / folders.REQUEUE_FILE).exists():
                raise StoppedOnRequest(stop_message(job.run_dir)) from None
            raise Interrupted(
                f"{stopped}, before the state could be saved; --continue={job.run_dir} goes on "
                "from the last one, or begins again"
            ) from None
    return job.run_dir


def run_process(job: Job) -> Path:
    """One process of the group: find the run folder, train there."""
    try:
        return _train(job)
    except StoppedOnRequest as stopped:
        # A launcher hears an exit code only, and prints a traceback of whatever was raised.
        if processes.is_launched():
            processes.print0(stopped)
            raise SystemExit(stopped.exit_code) from None
        raise
    except UserError as error:
        if processes.is_launched():
            if not job.has_launcher:
                processes.print0(f"Error: {error}")
            processes.leave_word(error)
            raise SystemExit(error.exit_code) from None
        raise


def _train(job: Job) -> Path:
    from stylegan2ada.training.build import block_precision
    from stylegan2ada.training.loop import train  # the heavy part, once the options are known to be right

    device = processes.pick_device(job.config.device)
    block_precision(job.config.precision, device)  # refused before a folder is made for it
    processes.init(device)
    with contextlib.ExitStack() as held:
        held.callback(processes.close)
        job = processes.on_rank0(lambda: settled(job, device))  # built once, and the same for all
        # One lock per run: rank 0's, who writes all files.
        job = processes.on_rank0(lambda: claim(job, os.environ, held)[0])
        assert job.run_dir is not None
        train(
            job.config,
            job.run_dir,
            device=device,
            hooks=job.hooks,
            is_continued=job.is_continued,
            seams=job.seams,
            dataset=job.dataset,
            when_accepted=lambda: record_start(job, os.environ),
        )
        return job.run_dir


def settled(job: Job, device: torch.device) -> Job:
    """The job with its operations chosen, and built if they are to be: before a folder is made for it."""
    config = job.config
    # A run that took what there was goes on with what there is; one that was told is held to it.
    asked = "auto" if config.ops == "compiled" and job.options.ops != "compiled" else config.ops
    ops = choice.settle(asked, device.type, may_build=True, say=processes.print0)
    graphs = choice.settle_graphs(config.graphs, device.type)
    return dataclasses.replace(job, config=dataclasses.replace(config, ops=ops, graphs=graphs))


def claim(
    job: Job,
    environment: Mapping[str, str],
    held: contextlib.ExitStack,  # which the lock is given to
) -> tuple[Job, locks.Lock]:
    """The job with a folder that exists, and that nobody else writes to."""
    job = with_run_dir(job, environment)
    assert job.run_dir is not None
    scheduled = processes.job_name(environment) or ""
    try:
        lock = locks.hold(
            job.run_dir / run_files.LOCK, str(job.run_dir), job=scheduled, joins=job.has_launcher
        )
        return job, held.enter_context(lock)
    except OSError as error:
        raise _not_writable(job.run_dir, error) from error


def with_run_dir(job: Job, environment: Mapping[str, str]) -> Job:
    """The job with a folder that exists; a restart by the launcher takes the one it had before.

    A new folder gets its options at once. One that is gone on with stays as it is: training may refuse it.
    """
    launch_id = processes.launch_id(environment)
    if job.run_dir is None and launch_id is not None and processes.is_restart(environment):
        job = dataclasses.replace(job, run_dir=folders.started_by(job.outdir, launch_id))
        job = dataclasses.replace(job, is_continued=job.run_dir is not None)
    elif job.run_dir is not None and processes.is_restart(environment):
        job = dataclasses.replace(job, is_continued=True)
    if job.run_dir is None:
        job = dataclasses.replace(job, run_dir=folders.create(job.outdir, job.config.desc))
        record_start(job, environment)
    return job


def record_start(job: Job, environment: Mapping[str, str]) -> None:
    """Write down, in its folder, with what a run begins or goes on."""
    assert job.run_dir is not None
    launch_id = processes.launch_id(environment)
    extra = {**job.record, "provenance": provenance.of_this_program()}
    if launch_id is not None:
        extra["launch_id"] = launch_id
    try:
        folders.write_options(job.run_dir, job.config, job.options, extra)
        before = _settings_before(job) if job.is_continued else {}
        config_file.write(job.run_dir / run_files.CONFIG, before | job.settings)
        # The run is being continued: no scheduler need be asked any more.
        (job.run_dir / folders.REQUEUE_FILE).unlink(missing_ok=True)
        for code, text in job.warnings:
            run_files.add_event(job.run_dir, "warning", kimg=0, code=code, text=text)
    except OSError as error:
        raise _not_writable(job.run_dir, error) from error


def _not_writable(run_dir: Path, error: OSError) -> UserError:
    return UserError(f"cannot write to {run_dir} ({error.strerror}); free space or rights there")


def _settings_before(job: Job) -> JsonObject:
    """What config.toml says of a run that goes on; from its flags if there is none, or a spoilt one."""
    assert job.run_dir is not None
    try:
        return config_file.of_run(job.run_dir)
    except UserError:
        return job.options.given()


def check_devices(config: TrainConfig, count: int) -> None:
    """Refuse more processes than this machine has GPUs, unless they are meant for the CPU."""
    wants_cuda = config.device.startswith("cuda") or (config.device == "auto" and count > 0)
    if wants_cuda and config.num_gpus > count:
        raise UserError(
            f"--gpus={config.num_gpus}, but this machine has {count} GPU(s); use --gpus={max(count, 1)}, "
            "start on more machines with torchrun, or use --device=cpu"
        )


def stop_message(run_dir: Path) -> str:
    return f"stopped on request, state saved; go on with --continue={run_dir}"
