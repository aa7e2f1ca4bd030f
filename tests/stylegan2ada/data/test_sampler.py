"""The order of images: recorded sequences, ranks, exact continuation."""

import itertools

import numpy as np
import pytest
import torch

from stylegan2ada.data.sampler import InfiniteSampler
from tests.golden_data import golden_json


@pytest.mark.parametrize("number", range(14))
def test_recorded_sequences(number):
    case = golden_json("schedules/sampler.json")[number]
    recorded = case.pop("indices")
    sampler = InfiniteSampler(case.pop("n"), **case)
    assert list(itertools.islice(sampler, len(recorded))) == recorded


def test_ranks_share_out_one_sequence():
    alone = InfiniteSampler(23, seed=4).take(60)
    ranks = [InfiniteSampler(23, rank=r, num_replicas=3, seed=4).take(20) for r in range(3)]
    np.testing.assert_array_equal(np.stack(ranks, axis=1).ravel(), alone)


@pytest.mark.parametrize("stop", [0, 1, 23, 24, 500])
def test_continues_exactly_and_any_rank_takes_rank_0s_state(tmp_path, stop):
    first, other = (InfiniteSampler(23, rank=r, num_replicas=2, seed=4) for r in range(2))
    first.take(stop)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    resumed, resumed_other = (InfiniteSampler(23, rank=r, num_replicas=2, seed=99) for r in range(2))
    resumed.load_state_dict(state)
    resumed_other.load_state_dict(state)
    np.testing.assert_array_equal(resumed.take(100), first.take(100))
    np.testing.assert_array_equal(resumed_other.take(100), other.take(stop + 100)[stop:])


def test_a_saved_state_does_not_move_on():
    sampler = InfiniteSampler(9, seed=0)
    state = sampler.state_dict()
    begun = sampler.take(30)
    sampler.load_state_dict(state)
    np.testing.assert_array_equal(sampler.take(30), begun)
    sampler.load_state_dict(state)  # loading did not hand out the saved arrays either
    np.testing.assert_array_equal(sampler.take(30), begun)


def test_serves_a_data_loader():
    data = torch.arange(11)
    loader = torch.utils.data.DataLoader(data, batch_size=4, sampler=InfiniteSampler(data, seed=2))
    batches = torch.cat(list(itertools.islice(loader, 5)))
    np.testing.assert_array_equal(batches.numpy(), InfiniteSampler(11, seed=2).take(20))
