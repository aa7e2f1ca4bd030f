"""--config and --from-run: what wins, what is refused, and that a run's own file gives the same run."""

from __future__ import annotations

import json
import os
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stylegan2ada.config import TrainOptions
from stylegan2ada.errors import UserError
from stylegan2ada.train import main
from stylegan2ada.training import config_file, launch, run_files
from tests.stylegan2ada.training.toy import toy_config, toy_dataset

EVERYTHING = {
    "outdir": 'a "quoted" \\ place\x7f\n', "data": "dätä.zip", "metrics": ("fid1k_tiny", "kid50k_full"),
    "cond": True, "mirror": False, "gamma": 1e-05, "tick": 0.1, "kimg": 3, "loss_opt": (("r1_gamma", "2=3"),),
    "term": ("a:0.5", "b"), "detector": (("inception", "x y.pt"),), "augpipe": "bgc",
}  # fmt: skip


def said(*flags: object) -> Result:
    return CliRunner().invoke(main, [*map(str, flags), "-n"])


def options_of(result: Result) -> dict:
    assert result.exit_code == 0, result.output
    start = result.output.index("Options:\n") + len("Options:\n")
    return json.JSONDecoder().raw_decode(result.output[start:])[0]


def parsed(*flags: object) -> TrainOptions:
    return TrainOptions(**main.make_context("train", list(map(str, flags))).params)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """As the command leaves it before the first iteration."""
    data = toy_dataset(tmp_path / "toy.zip", resolution=16)
    asked = parsed(f"--data={data}", f"--outdir={tmp_path / 'out'}", "--cond=1", "--aug=noaug", "--batch=8",
                   "--metrics=none", "--gamma=0.3", "--loss-opt=style_mixing_prob=0.5")  # fmt: skip
    job = launch.Job(toy_config(data), asked, str(tmp_path / "out"), settings=asked.given())
    made = launch.with_run_dir(job, {}).run_dir
    assert made is not None
    return made


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    options = TrainOptions(**EVERYTHING)
    config_file.write(tmp_path / run_files.CONFIG, options.given())
    assert parsed(f"--config={tmp_path / run_files.CONFIG}") == options
    assert tomllib.loads((tmp_path / run_files.CONFIG).read_text())["kimg"] == 3
    assert run_files.is_public(run_files.CONFIG)


def test_a_path_that_is_no_utf8_survives(tmp_path: Path) -> None:
    config_file.write(tmp_path / run_files.CONFIG, {"data": os.fsdecode(b"caf\xe9.zip")})
    assert parsed(f"--config={tmp_path / run_files.CONFIG}").data == os.fsdecode(b"caf\xe9.zip")


def test_a_runs_own_file_gives_the_same_run(run_dir: Path) -> None:
    flags = json.loads((run_dir / run_files.OPTIONS).read_text())[run_files.OURS]["flags"]
    from_file = said(f"--config={run_dir / run_files.CONFIG}")
    typed = said(*(f"--{name}={int(v) if isinstance(v, bool) else v}" for name, v in flags.items()
                   if name not in ("metrics", "loss_opt")),
                 "--metrics=none", "--loss-opt=style_mixing_prob=0.5")  # fmt: skip
    assert options_of(from_file) == options_of(typed)
    assert options_of(said(f"--from-run={run_dir}")) == options_of(typed)
    assert options_of(typed)["loss_kwargs"]["r1_gamma"] == 0.3
    (run_dir / run_files.CONFIG).unlink()  # as runs were before there was one
    assert options_of(said(f"--from-run={run_dir}")) == options_of(typed)


