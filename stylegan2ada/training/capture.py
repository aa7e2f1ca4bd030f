"""Which phases of a run may be recorded, and what a recording of one depends on.

Launching thousands of small kernels takes the host longer than the GPU needs to run them; `ops.recording`
replays a phase instead. What hooks, losses and terms do on the host must not change from step to step.
"""

from __future__ import annotations

from collections.abc import Hashable

from stylegan2ada import processes
from stylegan2ada.ops.recording import CudaGraphs, Steps
from stylegan2ada.training.hooks import Hook, Hooks
from stylegan2ada.training.optimisers import settings
from stylegan2ada.training.phases import Phase
from stylegan2ada.training.run import Run

_WITHIN = ("after_part", "after_backward")  # hooks between gradients and step


def steps_for(run: Run, hooks: Hooks) -> Steps:
    """Recorded steps where the run asks for them and can have them; one line where it cannot."""
    if run.config.graphs != "on" or run.device.type != "cuda":
        return Steps()
    if (reason := obstacle(run, hooks)) is not None:
        processes.print0(f"--graphs: no CUDA graphs in this run: {reason}")
        return Steps()
    return Steps(CudaGraphs(run.device))


def obstacle(run: Run, hooks: Hooks) -> str | None:
    """Why no step of this run may be recorded; None if that remains to be seen."""
    if processes.is_initialized() and processes.world_size() > 1:
        return "several processes exchange gradients within a step"
    for hook in hooks:
        # Of the object, not of its class: a method may have been put in place.
        found = [getattr(getattr(hook, name), "__func__", None) for name in _WITHIN]
        if found != [getattr(Hook, name) for name in _WITHIN]:
            return f"hook {type(hook).__name__} works between gradients and step"
    for phase in run.phases:
        if phase.reduce is not None:
            return f"{phase.name} reduces its gradients in a way of its own"
    return run.loss.why_not_recorded()


def facts_of(run: Run, phase: Phase) -> Hashable:
    """What a phase depends on beside tensors."""
    return run.progress.batch_gpu, phase.gain, repr(settings(phase.opt)), run.loss.facts()
