"""Statistics of a run: `report()` from anywhere, a `Collector` averages over calls, ranks and time.

Reporting never waits for an accelerator: three running moments per name (count, sum, sum of squares) stay
on the device that reported, and travel to the host only when a collector asks.

    >>> collector = sg.stats.Collector(regex="Mine/.*")
    >>> values = sg.stats.report("Mine/loss", [1.0, 3.0])  # list, array or tensor; returned as it is
    >>> collector.update()
    >>> collector.mean("Mine/loss"), collector.num("Mine/loss")
    (2.0, 2)
"""

from __future__ import annotations

import hashlib
import math
import re
import sys
from typing import TypedDict, TypeVar

import torch

from stylegan2ada import official_names, processes

V = TypeVar("V")
_Counters = dict[torch.device, torch.Tensor]  # per device: float64 [3], count, sum, sum of squares


class LocalState(TypedDict):
    """What one rank has counted."""

    totals: dict[str, torch.Tensor]
    fresh: dict[str, dict[str, torch.Tensor]]  # by name, then device


class _Process:
    """What this process knows about the others, and everything reported so far."""

    rank: int = 0
    sync_device: torch.device | None = None  # None: we are alone
    fresh: dict[str, _Counters] = {}  # not yet counted in totals; this rank only
    totals: dict[str, torch.Tensor] = {}  # since the start, over all ranks; float64 [3] on the CPU
    taps: dict[str, list[torch.Tensor]] = {}  # counters of others, who read and clear them as they like


def init_multiprocessing(rank: int, sync_device: torch.device | str | None) -> None:
    """Sum over ranks from now on; sync_device is where the collectives run (None: a single process)."""
    _Process.rank = rank
    _Process.sync_device = None if sync_device is None else torch.device(sync_device)


def reset() -> None:
    """Forget everything: the state of a process that has just started."""
    init_multiprocessing(0, None)
    _Process.fresh.clear()
    _Process.totals.clear()
    _Process.taps.clear()


@torch.no_grad()
def report(name: str, value: V) -> V:
    """Count all elements of a number, list, array or tensor under `name`; returns the value unchanged."""
    # Inside the official program its own collector writes stats.jsonl, and ADA reads what it has counted.
    if (theirs := sys.modules.get(official_names.TRAINING_STATS)) is not None:
        theirs.report(name, value)
        return value
    values = torch.as_tensor(value).detach().to(torch.float32).flatten()
    counters = _Process.fresh.setdefault(name, {})
    if values.device not in counters:
        # MPS knows no float64.
        precision = torch.float32 if values.device.type == "mps" else torch.float64
        counters[values.device] = torch.zeros(3, dtype=precision, device=values.device)
    if values.numel() > 0:
        moments = torch.stack([torch.ones_like(values), values, values.square()]).sum(1)
        counters[values.device].add_(moments)  # in place: the address survives in a captured CUDA graph
        for counter in _Process.taps.get(name, ()):
            if counter.device == values.device:
                counter.add_(moments)
    return value


def report0(name: str, value: V) -> V:
    """Like report(), but only rank 0's value counts; the others merely make the name known."""
    report(name, value if _Process.rank == 0 else [])
    return value


class Collector:
    """Mean, deviation and number of what was reported between its last two `update()` calls.

    In a multi-process run `update()` is a collective: every rank calls it, with the same collectors.
    """

    def __init__(
        self,
        regex: str = ".*",  # names to look at, matched as a whole
        keep_previous: bool = True,  # a name with nothing new keeps its old value, else it becomes NaN
    ) -> None:
        self.keep_previous = keep_previous
        self._wanted = re.compile(regex)
        self._seen: dict[str, torch.Tensor] = {}  # totals at the last update
        self._moments: dict[str, torch.Tensor] = {}  # what the last interval brought
        self.update()  # begin here: earlier reports belong to no interval of ours
        self._moments.clear()

    def names(self) -> list[str]:
        """Names known at the last update, in the order of their first report."""
        return list(self._moments)

    def update(self) -> None:
        """Close the current interval, over all ranks, and begin the next one."""
        for name, total in _gather(self._wanted).items():
            new = total - self._seen.get(name, torch.zeros_like(total))
            # With keep_previous an interval without news leaves the last one's numbers standing.
            if float(new[0]) > 0 or not self.keep_previous or name not in self._moments:
                self._moments[name] = new
            self._seen[name] = total

    def num(self, name: str) -> int:
        """How many values the interval brought."""
        return int(self._of(name)[0])

    def mean(self, name: str) -> float:
        """Their mean; NaN when there were none."""
        count, total, _ = self._of(name)
        return total / count if count else math.nan

    def std(self, name: str) -> float:
        """Their deviation (divided by n); NaN when there were none or the sum is not finite."""
        count, total, squares = self._of(name)
        if not count or not math.isfinite(total):
            return math.nan
        if count == 1:
            return 0.0  # exactly; the difference below would only show rounding
        variance = squares / count - (total / count) ** 2
        # Rounding can leave a little less than nothing.
        return math.sqrt(max(variance, 0.0)) if not math.isnan(variance) else math.nan

    def __getitem__(self, name: str) -> float:
        return self.mean(name)

    def as_dict(self) -> dict[str, dict[str, float]]:
        """{name: {"num", "mean", "std"}} of all names."""
        return {n: {"num": self.num(n), "mean": self.mean(n), "std": self.std(n)} for n in self.names()}

    def state_dict(self) -> dict[str, dict[str, torch.Tensor]]:
        """What a resumed run needs besides `stats.state_dict()`; the same on every rank."""
        return {"seen": _copied(self._seen), "moments": _copied(self._moments)}

    def load_state_dict(self, state: dict[str, dict[str, torch.Tensor]]) -> None:
        self._seen = _copied(state["seen"])
        self._moments = _copied(state["moments"])

    def _of(self, name: str) -> tuple[float, float, float]:
        moments = self._moments.get(name)
        return (0.0, 0.0, 0.0) if moments is None else tuple(moments.tolist())