def test_flags_win_over_the_file_and_that_over_the_run(run_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("batch = 16\ngamma = 0.7\ntick = 2\n[loss_opt]\nstyle_mixing_prob = 0.1\n")
    for order in (["--gamma=5", f"--config={file}", f"--from-run={run_dir}"],
                  [f"--from-run={run_dir}", f"--config={file}", "--gamma=5"]):  # fmt: skip
        asked = parsed(*order)
        assert (asked.gamma, asked.batch, asked.tick, asked.cond) == (5, 16, 2, True)
        assert asked.loss_opt == (("style_mixing_prob", "0.1"),)


def test_spellings_of_flags_are_settings(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text(
        'batch-gpu = 4\nallow_tf32 = true\ncontinue = "latest"\ndry-run = true\nmetrics = "none"\n'
    )
    asked = parsed(f"--config={file}")
    assert (asked.batch_gpu, asked.allow_tf32, asked.continue_run, asked.dry_run) == (4, True, "latest", True)
    assert asked.metrics == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kmig = 3", "kmig is no setting of train; the nearest is kimg"),
        ("config = 'x'", "config is no setting"),
        ("kimg = 3\nbatch = = 4", "line 2"),
        ("kimg = [2]", "kimg takes one value, not [2]"),
        ("kimg = 'many'", "kimg: 'many' is not a valid integer"),
        ("kimg = 2.5", "kimg: '2.5' is not a valid integer"),
        ("cfg = 'huge'", "cfg: 'huge' is not one of"),
        ("loss_opt = ['x']", "must look like NAME=VALUE"),
        ("a = " + "[" * 5000, "is not valid TOML"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_one_sentence(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(text)
    result = said(f"--config={tmp_path / 'x.toml'}")
    assert result.exit_code == 2, result.output
    assert words in result.output
    assert "--config" in result.output


def test_files_and_folders_that_are_not_there(tmp_path: Path) -> None:
    assert "cannot be read" in said(f"--config={tmp_path / 'none.toml'}").output
    assert "is not a folder" in said(f"--from-run={tmp_path / 'none'}").output
    assert "give the folder of a run" in said(f"--from-run={tmp_path}").output
    for content, words in (
        ("{", "is damaged"),
        ("[]", "another program"),
        ('{"spinegan": 5}', "another program"),
    ):
        (tmp_path / run_files.OPTIONS).write_text(content)
        result = said(f"--from-run={tmp_path}")
        assert (result.exit_code, words in result.output) == (2, True), result.output


def test_a_run_folder_starts_no_code_that_was_not_typed(tmp_path: Path) -> None:
    sys.modules.pop("this", None)
    for name, value in (("loss", "this.s"), ("sampler", "this:s"), ("term", ["x:0.5", "this.s:0.1"])):
        config_file.write(tmp_path / run_files.CONFIG, {name: value, "outdir": "out"})
        flag = f"--{name}={value[-1] if isinstance(value, list) else value}"
        result = said(f"--from-run={tmp_path}")
        assert (result.exit_code, f"say {flag} yourself" in result.output) == (2, True), result.output
        assert getattr(parsed(f"--from-run={tmp_path}", f"--{name}=uniform"), name) in (
            "uniform",
            ("uniform",),
        )
        assert "this" not in sys.modules
    config_file.write(tmp_path / run_files.CONFIG, {"loss": "wgan", "term": ["x:0.5"]})
    assert parsed(f"--from-run={tmp_path}").term == ("x:0.5",)


def test_a_continued_run_adds_what_changed(run_dir: Path) -> None:
    asked = TrainOptions(kimg=9)
    config = toy_config(Path(config_file.of_run(run_dir)["data"]))
    before = config_file.of_run(run_dir)
    job = launch.Job(config, TrainOptions(), str(run_dir.parent), run_dir, True, settings=asked.given())
    launch.with_run_dir(job, {})
    assert config_file.of_run(run_dir) == before  # training may refuse it yet
    launch.record_start(job, {})
    assert config_file.of_run(run_dir) == before | {"kimg": 9}


def test_a_folder_of_settings_of_absurd_size(tmp_path: Path) -> None:
    with open(tmp_path / "big.toml", "wb") as file:
        file.truncate(2 << 20)
    with pytest.raises(UserError, match="too large"):
        config_file.read(tmp_path / "big.toml")
