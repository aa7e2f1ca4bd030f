"""The whole loop on recorded draws: weights, statistics, files and pictures of the reference's own runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from stylegan2ada.config import TrainConfig
from stylegan2ada.losses.draws import Draws
from stylegan2ada.training.build import Run
from stylegan2ada.training.hooks import Hook, Hooks
from stylegan2ada.training.loop import train
from tests.golden_data import Arrays, golden_arrays, golden_json, golden_path
from tests.stylegan2ada.training.toy import toy_run_dir

RUNS = {run["name"]: run for run in golden_json("training/training.json")}
SLACK = 100  # times the drift that was recorded for weights perturbed by 1e-7, see golden/README


class RecordedSource:
    """Hands out the recorded images and latents, and knows which iteration and phase it is."""

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = arrays
        self.iteration = -1
        self.phase = ""
        self.wait_sec = 0.0

    def reals(self) -> tuple[torch.Tensor, torch.Tensor]:
        self.iteration += 1
        images, labels = self.arrays["real_img_uint8"], self.arrays["real_c"]
        return torch.from_numpy(images[self.iteration]), torch.from_numpy(labels[self.iteration])

    def latents(self, phase: str) -> tuple[torch.Tensor, torch.Tensor]:
        self.phase = f"it{self.iteration:02d}/{phase}"
        self.round = 0
        return (torch.from_numpy(self.arrays[f"{self.phase}/gen_{name}"]) for name in "zc")  # type: ignore[return-value]

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass

    def close(self) -> None:
        pass


class RecordedDraws(Draws):
    noise_mode = "const"

    def __init__(self, source: RecordedSource, percentile: float | None) -> None:
        super().__init__("cpu", 0)
        self.source = source
        self.augment_percentile = percentile

    def pl_noise(self, img: torch.Tensor) -> torch.Tensor:
        noise = self.source.arrays[f"{self.source.phase}/pl_noise"][self.source.round]
        self.source.round += 1
        return torch.from_numpy(noise)


class Observe(Hook):
    """Starts from the recorded weights; notes what each iteration begins with."""

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = arrays
        self.norms: list[list[float]] = []
        self.p: list[float] = []
        self.pl_mean: list[float] = []

    def on_start(self, run: Run) -> None:
        self.run = run
        for name in ("G", "D", "G_ema"):
            state = {key: torch.from_numpy(value) for key, value in self.arrays.under(f"init/{name}").items()}
            getattr(run, name).load_state_dict(state)

    def after_part(self, phase: Any) -> None:
        if len(self.norms) == self.run.iteration:
            self.norms.append([_norm(self.run.G), _norm(self.run.D)])
            self.p.append(self.run.p)

    def after_step(self, phase: Any) -> None:
        self.pl_mean[self.run.iteration :] = [float(self.run.loss.pl_mean)]


def _norm(module: torch.nn.Module) -> float:
    return float(torch.stack([p.detach().double().square().sum() for p in module.parameters()]).sum().sqrt())


@pytest.fixture(scope="module", params=list(RUNS))
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    record = RUNS[request.param]
    arrays = golden_arrays(f"training/{request.param}.npz")
    data = golden_path(f"training/{request.param}.dataset.zip")
    kwargs = record["training_loop_kwargs"]
    config = TrainConfig.from_record({"num_gpus": 1, **kwargs})
    config.training_set_kwargs["path"] = str(data)
    run_dir = toy_run_dir(tmp_path_factory.mktemp("golden") / request.param, config)
    source, observer = RecordedSource(arrays), Observe(arrays)
    run = train(
        config,
        run_dir,
        device=torch.device("cpu"),
        hooks=Hooks([observer]),
        source=source,
        draws=RecordedDraws(source, record["debug_percentile"]),
    )
    return record, arrays, run, observer


def test_weights_end_where_the_recorded_ones_do(played) -> None:
    record, arrays, run, _ = played
    drift = record["sensitivity_to_1e7_relative_perturbation"]
    for name in ("G", "D", "G_ema"):
        recorded = arrays.under(f"final/{name}")
        state = {key: value.numpy() for key, value in getattr(run, name).state_dict().items()}
        assert state.keys() == recorded.keys()
        furthest = max(np.abs(state[key] - recorded[key]).max() for key in recorded)
        assert furthest <= SLACK * drift[f"max_abs_final_{name}"]
        begin = arrays.under(f"init/{name}")
        moved = sum(np.square(recorded[key] - begin[key], dtype=np.float64).sum() for key in recorded)
        missed = sum(np.square(recorded[key] - state[key], dtype=np.float64).sum() for key in recorded)
        assert np.sqrt(missed / moved) <= SLACK * drift[f"rel_l2_of_total_movement_{name}"]


def test_every_iteration_begins_as_recorded(played) -> None:
    record, arrays, run, observer = played
    assert len(observer.norms) == record["iterations"] == run.iteration
    np.testing.assert_allclose(observer.norms, arrays["norms_G_D_at_iteration_start"], rtol=1e-5)
    np.testing.assert_allclose(observer.pl_mean, arrays["pl_mean_after_iteration"], rtol=1e-4)
    if "augment_p_final" in arrays:
        np.testing.assert_allclose(observer.p, arrays["augment_p_at_iteration_start"], rtol=1e-6, atol=1e-9)
        assert run.p == pytest.approx(float(arrays["augment_p_final"]), rel=1e-6)
        assert float(run.augment_pipe.p) == run.p


def test_statistics_file(played) -> None:
    record, _, run, _ = played
    lines = [json.loads(line) for line in (run.run_dir / "stats.jsonl").read_text().splitlines()]
    assert len(lines) == record["ticks"] == run.tick
    for line, losses, is_first in zip(lines, record["stats_jsonl_losses"], [True] + [False] * len(lines)):
        names = record["stats_jsonl_keys_first_line" if is_first else "stats_jsonl_keys"]
        assert [key for key in line if key in names] == names
        assert set(line) - set(names) == {"Timing/data_wait"}  # ours
        for name, expected in losses.items():
            found = line[name]
            assert found["num"] == expected["num"], name
            assert found["mean"] == pytest.approx(expected["mean"], rel=SLACK * 4.1e-6, abs=1e-6), name
            assert found["std"] == pytest.approx(expected["std"], rel=1e-3, abs=1e-5), name


def test_files_and_the_grid_of_real_images(played) -> None:
    record, _, run, _ = played
    names = {path.name for path in run.run_dir.iterdir()}
    assert set(record["run_dir_files"]) <= names
    assert not names - set(record["run_dir_files"]) - {
        "training_options.json", "log.txt", "training-state.pt", "training-state.pt.previous", "classes",
        "events.jsonl",
        *(name for name in names if name.startswith("events.out.tfevents")),
    }  # fmt: skip
    with (
        PIL.Image.open(golden_path(f"training/{record['name']}.reals.png")) as expected,
        PIL.Image.open(run.run_dir / "reals.png") as found,
    ):
        assert found.mode == expected.mode
        np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))


def test_the_run_can_be_read_back(played) -> None:
    from stylegan2ada.checkpoints import load_network

    _, _, run, _ = played
    loaded = load_network(run.run_dir / "network-snapshot-000000.pkl")
    assert loaded["training_set_kwargs"]["class_name"] == "training.dataset.ImageFolderDataset"
    for name in ("G", "D", "G_ema"):
        for key, value in getattr(run, name).state_dict().items():
            torch.testing.assert_close(loaded[name].state_dict()[key], value, rtol=0, atol=0)
    log = Path(run.run_dir, "log.txt").read_text()
    assert sum(line.startswith("tick ") for line in log.splitlines()) == run.tick
