"""Exported pickles live in the original's world: loaded, run, copied, resumed from and saved again there."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from stylegan2ada.checkpoints import load_network, save_network
from tests.stylegan2ada.checkpoints import foreign_world
from tests.stylegan2ada.checkpoints.conftest import assert_same_module, make_networks

ROOT = Path(__file__).parents[3]
REAL = os.environ.get("STYLEGAN2ADA_UPSTREAM")


def run_program(folder, world, *, our_package, is_real="stand-in"):
    """What the program found, and the networks and inputs that it was given."""
    networks = make_networks(resolution=32)
    networks["augment_pipe"].p.fill_(0.5)
    save_network(networks, folder / "ours.pkl")
    torch.manual_seed(3)
    inputs = {
        "z": torch.randn([4, 6]),
        "c": torch.eye(2)[[0, 1, 1, 0]],
        "images": torch.randn([4, 3, 32, 32]),
    }
    np.savez(folder / "in.npz", **{key: value.numpy() for key, value in inputs.items()})
    paths = [str(world), *([str(ROOT)] if our_package == "present" else [])]
    command = [
        sys.executable, "-c", foreign_world.PROGRAM, "ours.pkl", "in.npz", "theirs.pkl", our_package, is_real,
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return np.load(folder / "in.npz.out.npz"), networks, inputs


def check(found, networks, inputs, folder, tolerance):
    G, D = networks["G_ema"], networks["D"]
    z, c, images = inputs.values()
    options = {"noise_mode": "const", "force_fp32": True}
    ws = G.mapping(z, c, truncation_psi=0.5)
    expected = {
        "G": G(z, c, truncation_psi=0.7, truncation_cutoff=2, **options),
        "ws": ws,
        "synthesis": G.synthesis(ws, **options),
        "D": D(images, c),
    }
    for tag in ("loaded", "copied", "rebuilt", "again"):
        for key, value in expected.items():
            np.testing.assert_allclose(found[f"{tag}/{key}"], value, **tolerance, err_msg=f"{tag}/{key}")
    pipe = networks["augment_pipe"]
    np.testing.assert_allclose(found["pipe"], pipe(images, debug_percentile=0.4), rtol=1e-4, atol=1e-5)
    for attribute in ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels", "num_ws"):
        assert found[attribute] == getattr(G, attribute)
    np.testing.assert_array_equal(found["w_avg"], networks["G"].mapping.w_avg)
    assert found["noise_buffers"] == G.num_ws - 1

    # What that world saved, we read; it differs in nothing but the generator that was trained there.
    theirs = load_network(folder / "theirs.pkl")
    for key in ("D", "G_ema", "augment_pipe"):
        assert_same_module(networks[key], theirs[key])
    assert theirs["training_set_kwargs"] == networks["training_set_kwargs"]
    assert theirs["G"].state_dict().keys() == networks["G"].state_dict().keys()
    assert theirs["card"]["foreign"] is False


@pytest.mark.parametrize("our_package", [pytest.param("absent", marks=pytest.mark.slow), "present"])
def test_exports_live_in_a_stand_in_of_the_original(our_package, tmp_path):
    foreign_world.write_stand_in(tmp_path)
    found, networks, inputs = run_program(tmp_path, tmp_path, our_package=our_package)
    check(found, networks, inputs, tmp_path, {"rtol": 1e-4, "atol": 1e-5})


@pytest.mark.skipif(REAL is None, reason="set STYLEGAN2ADA_UPSTREAM to an official checkout")
@pytest.mark.parametrize("our_package", ["absent", "present"])
def test_exports_live_in_the_original(our_package, tmp_path):
    found, networks, inputs = run_program(tmp_path, REAL, our_package=our_package, is_real="real")
    check(found, networks, inputs, tmp_path, {"rtol": 1e-4, "atol": 1e-5})


def test_without_the_original_python_cannot_run_our_files(networks, tmp_path):
    """Our own process never becomes that world by accident: the writer leaves no torch_utils behind."""
    save_network(networks, tmp_path / "x.pkl")
    assert "torch_utils" not in sys.modules
    with pytest.raises(ModuleNotFoundError, match="torch_utils"), open(tmp_path / "x.pkl", "rb") as file:
        pickle.load(file)
