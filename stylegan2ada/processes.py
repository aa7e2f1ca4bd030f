"""Ranks and process groups: who am I, how many are we, print once, start N of us by torch's launcher."""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from stylegan2ada import files, interrupts
from stylegan2ada.errors import Interrupted, StoppedOnRequest, UserError

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

T = TypeVar("T")
_SHUTDOWN_SEC = 180  # how long a worker may take to finish its iteration and save after a signal


def rank() -> int:
    """This process's number, 0 when alone."""
    return torch.distributed.get_rank() if is_initialized() else int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """How many processes train together, 1 when alone."""
    return torch.distributed.get_world_size() if is_initialized() else int(os.environ.get("WORLD_SIZE", "1"))


def local_rank() -> int:
    """This process's number on its own machine: which device it takes."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def pick_device(name: str) -> torch.device:
    """The device of this process, its own one of several; `auto` is the fastest kind that is there."""
    if name == "auto":
        # An Apple GPU is one device, and gloo cannot add up what lies on it: several processes take the CPU.
        has_mps = torch.backends.mps.is_available() and world_size() == 1
        name = "cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"--device={name} is not known; use auto, cpu, cuda or mps") from error
    if device.type == "meta":
        raise UserError("--device=meta computes nothing; use auto, cpu, cuda or mps")
    if device.type == "cuda":
        count = torch.cuda.device_count()
        index = local_rank() if device.index is None else device.index
        if not count:
            has_cuda = torch.version.cuda or torch.version.hip
            built = "" if has_cuda else ", and this torch was built without CUDA"
            raise UserError(
                f"--device={name}: no CUDA device is here{built}; use --device=cpu, or leave it out"
            )
        if index >= count:
            raise UserError(
                f"--device={name}: process {index} has no device, there are {count}; use --device=cpu"
            )
        torch.cuda.set_device(index)
        return torch.device("cuda", index)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("--device=mps is not there on this computer; use --device=cpu")
    try:
        if device.type not in ("cpu", "mps"):
            torch.empty(1, device=device)  # a kind that this build of torch may only know by name
    except (RuntimeError, NotImplementedError, AssertionError, ImportError) as error:
        raise UserError(f"--device={name} is not there on this computer; use --device=cpu") from error
    return device


def is_initialized() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def is_launched() -> bool:
    """True if a launcher started this process as one of a group, even a group of one."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def print0(*values: object) -> None:
    """print() on rank 0 only."""
    if rank() == 0:
        print(*values)


# The group.


def init(device: torch.device) -> None:
    """Join the group that the environment describes; nothing happens when alone."""
    if is_initialized() or world_size() == 1:
        return
    # The launcher ends us when one of us dies; the timeout must only outlast rank 0's metrics.
    # CPU tensors travel by gloo also beside NCCL: small agreements then never wait for the accelerator.
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    patience = datetime.timedelta(hours=12)
    store, number, size = next(torch.distributed.rendezvous("env://", timeout=patience))
    # A launcher that restarts us keeps its store, in which the addresses of the dead still stand.
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    store = torch.distributed.PrefixStore(f"attempt{attempt}", store)
    torch.distributed.init_process_group(backend, store=store, rank=number, world_size=size, timeout=patience)


def close() -> None:
    """Leave the group."""
    if is_initialized():
        torch.distributed.destroy_process_group()


def highest(value: int) -> int:
    """The largest of all ranks' numbers, on every rank. A collective."""
    if not is_initialized() or world_size() == 1:
        return value
    seen = torch.tensor([value])
    torch.distributed.all_reduce(seen, op=torch.distributed.ReduceOp.MAX)
    return int(seen.item())


def any_rank(flag: bool) -> bool:
    """True on every rank if it is true on one. A collective."""
    return highest(int(flag)) > 0


def from_rank0(value: T) -> T:
    """Rank 0's value on every rank. A collective."""
    if not is_initialized() or world_size() == 1:
        return value
    box = [value]
    torch.distributed.broadcast_object_list(box, src=0, device=torch.device("cpu"))
    return box[0]


def all_ranks(value: T) -> list[T]:
    """Every rank's value, in order, on every rank. A collective."""
    if not is_initialized() or world_size() == 1:
        return [value]
    found = [value] * world_size()
    torch.distributed.all_gather_object(found, value)
    return found


