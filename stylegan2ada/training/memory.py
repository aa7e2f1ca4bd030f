"""How many images fit on the device at once: tried before the first step, without leaving a trace."""

from __future__ import annotations

from collections.abc import Callable

import torch

from stylegan2ada import processes, stats
from stylegan2ada.checkpoints.training_state import capture_rng, restore_rng
from stylegan2ada.errors import UserError
from stylegan2ada.training.run import Run


def fit_memory(run: Run) -> int:
    """The largest number of images at once, up to the configured one, that the device's memory can hold.

    Each phase is tried once; nothing that the run depends on is left changed.
    """
    share = run.config.batch_size // run.config.num_gpus

    def attempt(size: int) -> None:
        # Zeros will do: only sizes count.
        shape = [size, run.G.img_channels, run.G.img_resolution, run.G.img_resolution]
        img = torch.zeros(shape, device=run.device)
        c = torch.zeros([size, run.G.c_dim], device=run.device)
        z = torch.zeros([size, run.G.z_dim], device=run.device)
        for phase in run.phases:
            phase.start()
            try:
                run.loss.accumulate_gradients(phase.name, img, c, z, c, sync=True, gain=phase.gain)
            finally:
                phase.module.requires_grad_(False)
                phase.opt.zero_grad(set_to_none=True)

    # All that a trial touches: draws, counts, the loss's own state, running averages in G.
    draws, counts = capture_rng(), stats.local_state()
    loss_state = run.loss.state_dict()
    ada_state = None if run.ada is None else run.ada.state_dict()
    buffers = {name: buffer.clone() for name, buffer in run.G.named_buffers()}
    try:
        found = fitting_batch_gpu(run.config.batch_gpu, attempt, share)
    finally:
        for name, buffer in run.G.named_buffers():
            buffer.copy_(buffers[name])
        run.loss.load_state_dict(loss_state)
        stats.load_local_state(counts)
        if run.ada is not None and ada_state is not None:
            run.ada.load_state_dict(ada_state)
        restore_rng(draws)
    return -processes.highest(-found)  # the tightest device decides for all


def fitting_batch_gpu(batch_gpu: int, attempt: Callable[[int], None], share: int) -> int:
    """The largest divisor of `share`, up to batch_gpu, with which `attempt` does not run out of memory."""
    for size in range(batch_gpu, 0, -1):
        # Divisors only, so that all rounds are of one size.
        if share % size:
            continue
        try:
            attempt(size)
            return size
        except torch.OutOfMemoryError:
            # What the failed attempt left in torch's cache is cut to sizes that no longer fit.
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
    raise UserError("one image at a time is too much for this device's memory; use smaller --cbase or images")
