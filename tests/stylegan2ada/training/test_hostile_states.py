"""States that are no states of this run: each is refused in one sentence, and nothing of it is set."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from stylegan2ada import processes
from stylegan2ada.checkpoints.training_state import load_state, save_state
from stylegan2ada.errors import StoppedOnRequest, UserError
from stylegan2ada.training import resume
from stylegan2ada.training.build import build
from stylegan2ada.training.hooks import Hooks
from stylegan2ada.training.loop import train
from stylegan2ada.training.run_dir import STATE_FILE
from stylegan2ada.training.seams import Seams
from tests.stylegan2ada.training.toy import StopAfter, toy_config, toy_dataset, toy_run_dir

CPU = torch.device("cpu")
NAN = float("nan")
Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A freshly built run, and the state that it is to go on from."""
    folder = tmp_path_factory.mktemp("hostile")
    config = toy_config(toy_dataset(folder / "toy.zip", resolution=8), ada_target=-1.0, ada_kimg=0.1)
    run_dir = toy_run_dir(folder / "run", config)
    with pytest.raises(StoppedOnRequest):
        train(config, run_dir, device=CPU, hooks=Hooks([StopAfter(3)]))
    run = build(
        config,
        run_dir,
        CPU,
        processes.StopRequest(),
        Seams(),
        dataset=None,
        source=None,
        draws=None,
        card=None,
    )
    yield run, load_state(run_dir / STATE_FILE)
    run.source.close()


def put(path: str, value: object) -> Change:
    """Set one value; numbers in the path are keys of lists, or of dictionaries with numbers."""

    def change(state: dict[str, Any]) -> None:
        *way, last = [int(part) if part.isdigit() else part for part in path.split("/")]
        for part in way:
            state = state[part]
        state[last] = value

    return change


def drop(path: str) -> Change:
    def change(state: dict[str, Any]) -> None:
        *way, last = path.split("/")
        for part in way:
            state = state[int(part) if part.isdigit() else part]
        del state[last]

    return change


