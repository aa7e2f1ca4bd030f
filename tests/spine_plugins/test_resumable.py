"""A toy training, killed everywhere: whatever happens to it, its result is that of an unbroken one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch

from spine_plugins.resumable import Resumable, seeded, step_seed
from stylegan2ada.checkpoints.training_state import save_state
from stylegan2ada.errors import StoppedOnRequest, UserError
from stylegan2ada.processes import StopRequest

STEPS = 6


class Killed(BaseException):
    """Like a power cut: nothing of ours catches it."""


def train(keeper: Resumable, *, kill_at: int | None = None, stop_at: int | None = None) -> torch.Tensor:
    """A regression with dropout and momentum; saves after each step and leaves its file behind."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout(0.5), torch.nn.Linear(4, 1))
    optimizer = torch.optim.Adam(network.parameters(), 0.1)
    start = 0
    with keeper.listening():
        if (state := keeper.restore()) is not None:
            network.load_state_dict(state["network"])
            optimizer.load_state_dict(state["optimizer"])
            start = state["step"]
        for step in range(start, STEPS):
            with seeded(step_seed(7, step)):
                x = torch.randn(5, 3)
                optimizer.zero_grad()
                (network(x)[:, 0] - x.sum(1)).square().mean().backward()
            if step == kill_at:
                raise Killed
            optimizer.step()
            if step == stop_at:
                keeper.stop.request("SIGTERM")
            now = {
                "step": step + 1,
                "network": network.state_dict(),
                "optimizer": optimizer.state_dict(),
            }
            keeper.save_if_asked_to_stop(lambda now=now: now, f"in step {step + 1}")
            keeper.save(now)
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def keeper(path: Path, **identity: object) -> Resumable:
    return Resumable(path, {"lr": 0.1, "layers": [3, 4]} | identity, "toy training")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    return train(keeper(tmp_path_factory.mktemp("toy") / "whole.state.pt"))


def test_killed_at_every_step_it_goes_on_bit_by_bit(tmp_path: Path, unbroken: torch.Tensor) -> None:
    mine = keeper(tmp_path / "a.state.pt")
    for step in range(STEPS):
        with pytest.raises(Killed):
            train(mine, kill_at=step)
    assert torch.equal(train(mine), unbroken)
    mine.remove()
    assert list(tmp_path.iterdir()) == []


def test_stopped_at_every_step_it_says_how_to_go_on(tmp_path: Path, unbroken: torch.Tensor) -> None:
    path = tmp_path / "a.state.pt"
    for step in range(STEPS):
        sentence = (
            f"stopped by SIGTERM in step {step + 1}; the state is in .*a.state.pt: give the same command"
        )
        with pytest.raises(StoppedOnRequest, match=sentence) as caught:
            train(keeper(path), stop_at=step)
        assert caught.value.exit_code == 75
    assert torch.equal(train(keeper(path)), unbroken)


@pytest.mark.parametrize("when", ["before the first rename", "between the renames"])
def test_killed_while_saving(
    tmp_path: Path, unbroken: torch.Tensor, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = keeper(tmp_path / "a.state.pt")
    with pytest.raises(Killed):
        train(mine, kill_at=3)
    renames = []

    def rename(source: Path, target: Path, real=os.replace) -> None:
        renames.append(target)
        if len(renames) == (1 if when == "before the first rename" else 2):
            raise Killed
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", rename)
        with pytest.raises(Killed):
            train(mine)
    assert mine.path.exists() == (when == "before the first rename")
    state = mine.restore()
    assert state is not None
    assert state["step"] == 3
    assert torch.equal(train(mine), unbroken)


def test_other_settings_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.state.pt"
    train(keeper(path))
    for changed in (keeper(path, lr=0.2), keeper(path, seed=1)):
        with pytest.raises(UserError, match=r"toy training with other settings \((lr|seed)\); give that"):
            changed.restore()
    with pytest.raises(UserError, match=r"\(layers, lr, seed\)"):
        keeper(path, lr=1, seed=1, layers=[3]).restore()
    assert keeper(path).restore() is not None


def test_damage_is_noticed_and_the_file_before_named(tmp_path: Path) -> None:
    mine = keeper(tmp_path / "a.state.pt")
    train(mine)
    mine.path.write_bytes(mine.path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"a.state.pt is damaged.*a.state.pt.previous is complete: rename"):
        mine.restore()
    shutil.move(f"{mine.path}.previous", mine.path)
    state = mine.restore()
    assert state is not None
    assert state["step"] == STEPS - 1


def test_a_state_of_something_else_is_refused(tmp_path: Path) -> None:
    from stylegan2ada.checkpoints.training_state import save_state

    save_state(tmp_path / "a.state.pt", {"progress": 1})
    with pytest.raises(UserError, match="not the state of such a toy training"):
        keeper(tmp_path / "a.state.pt").restore()


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written .No such file"):
        keeper(tmp_path / "nowhere" / "a.state.pt").save({"step": 1})


def test_nothing_is_restored_at_the_start(tmp_path: Path) -> None:
    mine = keeper(tmp_path / "a.state.pt")
    assert mine.restore() is None
    mine.remove()
    mine.save_if_asked_to_stop(lambda: pytest.fail("nobody asked"), "anywhere")
    assert isinstance(mine.stop, StopRequest)


def test_seeds_depend_on_the_place_and_leave_the_generator_alone() -> None:
    places = [(epoch, step) for epoch in range(20) for step in range(20)]
    assert len({step_seed(3, *place) for place in places}) == len(places)
    assert step_seed(3, 1, 2) == step_seed(3, 1, 2) != step_seed(4, 1, 2)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    with seeded(step_seed(3, 1)):
        first = torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)
    with seeded(step_seed(3, 1)):
        assert torch.equal(torch.rand(3), first)


@pytest.mark.parametrize(
    "damage", [KeyError("network"), TypeError("x"), RuntimeError("size mismatch\nmore"), AttributeError("x")]
)
def test_who_cannot_take_its_part_says_so_in_a_sentence(damage: Exception, tmp_path: Path) -> None:
    kept = keeper(tmp_path / "toy.state.pt")
    with pytest.raises(UserError, match=r"toy\.state\.pt does not fit .*; delete it to start anew") as error:
        with kept.fitting():
            raise damage
    assert "\n" not in str(error.value)


def test_a_state_that_is_a_list_is_none_of_ours(tmp_path: Path) -> None:
    save_state(tmp_path / "toy.state.pt", {"identity": [], "format": 1})
    with pytest.raises(UserError, match=r"toy\.state\.pt is not the state of such a toy training"):
        keeper(tmp_path / "toy.state.pt").restore()