def on_rank0(work: Callable[[], T]) -> T:
    """Do something on rank 0 and give everybody the answer; its error is everybody's error. A collective."""
    answer: list[T] = []
    failure: Exception | None = None
    if rank() == 0:
        try:
            answer = [work()]
        except Exception as error:  # noqa: BLE001 - passed on below, to all ranks
            failure = error
    # All must hear of it before one leaves: those who went on would wait for ever.
    if is_initialized() and world_size() > 1:
        message = from_rank0(None if failure is None else _portable(failure))
        # Rank 0 keeps its own error, with its traceback.
        failure = failure or message
    if failure is not None:
        raise failure
    return from_rank0(answer)[0]


def broadcast_module(module: torch.nn.Module) -> None:
    """Give every rank the parameters and buffers of rank 0. A collective."""
    if not is_initialized() or world_size() == 1:
        return
    with torch.no_grad():
        for tensor in [*module.parameters(), *module.buffers()]:
            torch.distributed.broadcast(tensor, src=0)


def differing(module: torch.nn.Module, *, ignore: str = r"^$") -> list[str]:
    """Names of tensors that are not the same on all ranks (NaN equals NaN). A collective."""
    if not is_initialized() or world_size() == 1:
        return []
    found = []
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if re.search(ignore, name):
            continue
        mine = torch.nan_to_num(tensor.detach())
        theirs = mine.clone()
        torch.distributed.broadcast(theirs, src=0)
        if any_rank(not torch.equal(mine, theirs)):
            found.append(name)
    return found


# Starting.


def adopt_slurm(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables torch expects, for a process started by `srun` with several tasks; else nothing."""
    if "RANK" in environment or int(environment.get("SLURM_STEP_NUM_TASKS", "1")) < 2:
        return {}
    nodes = environment.get("SLURM_STEP_NODELIST", "")
    host = environment.get("SLURM_LAUNCH_NODE_IPADDR") or _first_host(nodes)
    return {
        "RANK": environment["SLURM_PROCID"],
        "LOCAL_RANK": environment["SLURM_LOCALID"],
        "WORLD_SIZE": environment["SLURM_STEP_NUM_TASKS"],
        "MASTER_ADDR": environment.get("MASTER_ADDR") or host,
        # From the job's number: two jobs on one machine must not meet at one port.
        "MASTER_PORT": environment.get("MASTER_PORT")
        or str(20000 + int(environment["SLURM_JOB_ID"]) % 20000),
    }


def launch_id(environment: Mapping[str, str]) -> str | None:
    """A name for the launcher that started us, the same after it restarts us; None without one."""
    run_id = environment.get("TORCHELASTIC_RUN_ID")
    if run_id is None:
        return None
    # A static rendezvous has no name of its own; its agent, our parent, survives a restart.
    return run_id if run_id != "none" else f"{socket.gethostname()}:{os.getppid()}"


def is_restart(environment: Mapping[str, str]) -> bool:
    """True if the launcher has started this group before and one of it died."""
    return int(environment.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def job_name(environment: Mapping[str, str]) -> str | None:
    """The name of the work with whoever runs it, kept when it is started anew; None if nobody does."""
    return launch_id(environment) or environment.get("SLURM_JOB_ID")


def launch(function: Callable[..., object], args: tuple[object, ...], num_processes: int) -> None:
    """Run function(*args) in that many new processes on this machine, and wait for them.

    The function must be importable by name. StoppedOnRequest if they saved their state and left with 75;
    Interrupted if a signal came, whatever they could save.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    for room in ("torch.distributed.elastic", "torch.multiprocessing"):  # what matters is said below
        logging.getLogger(room).setLevel(logging.CRITICAL)
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(_SHUTDOWN_SEC))
    # Otherwise each process would start as many threads as there are cores.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // num_processes)))
    with files.scratch_folder("launch") as scratch, _signals_for_us_alone():
        plan = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=num_processes,
            run_id=f"spinegan-{os.getpid()}",
            rdzv_backend="c10d",
            # Port 0: the system picks a free one, so that several runs get along.
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            # An error would only come again.
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=str(scratch)),
        )
        try:
            elastic_launch(plan, _begin)(function, *args)
        except SignalException as signalled:
            raise Interrupted(f"stopped by {signalled.sigval.name}") from None
        except ChildFailedError as failed:
            raise _why(list(failed.failures.values()), num_processes) from None


def leave_word(error: UserError) -> None:
    """Tell the launcher, `launch` in another process, the sentence that this process ends with."""
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if path:
        extra = {"sentence": str(error), "timestamp": str(int(time.time())), "py_callstack": ""}
        with contextlib.suppress(OSError):
            Path(path).write_text(json.dumps({"message": {"message": str(error), "extraInfo": extra}}))