RANK = "ranks/0"
ORDER = f"{RANK}/source/batches/state/order"
WEIGHT = "networks/G/mapping.fc0.weight"
PER_RANK = ("rng", "buffers", "source", "hooks", "stats")
# Only their owners know whether such a part fits, when they are given it.
OWNERS = ("does not fit", "StopAfter", "CUDA")
CHANGES: list[tuple[str, Change]] = [
    ("another version", put("format", 99)),
    ("another version", drop("format")),
    *((name, drop(name)) for name in (
        "counters", "networks", "optimizers", "ada", "collector", "card", "fingerprint", "grid_z",
        "grid_c", "ranks", "log", "elapsed_sec", "batch_gpu",
    )),
    *((name, put(name, 5)) for name in ("counters", "networks", "optimizers", "ada", "collector", "card")),
    *((f"{RANK}/{name}", drop(f"{RANK}/{name}")) for name in PER_RANK),
    *((f"{RANK}/{name}", put(f"{RANK}/{name}", [])) for name in PER_RANK),
    ("ranks/0/loss", drop("ranks/0/loss")),
    ("log", put("log", [])),
    ("ranks", put("ranks", [])),
    ("ranks", put("ranks", {})),
    ("ranks", put("ranks", [None])),
    ("cur_nimg", put("counters/cur_nimg", -8)),
    ("cur_nimg", put("counters/cur_nimg", NAN)),
    ("cur_nimg", put("counters/cur_nimg", 24.5)),
    ("cur_nimg", put("counters/cur_nimg", 10**60)),
    ("cur_nimg", put("counters/cur_nimg", "24")),
    ("cur_nimg", put("counters/cur_nimg", True)),
    ("counters", drop("counters/cur_nimg")),
    ("counters", put("counters/__class__", 1)),
    ("tick", put("counters/tick", None)),
    ("warned_p", put("counters/warned_p", float("inf"))),
    ("elapsed_sec", put("elapsed_sec", NAN)),
    ("elapsed_sec", put("elapsed_sec", -1.0)),
    ("batch_gpu", put("batch_gpu", 0)),
    ("networks", drop("networks/G_ema")),
    (r"networks\.G", drop(WEIGHT)),
    ("mapping.fc0.weight", put(WEIGHT, torch.zeros(3, 3))),
    ("mapping.fc0.weight", put(WEIGHT, torch.zeros(8, 8, dtype=torch.int64))),
    ("mapping.fc0.weight", put(WEIGHT, [1.0])),
    ("networks", put("networks/G", None)),
    (r"optimizers\.G", put("optimizers/G/param_groups", [])),
    ("lr", put("optimizers/G/param_groups/0/lr", "fast")),
    ("lr", put("optimizers/G/param_groups/0/lr", NAN)),
    ("betas", put("optimizers/D/param_groups/0/betas", [0.0])),
    ("params", put("optimizers/D/param_groups/0/params", [0])),
    ("exp_avg", put("optimizers/D/state/0/exp_avg", torch.zeros(1))),
    ("state", put("optimizers/D/state", [])),
    ("state.77777", lambda state: state["optimizers"]["D"]["state"].update({77777: {}})),
    ("optimizers", drop("optimizers/D")),
    ("ada", put("ada", None)),
    (r"ada\.p", put("ada/p", NAN)),
    (r"ada\.p", put("ada/p", -1.0)),
    ("signs", put("ada/signs/seen", {"x": torch.zeros(2)})),
    ("collector.seen", put("collector/seen", {"x": 1})),
    ("collector.moments", drop("collector/moments")),
    ("stats.fresh", put(f"{RANK}/stats/fresh", {"x": {"cpu": torch.zeros(9)}})),
    ("stats.totals", drop(f"{RANK}/stats/totals")),
    ("CUDA", put(f"{RANK}/stats/fresh", {"x": {"cuda:77": torch.zeros(3)}})),
    ("buffers", put(f"{RANK}/buffers", {"G.weight": torch.zeros(1)})),
    ("w_avg", put(f"{RANK}/buffers/G.mapping.w_avg", torch.zeros(1))),
    ("source", put(f"{RANK}/source", {})),
    ("order", put(ORDER, torch.zeros(24, dtype=torch.int64))),
    ("order", put(ORDER, torch.arange(1, 25))),
    ("order", put(ORDER, torch.arange(3))),
    ("position", put(f"{RANK}/source/batches/state/position", -1)),
    ("random_spot", put(f"{RANK}/source/batches/state/random_spot", 10**6)),
    ("random_keys", put(f"{RANK}/source/batches/state/random_keys", torch.zeros(3, dtype=torch.int64))),
    ("spot", put(f"{RANK}/source/labels/spot", 10**6)),
    ("sampler", put(f"{RANK}/source/batches/sampler", 5)),
    ("rng.python", put(f"{RANK}/rng/python", [3, np.zeros(7, np.uint64), None])),
    ("rng.python", put(f"{RANK}/rng/python", [2, np.zeros(625, np.uint64), None])),
    ("rng.python", put(f"{RANK}/rng/python", [3, np.full(625, 10**6, np.uint64), None])),
    ("rng.python", put(f"{RANK}/rng/python", [])),
    ("rng.python", put(f"{RANK}/rng/python", [torch.empty(0), np.zeros(625, np.uint64), None])),
    ("rng.numpy", put(f"{RANK}/rng/numpy", ["MT19937", np.zeros(624, np.uint32), 0, torch.ones(2), 0.0])),
    ("rng.numpy", put(f"{RANK}/rng/numpy", [torch.ones(2), np.zeros(624, np.uint32), 0, 0, 0.0])),
    ("rng.numpy", put(f"{RANK}/rng/numpy", ["MT19937", np.zeros(3, np.uint32), 0, 0, 0.0])),
    ("rng.numpy", put(f"{RANK}/rng/numpy", ["MT19937", np.zeros(624, np.uint32), 10**6, 0, 0.0])),
    ("rng.numpy", put(f"{RANK}/rng/numpy", ["PCG64", np.zeros(624, np.uint32), 0, 0, 0.0])),
    ("rng.torch", put(f"{RANK}/rng/torch", torch.zeros(3, dtype=torch.uint8))),
    ("rng.torch", put(f"{RANK}/rng/torch", "x")),
    ("rng.cuda", put(f"{RANK}/rng/cuda", [5])),
    ("does not fit", put(f"{RANK}/loss", {"pl_mean": "x"})),
    ("does not fit", put(f"{RANK}/loss", [1])),
    ("StopAfter", put(f"{RANK}/hooks", {"StopAfter": 5})),
    ("grid_z", put("grid_z", torch.zeros(3, 8))),
    ("grid_c", put("grid_c", torch.zeros(2))),
    ("grid_z", put("grid_z", None)),
    ("log", put("log", {"stats.jsonl": -5})),
    ("log", put("log", {"stats.jsonl": "x"})),
    ("starts_from", put("card", {"starts_from": [5]})),
    ("starts_from", put("card", {"starts_from": 5})),
    ("starts_from", put("card", {"starts_from": torch.ones(2)})),
    ("another version", put("format", torch.ones(2))),
    ("same images", put("fingerprint", "another")),
]  # fmt: skip


@pytest.mark.parametrize(("says", "change"), CHANGES)
def test_what_does_not_fit_is_named_and_nothing_is_set(saved, says, change, tmp_path):
    run, state = saved
    wrong = copy.deepcopy(state)
    change(wrong)
    nimg, generator = run.cur_nimg, torch.get_rng_state()
    weight = run.G.state_dict()["mapping.fc0.weight"].clone()
    with pytest.raises(UserError, match=says.replace("/0", r"\[0\]").replace("/", r"\.")) as error:
        resume.restore(run, Hooks([]), resume.of_this_version(wrong, tmp_path / STATE_FILE))
    assert "\n" not in str(error.value)
    if says not in OWNERS:
        assert run.cur_nimg == nimg
        assert torch.equal(run.G.state_dict()["mapping.fc0.weight"], weight)
    assert torch.equal(torch.get_rng_state(), generator)


def test_the_state_itself_fits(saved, tmp_path):
    run, state = saved
    state = copy.deepcopy(state)
    state["ranks"][0]["hooks"] = {}
    save_state(tmp_path / STATE_FILE, state)
    resume.restore(run, Hooks([]), resume.find(tmp_path))
    assert run.iteration == 3
