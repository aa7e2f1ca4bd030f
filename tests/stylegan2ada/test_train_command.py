"""The train command up to the first iteration: refusals, dry runs, run folders, what may change later."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner

from stylegan2ada import options
from stylegan2ada.config import TrainOptions, continue_with, resolve
from stylegan2ada.errors import StoppedOnRequest, UserError
from stylegan2ada.train import main, run
from stylegan2ada.training import run_dir as folders
from tests.golden_data import golden_json
from tests.stylegan2ada.metrics.conftest import write_stand_in
from tests.stylegan2ada.test_config import LABELLED, R64
from tests.stylegan2ada.training.toy import StopAfter, toy_dataset

RECORD = golden_json("cli/train_options.json")


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The data sets that the recorded mistakes were made with, each as small as it can be."""
    root = tmp_path_factory.mktemp("data")
    (root / "empty").mkdir()
    (root / "text.txt").write_text("not a data set")
    return {
        "r64": toy_dataset(root / "r64.zip", resolution=64, channels=3, count=12, classes=0),
        "MISSING": root / "missing.zip",
        "EMPTYDIR": root / "empty",
        "TEXTFILE": root / "text.txt",
    }


@pytest.mark.parametrize(
    "case", RECORD["bad"], ids=lambda case: f"{case['dataset']} {' '.join(case['argv'])}"
)
def test_recorded_mistakes(case: dict, places: dict[str, Path], tmp_path: Path) -> None:
    data, outdir = places[case["dataset"]], tmp_path / "out"
    result = CliRunner().invoke(main, [f"--data={data}", f"--outdir={outdir}", "--dry-run", *case["argv"]])
    assert result.exit_code == case["exit_code"] == 2
    assert case["offending_flag"] in result.output
    assert "Traceback" not in result.output
    assert not outdir.exists()


@pytest.mark.parametrize("missing", ["--data", "--outdir"])
def test_required_flags(missing: str, places: dict[str, Path], tmp_path: Path) -> None:
    flags = {"--data": str(places["r64"]), "--outdir": str(tmp_path)}
    del flags[missing]
    result = CliRunner().invoke(main, [f"{name}={value}" for name, value in flags.items()])
    assert (result.exit_code, f"{missing} is missing" in result.output) == (2, True)


def test_a_dry_run_prints_the_options_and_creates_nothing(places: dict[str, Path], tmp_path: Path) -> None:
    outdir = tmp_path / "out"
    flags = [f"--data={places['r64']}", f"--outdir={outdir}", "--gamma=2", "--metrics=none", "-n"]
    result = CliRunner().invoke(main, flags)
    assert result.exit_code == 0, result.output
    printed = json.loads(result.output.partition("Options:")[2].partition("\n\n")[0])
    assert printed["run_dir"] == str(outdir / "00000-r64-auto1-gamma2")
    assert printed["loss_kwargs"] == {"class_name": "training.loss.StyleGAN2Loss", "r1_gamma": 2}
    assert "R1 gamma" in result.output
    assert not outdir.exists()


@pytest.mark.parametrize("case", RECORD["run_dir_numbering"], ids=lambda case: case["chosen"])
def test_recorded_numbers_of_run_folders(case: dict, tmp_path: Path) -> None:
    for name in case["existing_dirs"]:
        (tmp_path / name).mkdir()
    (tmp_path / case["also_present_file"]).write_text("")
    assert folders.next_name(tmp_path, "r64-auto1") == case["chosen"]
    assert folders.create(tmp_path, "r64-auto1") == tmp_path / case["chosen"]


def test_recorded_metric_lists() -> None:
    for text, expected in RECORD["metrics_parsing"]:
        assert list(options.CommaList().convert(text, None, None)) == expected


def test_the_metric_list_of_a_dry_run_is_checked(places: dict[str, Path], tmp_path: Path) -> None:
    flags = [f"--data={places['r64']}", f"--outdir={tmp_path}", "-n"]
    result = CliRunner().invoke(main, [*flags, "--metrics=fid50k,kid50k"])
    assert result.exit_code == 0, result.output
    result = CliRunner().invoke(main, [*flags, "--metrics=fid50k,"])
    assert (result.exit_code, "--metrics" in result.output) == (2, True)


def test_a_run_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--outdir"):
        folders.create(tmp_path / "file", "x")


# Going on with a run.