def _begin(function: Callable[..., object], *args: object) -> object:
    """The first thing that a new process does: until it listens for signals they end it, nothing is lost."""
    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, signal.SIG_DFL)
    interrupts.hear()
    return function(*args)


@contextlib.contextmanager
def _signals_for_us_alone() -> Iterator[None]:
    """The launcher hears Ctrl-C and passes it on; processes that are being born are deaf to it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kinds = [
        signal.SIGINT,
        signal.SIGTERM,
        *(getattr(signal, n) for n in ("SIGHUP", "SIGQUIT") if hasattr(signal, n)),
    ]
    handlers = {kind: handler for kind in kinds if (handler := signal.getsignal(kind)) is not None}
    done = threading.Event()
    # Begun before this thread is deaf, too: somebody in this process must take the signal.
    ear = threading.Thread(target=done.wait, daemon=True)
    ear.start()
    try:
        with interrupts.born_deaf():
            yield
    finally:
        done.set()
        ear.join()
        for kind, handler in handlers.items():  # torch's launcher leaves its own behind
            signal.signal(kind, handler)


def _why(failures: list[ProcessFailure], num_processes: int) -> UserError:
    """What the end of some processes means for the whole."""
    codes = {failure.exitcode for failure in failures}
    # One is enough: all stop together, but the launcher may end the rest before they exit.
    if StoppedOnRequest.exit_code in codes:
        return StoppedOnRequest("stopped on request")
    # The first to end is the cause; the others follow from it.
    first = min(failures, key=lambda failure: failure.timestamp)
    if first.exitcode in (-signal.SIGINT, -signal.SIGTERM, Interrupted.exit_code):
        return Interrupted("stopped by a signal")
    said: dict[str, Any] = first.message if isinstance(first.message, dict) else {}
    extra = said.get("extraInfo", {})
    if trace := extra.get("py_callstack"):
        print(trace, file=sys.stderr)  # of a defect: nothing that its user could mend
    sentence = extra.get("sentence")
    refused = UserError(sentence or f"process {first.local_rank} of {num_processes} ended ({_cause(first)})")
    # Numbers from 126 on mean other things to shells.
    refused.exit_code = first.exitcode if 0 < first.exitcode < 126 else 1
    return refused


class StopRequest:
    """Notes SIGTERM and SIGINT instead of dying, so that the iteration can be finished and saved.

    A second signal of the same kind acts at once, for those who cannot wait.
    """

    def __init__(self) -> None:
        self.signal: str | None = None  # what asked for it

    def request(self, by: str) -> None:
        """Ask from within the program, e.g. from a hook."""
        self.signal = by

    @property
    def is_signalled(self) -> bool:
        """Asked from outside."""
        return self.signal in signal.Signals.__members__

    @contextlib.contextmanager
    def listening(self) -> Iterator[StopRequest]:
        if threading.current_thread() is not threading.main_thread():
            yield self  # signals only ever reach the main thread
            return
        kinds = (signal.SIGTERM, signal.SIGINT)
        before = {kind: signal.signal(kind, self._note) for kind in kinds}
        try:
            yield self
        finally:
            for kind, handler in before.items():
                signal.signal(kind, handler)

    def _note(self, number: int, frame: object) -> None:
        name = signal.Signals(number).name
        # Under a launcher one Ctrl-C may arrive twice: from the terminal and passed on.
        if self.signal == name and not is_launched():
            raise KeyboardInterrupt(f"second {name}")
        self.signal = name


def _first_host(nodelist: str) -> str:
    """`gpu[003-007],x1` -> `gpu003`."""
    found = re.match(r"([^,\[]+)(?:\[(\d+))?", nodelist)
    return "localhost" if found is None else found[1] + (found[2] or "")


def _portable(error: Exception) -> Exception:
    """The error in a form that other processes can rebuild."""
    if isinstance(error, UserError):
        # Ours are made of one text; others may hold what cannot be pickled.
        return type(error)(str(error))
    return RuntimeError(f"rank 0: {type(error).__name__}: {error}")


def _cause(failure: ProcessFailure) -> str:
    """How a process ended, in a few words."""
    if failure.exitcode < 0:
        return f"killed by {signal.Signals(-failure.exitcode).name}"
    said = failure.message
    text = (
        str(said.get("message", "")) if isinstance(said, dict) else ""
    )  # without a word of its own torch's advice
    first_line = f": {text.splitlines()[0]}" if text else ""
    return f"exit code {failure.exitcode}{first_line}"
