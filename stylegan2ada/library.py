"""What notebooks have of the commands: training with flags as arguments, networks by their runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from stylegan2ada import checkpoints, from_python, ops, stats, synthesis, train
from stylegan2ada.checkpoints.training_state import capture_rng, restore_rng
from stylegan2ada.config import TrainOptions
from stylegan2ada.errors import UserError
from stylegan2ada.protocols import Networks
from stylegan2ada.training import run_files
from stylegan2ada.training.hooks import Hook


def load_network(
    place: str | os.PathLike[str],  # file or URL; a run folder: its newest, also RUN/best:METRIC
    *,
    grey_from_rgb: bool = False,  # fold an RGB network to one that makes and judges grey images
    log: Callable[[str], None] = print,
) -> Networks:
    """The networks in a file, by the keys of upstream's pickles, and the card of the file.

    Every format there is, by content; code inside a file is never run. Modules come in eval mode, on the CPU
    and without gradients.

    >>> networks = sg.load_network("network.pkl")
    >>> networks["G_ema"].img_resolution, networks["D"].c_dim, networks["card"]["format"]
    (8, 2, 'official')
    """
    file = run_files.network_in(os.fspath(place))
    return synthesis.remember_card(checkpoints.load_network(file, grey_from_rgb=grey_from_rgb, log=log))


def train_network(
    data: str | os.PathLike[str] | None = None,  # zip or folder of images; a run that goes on knows its own
    outdir: str | os.PathLike[str] | None = None,  # the run gets a new folder in it
    *,
    continue_run: str | os.PathLike[str] | None = None,  # folder of a stopped run, or "latest" of outdir
    hooks: Sequence[Hook] = (),  # called at the seams of the step; picklable for gpus above 1
    quiet: bool = False,  # print into the run's log.txt only
    **flags: object,  # of `train`, by their Python names
) -> Path:
    """Train as `train.py` does, until done; returns the folder of the run.

    A flag that may be given several times takes a list, NAME=VALUE flags take a dictionary. Interrupting
    (Ctrl-C, the stop button of a notebook) saves the state and raises StoppedOnRequest; continue_run goes
    on exactly there. Random generators and statistics of the caller are afterwards as they were.

    >>> run = sg.train_network("images.zip", "runs", cond=True, aug="noaug", kimg=1, batch=256,
    ...                        cbase=64, cmax=4, metrics=(), quiet=True)
    >>> run.name
    '00000-images-cond-auto1-kimg1-batch256-noaug'
    >>> sorted(path.name for path in run.glob("*.pkl"))
    ['network-snapshot-000000.pkl', 'network-snapshot-000001.pkl']
    """
    if flags.pop("dry_run", False):
        raise UserError("a dry run makes no folder to return; `train.py --dry-run` shows what would be done")
    given = {"data": data, "outdir": outdir, "continue_run": continue_run, **flags}
    asked = TrainOptions(**from_python.parsed(train.main, given))
    with _caller_undisturbed(), _silence() if quiet else contextlib.nullcontext():
        run = train.run(asked, hooks=hooks)
    assert run is not None  # only a dry run has no folder
    return run


@contextlib.contextmanager
def _caller_undisturbed() -> Iterator[None]:
    """A run seeds, counts and switches as if the process were its own; give back what was there before."""
    draws, counts, impl = capture_rng(), stats.local_state(), ops.pick_impl("auto")
    cudnn = torch.backends.cudnn
    benchmark, tf32, precision = cudnn.benchmark, cudnn.allow_tf32, torch.get_float32_matmul_precision()
    try:
        yield
    finally:
        restore_rng(draws)
        stats.load_local_state(counts)
        ops.set_default(impl)
        cudnn.benchmark, cudnn.allow_tf32 = benchmark, tf32
        torch.set_float32_matmul_precision(precision)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """What is printed goes nowhere; a run in between copies it to its log all the same."""
    with (
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield
