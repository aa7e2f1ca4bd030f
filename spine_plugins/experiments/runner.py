"""Runs the tasks of an experiment: what is done is skipped, what changed made again, failures stay alone."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

from spine_plugins import executors
from spine_plugins.experiments import records, sets, work
from spine_plugins.experiments.estimate import Cost
from spine_plugins.experiments.folder import LOCK, Experiment
from spine_plugins.experiments.records import Record
from spine_plugins.experiments.tasks import RUN, WORK, Task
from stylegan2ada import locks
from stylegan2ada.errors import NothingToDoError, StoppedOnRequest, UserError

OLD = "old"  # folder in the experiment: what was made before something changed
_RESERVE_BYTES = 200_000_000  # that stay free whatever a task writes


@dataclass(frozen=True)
class Means:
    """Who does the work, and how."""

    executor: str = "serial"  # serial | local | dask:ADDRESS
    workers: int = 1
    per_card: int = 1  # tasks on one graphics card
    redo: tuple[str, ...] = ()  # tasks to be made again
    unable: Mapping[str, str] = field(default_factory=dict)  # {task: what it lacks}
    program: tuple[str, ...] = work.PROGRAM

    @property
    def name(self) -> str:
        """As the executors call it."""
        return "process" if self.executor == "local" else self.executor


@dataclass(frozen=True)
class Ended:
    """How a run came out."""

    states: dict[str, int]
    failed: list[Record]
    skipped: list[Record]
    seconds: float


def run(
    experiment: Experiment, means: Means, costs: Mapping[str, Cost], say: Callable[[str], None] = print
) -> Ended:
    """All tasks that can be done; StoppedOnRequest if it was interrupted, with everything kept."""
    out = experiment.out
    out.mkdir(parents=True, exist_ok=True)
    with locks.hold(out / LOCK, f"the experiment {out}"):
        (out / work.STOP).unlink(missing_ok=True)
        started = time.monotonic()
        queue = Queue(experiment, means, costs, say)
        with _stop_on_signal(out):
            try:
                results = executors.run(
                    work.do, queue, executor=means.name, workers=means.workers, in_flight=1,
                    when_lost=_lost,
                )  # fmt: skip
                for jobs, outcomes in results:
                    for job, outcome in zip(jobs, outcomes, strict=True):
                        queue.take_back(job, outcome)
            except KeyboardInterrupt:
                queue.was_stopped = True
        if queue.was_stopped:
            done = sum(record.state == "done" for record in queue.records.values())
            raise StoppedOnRequest(
                f"stopped; {done} of {len(queue.records)} tasks are done; the same command goes on from here"
            )
        return queue.ended(time.monotonic() - started)


def _lost(job: work.Job, seconds: float) -> work.Outcome:
    return work.Outcome(1, seconds, "the worker died of it (out of memory?); see its log")


@contextlib.contextmanager
def _stop_on_signal(out: Path) -> Iterator[None]:
    """Ctrl-C and SIGTERM are told to all workers, wherever they are, before this process leaves."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        (out / work.STOP).touch()
        raise KeyboardInterrupt

    before = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}
    for kind in before:
        signal.signal(kind, stop)
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


