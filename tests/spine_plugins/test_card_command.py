"""`spinegan card`: a page beside the network, with what the run measured on it and on no other."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

import stylegan2ada as sg
from spine_plugins.card_command import card
from stylegan2ada.networks.stylegan2 import Generator


def test_a_network_gets_its_page(tmp_path: Path) -> None:
    run = tmp_path / "00000-of-jane"
    run.mkdir()
    small = {"channel_base": 32, "channel_max": 4}
    G = Generator(4, 0, 4, 8, 1, mapping_kwargs={"num_layers": 1}, synthesis_kwargs=small)
    network = run / "network-snapshot-000012.pkl"
    sg.save_network({"G": G, "G_ema": G, "card": {"dataset": "spine-train", "kimg": 12}}, network)
    lines = [
        {"snapshot_pkl": f"network-snapshot-{kimg}.pkl", "metric": "fid1k_tiny", "results": {"fid1k_tiny": v}}
        for kimg, v in (("000008", 8.0), ("000012", 2.0))
    ]
    (run / "metric-fid1k_tiny.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = CliRunner().invoke(card, [f"--network={run}"])
    assert done.exit_code == 0, done.output
    page = (run / "README.md").read_text()
    assert "| Trained on | spine-train |" in page
    assert "| fid1k_tiny | 2 |" in page
    assert "| Resolution | 8x8 |" in page
    assert "jane" not in page
    again = CliRunner().invoke(card, [f"--network={network}"])
    assert (again.exit_code, "--overwrite" in again.output) == (2, True)
