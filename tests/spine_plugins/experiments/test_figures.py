"""Figure 4: real and generated images of every class side by side, nothing truncated or hand-picked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from click.testing import CliRunner

from spine_plugins.experiments import command as figures_command
from spine_plugins.experiments import figures
from stylegan2ada.checkpoints import save_network
from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.data.writer import DatasetWriter
from stylegan2ada.networks.stylegan2 import Discriminator, Generator

WIDTHS = {"channel_base": 64, "channel_max": 4}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    with DatasetWriter(tmp_path / "real.zip") as writer:
        for i in range(6):
            writer.add(np.full((16, 16), 10 + 20 * i, dtype=np.uint8), label=int(i >= 4))
        writer.extra["label_names"] = ["normal", "abnormal"]
    return tmp_path / "real.zip"


@pytest.fixture
def network(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    G = Generator(z_dim=4, c_dim=2, w_dim=4, img_resolution=16, img_channels=1, synthesis_kwargs=WIDTHS)
    D = Discriminator(c_dim=2, img_resolution=16, img_channels=1, **WIDTHS)
    networks = {"training_set_kwargs": None, "G": G, "D": D, "G_ema": G, "augment_pipe": None}
    save_network(networks, tmp_path / "net.pkl")
    return tmp_path / "net.pkl"


def test_one_panel_per_network_and_one_for_reals(data: Path, network: Path, tmp_path: Path) -> None:
    out = tmp_path / "fig4.png"
    result = CliRunner().invoke(
        figures_command.figures,
        [
            "fig4",
            "--networks",
            f"{network},{network}",
            "--data",
            str(data),
            "--out",
            str(out),
            "--per-class=3",
        ],
    )
    assert result.exit_code == 0, result.output
    assert "3 panels, 3 images of each of 2 classes, psi 1" in result.output
    with PIL.Image.open(out) as picture:
        assert picture.size[1] > 3 * 2 * 96
        assert picture.mode == "RGB"


def test_reals_are_of_their_class_and_too_few_leave_black(data: Path) -> None:
    dataset = ImageFolderDataset(data, use_labels=True)
    rows = figures.real_rows(dataset, 3, seed=0)
    assert rows.shape == (6, 1, 16, 16)
    levels = rows[:, 0, 0, 0].tolist()
    assert all(level in (10, 30, 50, 70) for level in levels[:3])
    assert sorted(levels[3:]) == [0, 90, 110]
    assert len(set(levels[:3])) == 3


def test_a_network_of_other_classes_is_refused(tmp_path: Path, network: Path) -> None:
    with DatasetWriter(tmp_path / "three.zip") as writer:
        for i in range(3):
            writer.add(np.zeros((16, 16), dtype=np.uint8), label=i)
    result = CliRunner().invoke(
        figures_command.figures,
        [
            "fig4",
            "--networks",
            str(network),
            "--data",
            str(tmp_path / "three.zip"),
            "--out",
            str(tmp_path / "x.png"),
        ],
    )
    assert result.exit_code == 2
    assert "knows 2 classes" in result.output


def test_facts_of_the_figure_for_programs(data: Path, network: Path, tmp_path: Path) -> None:
    flags = ["fig4", "--networks", str(network), "--data", str(data), "--out", str(tmp_path / "x.png")]
    result = CliRunner().invoke(figures_command.figures, [*flags, "--per-class=2", "--json=-"])
    assert json.loads(result.stdout) == {
        "file": str(tmp_path / "x.png"), "panels": ["Real radiographs", "net"], "images_per_class": 2,
        "classes": ["normal", "abnormal"], "truncation_psi": 1.0, "first_seed": 0,
    }  # fmt: skip
    assert "2 panels, 2 images of each of 2 classes, psi 1" in result.stderr


def test_panels_have_the_names_that_are_given_and_seeds_on_request(
    data: Path, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles: list[list[str]] = []
    plain = figures_command.draw_sheet

    def draw(panels: list, *rest: object) -> PIL.Image.Image:
        titles.append([title for title, _ in panels])
        return plain(panels, *rest)

    monkeypatch.setattr(figures_command, "draw_sheet", draw)
    flags = ["fig4", f"--networks={network},{network}", f"--data={data}", f"--out={tmp_path / 'x.png'}",
             "--per-class=2", "--seed=5"]  # fmt: skip
    result = CliRunner().invoke(figures_command.figures, [*flags, "--names=ADA,Spine GAN", "--captions"])
    assert result.exit_code == 0, result.output
    assert titles == [["Real radiographs", "ADA, seeds 5 to 8", "Spine GAN, seeds 5 to 8"]]
    refused = CliRunner().invoke(figures_command.figures, [*flags, "--names=ADA", "--overwrite"])
    assert (refused.exit_code, "has 1 names for 2 networks" in refused.output) == (2, True)


def test_figure_3_has_a_panel_per_run_and_says_what_it_guarantees(tmp_path: Path) -> None:
    runs = []
    for number, facts in enumerate(
        ({}, {"mode": "paper", "noise": 0.2, "clip": 1.5, "batch": 1}, {"mode": "sgd", "epsilon": 9.99})
    ):
        folder = tmp_path / f"0000{number}-run"
        (folder / "privacy").mkdir(parents=True)
        torch.manual_seed(number)
        narrow = {"channel_base": 64, "channel_max": 4}
        shape = {"c_dim": 2, "img_resolution": 8, "img_channels": 1}
        G = Generator(z_dim=8, w_dim=8, synthesis_kwargs=narrow, mapping_kwargs={"num_layers": 1}, **shape)
        D = Discriminator(**shape, **narrow)
        save_network({"G": G, "D": D, "G_ema": G}, folder / "network-snapshot-000001.pkl")
        if facts:
            guarantee = "none" if facts["mode"] == "paper" else "(eps, delta)-DP"
            text = json.dumps(facts | {"guarantee": guarantee})
            (folder / "privacy" / "privacy_report.json").write_text(text)
        runs.append(str(folder))
    out = tmp_path / "fig3.png"
    args = ["fig3", f"--runs={','.join(runs)}", "--per-class=2", f"--out={out}", "--json=-", "--device=cpu"]
    result = CliRunner().invoke(figures_command.figures, args)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["panels"] == ["00000-run", "noise 0.2, batch 1, clip 1.5", "DP-SGD, epsilon 9.99"]
    assert found["guarantees"] == [None, "none", "(eps, delta)-DP"]
    assert out.stat().st_size > 500
