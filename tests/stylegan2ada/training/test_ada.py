"""Adaptive augmentation: recorded trajectories, cap, continuation, two processes."""

import math

import pytest
import torch

from stylegan2ada import stats
from stylegan2ada.ops.watching import Watch
from stylegan2ada.training.ada import AdaController, next_p
from tests.golden_data import golden_json


class Pipe(torch.nn.Module):
    def __init__(self, p: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("p", torch.tensor(p))


@pytest.fixture(autouse=True)
def _fresh_statistics():
    stats.reset()
    yield
    stats.reset()


def signs(total: float, count: int) -> list[float]:
    """`count` values of +-1 (and one 0 if it must be) with the given sum."""
    ones = int((count + total) // 2)
    rest = count - ones
    values = [1.0] * ones + [-1.0] * rest
    if sum(values) != total:
        values[-1] = 0.0
    assert sum(values) == total
    return values


@pytest.mark.parametrize("number", range(4))
def test_recorded_trajectories(number):
    case = golden_json("schedules/ada.json")[number]
    pipe = Pipe(case["p0"])
    ada = AdaController(
        pipe,
        target=case["ada_target"],
        batch_size=case["batch_size"],
        interval=case["ada_interval"],
        kimg=case["ada_kimg"],
    )
    for iteration, recorded in enumerate(case["iterations"], start=1):
        stats.report("Loss/signs/real", torch.tensor(signs(recorded["signs_sum"], recorded["count"])))
        stats.report("Loss/signs/fake", torch.ones(3))  # must not matter
        assert ada.after_iteration(iteration) == ("p" in recorded)
        if "p" in recorded:
            assert ada._signs["Loss/signs/real"] == pytest.approx(recorded["mean"], rel=1e-12)
            assert float(pipe.p) == recorded["p"] == ada.p, iteration


def test_cap():
    pipe = Pipe(0.5)
    ada = AdaController(pipe, target=0, batch_size=100, interval=1, kimg=1, max_p=0.65)
    seen = []
    for iteration in range(1, 5):
        stats.report("Loss/signs/real", 1.0)
        ada.after_iteration(iteration)
        seen.append(float(pipe.p))
    assert seen == pytest.approx([0.6, 0.65, 0.65, 0.65])
    stats.report("Loss/signs/real", -1.0)
    ada.after_iteration(5)
    assert float(pipe.p) == pytest.approx(0.55)


def test_no_statistics_leave_p_alone():
    assert next_p(0.25, math.nan, target=0.6, step=0.1) == 0.25
    pipe = Pipe(0.25)
    ada = AdaController(pipe, target=0.6, batch_size=8, interval=1, kimg=1)
    assert ada.after_iteration(1)
    assert float(pipe.p) == 0.25


def test_on_target_stays():
    assert next_p(0.25, 0.5, target=0.5, step=0.1) == 0.25


def test_interrupted_ada_continues_exactly():
    values = torch.randn(40, 8, generator=torch.Generator().manual_seed(1)).sign().tolist()

    def run(stop_at: int | None) -> list[float]:
        stats.reset()
        settings = {"target": 0.0, "batch_size": 8, "interval": 4, "kimg": 0.3}
        pipe = Pipe(0.0)
        ada = AdaController(pipe, **settings)
        trace = []
        for iteration, row in enumerate(values, start=1):
            stats.report("Loss/signs/real", row)
            ada.after_iteration(iteration)
            trace.append(float(pipe.p))
            if iteration == stop_at:
                saved = stats.state_dict(), ada.state_dict()
                stats.reset()
                pipe = Pipe(0.9)
                ada = AdaController(pipe, **settings)
                stats.load_state_dict(saved[0])
                ada.load_state_dict(saved[1])
        return trace

    unbroken = run(None)
    assert len(set(unbroken)) > 3
    assert all(run(stop_at) == unbroken for stop_at in (1, 6, 8, 39))


SIGNS = [
    [[1.0, -1.0, 1.0], [1.0]],
    [[1.0], []],
    [[-1.0], [1.0, 1.0, 1.0]],
    [[], []],
    [[-1.0], [-1.0]],
]  # [iteration][rank]


def _one_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    stats.init_multiprocessing(rank, "cpu")
    torch.save(_walk(lambda row: row[rank], only_here=f"only on {rank}"), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def _walk(mine, only_here: str = "nowhere") -> dict:
    pipe = Pipe(0.5)
    ada = AdaController(pipe, target=0.4, batch_size=4, interval=1, kimg=0.1)
    everything = stats.Collector("Loss/.*")
    trace = []
    for iteration, row in enumerate(SIGNS, start=1):
        stats.report("Loss/signs/real", mine(row))
        stats.report0("Loss/first", 1.0)
        stats.report(f"Other/{only_here}", 1.0)  # ranks need not know the same names
        ada.after_iteration(iteration)
        everything.update()
        trace.append((float(pipe.p), everything.as_dict()))
    others = stats.state_dict()
    return {"trace": trace, "others": sorted(n for n in others if n.startswith("Other/"))}


@pytest.mark.slow
def test_two_processes_are_one(tmp_path):
    torch.multiprocessing.spawn(_one_rank, (str(tmp_path),), nprocs=2)
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    alone = _walk(lambda row: row[0] + row[1])
    assert repr(ranks[0]["trace"]) == repr(ranks[1]["trace"]) == repr(alone["trace"])  # repr: NaN equals NaN
    assert len({p for p, _ in alone["trace"]}) > 2
    assert ranks[0]["others"] == ranks[1]["others"] == ["Other/only on 0", "Other/only on 1"]


# On the device: the same numbers, and nothing read back


def both(p: float = 0.0, **changes) -> tuple[AdaController, AdaController]:
    options = {"target": 0.6, "batch_size": 64, "interval": 4, "kimg": 3} | changes
    return AdaController(Pipe(p), **options), AdaController(Pipe(p), on_device=True, **options)


@pytest.mark.parametrize("max_p", [None, 0.3])
def test_on_the_device_p_takes_the_same_way(max_p):
    host, device = both(max_p=max_p)
    torch.manual_seed(0)
    way = []
    collector = stats.Collector()
    for iteration in range(1, 201):
        if iteration % 9:  # intervals without news, too
            stats.report("Loss/signs/real", torch.randn(5).add(2.0 if iteration < 120 else -0.5).sign())
        if iteration % 7 == 0:
            collector.update()  # a tick reads and clears the counters of the run
        assert host.after_iteration(iteration) == device.after_iteration(iteration)
        assert host.p == device.p, iteration
        way.append(host.p)
    assert max(way) > 0.25 and way[-1] < max(way)


def test_without_statistics_nothing_moves_on_the_device():
    host, device = both(0.5)
    assert host.after_iteration(4) and device.after_iteration(4)
    assert host.p == device.p == 0.5
    stats.report("Loss/signs/real", torch.tensor([1.0, float("nan")]))
    assert host.after_iteration(8) and device.after_iteration(8)
    assert host.p == device.p == 0.5


@pytest.mark.parametrize("writer", [0, 1])
@pytest.mark.parametrize("reader", [0, 1])
def test_a_state_within_an_interval_goes_on_in_either_way(writer, reader):
    pair = both()

    def run(ada: AdaController, iterations: range) -> None:
        for iteration in iterations:
            stats.report("Loss/signs/real", torch.tensor([1.0, -1.0, 1.0 if iteration % 5 else -1.0]))
            ada.after_iteration(iteration)

    run(pair[writer], range(1, 11))
    saved, counts = pair[writer].state_dict(), stats.local_state()
    assert saved["signs"].keys() == {"seen", "moments"}
    run(pair[writer], range(11, 31))
    unbroken = pair[writer].p
    stats.reset()
    other = both()[reader]
    stats.load_local_state(counts)
    other.load_state_dict(saved)
    assert other.p == saved["p"]
    run(other, range(11, 31))
    assert other.p == unbroken


def test_on_the_device_nothing_is_read():
    host, device = both(max_p=0.5)
    for ada, reads in ((host, True), (device, False)):
        stats.report("Loss/signs/real", torch.ones(3))
        with Watch(torch.device("cpu")) as watch:
            assert ada.after_iteration(4)
        assert bool(watch.findings) == reads
