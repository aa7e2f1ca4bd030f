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
from spine_plugins.experiments import figures, pictures
from stylegan2ada.checkpoints import save_network
from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.data.writer import DatasetWriter
from stylegan2ada.networks.stylegan2 import Discriminator, Generator
from tests.spine_plugins.experiments.tree import Tree

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


@pytest.fixture
def eight(tmp_path: Path) -> tuple[Path, Path]:
    """(data, network) of eight classes, larger images than the others'."""
    names = [f"finding {k}" for k in range(8)]
    with DatasetWriter(tmp_path / "eight.zip") as writer:
        for i in range(16):
            writer.add(np.full((32, 32), 10 * i, dtype=np.uint8), label=i % 8)
        writer.extra["label_names"] = names
    torch.manual_seed(1)
    G = Generator(z_dim=4, c_dim=8, w_dim=4, img_resolution=32, img_channels=1, synthesis_kwargs=WIDTHS)
    D = Discriminator(c_dim=8, img_resolution=32, img_channels=1, **WIDTHS)
    networks = {"training_set_kwargs": None, "G": G, "D": D, "G_ema": G, "augment_pipe": None}
    save_network(networks, tmp_path / "multi.pkl")
    return tmp_path / "eight.zip", tmp_path / "multi.pkl"


def test_two_and_eight_classes_stand_on_one_sheet(
    data: Path, network: Path, eight: tuple[Path, Path], tmp_path: Path
) -> None:
    flags = ["fig4", f"--networks={network},{eight[1]}", f"--data={data}", f"--data={eight[0]}",
             f"--out={tmp_path / 'x.png'}", "--per-class=2", "--json=-"]  # fmt: skip
    result = CliRunner().invoke(figures_command.figures, flags)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["panels"] == ["Real radiographs, 2 classes", "Real radiographs, 8 classes", "net", "multi"]
    assert [len(names) for names in found["classes_of_panels"]] == [2, 8, 2, 8]
    assert found["classes_of_panels"][3][:2] == ["finding 0", "finding 1"]
    with PIL.Image.open(tmp_path / "x.png") as picture:
        # Images of 16 and of 32 pixels are enlarged to one size: 20 rows of 96, four captions and margins.
        assert picture.size[1] == 20 * 96 + 4 * (30 + 12) + 12


def test_a_network_whose_classes_no_data_has_names_its_own(
    data: Path, eight: tuple[Path, Path], tmp_path: Path
) -> None:
    flags = ["fig4", f"--networks={eight[1]}", f"--data={data}", f"--out={tmp_path / 'x.png'}", "--json=-",
             "--per-class=1"]  # fmt: skip
    result = CliRunner().invoke(figures_command.figures, flags)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["classes_of_panels"][1] == [f"class {k}" for k in range(8)]


def test_figure_2_has_a_curve_per_arm(tmp_path: Path) -> None:
    Tree(tmp_path).gan("ada", [[90, 60, 40], [95, 66, 44]]).gan("spine", [[80, 50, 35], [84, 52, 36]])
    runs = ",".join(
        str(tmp_path / "tasks" / f"gan-{a}-{s}" / "run") for a in ("ada", "spine") for s in (0, 1)
    )
    out = tmp_path / "fig2.png"
    flags = ["fig2", f"--runs={runs}", f"--out={out}", "--json=-", "--names=StyleGAN2-ADA,SpineGAN"]
    result = CliRunner().invoke(figures_command.figures, flags)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["drawn"] == ["fid50k_full", "pr50k3_full_precision", "pr50k3_full_recall"]
    assert found["arms"] == [{"title": "StyleGAN2-ADA", "runs": 2}, {"title": "SpineGAN", "runs": 2}]
    with PIL.Image.open(out) as picture:
        assert picture.size[0] > 1500


def test_figure_2_without_metrics_says_what_to_do(tmp_path: Path) -> None:
    Tree(tmp_path).gan("ada", [[90, 60]])
    run = tmp_path / "tasks" / "gan-ada-0" / "run"
    for path in run.glob("metric-*.jsonl"):
        path.unlink()
    result = CliRunner().invoke(figures_command.figures, ["fig2", f"--runs={run}", f"--out={tmp_path}/x.png"])
    assert result.exit_code == 4 and "spinegan metrics --network RUN" in result.output


def test_figure_1_is_drawn_by_the_privacy_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []

    def start(words: list[str]) -> None:
        started.append(words)
        folder = Path(words[-1].removeprefix("--out="))
        (folder / "figure1.png").write_bytes(b"png")
        (folder / "figure1.csv").write_text("noise_std\n")

    monkeypatch.setattr(pictures, "start", start)
    result = CliRunner().invoke(figures_command.figures, ["fig1", f"--out={tmp_path / 'fig1.png'}"])
    assert result.exit_code == 0, result.output
    assert started[0][:2] == ["dp", "figure1"]
    assert (tmp_path / "fig1.png").read_bytes() == b"png" and (tmp_path / "fig1.csv").is_file()


def test_facts_of_the_figure_for_programs(data: Path, network: Path, tmp_path: Path) -> None:
    flags = ["fig4", "--networks", str(network), "--data", str(data), "--out", str(tmp_path / "x.png")]
    result = CliRunner().invoke(figures_command.figures, [*flags, "--per-class=2", "--json=-"])
    assert json.loads(result.stdout) == {
        "file": str(tmp_path / "x.png"), "panels": ["Real radiographs", "net"], "images_per_class": 2,
        "classes": ["normal", "abnormal"], "classes_of_panels": [["normal", "abnormal"]] * 2,
        "truncation_psi": 1.0, "first_seed": 0,
    }  # fmt: skip
    assert "2 panels, 2 images of each of 2 classes, psi 1" in result.stderr


def test_panels_have_the_names_that_are_given_and_seeds_on_request(
    data: Path, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles: list[list[str]] = []
    plain = figures_command.draw_sheet

    def draw(panels: list, *rest: object) -> PIL.Image.Image:
        titles.append([panel.title for panel in panels])
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
    named = json.loads(CliRunner().invoke(figures_command.figures, [*args, "--names=SpineGAN,B,C"]).stdout)
    assert named["panels"] == ["SpineGAN", "B: noise 0.2, batch 1, clip 1.5", "C: DP-SGD, epsilon 9.99"]
    refused = CliRunner().invoke(figures_command.figures, [*args, "--names=SpineGAN"])
    assert refused.exit_code == 2 and "has 1 names for 3 runs; give one each" in refused.output
    assert out.stat().st_size > 500
