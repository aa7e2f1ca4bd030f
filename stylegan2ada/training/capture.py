"""A phase's step as a recording: after a few ordinary times its kernels are replayed as one CUDA graph.

Launching thousands of small kernels takes the host longer than the GPU needs to run them. A graph is
launched at once, but it holds addresses and numbers as they were: inputs are copied to one place, tensors
that training changes stay where they are, and what the host decides must not change. So a phase runs
ordinarily at first, is watched once, and is recorded only if nothing was read back; else it goes on so.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from stylegan2ada import processes
from stylegan2ada.training.hooks import Hook, Hooks
from stylegan2ada.training.optimisers import settings
from stylegan2ada.training.phases import Phase
from stylegan2ada.training.run import Run
from stylegan2ada.training.watching import Watch

_WITHIN = ("after_part", "after_backward")  # hooks between gradients and step
WARM_UP = 2  # ordinary times before the watched one: kernels are tuned, counters and gradients made

Batch = tuple[Tensor, ...]  # images and their labels, latents and theirs
Work = Callable[[Batch], None]


class Recorder(Protocol):
    """Who can do a piece of work again without its Python."""

    def ordinarily(self, work: Callable[[], None]) -> None:
        """Do it now, under the conditions of a recording."""
        ...

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Do it now, too; what is returned does it again."""
        ...


class CudaGraphs:
    """Recordings as CUDA graphs. They share memory: one runs at a time, and none leaves anything in it."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def ordinarily(self, work: Callable[[], None]) -> None:
        # The stream of the recording: autograd remembers on which one a parameter was first used.
        here = torch.cuda.current_stream()
        self._stream.wait_stream(here)
        with torch.cuda.stream(self._stream):
            work()
        here.wait_stream(self._stream)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):  # waits; runs nothing
            work()
        graph.replay()
        return graph.replay


@dataclass(frozen=True)
class _Recording:
    inputs: Batch  # where it reads
    facts: Hashable  # what the host had decided
    replay: Callable[[], None]


@dataclass
class _Known:
    """What is known of one phase."""

    times: int = 0
    facts: Hashable = None  # at the last time
    is_watched: bool = False
    is_given_up: bool = False
    recording: _Recording | None = None


@dataclass
class Steps:
    """Runs the phases of a run, by recordings where that is possible."""

    recorder: Recorder | None = None  # None: ordinarily, always
    say: Callable[[str], None] = processes.print0
    _known: dict[str, _Known] = field(default_factory=dict)
    _said: set[str] = field(default_factory=set)

    def run(self, name: str, batch: Batch, work: Work, facts_now: Callable[[], Hashable] = tuple) -> None:
        """Do the work of a phase. `facts_now`: all that it depends on beside tensors."""
        if self.recorder is None:
            work(batch)
            return
        facts = facts_now()
        known = self._known.setdefault(name, _Known())
        recording = known.recording
        if recording is not None and recording.facts == facts and _alike(recording.inputs, batch):
            torch._foreach_copy_(list(recording.inputs), list(batch))
            recording.replay()
            return
        known.times += 1
        # Facts on the move, such as a weight that rises, are worth no recording until they rest.
        is_settled = known.facts == facts and known.times > WARM_UP and not known.is_given_up
        known.facts = facts
        if is_settled and not known.is_watched:
            self._watch(name, batch, work)
        elif is_settled and (recording is None or recording.facts != facts):
            self._record(name, batch, work)
        else:
            self.recorder.ordinarily(lambda: work(batch))

    @property
    def recorded(self) -> list[str]:
        """The phases that run as recordings."""
        return [name for name, known in self._known.items() if known.recording is not None]

    def _watch(self, name: str, batch: Batch, work: Work) -> None:
        assert self.recorder is not None
        with Watch(batch[0].device) as watch:
            self.recorder.ordinarily(lambda: work(batch))
        self._known[name].is_watched = True
        if watch.findings:
            self._give_up(name, watch.findings[0])

    def _record(self, name: str, batch: Batch, work: Work) -> None:
        assert self.recorder is not None
        known = self._known[name]
        inputs = tuple(tensor.clone() for tensor in batch)
        known.recording = None  # its memory is free for the new one
        try:
            replay = self.recorder.record(lambda: work(inputs))
        except RuntimeError as error:  # torch's own for anything that CUDA refuses, want of memory included
            # Nothing has run: recording only notes down. What is wrong in itself will be so again.
            self._give_up(name, str(error).partition("\n")[0])
            self.recorder.ordinarily(lambda: work(batch))
        else:
            known.recording = _Recording(inputs, known.facts, replay)

    def _give_up(self, name: str, reason: str) -> None:
        self._known[name].is_given_up = True
        if reason not in self._said:
            self._said.add(reason)
            self.say(f"--graphs: {name} runs without a CUDA graph: {reason}")


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


def _alike(inputs: Batch, batch: Batch) -> bool:
    return [(t.shape, t.dtype) for t in inputs] == [(t.shape, t.dtype) for t in batch]
