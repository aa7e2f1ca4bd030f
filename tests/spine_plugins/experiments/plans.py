"""Plans for tests."""

from __future__ import annotations

from pathlib import Path

from spine_plugins.experiments import folder
from spine_plugins.experiments.estimate import Cost
from spine_plugins.experiments.folder import Experiment, Given
from spine_plugins.experiments.runner import Ended, Means, run

STAND_IN = ("-S", str(Path(__file__).with_name("stand_in.py")))  # -S: it starts at once

SMALL = """\
title = "Small"
resolution = 32
device = "cpu"

[data]
train = { phantom = { n = 20, seed = 1 } }
val = { phantom = { n = 10, seed = 2 } }
test = { phantom = { n = 10, seed = 3 } }

[classifier]
arch = "cnn13k"
epochs = 2
steps = 4
seeds = [0]

[gan]
kimg = 1
flags = { batch = 16, tick = 1, snap = 1 }

[arms.ada]
title = "StyleGAN2-ADA"

[rows.real]
train = ["real"]

[rows.ada-8]
train = ["ada:8"]
"""
TASKS = [
    "data-train", "data-val", "data-test", "fit-real-s0", "predict-real-s0", "gan-ada-0", "draw-ada-0-0-8",
    "fit-ada-8-s0-g0-d0", "predict-ada-8-s0-g0-d0",
]  # fmt: skip


def write_plan(folder_: Path, text: str = SMALL) -> Path:
    path = folder_ / "small.toml"
    path.write_text(text)
    return path


def opened(tmp_path: Path, text: str = SMALL) -> Experiment:
    path = write_plan(tmp_path, text)
    return folder.open_plan(str(path), Given("small", str(tmp_path)), tmp_path / "out")


def started(experiment: Experiment, *, said: list[str] | None = None, **means: object) -> Ended:
    """Run with the stand-in."""
    costs = {task.id: Cost(1.0, 1000.0) for task in experiment.tasks}
    folder.write(experiment)
    lines = [] if said is None else said
    return run(experiment, Means(program=STAND_IN, **means), costs, lines.append)  # type: ignore[arg-type]


def calls(tmp_path: Path) -> list[str]:
    """The command lines since the last look."""
    path = tmp_path / "calls.txt"
    if not path.exists():
        return []
    lines = path.read_text().splitlines()
    path.unlink()
    return lines
