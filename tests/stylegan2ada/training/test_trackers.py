"""Pictures, settings and services: who gets what of a run; the services' packages are stubs here."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from stylegan2ada.config import TrainOptions, resolve
from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.data.writer import DatasetWriter
from stylegan2ada.errors import MissingError
from stylegan2ada.training import trackers
from stylegan2ada.training.log import RunLog

LINE = {"Loss/G/loss": {"num": 3, "mean": 1.5, "std": 0.5}, "Secret/n": {"num": 1, "mean": 7.0, "std": 0.0}}
Told = list[tuple[str, Any]]


def a_picture(folder: Path) -> Path:
    PIL.Image.new("L", (2048, 512), 128).save(folder / "fakes000002.png")
    return folder / "fakes000002.png"


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Told:
    """What a stub of the package is told."""
    told: Told = []
    run = types.SimpleNamespace(
        define_metric=lambda name, step_metric=None: told.append(("define", (name, step_metric))),
        config=types.SimpleNamespace(update=lambda values, allow_val_change: told.append(("config", values))),
        log=lambda values: told.append(("log", values)),
        finish=lambda: told.append(("finish", None)),
    )
    stub: Any = types.ModuleType("wandb")
    stub.init = lambda **given: (told.append(("init", given)), run)[1]
    stub.Image = lambda pixels: ("image", pixels.shape)
    monkeypatch.setitem(sys.modules, "wandb", stub)
    return told


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> Told:
    told: Told = []
    stub: Any = types.ModuleType("mlflow")
    for name in ("set_experiment", "start_run", "log_params", "log_metrics", "log_image", "end_run"):
        setattr(stub, name, lambda *given, name=name, **named: told.append((name, (*given, named))))
    stub.search_runs = lambda **given: []
    monkeypatch.setitem(sys.modules, "mlflow", stub)
    return told


def test_tensorboard_has_pictures_and_settings(tmp_path: Path) -> None:
    tensorboard = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log = RunLog(tmp_path, settings={"batch": 16, "loss": "spine"})
    log.write(LINE, step_kimg=2, wall_sec=1)
    log.pictures({"Fakes": a_picture(tmp_path)}, step_kimg=2)
    log.close()
    events = tensorboard.EventAccumulator(str(tmp_path))
    events.Reload()
    (shown,) = events.Images("Fakes")
    assert (shown.step, shown.width, shown.height) == (2, 1024, 256)
    assert events.SummaryMetadata("_hparams_/session_start_info").plugin_data.plugin_name == "hparams"
    assert len(list(tmp_path.glob("events*"))) == 1, "settings beside the curves, in one file"


def test_wandb_gets_curves_settings_and_fakes(tmp_path: Path, wandb: Told) -> None:
    log = RunLog(tmp_path, services=["wandb"], settings={"batch": 16})
    log.write({name: value for name, value in LINE.items() if "Secret" not in name}, step_kimg=2, wall_sec=1)
    log.pictures({"Fakes": a_picture(tmp_path)}, step_kimg=2)
    log.close()
    (_, first), *rest = wandb
    assert (first["project"], first["name"], first["resume"]) == ("spinegan", tmp_path.name, "allow")
    assert rest == [
        ("define", ("kimg", None)),
        ("define", ("*", "kimg")),
        ("config", {"batch": 16}),
        ("log", {"Loss/G/loss": 1.5, "kimg": 2}),
        ("log", {"Fakes": ("image", (256, 1024)), "kimg": 2}),
        ("finish", None),
    ]
    RunLog(tmp_path, services=["wandb"], continues_at=2).close()
    assert wandb[len(rest) + 1][1]["id"] == first["id"], "a run that goes on is the one that it was"


def test_of_a_private_run_nobody_is_told(tmp_path: Path, wandb: Told) -> None:
    """Not even TensorBoard: its files bear the time of each point, which tells of the images."""
    log = RunLog(tmp_path, services=["wandb"], settings={"batch": 16}, private="Secret/.*")
    log.write(LINE, step_kimg=2, wall_sec=1)
    log.pictures({"Fakes": a_picture(tmp_path)}, step_kimg=2)
    log.close()
    assert wandb == []
    assert list(tmp_path.glob("events*")) == []


def test_mlflow_gets_curves_settings_and_fakes(tmp_path: Path, mlflow: Told) -> None:
    log = RunLog(tmp_path, services=["mlflow"], settings={"batch": 16})
    log.scalar("Metrics/fid", 3.0, step_kimg=2, wall_sec=1)
    log.pictures({"Fakes": a_picture(tmp_path)}, step_kimg=2)
    log.close()
    names = [name for name, _ in mlflow]
    assert names == ["set_experiment", "start_run", "log_params", "log_metrics", "log_image", "end_run"]
    assert mlflow[3][1] == ({"Metrics/fid": 3.0}, {"step": 2})
    assert mlflow[4][1][1] == {"artifact_file": "Fakes/000002.png"}


def test_a_service_that_fails_is_left_and_the_run_goes_on(
    tmp_path: Path, wandb: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    log = RunLog(tmp_path, services=["wandb"])
    sys.modules["wandb"].Image = lambda pixels: 1 / 0  # type: ignore[attr-defined]
    log.pictures({"Fakes": a_picture(tmp_path)}, step_kimg=2)
    log.write(LINE, step_kimg=2, wall_sec=1)
    log.close()
    assert "WeightsAndBiases gets nothing more of this run" in capsys.readouterr().out
    assert [name for name, _ in wandb] == ["init", "define", "define"]
    assert "Loss/G/loss" in (tmp_path / "stats.jsonl").read_text()


def test_a_missing_package_is_refused_with_the_line_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingError, match=r"--log=wandb needs its package: pip install 'spinegan\[wandb\]'"):
        trackers.check(["wandb"])


def test_settings_name_no_place(tmp_path: Path) -> None:
    """What is sent holds no path, though the options know several."""
    with DatasetWriter(tmp_path / "patients.zip") as writer:
        for _ in range(4):
            writer.add(np.zeros((32, 32), np.uint8))
    info = ImageFolderDataset(str(tmp_path / "patients.zip"), use_labels=False).info()
    config = resolve(TrainOptions(data=str(tmp_path / "patients.zip"), outdir="o", metrics=(), batch=8), info)
    found = trackers.settings_of(config)
    assert (found["batch"], found["resolution"], found["labels"]) == (8, 32, False)
    assert not [
        value for value in found.values() if isinstance(value, str) and ("/" in value or "pat" in value)
    ]
