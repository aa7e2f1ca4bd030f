"""The audit in training: a network that repeats its data is warned of once, one that does not never is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from spine_plugins.audit.hook import CopyWatch
from spine_plugins.pages.audited import of_runs
from spine_plugins.training.command import TrainSpine, main, prepare
from stylegan2ada.errors import UserError
from stylegan2ada.images import to_float
from stylegan2ada.training import run_files
from tests.spine_plugins.audit.making import images, write_zip


class Fixed(torch.nn.Module):
    """Draws given images in turn, whatever it is asked."""

    def __init__(self, pixels: np.ndarray) -> None:
        super().__init__()
        self.z_dim = self.w_dim = 4
        self.c_dim, self.num_ws, self.img_channels, self.img_resolution = 0, 1, 1, pixels.shape[-1]
        self.pixels, self.at = torch.from_numpy(pixels), 0
        self.mapping = lambda z, c, **options: z[:, None]

    def synthesis(self, ws: torch.Tensor, **options: object) -> torch.Tensor:
        rows = (torch.arange(len(ws)) + self.at) % len(self.pixels)
        self.at += len(ws)
        return to_float(self.pixels[rows])

    def forward(self, z: torch.Tensor, c: torch.Tensor, **options: object) -> torch.Tensor:
        return self.synthesis(z[:, None])


@dataclass
class Watched:
    run_dir: Path
    G_ema: Fixed
    device: torch.device = torch.device("cpu")
    cur_nimg: int = 4000


@pytest.fixture
def sets(tmp_path: Path) -> tuple[str, str]:
    train = write_zip(tmp_path / "train.zip", images(40, 1), [f"a{i // 2}" for i in range(40)])
    holdout = write_zip(tmp_path / "holdout.zip", images(40, 2), [f"b{i // 2}" for i in range(40)])
    return str(train), str(holdout)


def test_memorisation_is_warned_of_once_and_plotted(tmp_path: Path, sets: tuple[str, str]) -> None:
    watch = CopyWatch(*sets, every=2, n_fakes=60)
    clean, copying = Fixed(images(60, 3)), Fixed(np.concatenate([images(40, 1), images(20, 4)]))
    for at, network in enumerate([clean, clean, copying, clean, copying]):
        watch.on_snapshot(Watched(tmp_path, network, cur_nimg=4000 * at), tmp_path / f"net{at}.pkl")
    lines = [json.loads(line) for line in (tmp_path / run_files.AUDITS).read_text().splitlines()]
    assert [line["kimg"] for line in lines] == [0, 8, 16]  # every second snapshot
    assert lines[0]["p_value"] > 0.05 > 0.01 > lines[1]["p_value"]
    assert lines[1]["fakes_like_a_training_image"] == 40
    events = [event for event in run_files.read_events(tmp_path) if event.code == "memorisation"]
    assert [event.kimg for event in events] == [8]
    assert "40 of 60 fakes" in events[0].text
    drawn = of_runs([("run", tmp_path)])
    assert drawn is not None
    assert "p-value of the test of copies" in drawn


def test_a_holdout_that_shares_patients_is_refused(tmp_path: Path, sets: tuple[str, str]) -> None:
    other = write_zip(tmp_path / "other.zip", images(40, 9), [f"a{i // 2}" for i in range(40)])
    with pytest.raises(UserError, match="share 20 patient"):
        CopyWatch(sets[0], str(other))


def test_the_flag_makes_the_hook_and_needs_its_companion(tmp_path: Path, sets: tuple[str, str]) -> None:
    asked = TrainSpine(outdir=str(tmp_path), data=sets[0], audit_every=3, holdout=sets[1])
    made = prepare(asked)
    assert [(type(hook), hook.every) for hook in made.hooks] == [(CopyWatch, 3)]  # type: ignore[attr-defined]
    assert made.record["spine"]["audit"]["every"] == 3
    assert prepare(TrainSpine(outdir=str(tmp_path), data=sets[0])).hooks == []
    result = CliRunner().invoke(main, [f"--outdir={tmp_path}", f"--data={sets[0]}", "--audit-every=1"])
    assert result.exit_code == 2
    assert "--holdout" in result.output
