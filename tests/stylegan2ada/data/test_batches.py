"""Batches: the sampler's order, the reader's images, whatever the way, and an exact position."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stylegan2ada.data.balanced import BalancedSampler
from stylegan2ada.data.batches import Batches, _Mapped, _Resident, _Streamed
from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.data.sampler import InfiniteSampler
from stylegan2ada.errors import UserError

LABELS = [0, 0, 0, 0, 0, 3, 3, 1]


@pytest.fixture
def dataset(make_dataset):
    return ImageFolderDataset(
        make_dataset("a.zip", n=8, labels=LABELS), use_labels=True, xflip=True, max_size=7
    )


WAYS = {"mapped": {}, "streamed": {"limit_bytes": 0}}


@pytest.fixture(params=["mapped", "streamed", "resident"])
def way(request, monkeypatch):
    """Keyword arguments for each way to the images; the resident one is asked onto the CPU here."""
    if request.param == "resident":
        monkeypatch.setattr("stylegan2ada.data.batches._fits", lambda pixels, device: True)
    return {"limit_bytes": 0} if request.param == "streamed" else {}


def test_ways_are_what_they_say(dataset, way, request):
    batches = Batches(dataset, 4, **way)
    kind = {"mapped": _Mapped, "streamed": _Streamed, "resident": _Resident}
    assert type(batches.source) is kind[request.node.callspec.params["way"]]
    batches.close()


@pytest.mark.parametrize("sampler", ["uniform", "balanced"])
@pytest.mark.parametrize(("rank", "num_replicas"), [(0, 1), (1, 3)])
def test_follow_the_sampler(dataset, way, sampler, rank, num_replicas):
    expected = {"uniform": InfiniteSampler, "balanced": BalancedSampler}[sampler](
        dataset, rank=rank, num_replicas=num_replicas, seed=5
    )
    batches = Batches(dataset, 4, rank=rank, num_replicas=num_replicas, seed=5, sampler=sampler, **way)
    has_flipped = False
    for _ in range(12):
        images, labels = next(batches)
        assert (images.dtype, labels.dtype) == (torch.uint8, torch.float32)
        for image, label, index in zip(images, labels, expected.take(4), strict=True):
            np.testing.assert_array_equal(image, dataset[index][0])
            np.testing.assert_array_equal(label, dataset[index][1])
            has_flipped |= dataset.get_details(index).xflip
    assert has_flipped
    batches.close()


@pytest.mark.parametrize("sampler", ["uniform", "balanced"])
def test_continue_exactly(dataset, way, sampler, tmp_path):
    unbroken = Batches(dataset, 3, seed=1, sampler=sampler)
    expected = [next(unbroken) for _ in range(20)]
    first = Batches(dataset, 3, seed=1, sampler=sampler, **way)
    for _ in range(9):
        next(first)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    next(first)  # going on does not change what was saved
    second = Batches(dataset, 3, seed=99, sampler=sampler, **way)
    next(second)
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for images, labels in expected[9:]:
        again, labels_again = next(second)
        assert torch.equal(images, again)
        assert torch.equal(labels, labels_again)
    first.close()
    second.close()


def test_every_rank_saves_the_same_state(dataset, way):
    for sampler in ("uniform", "balanced"):
        states = []
        for rank in range(2):
            batches = Batches(dataset, 4, rank=rank, num_replicas=2, sampler=sampler, **way)
            next(batches)
            states.append(batches.state_dict())
            batches.close()
        first, second = (torch.utils._pytree.tree_leaves(state) for state in states)
        assert len(first) == len(second)
        for a, b in zip(first, second):
            assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def test_state_before_the_first_batch(dataset, way):
    batches = Batches(dataset, 4, seed=3, **way)
    state = batches.state_dict()
    expected = next(batches)[0]
    batches.load_state_dict(state)
    assert torch.equal(next(batches)[0], expected)
    batches.close()


def test_a_bad_image_is_named_where_it_is_needed(make_dataset, tmp_path):
    folder = make_dataset("f", n=3)
    dataset = ImageFolderDataset(folder)
    (folder / "00000" / "img00000001.png").write_bytes(b"rubbish")
    batches = Batches(dataset, 3, limit_bytes=0)
    with pytest.raises(UserError, match="img00000001.png in .* cannot be decoded"):
        [next(batches) for _ in range(3)]
    batches.close()


def test_wrong_use(dataset):
    with pytest.raises(UserError, match="sampler 'best' is not known; use one of: balanced, uniform"):
        Batches(dataset, 4, sampler="best")
    with pytest.raises(UserError, match="started with the balanced sampler"):
        Batches(dataset, 4).load_state_dict({"sampler": "balanced", "state": {"position": 0}})
    with pytest.raises(UserError, match="one class number per image"):
        Batches(ImageFolderDataset(dataset.path), 4, sampler="balanced")


def test_balanced_classes_come_equally_often(dataset):
    sampler = BalancedSampler(dataset, seed=0)
    n = 30000
    indices = sampler.take(n)
    classes = dataset.raw_labels()[dataset.raw_indices[indices]]
    present = sorted(set(dataset.raw_labels()[dataset.raw_indices]))
    assert 2 not in present  # a gap in the numbering draws nothing
    for label in present:
        is_this = classes == label
        share = 1 / len(present)
        assert abs(is_this.mean() - share) < 4 * np.sqrt(share * (1 - share) / n)
        items = np.unique(indices[is_this], return_counts=True)[1]
        expected = is_this.sum() / len(items)
        assert (abs(items - expected) < 5 * np.sqrt(expected)).all()
    assert set(indices) == set(range(len(dataset)))


def test_balanced_draws_depend_on_seed_and_position_alone(dataset):
    whole = BalancedSampler(dataset, seed=4).take(9000)  # beyond two blocks
    pieces = BalancedSampler(dataset, seed=4)
    np.testing.assert_array_equal(np.concatenate([pieces.take(n) for n in (1, 4095, 4, 4900)]), whole)
    ranks = [BalancedSampler(dataset, rank, 3, seed=4).take(3000) for rank in range(3)]
    np.testing.assert_array_equal(np.stack(ranks, axis=1).ravel(), whole)
    assert not np.array_equal(BalancedSampler(dataset, seed=5).take(9000), whole)


@pytest.mark.gpu
def test_on_the_accelerator(dataset):
    for way in WAYS.values():
        batches, expected = Batches(dataset, 4, device="cuda", **way), Batches(dataset, 4)
        for _ in range(5):
            (images, labels), (images_cpu, labels_cpu) = next(batches), next(expected)
            assert images.device.type == labels.device.type == "cuda"
            assert torch.equal(images.cpu(), images_cpu)
            assert torch.equal(labels.cpu(), labels_cpu)
        batches.close()
