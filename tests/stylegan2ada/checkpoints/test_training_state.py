"""Training states: everything comes back as it was, damage is noticed, an earlier state is never lost."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from stylegan2ada.checkpoints.training_state import (
    capture_rng,
    is_complete,
    load_state,
    restore_rng,
    save_state,
)
from stylegan2ada.errors import MissingError, UserError


def example():
    torch.manual_seed(0)
    net = torch.nn.Linear(3, 2)
    adam = torch.optim.Adam(net.parameters(), betas=(0.0, 0.99))
    net(torch.randn(4, 3)).sum().backward()
    adam.step()
    return {
        "G": net.state_dict(),
        "G_opt": adam.state_dict(),
        "cur_nimg": 12_345_678_901,
        "big": 2**127 + 1,
        "pl_mean": torch.tensor(0.25, dtype=torch.float64),
        "rates": [0.1, float("inf"), -0.0, 1e-320],
        "name": "Wirbelsäule",
        "blob": bytes(range(256)),
        "empty": b"",
        "none": None,
        "flag": True,
        "pair": (1, ("a", None)),
        "by number": {0: "x", 1: {"y": []}},
        "order": np.arange(12, dtype=np.uint32).reshape(3, 4)[:, ::2],
        "labels": np.array([["a", "bc"]]),
        "nothing": np.zeros((0, 3), np.float16),
        "scalar": np.float64(0.1),
        "half": torch.randn(3).half(),
        "view": torch.zeros(1_000_000)[5:7],
        "bf": torch.randn(3, 2).bfloat16().t(),
        "rng": capture_rng(),
    }


def assert_same(a, b, path=""):
    if isinstance(a, np.generic):
        a = a.item()
    assert type(a) is type(b) or (isinstance(a, dict) and isinstance(b, dict)), path
    if isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype, path
        assert torch.equal(a, b), path
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype, path
        np.testing.assert_array_equal(a, b)
    elif isinstance(a, dict):
        assert list(a) == list(b), path
        for key in a:
            assert_same(a[key], b[key], f"{path}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), path
        for i, (x, y) in enumerate(zip(a, b)):
            assert_same(x, y, f"{path}[{i}]")
    else:
        assert repr(a) == repr(b), path


def test_everything_comes_back(tmp_path):
    state = example()
    save_state(tmp_path / "state.pt", state)
    loaded = load_state(str(tmp_path / "state.pt"))
    assert_same(state, loaded)
    assert (tmp_path / "state.pt").stat().st_size < 100_000, "a view is saved without what it views"
    loaded["order"][0, 0] = 7  # arrays are our own memory, not a view of the file
    assert torch.load(tmp_path / "state.pt", weights_only=True)["cur_nimg"] == 12_345_678_901


def test_optimiser_goes_on_from_a_loaded_state(tmp_path):
    save_state(tmp_path / "state.pt", example())
    loaded = load_state(tmp_path / "state.pt")
    net = torch.nn.Linear(3, 2)
    adam = torch.optim.Adam(net.parameters())
    net.load_state_dict(loaded["G"])
    adam.load_state_dict(loaded["G_opt"])
    assert adam.param_groups[0]["betas"] == (0.0, 0.99)
    assert_same(adam.state_dict(), loaded["G_opt"])


def test_random_generators_continue_exactly(tmp_path):
    def draw():
        numbers = [random.random(), random.gauss(0, 1), np.random.randn(), np.random.randint(10**6)]
        return [*numbers, *torch.randn(3).tolist()]

    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)
    draw()
    random.gauss(0, 1)  # both keep a second normal number for the next call
    np.random.randn()
    save_state(tmp_path / "state.pt", {"rng": capture_rng()})
    expected = [draw(), draw()]
    random.seed(9)
    np.random.seed(9)
    torch.manual_seed(9)
    assert draw() != expected[0]
    restore_rng(load_state(tmp_path / "state.pt")["rng"])
    assert [draw(), draw()] == expected


def test_the_previous_state_stays_until_the_next_is_complete(tmp_path):
    path = tmp_path / "state.pt"
    for tick in range(3):
        save_state(path, {"tick": tick})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["state.pt", "state.pt.previous"]
    assert load_state(path) == {"tick": 2}
    assert load_state(tmp_path / "state.pt.previous") == {"tick": 1}
    with pytest.raises(TypeError, match=r"state\.loss\.f is a function"):
        save_state(path, {"loss": {"f": example}})
    assert load_state(path) == {"tick": 2}
    assert len(list(tmp_path.iterdir())) == 2


def test_every_kind_of_damage_is_noticed_and_the_way_on_named(tmp_path):
    path = tmp_path / "state.pt"
    save_state(path, {"x": torch.arange(50), "n": 1})
    save_state(path, {"x": torch.arange(50), "n": 2})
    whole = path.read_bytes()
    rng = random.Random(0)
    cuts = [whole[:end] for end in [0, 1, 21, 22, *(rng.randrange(len(whole)) for _ in range(40))]]
    flips = []
    for place in [*range(len(whole) - 75, len(whole)), *(rng.randrange(len(whole)) for _ in range(200))]:
        flips.append(whole[:place] + bytes([whole[place] ^ 1 << rng.randrange(8)]) + whole[place + 1 :])
    for broken in [*cuts, *flips, whole + b"\0", whole[:100] + whole[101:], b"x" * 1000]:
        path.write_bytes(broken)
        assert not is_complete(path)
        with pytest.raises(
            UserError, match=r"state\.pt is damaged .*state\.pt\.previous is complete: rename"
        ):
            load_state(path)
    path.write_bytes(whole)
    assert is_complete(path)
    assert load_state(path)["n"] == 2


def test_without_a_good_previous_state_none_is_promised(tmp_path):
    path = tmp_path / "state.pt"
    with pytest.raises(MissingError, match="state.pt does not exist; there is no earlier state"):
        load_state(path)
    save_state(path, {"n": 1})
    save_state(path, {"n": 2})
    path.write_bytes(b"")
    (tmp_path / "state.pt.previous").write_bytes(b"also broken")
    with pytest.raises(UserError, match="there is no earlier state"):
        load_state(path)


def test_a_checksum_does_not_make_code_welcome(tmp_path):
    """Whoever can write the file can write its checksum: what is inside is still only data."""
    import hashlib

    class Evil:
        def __reduce__(self):
            return print, ("ran",)

    torch.save({"x": Evil()}, tmp_path / "raw.pt")
    data = (tmp_path / "raw.pt").read_bytes()
    digest = hashlib.sha256(data).hexdigest().encode()
    (tmp_path / "state.pt").write_bytes(data[:-2] + (71).to_bytes(2, "little") + b"sha256:" + digest)
    assert is_complete(tmp_path / "state.pt")
    with pytest.raises(UserError, match="cannot be read as a training state"):
        load_state(tmp_path / "state.pt")
