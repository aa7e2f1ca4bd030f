"""calc_metrics through its command line: networks, whole runs, pairs of image sets, and what is missing."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from stylegan2ada import calc_metrics
from stylegan2ada.checkpoints import save_network
from stylegan2ada.metrics import registry
from stylegan2ada.metrics.precision_recall import precision_recall
from stylegan2ada.networks.stylegan2 import Discriminator, Generator
from tests.stylegan2ada.metrics.conftest import write_images

ROOT = Path(__file__).parents[2]
WIDTHS = {"channel_base": 64, "channel_max": 4}


@pytest.fixture(autouse=True)
def _small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DNNLIB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("SPINEGAN_DETECTORS", raising=False)
    small = {
        "fid1k_tiny": registry._fid(None, 24),
        "pr1k3_tiny": registry._neighbours(None, 24, 3, precision_recall),
    }
    for name, compute in small.items():
        monkeypatch.setitem(
            registry.METRICS, name, dataclasses.replace(registry.METRICS[name], compute=compute)
        )


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run folder with two snapshots that know what they were trained on."""
    data = write_images(tmp_path / "real.zip", 30, seed=1)
    folder = tmp_path / "00000-run"
    folder.mkdir()
    (folder / "training_options.json").write_text("{}")
    for kimg in (0, 4):
        torch.manual_seed(kimg)
        G = Generator(z_dim=4, c_dim=2, w_dim=4, img_resolution=16, img_channels=1, synthesis_kwargs=WIDTHS)
        D = Discriminator(c_dim=2, img_resolution=16, img_channels=1, **WIDTHS)
        kwargs = {
            "class_name": "training.dataset.ImageFolderDataset",
            "path": str(data),
            "use_labels": True,
            "max_size": 30,
            "xflip": False,
            "resolution": 16,
        }
        networks = {"training_set_kwargs": kwargs, "G": G, "D": D, "G_ema": G, "augment_pipe": None}
        save_network(networks, folder / f"network-snapshot-{kimg:06d}.pkl")
    return folder


def run(*args: object) -> Result:
    return CliRunner().invoke(calc_metrics.main, [str(arg) for arg in args])


def records(output: str) -> list[dict]:
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def test_a_snapshot_is_measured_on_its_own_data_and_noted_in_its_run(run_dir: Path) -> None:
    result = run(f"--network={run_dir}/network-snapshot-000004.pkl", "--metrics=fid1k_tiny,pr1k3_tiny")
    assert result.exit_code == 0, result.output
    (fid, pr) = records(result.output)
    assert fid["snapshot_pkl"] == "network-snapshot-000004.pkl"
    assert set(pr["results"]) == {"pr1k3_tiny_precision", "pr1k3_tiny_recall"}
    assert (fid["num_real"], fid["num_fake"]) == (30, 24)
    kept = json.loads((run_dir / "metric-fid1k_tiny.jsonl").read_text())
    assert kept["results"] == fid["results"]
    assert "compare it with nothing else" in result.output


def test_a_whole_run_is_measured_in_order(run_dir: Path) -> None:
    result = run(f"--network={run_dir}", "--metrics=fid1k_tiny", "--verbose=false")
    assert [record["snapshot_pkl"] for record in records(result.output)] == [
        "network-snapshot-000000.pkl",
        "network-snapshot-000004.pkl",
    ]
    values = [record["results"]["fid1k_tiny"] for record in records(result.output)]
    assert values[0] != values[1]
    for which, name in (
        ("latest", "000004"),
        ("best:fid1k_tiny", "000000" if values[0] < values[1] else "000004"),
    ):
        result = run(f"--network={run_dir}/{which}", "--metrics=fid1k_tiny", "--verbose=false")
        (record,) = records(result.output)
        assert record["snapshot_pkl"] == f"network-snapshot-{name}.pkl"


