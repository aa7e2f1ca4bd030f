"""Statistics: recorded collector behaviour, no lost counts, exact continuation."""

import math

import numpy as np
import pytest
import torch

from stylegan2ada import stats
from tests.golden_data import golden_json


@pytest.fixture(autouse=True)
def _fresh_statistics():
    stats.reset()
    yield
    stats.reset()


def same(got: dict, recorded: dict) -> None:
    assert got.keys() == recorded.keys()
    for name, facts in recorded.items():
        for key, value in facts.items():
            assert got[name][key] == pytest.approx(float(value), nan_ok=True, rel=1e-12), (name, key)


def test_recorded_collectors():
    everything = stats.Collector()
    only_a = stats.Collector(regex="A/.*", keep_previous=False)
    for step in golden_json("schedules/collector.json"):
        for name, values in step["reported"]:
            stats.report(name, [float(v) for v in values])
        everything.update()
        only_a.update()
        same(everything.as_dict(), step["keep_previous_true_all"])
        same(only_a.as_dict(), step["keep_previous_false_A"])


def test_recorded_durations():
    for seconds, text in golden_json("schedules/format_time.json"):
        assert stats.format_time(seconds) == text


@pytest.mark.parametrize("kind", ["number", "list", "array", "tensor", "bfloat16", "integers", "graph"])
def test_report_takes_anything_and_gives_it_back(kind):
    value = {
        "number": 3.0,
        "list": [1.0, 5.0],
        "array": np.array([[1.0, 5.0]]),
        "tensor": torch.tensor([[1.0], [5.0]]),
        "bfloat16": torch.tensor([1.0, 5.0], dtype=torch.bfloat16),
        "integers": torch.tensor([1, 5]),
        "graph": torch.tensor([1.0, 5.0], requires_grad=True) * 1,
    }[kind]
    collector = stats.Collector()
    assert stats.report("x", value) is value
    collector.update()
    assert collector["x"] == 3
    assert collector.num("x") == (1 if kind == "number" else 2)
    assert collector.std("x") == (0 if kind == "number" else 2)


def test_moments_agree_with_numpy():
    rng = np.random.RandomState(0)
    chunks = [rng.randn(n).astype(np.float32) * 3 + 1 for n in (1, 7, 100, 1000)]
    collector = stats.Collector()
    for chunk in chunks:
        stats.report("x", torch.from_numpy(chunk))
    collector.update()
    everything = np.concatenate(chunks).astype(np.float64)
    assert collector.num("x") == everything.size
    assert collector.mean("x") == pytest.approx(everything.mean(), rel=1e-5)
    assert collector.std("x") == pytest.approx(everything.std(), rel=1e-5)


def test_collectors_do_not_steal_from_each_other():
    first, second = stats.Collector(), stats.Collector()
    stats.report("x", 1.0)
    first.update()
    stats.report("x", 3.0)
    first.update()
    second.update()
    assert (first.num("x"), first["x"]) == (1, 3)
    assert (second.num("x"), second["x"]) == (2, 2)


def test_a_collector_begins_when_it_is_made():
    stats.report("x", 100.0)
    collector = stats.Collector()
    assert collector.names() == []
    stats.report("x", 1.0)
    collector.update()
    assert (collector.num("x"), collector["x"]) == (1, 1)


def test_unknown_name_is_nan():
    collector = stats.Collector()
    assert collector.num("nobody") == 0
    assert math.isnan(collector["nobody"])
    assert math.isnan(collector.std("nobody"))


def test_report0_counts_on_rank_0_only():
    collector = stats.Collector()
    stats.report0("x", 1.0)
    stats.init_multiprocessing(rank=1, sync_device=None)
    assert stats.report0("x", 5.0) == 5.0
    stats.report0("y", 5.0)
    collector.update()
    assert (collector.num("x"), collector["x"]) == (1, 1)
    assert collector.num("y") == 0
    assert collector.names() == ["x", "y"]


def test_interrupted_statistics_continue_exactly(tmp_path):
    values = torch.randn(6, 50, generator=torch.Generator().manual_seed(0)).tolist()

    def run(interrupt: bool) -> dict:
        stats.reset()
        slow, quick = stats.Collector(), stats.Collector("q", keep_previous=False)
        for step, row in enumerate(values):
            stats.report("q", row)
            stats.report("loss", row[: 5 * step])
            if step in (1, 4):
                quick.update()
            if step == 2:  # in the middle of both intervals
                state = {"all": stats.state_dict(), "slow": slow.state_dict(), "quick": quick.state_dict()}
            if step == 2 and interrupt:
                torch.save(state, tmp_path / "state.pt")
                stats.reset()
                stats.report("noise of the new process", 7.0)
                slow, quick = stats.Collector(), stats.Collector("q", keep_previous=False)
                state = torch.load(tmp_path / "state.pt", weights_only=True)
                stats.load_state_dict(state["all"])
                slow.load_state_dict(state["slow"])
                quick.load_state_dict(state["quick"])
        slow.update()
        found = {"quick": quick.as_dict(), **slow.as_dict()}
        found.pop("noise of the new process", None)
        return found

    assert run(interrupt=True) == run(interrupt=False)