def test_options_survive_the_run_folder(tmp_path: Path) -> None:
    asked = TrainOptions(data="x.zip", outdir="out", cond=True, batch=8, term=("edges:2",), state_minutes=3.0)
    config = resolve(asked, LABELLED)
    run_dir = folders.create(tmp_path, config.desc)
    folders.write_options(run_dir, config, asked, {"launch_id": "abc"})
    folders.update_extra(run_dir, note=1)
    read, flags, ours = folders.read_options(run_dir)
    assert (replace(read, notes=[]), flags) == (replace(config, notes=[]), asked)
    assert ours["launch_id"] == "abc"
    assert ours["note"] == 1
    assert folders.latest(tmp_path) == run_dir
    for name, content in (("00001-foreign", "{}"), ("00002-damaged", "{"), ("00003-list", "[]")):
        (tmp_path / name).mkdir()
        (tmp_path / name / folders.OPTIONS_FILE).write_text(content)
    assert folders.latest(tmp_path) == run_dir
    assert folders.started_by(tmp_path, "abc") == run_dir
    assert folders.started_by(tmp_path, "abd") is None


def test_who_made_the_first_part_of_a_run_stays_known(tmp_path: Path) -> None:
    config = resolve(TrainOptions(), R64)
    for version in ("1", "2", "3"):
        folders.write_options(tmp_path, config, TrainOptions(), {"provenance": {"version": version}})
        folders.update_extra(tmp_path, card={"licence": "theirs"})
    ours = folders.read_record(tmp_path)["spinegan"]
    assert [entry["version"] for entry in [*ours["earlier"], ours["provenance"]]] == ["1", "2", "3"]
    assert ours["card"] == {"licence": "theirs"}


BEFORE = TrainOptions(data="a.zip", cond=True, batch=8, gamma=1.0, gpus=1, kimg=10)


def go_on(**asked: object):
    return continue_with(
        resolve(BEFORE, LABELLED), BEFORE, TrainOptions(**asked), lambda options: resolve(options, LABELLED)
    )


@pytest.mark.parametrize(
    ("asked", "field", "expected"),
    [
        ({"gpus": 4}, "batch_gpu", 2),
        ({"kimg": 20}, "total_kimg", 20),
        ({"workers": 1}, "data_loader_kwargs", {"pin_memory": True, "num_workers": 1, "prefetch_factor": 2}),
        ({"snap": 2}, "network_snapshot_ticks", 2),
        ({"metrics": ()}, "metrics", []),
        ({"device": "cpu"}, "device", "cpu"),
        ({"state_minutes": 1.0}, "state_minutes", 1.0),
        ({"gamma": 1.0, "batch": 8}, "batch_size", 8),  # as it was
        ({"cfg": "auto"}, "batch_size", 8),  # only said what was the default
    ],
)
def test_safe_changes(asked: dict, field: str, expected: object) -> None:
    assert getattr(go_on(**asked), field) == expected


def test_the_data_may_have_moved() -> None:
    assert go_on(data="moved.zip").training_set_kwargs["path"] == "moved.zip"


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"gamma": 2.0}, "--gamma=2.0"),
        ({"batch": 16, "kimg": 20}, "--batch=16"),
        ({"cond": False}, "--cond=False"),
        ({"aug": "noaug"}, "--aug=noaug"),
        ({"batch_gpu": 4}, "--batch-gpu=4"),
        ({"seed": 1}, "--seed=1"),
        ({"loss": "lsgan", "precision": "fp32"}, "--loss=lsgan, --precision=fp32"),
    ],
)
def test_changes_of_the_numbers_are_refused_by_name(asked: dict, named: str) -> None:
    with pytest.raises(UserError) as caught:
        go_on(**asked)
    assert named in str(caught.value)
    assert "--kimg" not in str(caught.value)


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, [f"--continue={tmp_path}"])
    assert (result.exit_code, "--continue" in result.output) == (2, True)
    (tmp_path / folders.OPTIONS_FILE).write_text(json.dumps(resolve(TrainOptions(), R64).to_upstream()))
    result = CliRunner().invoke(main, [f"--continue={tmp_path}"])
    assert (result.exit_code, "--resume" in result.output) == (2, True)


