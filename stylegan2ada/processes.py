"""Ranks and process groups: who am I, how many are we, print once, start N of us by torch's launcher."""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

import torch

from stylegan2ada.errors import StoppedOnRequest, UserError

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


def launch(function: Callable[..., object], args: tuple[object, ...], num_processes: int) -> None:
    """Run function(*args) in that many new processes on this machine, and wait for them.

    The function must be importable by name. StoppedOnRequest if they saved their state and left with 75.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.ERROR)  # what matters is said below
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(_SHUTDOWN_SEC))
    # Otherwise each process would start as many threads as there are cores.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // num_processes)))
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
    )
    try:
        elastic_launch(plan, function)(*args)
    except SignalException as signalled:
        raise StoppedOnRequest(f"stopped by {signalled.sigval.name}") from None
    except ChildFailedError as failed:
        codes = {failure.exitcode for failure in failed.failures.values()}
        # One is enough: all stop together, but the launcher may end the rest before they exit.
        if StoppedOnRequest.exit_code in codes:
            raise StoppedOnRequest("stopped on request") from None
        # The first to end is the cause; the others follow from it.
        first = min(failed.failures.values(), key=lambda failure: failure.timestamp)
        refused = UserError(f"process {first.local_rank} of {num_processes} ended ({_cause(first)})")
        # Numbers from 126 on mean other things to shells.
        refused.exit_code = first.exitcode if 0 < first.exitcode < 126 else 1
        raise refused from None


class StopRequest:
    """Notes SIGTERM and SIGINT instead of dying, so that the iteration can be finished and saved.

    A second signal of the same kind acts at once, for those who cannot wait.
    """

    def __init__(self) -> None:
        self.signal: str | None = None  # what asked for it

    def request(self, by: str) -> None:
        """Ask from within the program, e.g. from a hook."""
        self.signal = by

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
    text = str(said.get("message", "")) if isinstance(said, dict) else said
    first_line = f": {text.splitlines()[0]}" if text and text != "<NONE>" else ""
    return f"exit code {failure.exitcode}{first_line}"
