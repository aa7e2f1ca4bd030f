"""A piece of work as a recording: after a few ordinary times its kernels are replayed as one CUDA graph.

A graph is launched at once, but it holds addresses and numbers as they were: inputs are copied to one place,
tensors that change stay where they are, and what the host decides must not change. So a piece of work runs
ordinarily at first, is watched once, and is recorded only if nothing was read back; else it goes on so.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from stylegan2ada import processes
from stylegan2ada.ops.watching import Watch

WARM_UP = 2  # ordinary times before the watched one: kernels are tuned, counters and gradients made

Batch = tuple[Tensor, ...]  # what a piece of work is given
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
    """What is known of one piece of work."""

    times: int = 0
    facts: Hashable = None  # at the last time
    is_watched: bool = False
    is_given_up: bool = False
    recording: _Recording | None = None


@dataclass
class Steps:
    """Does pieces of work by their names, by recordings where that is possible."""

    recorder: Recorder | None = None  # None: ordinarily, always
    say: Callable[[str], None] = processes.print0
    _known: dict[str, _Known] = field(default_factory=dict)
    _said: set[str] = field(default_factory=set)

    def run(self, name: str, batch: Batch, work: Work, facts_now: Callable[[], Hashable] = tuple) -> None:
        """Do a piece of work. `facts_now`: all that it depends on beside tensors."""
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
        """What runs as recordings."""
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


def _alike(inputs: Batch, batch: Batch) -> bool:
    return [(t.shape, t.dtype) for t in inputs] == [(t.shape, t.dtype) for t in batch]
