"""A run that goes on keeps what it was told: doubts, preset, judge; and its judge's file is cut back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from spine_plugins.training import command
from spine_plugins.training import judge as judging
from stylegan2ada import train
from stylegan2ada.errors import StoppedOnRequest
from stylegan2ada.training import config_file, run_files
from stylegan2ada.training import run_dir as folders
from tests.spine_plugins.training.test_command import classifier, data, run
from tests.stylegan2ada.training.toy import StopAfter

TINY = ["--cond=1", "--cbase=64", "--cmax=4", "--batch=8", "--tick=0.008", "--device=cpu", "--workers=1",
        "--metrics=none", "--snap=1", "--kimg=1", "--aug=noaug"]  # fmt: skip


@pytest.fixture(autouse=True)
def _quick_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a judge finds is tested elsewhere; here it matters that it is asked, and where the answer goes."""
    found = {"accuracy": 0.5, "per_class": 1, "classes": {}, "judge": None}
    monkeypatch.setattr(judging, "judge_generator", lambda *_: found)


def went(monkeypatch: pytest.MonkeyPatch, stop_after: int, *flags: str) -> None:
    """The command itself, stopped after so many iterations of the run."""
    plain = train.run

    def stopped(options, **given):
        with pytest.raises(StoppedOnRequest):
            plain(options, **{**given, "hooks": [*given.get("hooks", ()), StopAfter(stop_after)]})

    with monkeypatch.context() as patch:
        patch.setattr(command.train, "run", stopped)
        result = CliRunner().invoke(command.main, flags)
    assert result.exit_code == 0, (result.output, result.exception)


def spine_record(run_dir: Path) -> dict:
    return json.loads((run_dir / run_files.OPTIONS).read_text())[run_files.OURS]["spine"]


def test_doubts_and_judge_survive_two_continues_and_the_judges_file_is_cut_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weak = classifier(tmp_path / "weak.safetensors", low=0.45)
    judge = classifier(tmp_path / "judge.safetensors", low=0.9)
    flags = [f"--data={data(tmp_path / 'd.zip')}", f"--outdir={tmp_path / 'runs'}", "--loss=spine",
             f"--classifier={weak}", "--accept-classifier=1", f"--judge={judge}", *TINY]  # fmt: skip
    went(monkeypatch, 2, *flags)
    (run_dir,) = (tmp_path / "runs").iterdir()
    first = spine_record(run_dir)
    assert "may be chance" in first["classifier_doubts"][0]
    assert first["judge"] == str(judge) and "same architecture" in " ".join(first["judge_doubts"])
    warnings = [(e.code, e.text) for e in run_files.read_events(run_dir) if e.event == "warning"]
    assert {code for code, _ in warnings} == {"classifier", "judge"}
    for iterations in (3, 4):
        with open(run_dir / run_files.JUDGE, "a") as file:
            file.write('{"kimg": 99, "after": "the state that was saved"}\n')
        went(monkeypatch, iterations, f"--continue={run_dir}")
        assert spine_record(run_dir) == first
    lines = [json.loads(line) for line in (run_dir / run_files.JUDGE).read_text().splitlines()]
    assert [line["kimg"] for line in lines] == [0.008 * n for n in (1, 2, 3, 4)]
    # After two bare --continue its config.toml still says all: it gives the run that was asked for.
    typed = run(*flags, "-n")
    assert typed.exit_code == 0
    assert "accepted although" in typed.output and "not independent" in typed.output
    for source in (f"--config={run_dir / run_files.CONFIG}", f"--from-run={run_dir}"):
        assert run(source, "-n").output == typed.output


def test_a_preset_is_written_out_and_named(tmp_path: Path) -> None:
    asked = command.expand(command.TrainSpine(preset="radiograph", kimg=7))
    config_file.write(tmp_path / run_files.CONFIG, asked.given())
    again = command.main.make_context("train", [f"--from-run={tmp_path}"]).params
    assert command.expand(command.TrainSpine(**again)) == asked
    assert (asked.kimg, asked.ada_max_p) == (7, 0.8)


def test_another_judge_may_take_over_and_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weak = classifier(tmp_path / "weak.safetensors", low=0.45)
    flags = [f"--data={data(tmp_path / 'd.zip')}", f"--outdir={tmp_path / 'runs'}", "--loss=spine",
             f"--classifier={weak}", "--accept-classifier=1", *TINY]  # fmt: skip
    went(monkeypatch, 1, *flags)
    (run_dir,) = (tmp_path / "runs").iterdir()
    assert "judge" not in spine_record(run_dir)
    went(monkeypatch, 2, f"--continue={run_dir}", f"--judge={weak}")
    record = spine_record(run_dir)
    assert record["judge"] == str(weak)
    assert "very classifier" in record["judge_doubts"][0]
    assert record["classifier_doubts"]
    assert len((run_dir / run_files.JUDGE).read_text().splitlines()) == 1


def test_what_was_once_recorded_stays(tmp_path: Path) -> None:
    """The options file itself: facts that are not given anew are kept, settings of the run are not."""
    from stylegan2ada.config import TrainOptions, resolve
    from tests.stylegan2ada.training.toy import toy_dataset

    info = train.open_data(str(toy_dataset(tmp_path / "toy.zip", resolution=8))).info()
    kept = resolve(TrainOptions(keep_snapshots=3), info)
    facts = {"spine": {"judge": "j"}, "launch_id": "id", "weights_origin": [{"sha256": "0"}], "card": {}}
    folders.write_options(tmp_path, kept, TrainOptions(), {**facts, "provenance": {"version": "1"}})
    plain = resolve(TrainOptions(), info)
    folders.write_options(tmp_path, plain, TrainOptions(), {"provenance": {"version": "2"}})
    ours = folders.read_record(tmp_path)[run_files.OURS]
    assert {name: ours[name] for name in facts} == facts
    assert [entry["version"] for entry in ours["earlier"]] == ["1"]
    assert ours.get("keep_snapshots") is None