def test_class_folders_and_missing_networks_are_told_before_a_run_folder_is_made(tmp_path: Path) -> None:
    for kind in ("cat", "dog"):
        (tmp_path / "in" / kind).mkdir(parents=True)
        for i in range(2):
            pixels = np.full((8, 8), 40 * i, np.uint8)
            PIL.Image.fromarray(pixels).save(tmp_path / "in" / kind / f"{i}.png")
    flags = [f"--data={tmp_path / 'in'}", f"--outdir={tmp_path / 'runs'}", "--device=cpu"]
    result = CliRunner().invoke(main, [*flags, "--dry-run"])
    assert "images lie in 2 folders (cat, dog, ...)" in result.output
    assert "spinegan dataset --labels=folders" in result.output
    result = CliRunner().invoke(main, [*flags, "--resume=gone.pkl"])
    assert result.exit_code == 2 and "--resume=gone.pkl is not a file" in result.output
    assert not (tmp_path / "runs").exists()


# The whole command.


def test_a_run_from_command_line_to_metric_and_on(tmp_path: Path) -> None:
    data, outdir = toy_dataset(tmp_path / "toy.zip", resolution=8), tmp_path / "out"
    tiny = ["--cbase=64", "--cmax=8", "--batch=8", "--tick=0.008", "--kimg=1", "--device=cpu", "--workers=1"]
    flags = [f"--data={data}", f"--outdir={outdir}", "--cond=1", "--snap=2", *tiny]
    stopper = StopAfter(2)
    own = write_stand_in(tmp_path / "own.pt")
    wanted = ["--metrics=fid1k_tiny,fid50k_full,fid1k_tiny@mine", f"--detector=mine={own}"]
    values = main.make_context("train", [*flags, *wanted]).params
    with pytest.raises(StoppedOnRequest):
        run(TrainOptions(**values), hooks=[stopper])
    (run_dir,) = outdir.iterdir()
    assert run_dir.name == "00000-toy-cond-auto1-kimg1-batch8"
    log = (run_dir / "log.txt").read_text()
    assert (
        log.count("Warning: fid50k_full is skipped") == 1
    )  # not at each snapshot; there is no detector here, and the run goes on
    (metric,) = (run_dir / "metric-fid1k_tiny.jsonl").read_text().splitlines()
    assert json.loads(metric)["results"]["fid1k_tiny"] > 0
    assert json.loads(metric)["snapshot_pkl"] == "network-snapshot-000000.pkl"
    (mine,) = (run_dir / "metric-fid1k_tiny@mine.jsonl").read_text().splitlines()
    assert json.loads(mine)["detector"] == "mine"
    values_of = [list(json.loads(line)["results"].values()) for line in (mine, metric)]
    assert values_of[0] != values_of[1]  # measured by the user's own network
    assert (run_dir / folders.REQUEUE_FILE).exists()

    refused = CliRunner().invoke(main, [*flags, "--continue=latest", "--gamma=3"])
    assert (refused.exit_code, "--gamma=3" in refused.output) == (2, True)
    values = main.make_context("train", [f"--continue={run_dir}", "--metrics=none"]).params
    with pytest.raises(StoppedOnRequest):
        run(TrainOptions(**values), hooks=[StopAfter(4)])
    lines = [json.loads(line) for line in (run_dir / "stats.jsonl").read_text().splitlines()]
    assert [line["Progress/tick"]["mean"] for line in lines] == [0, 1, 2, 3]
    assert list(outdir.iterdir()) == [run_dir]
    record = folders.read_record(run_dir)
    assert record["metrics"] == []
    assert record["spinegan"]["flags"]["cond"] is True
    assert len(record["spinegan"]["earlier"]) == 1


@pytest.mark.parametrize(
    ("flag", "named"),
    [
        ("--term=nope", "nope"),
        ("--loss=nope", "nope"),
        ("--loss-opt=nope=1", "--loss-opt=nope"),
        ("--loss=wgan", "--aug=ada"),
        ("--precision=fp16", "--precision=fp16"),
        ("--device=tpu9", "--device=tpu9"),
    ],
)
def test_what_cannot_run_leaves_no_folder(
    flag: str, named: str, places: dict[str, Path], tmp_path: Path
) -> None:
    flags = [
        f"--data={places['r64']}",
        f"--outdir={tmp_path / 'out'}",
        "--metrics=none",
        "--device=cpu",
        flag,
    ]
    result = CliRunner().invoke(main, flags)
    assert (result.exit_code, named in result.output) == (2, True), result.output
    assert not (tmp_path / "out").exists()
