"""The command that converts network files, run as users run it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from stylegan2ada.checkpoints import load_network, save_network
from stylegan2ada.legacy import main
from tests.golden_data import golden_arrays, golden_path
from tests.stylegan2ada.checkpoints.conftest import assert_same_module, make_networks

ROOT = Path(__file__).parents[2]


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize("ending", ["pkl", "safetensors"])
def test_a_tensorflow_file_becomes_a_current_one(ending, tmp_path):
    source = golden_path("checkpoints/legacy_tf_style.pkl")
    result = run("--source", source, "--dest", tmp_path / f"new.{ending}")
    assert result.exit_code == 0, result.output
    assert "TensorFlow" in result.output
    networks = load_network(tmp_path / f"new.{ending}")
    expected = golden_arrays("checkpoints/legacy_tf_style.expected.npz").under("G_ema")
    for key, value in networks["G_ema"].state_dict().items():
        assert torch.equal(value, torch.from_numpy(expected[key])), key
    assert networks["card"]["starts_from"][0]["origin"] == str(source)


def test_force_fp16_rebuilds_all_three_networks(tmp_path):
    save_network(make_networks(resolution=16), tmp_path / "old.pkl")
    result = run("--source", tmp_path / "old.pkl", "--dest", tmp_path / "new.pkl", "--force-fp16", "1")
    assert result.exit_code == 0, result.output
    old, new = load_network(tmp_path / "old.pkl"), load_network(tmp_path / "new.pkl")
    for key in ("G", "G_ema"):
        assert new[key].init_kwargs["synthesis_kwargs"]["num_fp16_res"] == 4
        assert new[key].init_kwargs["synthesis_kwargs"]["conv_clamp"] == 256
    assert (new["D"].init_kwargs["num_fp16_res"], new["D"].init_kwargs["conv_clamp"]) == (4, 256)
    for key in ("G", "D", "G_ema"):
        for name, value in old[key].state_dict().items():
            assert torch.equal(new[key].state_dict()[name], value), name
    assert_same_module(old["augment_pipe"], new["augment_pipe"])
    assert new["training_set_kwargs"] == old["training_set_kwargs"]


def test_converting_again_gives_the_same_bytes(tmp_path):
    save_network(make_networks(), tmp_path / "a.pkl")
    assert run("--source", tmp_path / "a.pkl", "--dest", tmp_path / "b.safetensors").exit_code == 0
    assert run("--source", tmp_path / "b.safetensors", "--dest", tmp_path / "c.pkl").exit_code == 0
    assert (tmp_path / "a.pkl").read_bytes() == (tmp_path / "c.pkl").read_bytes()


def test_mistakes_are_one_sentence_and_an_exit_code(tmp_path):
    (tmp_path / "broken.pkl").write_bytes(b"<html>")
    save_network(make_networks(), tmp_path / "good.pkl")
    for source, dest, code, says in [
        ("none.pkl", "x.pkl", 3, "none.pkl is not a file"),
        ("broken.pkl", "x.pkl", 2, "broken.pkl cannot be used as a network file"),
        ("good.pkl", "x.pt", 2, "ends in '.pt'"),
        ("good.pkl", "no/x.pkl", 2, "cannot be written"),
    ]:
        result = run("--source", tmp_path / source, "--dest", tmp_path / dest)
        assert result.exit_code == code
        assert says in result.output
        assert "Traceback" not in result.output
    assert run("--source", tmp_path / "good.pkl").exit_code == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["broken.pkl", "good.pkl"]


@pytest.mark.slow  # test_as_script is the fast one
def test_it_runs_as_a_file_of_a_bare_clone(tmp_path):
    save_network(make_networks(), tmp_path / "a.pkl")
    command = [sys.executable, "-W", "error", str(ROOT / "stylegan2ada" / "legacy.py")]
    done = subprocess.run(
        [*command, "--source", "a.pkl", "--dest", "b.pkl"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["Reading a.pkl", "Writing b.pkl"]
    assert (tmp_path / "a.pkl").read_bytes() == (tmp_path / "b.pkl").read_bytes()


def test_a_run_folder_is_its_newest_network(tmp_path):
    for kimg in (3, 20):
        save_network(make_networks(seed=kimg), tmp_path / f"network-snapshot-{kimg:06d}.pkl")
    result = run("--source", tmp_path, "--dest", tmp_path / "new.safetensors")
    assert result.exit_code == 0, result.output
    newest = load_network(tmp_path / "network-snapshot-000020.pkl")
    assert_same_module(load_network(tmp_path / "new.safetensors")["G_ema"], newest["G_ema"])
