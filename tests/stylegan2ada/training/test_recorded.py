"""Options files of strangers: what is missing or mistyped is named; what they name is not imported."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from stylegan2ada.config import TrainOptions, resolve
from stylegan2ada.data.dataset import ImageFolderDataset
from stylegan2ada.errors import StoppedOnRequest, UserError
from stylegan2ada.metrics.detectors import remember, was_used_before
from stylegan2ada.train import main, run
from stylegan2ada.training import run_dir as folders
from tests.stylegan2ada.training.test_hostile_states import drop, put
from tests.stylegan2ada.training.toy import StopAfter, toy_dataset

Record = dict[str, Any]
EVIL = "import pathlib\npathlib.Path(__file__).with_suffix('.ran').write_text('')\ns = lambda **_: None\n"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> tuple[Path, Record]:
    """A data set, and the options file of a run on it."""
    folder = tmp_path_factory.mktemp("recorded")
    data = toy_dataset(folder / "toy.zip", resolution=8)
    options = TrainOptions(
        data=str(data), cond=True, batch=8, cbase=64, cmax=8, metrics=(), device="cpu", workers=1, kimg=1
    )
    config = resolve(options, ImageFolderDataset(data, use_labels=True).info())
    folders.write_options(folder, config, options, {"provenance": {"version": "1"}})
    return data, folders.read_record(folder)


@pytest.fixture
def run_dir(recorded, tmp_path, monkeypatch) -> Path:
    """A run folder, with a module beside it that leaves a trace when it is imported."""
    (tmp_path / "this_is_evil.py").write_text(EVIL)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("this_is_evil", None)
    folder = tmp_path / "00000-toy"
    folder.mkdir()
    (folder / folders.OPTIONS_FILE).write_text(json.dumps(recorded[1]))
    return folder


def changed(run_dir: Path, change: Callable[[Record], object]) -> str:
    """The file after a change of it -> its content."""
    path = run_dir / folders.OPTIONS_FILE
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    return path.read_text()


OURS = "spinegan"
NEEDED = [
    "num_gpus", "random_seed", "metrics", "training_set_kwargs", "data_loader_kwargs", "G_kwargs", "D_kwargs",
    "G_opt_kwargs", "D_opt_kwargs", "loss_kwargs", "total_kimg", "batch_size", "batch_gpu", "ema_kimg",
]  # fmt: skip
WRONG = [None, [[]], "x", {"x": {}}, float("nan"), -1, 1e300]
CHANGES: list[tuple[str, Callable[[Record], object]]] = [
    *((name, drop(name)) for name in NEEDED),
    *((name, put(name, value)) for name in NEEDED for value in WRONG),
    ("flags", drop(f"{OURS}/flags")),
    *((name, put(f"{OURS}/{name}", "x")) for name in ("flags", "provenance", "earlier", "card", "spine")),
    ("terms", put(f"{OURS}/terms", "x")),
    ("our part", put(OURS, [])),
    ("judge", put(f"{OURS}/spine", {"judge": 5})),
    ("loss", put(f"{OURS}/loss", 5)),
    ("terms", put(f"{OURS}/terms", [5])),
    ("detectors", put(f"{OURS}/detectors", {"inception": 5})),
    ("device", put(f"{OURS}/device", 5)),
    ("gamma", put(f"{OURS}/flags/gamma", "much")),
    ("loss_opt", put(f"{OURS}/flags/loss_opt", [["a"]])),
    ("metrics", put("metrics", [1])),
    ("ada_interval", put("ada_interval", 0)),
    ("G_reg_interval", put("G_reg_interval", 0)),
    ("num_gpus", put("num_gpus", 10**9)),
    ("batch_gpu", put("batch_gpu", True)),
    ("training_set_kwargs.path", drop("training_set_kwargs/path")),
    ("training_set_kwargs.path", put("training_set_kwargs/path", 5)),
    ("training_set_kwargs.colour", put("training_set_kwargs/colour", 5)),
    ("training_set_kwargs.max_size", put("training_set_kwargs/max_size", "all")),
    ("data_loader_kwargs.num_workers", put("data_loader_kwargs/num_workers", 10**9)),
    ("G_kwargs.z_dim", drop("G_kwargs/z_dim")),
    ("G_kwargs.z_dim", put("G_kwargs/z_dim", 2**40)),
    ("G_kwargs.synthesis_kwargs.channel_base", put("G_kwargs/synthesis_kwargs/channel_base", "64")),
    ("G_kwargs.mapping_kwargs.num_layers", put("G_kwargs/mapping_kwargs/num_layers", 10**9)),
    ("D_kwargs.colour", put("D_kwargs/colour", 1)),
    ("augment_kwargs.xflip", put("augment_kwargs/xflip", "yes")),
    ("G_opt_kwargs.lr", put("G_opt_kwargs/lr", "fast")),
    ("G_opt_kwargs.betas", put("G_opt_kwargs/betas", [0.5])),
    *(("D_opt_kwargs.betas", put("D_opt_kwargs/betas/0", value)) for value in (1.0, 2, -0.5, 1e9)),
    ("random_seed is 4294967296 instead of a number from 0 to 4294967295", put("random_seed", 2**32)),
    ("channel_max", put("G_kwargs/synthesis_kwargs/channel_max", True)),
    ("G_kwargs leaves no channels", put("G_kwargs/synthesis_kwargs/channel_base", 2)),
    ("D_kwargs leaves no channels", put("D_kwargs/channel_max", 0)),
    ("D_opt_kwargs.colour", put("D_opt_kwargs/colour", 1)),
    ("loss_kwargs.terms", put("loss_kwargs/terms", ["this_is_evil.s"])),
    ("loss_kwargs.draws", put("loss_kwargs/draws", "x")),
    ("r1_gamma", put("loss_kwargs/r1_gamma", "much")),
    ("r1_delta", put("loss_kwargs/r1_delta", 1)),
]  # fmt: skip


@pytest.mark.parametrize(("says", "change"), CHANGES)
def test_what_is_missing_or_mistyped_is_named(run_dir, says, change):
    before = changed(run_dir, change)
    result = CliRunner().invoke(main, [f"--continue={run_dir}", "--dry-run"])
    assert result.exit_code == 2, (result.output, result.exception)
    (sentence,) = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert says in sentence
    assert str(run_dir) in sentence
    assert len(sentence) < 500
    assert (run_dir / folders.OPTIONS_FILE).read_text() == before
    assert sorted(os.listdir(run_dir)) == [folders.OPTIONS_FILE]


@pytest.mark.parametrize(
    "content",
    ["", "[", "[]", "5", '"x"', "null", "[" * 100_000, '{"spinegan": ' * 5000, "\xff"],
    ids=range(9),
)
def test_what_is_no_options_file_is_no_run(run_dir, content):
    (run_dir / folders.OPTIONS_FILE).write_bytes(content.encode("latin1"))
    for flags in ([f"--continue={run_dir}"], [f"--outdir={run_dir.parent}", "--continue=latest"]):
        result = CliRunner().invoke(main, [*flags, "--dry-run"])
        assert result.exit_code == 2, (flags, result.output, result.exception)


NAMES = [
    ("loss", put(f"{OURS}/loss", "this_is_evil.s"), "this_is_evil.s"),
    ("loss", put(f"{OURS}/loss", "this_is_evil:s"), "this_is_evil:s"),
    ("loss", put("loss", "this_is_evil.s"), "this_is_evil.s"),
    ("loss", put(f"{OURS}/flags/loss", "this_is_evil.s"), "this_is_evil.s"),
    ("term", put(f"{OURS}/terms", ["this_is_evil.s:0.5"]), "this_is_evil.s:0.5"),
    ("term", put(f"{OURS}/terms", ["this_is_evil:s"]), "this_is_evil:s"),
    ("term", put(f"{OURS}/flags/term", ["this_is_evil.s"]), "this_is_evil.s"),
    ("sampler", put(f"{OURS}/sampler", "this_is_evil.s"), "this_is_evil.s"),
    ("sampler", put(f"{OURS}/flags/sampler", "this_is_evil.s"), "this_is_evil.s"),
]


@pytest.mark.parametrize(("flag", "change", "name"), NAMES)
@pytest.mark.parametrize("more", [[], ["--kimg=2"], ["--gamma=3"]], ids=str)
def test_no_module_that_a_run_folder_names_is_imported(run_dir, flag, change, name, more):
    changed(run_dir, change)
    result = CliRunner().invoke(main, [f"--continue={run_dir}", *more])
    assert result.exit_code == 2, (result.output, result.exception)
    assert f"the {flag} '{name}'" in result.output
    assert "--trust-run" in result.output
    assert "this_is_evil" not in sys.modules
    assert not list(run_dir.parent.glob("*.ran"))
    assert sorted(os.listdir(run_dir)) == [folders.OPTIONS_FILE]


@pytest.mark.parametrize("way", ["refused", "typed", "trusted", "used before", "built in", "missing"])
def test_a_detector_that_a_run_folder_names_is_no_stranger(run_dir, tmp_path, monkeypatch, way):
    monkeypatch.setenv("DNNLIB_CACHE_DIR", str(tmp_path / "cache"))
    path = tmp_path / "strange.pt"
    if way != "missing":
        path.write_bytes(b"a program")
    named = "tiny" if way == "built in" else str(path)
    changed(run_dir, put(f"{OURS}/detectors", {"inception": named}))
    if way == "used before":
        remember([("inception", named)])
    more = {"typed": [f"--detector=inception={named}"], "trusted": ["--trust-run"]}.get(way, [])
    result = CliRunner().invoke(main, [f"--continue={run_dir}", "--dry-run", *more])
    assert (result.exit_code == 2) == (way == "refused"), (result.output, result.exception)
    if way == "refused":
        assert f"--detector inception={named}" in result.output and "--trust-run" in result.output


def test_a_detector_that_was_replaced_is_a_stranger(tmp_path, monkeypatch):
    monkeypatch.setenv("DNNLIB_CACHE_DIR", str(tmp_path / "cache"))
    path = tmp_path / "known.pt"
    path.write_bytes(b"a program")
    remember([("inception", str(path))])
    assert was_used_before(path)
    path.write_bytes(b"another")
    assert not was_used_before(path)


@pytest.mark.parametrize("way", ["typed", "trusted"])
def test_a_loss_of_ones_own_goes_on_if_typed_or_trusted(recorded, tmp_path, monkeypatch, way):
    (tmp_path / "my_own_loss.py").write_text(
        "from stylegan2ada.losses.stylegan2 import StyleGAN2Loss\nclass Mine(StyleGAN2Loss):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    tiny = {"cond": True, "batch": 8, "cbase": 64, "cmax": 8, "metrics": (), "device": "cpu", "kimg": 1}
    mine = TrainOptions(data=str(recorded[0]), outdir=str(tmp_path / "runs"), loss="my_own_loss.Mine", **tiny)
    with pytest.raises(StoppedOnRequest):
        run(mine, hooks=[StopAfter(1)])
    (folder,) = (tmp_path / "runs").iterdir()
    go_on = TrainOptions(continue_run=str(folder))
    with pytest.raises(UserError, match="--trust-run"):
        run(go_on, hooks=[StopAfter(2)])
    way_on = {"loss": "my_own_loss.Mine"} if way == "typed" else {"trust_run": True}
    with pytest.raises(StoppedOnRequest):
        run(TrainOptions(continue_run=str(folder), **way_on), hooks=[StopAfter(2)])
    assert "trust_run" not in folders.read_record(folder)[OURS]["flags"]