class Queue(Iterator[work.Job]):
    """The tasks by state; hands out those whose needs are done, and has none while they wait."""

    def __init__(
        self, experiment: Experiment, means: Means, costs: Mapping[str, Cost], say: Callable[[str], None]
    ) -> None:
        self.experiment, self.out, self.means, self.costs = experiment, experiment.out, means, costs
        self.say, self.was_stopped = say, False
        self.tasks = {task.id: task for task in experiment.tasks}
        self.records = {task.id: records.of_task(task) for task in experiment.tasks}
        self.hashes = records.Hashes(self.out)
        self.on_cards = 0
        self.uses_cards = experiment.plan.device != "cpu"
        # A cluster has cards that this computer cannot count; there the lock alone decides.
        counts = self.uses_cards and not means.executor.startswith("dask:")
        cards = len(work.cards()) if counts else 0
        self.most_on_cards = cards * means.per_card or len(self.tasks)
        self.pace = _Pace(costs, max(1, means.workers))
        unknown = next((name for name in means.redo if name not in self.tasks), None)
        if unknown is not None:
            raise UserError(
                f"--redo {unknown}: there is no such task; `spinegan experiments status` lists them"
            )

    def __next__(self) -> work.Job:
        if self.was_stopped:
            raise StopIteration
        for task in self.tasks.values():
            if self.records[task.id].state == "waiting" and self._is_ready(task):
                job = self._begin(task)
                if job is not None:
                    return job
        raise StopIteration

    def _is_ready(self, task: Task) -> bool:
        """Whether its needs are done; one that failed, or something that is not here, settles it."""
        if lack := self.means.unable.get(task.id):
            self._settle(replace(self.records[task.id], state="skipped", why=lack))
            return False
        for need in task.needs:
            state = self.records[need].state
            if state in ("failed", "skipped"):
                why = f"needs {need}, which {'failed' if state == 'failed' else 'was skipped'}"
                self._settle(replace(self.records[task.id], state="skipped", why=why))
                return False
            if state != "done":
                return False
        return not task.computes or self.on_cards < self.most_on_cards

    def _begin(self, task: Task) -> work.Job | None:
        """The job; None if there is nothing to do, or it cannot be."""
        folder = self.out / task.folder
        record = replace(self.records[task.id], inputs=self.hashes.inputs(task.reads))
        before = records.read(self.out, task.id)
        is_again = False
        if before is not None:
            if before.identity != record.identity or task.id in self.means.redo:
                self._put_away(task.id, "was asked for again" if task.id in self.means.redo else
                               "was made from something else")  # fmt: skip
            elif before.state == "done":
                if changed := records.edited(self.out, before):
                    self._refuse_edited(record, changed[0])
                    return None
                if records.is_complete(self.out, before):
                    self.records[task.id] = before
                    self.pace.skip(task.id)
                    return None
            else:
                is_again = (folder / RUN).exists()
                record = replace(record, seconds=before.seconds)
                if is_again and not task.again:  # it gets this name after its last word, and not before
                    self._settle(self._with_outputs(task, record))
                    return None
        self._check_disk(task)
        if work.end_orphan(folder):
            self.say(f"{task.id}: what an earlier run had left working was ended")
        folder.mkdir(parents=True, exist_ok=True)
        work.prepare(folder, task.writes, continues=task.continues)
        self.records[task.id] = record = replace(record, state="running")
        records.write(self.out, record)
        self.on_cards += task.computes
        goes_on = task.again if is_again else ()
        return work.Job(
            out=str(self.out.absolute()),
            id=task.id,
            command=(*task.command, *goes_on),
            log=str(folder.absolute() / records.LOG),
            on_card=task.computes and self.uses_cards,
            per_card=self.means.per_card,
            threads=self._threads(),
            program=self.means.program,
        )

    def _threads(self) -> int:
        """Of one command: workers of one computer share its cores, unless the user has said how many."""
        # A worker itself computes with one thread, which its commands would inherit.
        if said := os.environ.get("OMP_NUM_THREADS", ""):
            return int(said) if said.isdigit() else 0
        if self.means.executor != "local":
            return 0
        return max(1, (os.cpu_count() or 1) // self.means.workers)

    def take_back(self, job: work.Job, outcome: work.Outcome) -> None:
        """Note how a task ended."""
        task, record = self.tasks[job.id], self.records[job.id]
        self.on_cards -= task.computes
        record = replace(record, seconds=(record.seconds or 0.0) + outcome.seconds)
        if outcome.is_stopped:
            # Its state stays `running`: the next run goes on with it.
            self.was_stopped = True
            records.write(self.out, record)
            return
        if outcome.code == 0 or (task.continues and outcome.code == NothingToDoError.exit_code):
            record = self._with_outputs(task, record)  # also of one that had ended when its runner was killed
        else:
            why = outcome.why or "it said nothing"
            record = replace(record, state="failed", why=f"exit code {outcome.code}: {why}")
        self._settle(record)
        if task.kind == "data" and record.state == "done":
            self._check_leaks()

    def _with_outputs(self, task: Task, record: Record) -> Record:
        try:
            work.finish(self.out / task.folder, WORK, RUN)
            return replace(records.with_outputs(self.out, record, task.writes), state="done", why=None)
        except (UserError, OSError) as error:
            return replace(record, state="failed", why=str(error))

    def _settle(self, record: Record) -> None:
        self.records[record.id] = record
        records.write(self.out, record)
        if record.state == "skipped":
            self.pace.skip(record.id)
            return
        self.pace.end(record.id, record.seconds or 0.0)
        states = Counter(one.state for one in self.records.values())
        left = len(self.records) - sum(states[state] for state in ("done", "failed", "skipped"))
        how = "done" if record.state == "done" else f"FAILED: {record.why}"
        self.say(
            f"[{len(self.records) - left}/{len(self.records)}] {record.id} {how}, "
            f"{_clock(record.seconds or 0)}; {left} left, {self.pace.text()}"
        )

    def _refuse_edited(self, record: Record, name: str) -> None:
        path = self.out / "tasks" / record.id / name
        why = (
            f"{path} is not what the task wrote: put the old file back, or make it again with "
            f"--redo {record.id} (what is there moves to {OLD}/)"
        )
        # On the screen and for what needs it; the record on the disk, which knows the true hash, stays.
        self.records[record.id] = replace(record, state="failed", why=why)
        self.pace.skip(record.id)
        self.say(f"{record.id} FAILED: {why}")

    def _put_away(self, task_id: str, reason: str) -> None:
        folder = self.out / "tasks" / task_id
        number = 1 + sum(path.name.startswith(f"{task_id}-") for path in (self.out / OLD).glob("*"))
        target = self.out / OLD / f"{task_id}-{number}"
        target.parent.mkdir(exist_ok=True)
        os.replace(folder, target)
        self.say(f"{task_id} {reason}; what it had made is in {target}")

    def _check_disk(self, task: Task) -> None:
        wanted = self.costs[task.id].bytes + _RESERVE_BYTES
        free = shutil.disk_usage(self.out).free
        if free < wanted:
            raise UserError(
                f"the disk of {self.out} has {free / 1e6:.0f} MB left, and {task.id} may need "
                f"{wanted / 1e6:.0f}; make room and give the same command again: what is done stays done"
            )

    def _check_leaks(self) -> None:
        """Sets that were drawn just now are looked at before anything learns from them."""
        # But not while another worker writes them.
        drawing = {
            name for name in self.experiment.plan.data
            if (record := self.records.get(f"data-{name}")) and record.state != "done"
        }  # fmt: skip
        sets.check_sets(self.experiment.plan, self.experiment.facts_of_sets(without=drawing))

    def ended(self, seconds: float) -> Ended:
        found = list(self.records.values())
        states: Counter[str] = Counter(record.state for record in found)
        return Ended(
            dict(states),
            [record for record in found if record.state == "failed"],
            [record for record in found if record.state == "skipped"],
            seconds,
        )


class _Pace:
    """Time left: what was estimated for the rest, at the pace of what has been done."""

    def __init__(self, costs: Mapping[str, Cost], workers: int) -> None:
        self._left = {name: cost.seconds for name, cost in costs.items()}
        self._workers = workers
        self._estimated = self._took = 0.0

    def skip(self, task_id: str) -> None:
        self._left.pop(task_id, None)

    def end(self, task_id: str, seconds: float) -> None:
        if task_id in self._left:
            self._estimated += self._left.pop(task_id)
            self._took += seconds

    def text(self) -> str:
        ratio = self._took / self._estimated if self._estimated else 1.0
        return f"about {_clock(sum(self._left.values()) * ratio / self._workers)}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{hours} h {minutes:02d} min"
        if hours
        else f"{minutes} min"
        if minutes >= 2
        else f"{round(seconds)} s"
    )