def state_dict() -> dict[str, torch.Tensor]:
    """All totals so far, the same on every rank. A collective, like `Collector.update()`."""
    return _copied(_gather(re.compile(".*")))


def load_state_dict(state: dict[str, torch.Tensor]) -> None:
    """Continue from saved totals; what this process reported before is forgotten."""
    for counters in _Process.fresh.values():
        for counter in counters.values():
            # In place, not dropped: a captured CUDA graph keeps adding at this address.
            counter.zero_()
    _Process.totals.clear()
    _Process.totals.update(_copied(state))


def tap(name: str, device: torch.device) -> torch.Tensor:
    """A counter [3] on the device that counts what is reported there from now on; its owner may clear it.

    For who steers by a statistic within training: a collector would make the host wait for the device.
    """
    counter = torch.zeros(3, dtype=torch.float64, device=device)
    _Process.taps.setdefault(name, []).append(counter)
    return counter


def counted(name: str) -> torch.Tensor:
    """All that this rank knows under a name, float64 [3] on the CPU: totals, and what is not in them yet."""
    found = _Process.totals.get(name, torch.zeros(3, dtype=torch.float64)).clone()
    for counter in _Process.fresh.get(name, {}).values():
        found += counter.cpu().to(torch.float64)
    return found


def local_state() -> LocalState:
    """Everything counted on this rank, without closing an interval: a run that saves it goes on unchanged.

    Unlike `state_dict` no sum is formed, so floating point rounds the same whether or not it was called.
    """
    fresh = {n: {str(d): c.clone() for d, c in found.items()} for n, found in _Process.fresh.items()}
    return {"totals": _copied(_Process.totals), "fresh": fresh}


def load_local_state(state: LocalState) -> None:
    """The inverse of `local_state`, in place of all that was counted before."""
    _Process.totals.clear()
    _Process.totals.update(_copied(state["totals"]))
    _Process.fresh.clear()
    for name, found in state["fresh"].items():
        _Process.fresh[name] = {torch.device(d): counter.clone().to(d) for d, counter in found.items()}


def add_fresh(fresh: dict[str, dict[str, torch.Tensor]]) -> None:
    """Count what another rank had counted but not yet summed."""
    for name, found in fresh.items():
        for counter in found.values():
            mine = _Process.fresh.setdefault(name, {})
            cpu = torch.device("cpu")
            mine[cpu] = mine[cpu] + counter.cpu() if cpu in mine else counter.cpu().clone()


def format_time(seconds: float) -> str:
    """12s, 3m 04s, 5h 06m 07s or 8d 09h 10m."""
    whole = round(seconds)  # half to even
    minutes, s = divmod(whole, 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    if days:
        return f"{days}d {h:02d}h {m:02d}m"
    if hours:
        return f"{h}h {m:02d}m {s:02d}s"
    return f"{m}m {s:02d}s" if minutes else f"{s}s"


def _gather(wanted: re.Pattern[str]) -> dict[str, torch.Tensor]:
    """Move fresh counts into the totals, over all ranks; returns the totals of the wanted names."""
    names = _agree([n for n in dict.fromkeys([*_Process.totals, *_Process.fresh]) if wanted.fullmatch(n)])
    counts = _read_and_clear(names)  # [names, 3]
    # The names are agreed on, so ranks enter the collective together or not at all.
    if _Process.sync_device is not None and names:
        shared = counts.to(_Process.sync_device)
        torch.distributed.all_reduce(shared)
        counts = shared.cpu()
    for name, count in zip(names, counts):
        _Process.totals[name] = _Process.totals[name] + count if name in _Process.totals else count.clone()
    return {name: _Process.totals[name] for name in names}


def _read_and_clear(names: list[str]) -> torch.Tensor:
    """This rank's fresh counts, float64 [names, 3] on the CPU: one copy per device, however many names."""
    counts = torch.zeros(len(names), 3, dtype=torch.float64)
    by_device: dict[torch.device, list[tuple[int, torch.Tensor]]] = {}
    for row, name in enumerate(names):
        for device, counter in _Process.fresh.get(name, {}).items():
            by_device.setdefault(device, []).append((row, counter))
    for found in by_device.values():
        rows, counters = zip(*found)
        counts[list(rows)] += torch.stack(counters).cpu().to(torch.float64)
        for counter in counters:
            counter.zero_()
    return counts


def _agree(names: list[str]) -> list[str]:
    """The union of all ranks' names in one order, so that rows of the sum mean the same everywhere."""
    if _Process.sync_device is None or processes.world_size() == 1:
        return names
    # Nearly always the lists are equal already: compare a digest (its minimum and maximum over ranks) first.
    digest = int.from_bytes(hashlib.sha256("\n".join(names).encode()).digest()[:6], "big")
    extremes = torch.tensor([digest, -digest], device=_Process.sync_device)
    torch.distributed.all_reduce(extremes, torch.distributed.ReduceOp.MIN)
    lowest, minus_highest = extremes.tolist()
    if lowest == -minus_highest:
        return names
    everyone: list[list[str]] = [[] for _ in range(processes.world_size())]
    torch.distributed.all_gather_object(everyone, names)
    return list(dict.fromkeys(name for rank_names in everyone for name in rank_names))


def _copied(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in tensors.items()}
