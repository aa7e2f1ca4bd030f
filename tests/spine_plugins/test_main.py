"""The front door: every command is a verb, a map in the order of the work, and wrong turns are led back."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from spine_plugins.__main__ import HABITS, SCRIPTS, STAGES, VERBS, advice, main
from spine_plugins.dicom import command as dicom
from spine_plugins.training import command as training
from stylegan2ada import calc_metrics, dataset_tool, generate, legacy, projector, style_mixing

ROOT = Path(__file__).parents[2]
SAME = {
    "train": training.main, "convert": dicom.main, "dataset": dataset_tool.main, "generate": generate.main,
    "metrics": calc_metrics.main, "project": projector.main, "mix": style_mixing.main, "legacy": legacy.main,
}  # fmt: skip


@pytest.mark.parametrize("verb", SAME)
def test_a_verb_is_the_very_command_of_its_script(verb: str) -> None:
    context = main.make_context("spinegan", [verb])
    assert main.get_command(context, verb) is SAME[verb]
    shown = CliRunner().invoke(main, [verb, "--help"], prog_name="spinegan")
    assert shown.exit_code == 0
    assert shown.output.startswith(f"Usage: spinegan {verb} ")


def test_the_map_is_in_the_order_of_the_work_and_fits_a_page() -> None:
    shown = CliRunner().invoke(main, ["--help"]).output
    places = [shown.index(f"\n{stage}:") for stage in STAGES]
    assert places == sorted(places)
    places = [shown.index(f"\n  {verb} ") for verb in VERBS]
    assert places == sorted(places)
    assert max(map(len, shown.splitlines())) <= 80
    assert len(shown.splitlines()) <= 46


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("trian", "'train' (train_spine.py)"), ("projector", "projector.py is the verb 'project'"),
        ("calc_metrics", "'metrics'"), ("style-mixing", "'mix'"), ("dataset_tool.py", "'dataset'"),
        ("sample", "Use 'generate'"), ("resume", "'train' (train_spine.py) with --continue=RUN_DIR"),
        ("help", "'--help'"),
        ("zzz", "Verbs: phantom, convert"),
    ],
)  # fmt: skip
def test_a_wrong_verb_is_led_back(wrong: str, words: str) -> None:
    result = CliRunner().invoke(main, [wrong, "--data=x"])
    assert result.exit_code == 2
    assert words in result.output
    assert words in advice(wrong)


def test_what_is_advised_exists() -> None:
    assert set(SCRIPTS.values()) <= set(VERBS)
    assert {text.split()[0] for text in HABITS.values()} <= {*VERBS, "--help"}
    assert not set(HABITS) & set(VERBS)
    for script in SCRIPTS:
        assert (ROOT / f"{script}.py").is_file() or (ROOT / "stylegan2ada" / f"{script}.py").is_file()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_what_the_shell_evaluates(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell], prog_name="spinegan")
    assert result.exit_code == 0
    assert f"_SPINEGAN_COMPLETE={shell}_complete" in result.output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "found"), [("spinegan tr", "train"), ("spinegan train --clas", "--classifier")]
)
def test_completion_completes(words: str, found: str) -> None:
    asked = {"_SPINEGAN_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    code = "from spine_plugins.__main__ import main; main(prog_name='spinegan')"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | asked, cwd=ROOT, capture_output=True, text=True
    )
    assert found in done.stdout, done.stderr