def test_two_sets_of_images(tmp_path: Path, run_dir: Path) -> None:
    fakes = write_images(tmp_path / "fake.zip", 24, seed=2)
    result = run(f"--fakes={fakes}", f"--data={tmp_path}/real.zip", "--metrics=fid1k_tiny")
    (record,) = records(result.output)
    assert record["fake_fingerprint"] != record["real_fingerprint"]
    assert record["snapshot_pkl"] is None


@pytest.mark.parametrize(
    ("flags", "words", "code"),
    [
        (["--metrics=fid10k"], "fid10k is not known; choose from fid50k_full", 2),
        (["--metrics=fid50k_full"], "spinegan detectors fetch inception", 3),
        (["--metrics=fid50k_full", "--detector", "inception=nowhere.pt"], "there is no such file", 3),
        (["--gpus=0"], "give at least 1", 2),
        (["--metrics=fid1k_tiny", "--data=nowhere.zip"], "nowhere.zip does not exist", 2),
        (["--fakes=x.zip"], "either --network or --fakes", 2),
    ],
)
def test_what_cannot_work_says_why(flags: list[str], words: str, code: int, run_dir: Path) -> None:
    result = run(f"--network={run_dir}", *flags)
    assert result.exit_code == code, result.output
    assert words in result.output.replace("\n", " ")


def test_data_that_moved_away_is_asked_for(run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "real.zip").rename(tmp_path / "moved.zip")
    network = f"--network={run_dir}/network-snapshot-000004.pkl"
    result = run(network, "--metrics=fid1k_tiny")
    assert (result.exit_code, "real.zip, which is not here" in result.output) == (2, True)
    assert run(network, "--metrics=fid1k_tiny", f"--data={tmp_path}/moved.zip").exit_code == 0


def test_a_network_without_memory_of_its_data_asks_for_it(tmp_path: Path) -> None:
    G = Generator(z_dim=4, c_dim=0, w_dim=4, img_resolution=16, img_channels=1, synthesis_kwargs=WIDTHS)
    D = Discriminator(c_dim=0, img_resolution=16, img_channels=1, **WIDTHS)
    networks = {"training_set_kwargs": None, "G": G, "D": D, "G_ema": G, "augment_pipe": None}
    save_network(networks, tmp_path / "net.pkl")
    result = run(f"--network={tmp_path}/net.pkl", "--metrics=fid1k_tiny")
    assert result.exit_code == 2
    assert "give the real images with --data" in result.output
    assert run(f"--network={tmp_path}/none.pkl").exit_code == 2


def test_standard_output_holds_json_lines_and_nothing_else(run_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "all.json"
    result = run(f"--network={run_dir}", "--metrics=fid1k_tiny,pr1k3_tiny", f"--json={file}")
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["metric"] for line in lines] == ["fid1k_tiny", "pr1k3_tiny"] * 2
    assert json.loads(file.read_text()) == {"records": lines}
    assert "Measuring" in result.stderr


def test_one_object_instead_of_lines_for_programs(run_dir: Path) -> None:
    result = run(f"--network={run_dir}/network-snapshot-000004.pkl", "--metrics=fid1k_tiny", "--json=-")
    (record,) = json.loads(result.stdout)["records"]
    assert record["snapshot_pkl"] == "network-snapshot-000004.pkl"
    assert json.loads((run_dir / "metric-fid1k_tiny.jsonl").read_text()) == record
    assert records(result.stderr) == [record]  # people see it, too


@pytest.mark.slow
def test_two_processes_of_a_bare_clone_measure_together(run_dir: Path, tmp_path: Path) -> None:
    """Run as a file from elsewhere, it starts processes that find the same program; one of them reports."""
    script, network = ROOT / "stylegan2ada" / "calc_metrics.py", run_dir / "network-snapshot-000004.pkl"
    command = [sys.executable, str(script), f"--network={network}", "--metrics=fid1k_tiny", "--gpus=2",
               "--device=cpu", f"--json={tmp_path}/n.json"]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    (record,) = json.loads((tmp_path / "n.json").read_text())["records"]
    assert json.loads(line) == record
    assert (record["num_gpus"], record["num_real"]) == (2, 30)
