"""The flags: which there are, how values are read, what help and mistakes look like."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, fields
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner

from stylegan2ada import flag_types, options
from stylegan2ada.config import TrainOptions, augmentation_presets
from stylegan2ada.errors import (
    MissingError,
    NothingToDoError,
    StoppedOnRequest,
    TooManyFailuresError,
    UserError,
)
from stylegan2ada.generate import main as generate
from stylegan2ada.synthesis import NOISE_MODES
from stylegan2ada.train import main as train
from tests.golden_data import golden_json

UPSTREAM = """
    --outdir --gpus --snap --metrics --seed -n --dry-run --data --cond --subset --mirror --cfg --gamma --kimg
    --batch --aug --p --target --augpipe --resume --freezed --fp32 --nhwc --nobench --allow-tf32 --workers
""".split()
OURS = """
    --loss --loss-opt --term --cbase --cmax --tick --detector --device --precision --sampler --ada-max-p
    --batch-gpu --keep-snapshots --continue --state-minutes --trust-run --config --from-run --log
    --ops --graphs
""".split()


def test_the_flag_set_is_pinned() -> None:
    declared = {name for parameter in train.params for name in parameter.opts}
    assert declared == {*UPSTREAM, *OURS}
    exposed = {parameter.name for parameter in train.params if parameter.expose_value}
    assert exposed == {f.name for f in fields(TrainOptions)}


def test_nothing_has_a_default_so_that_what_was_asked_for_can_be_told() -> None:
    seen: dict = {}
    probe = options.command()(options.train_options(lambda **values: seen.update(values)))
    assert CliRunner().invoke(probe, []).exit_code == 0
    given = {name: value for name, value in seen.items() if value not in (None, ())}
    assert given == {"dry_run": False, "trust_run": False}


def test_augmentation_choices_are_the_presets() -> None:
    (augpipe,) = [p for p in train.params if p.name == "augpipe"]
    assert isinstance(augpipe.type, click.Choice)
    assert list(augpipe.type.choices) == list(augmentation_presets())


def test_help_is_grouped_complete_and_narrow() -> None:
    result = CliRunner().invoke(train, ["--help"], env={"COLUMNS": "160"})
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert max(map(len, lines)) <= options.HELP_COLUMNS
    for heading in (
        "General:",
        "Base configuration:",
        "Discriminator augmentation:",
        "Performance:",
        "Run control:",
    ):
        assert heading in lines
    for flag in (*UPSTREAM, *OURS):
        assert flag in result.output
    for parameter in train.params:
        assert isinstance(parameter, options.Option)
        assert parameter.help
        has_default = "[default" in parameter.help
        needs_none = parameter.name in {
            "outdir",
            "data",
            "dry_run",
            "loss_opt",
            "term",
            "p",
            "continue_run",
            "trust_run",
            "log",
            "detector",
            "config",
            "from_run",
        }
        assert has_default or needs_none, parameter.name


@pytest.mark.parametrize("spelling", ["--allow-tf32", "--allow_tf32"])
def test_underscores_are_dashes(spelling: str) -> None:
    seen: dict = {}
    probe = options.command()(options.performance_options(lambda **values: seen.update(values)))
    assert CliRunner().invoke(probe, [f"{spelling}=on"]).exit_code == 0
    assert seen["allow_tf32"] is True


def test_a_wrong_flag_is_answered_with_the_nearest() -> None:
    result = CliRunner().invoke(train, ["--mirro=1"])
    assert result.exit_code == 2
    assert "--mirror" in result.output


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UserError, 2),
        (MissingError, 3),
        (NothingToDoError, 4),
        (TooManyFailuresError, 5),
        (StoppedOnRequest, 75),
    ],
)
def test_our_errors_become_one_sentence_and_their_code(error: type[UserError], code: int) -> None:
    @options.command()
    def fails() -> None:
        raise error("something that can be fixed")

    result = CliRunner().invoke(fails, [])
    assert result.exit_code == code
    prefix = "" if error is StoppedOnRequest else "Error: "  # to be stopped is no error
    assert result.output == prefix + "something that can be fixed\n"


def test_what_errors_quote_of_files_cannot_move_the_cursor_or_fill_the_screen() -> None:
    @options.command("x")
    def command() -> None:
        raise UserError(f"name \x1b[2J\x1b]0;title\x07 and\na line, \u2028 é; {'a' * 50_000}; rename it")

    result = CliRunner().invoke(command, [])
    assert result.exit_code == 2
    lines = result.output.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("Error: name \\x1b[2J\\x1b]0;title\\x07 and\\na line, \\u2028 é; aaa")
    assert lines[0].endswith("aaa; rename it")
    assert 900 < len(lines[0]) < 1100


def test_seed_ranges_as_recorded() -> None:
    record = golden_json("cli/num_range.json")
    for text, expected in record["ok"]:
        assert flag_types.num_range(text) == expected, text
        assert flag_types.NumRange().convert(text, None, None) == expected
    for text, error in record["bad"]:
        assert error == "ValueError"
        with pytest.raises(ValueError):  # noqa: PT011 - the recorded type is all there is
            flag_types.num_range(text)
        with pytest.raises(click.BadParameter):
            flag_types.NumRange().convert(text, None, None)


@pytest.mark.parametrize(
    ("type_", "text", "expected"),
    [
        (flag_types.NamedValue(), "r1_gamma=1=2", ("r1_gamma", "1=2")),
        (flag_types.WeightedName(), "spine:0.5", "spine:0.5"),
        (flag_types.WeightedName(), "spine", "spine"),
    ],
)
def test_pairs(type_: click.ParamType, text: str, expected: object) -> None:
    assert type_.convert(text, None, None) == expected


@pytest.mark.parametrize(
    ("type_", "text"), [(flag_types.NamedValue(), "r1_gamma"), (flag_types.WeightedName(), "a:b")]
)
def test_broken_pairs(type_: click.ParamType, text: str) -> None:
    with pytest.raises(click.BadParameter):
        type_.convert(text, None, None)


def test_noise_modes_are_those_of_the_networks() -> None:
    (mode,) = [p for p in generate.params if p.name == "noise_mode"]
    assert isinstance(mode.type, click.Choice)
    assert tuple(mode.type.choices) == NOISE_MODES


# The idiom: one record per command, words and numbers apart.


@dataclass(frozen=True)
class Probe:
    """What the probe was asked."""

    names: tuple[str, ...]
    size: int
    pairs: tuple[tuple[str, str], ...]
    is_loud: bool
    json_file: str | None


def probe(seen: list[Probe], parent: click.Group | None = None) -> click.Command:
    @options.command("probe", record=Probe, parent=parent)
    @click.argument("names", nargs=-1)
    @options.group(
        "Sizes",
        options.opt("--size", type=int, default=3, help="Of everything"),
        options.opt("--pair", "pairs", type=flag_types.NamedValue(), multiple=True, help="Of values"),
        options.opt("--loud", "is_loud", is_flag=True, help="Say it twice"),
    )
    @options.json_option
    def main(asked: Probe) -> None:
        """Says what it was asked."""
        seen.append(asked)
        voice = options.Voice(asked.json_file)
        voice.say("words for people")
        voice.numbers({
            "size": np.float32(asked.size), "mean": math.nan, "bounds": (-math.inf, 2.5),
            "table": np.array([[1, 2]]), "place": Path("a/b"), "is_done": np.bool_(True), "name": "Müller",
            "nothing": None, 7: {"deep": [np.int64(3), math.inf]},
        })  # fmt: skip

    return main


EXPECTED_NUMBERS = {
    "size": 3.0, "mean": None, "bounds": [None, 2.5], "table": [[1, 2]], "place": str(Path("a/b")),
    "is_done": True, "name": "Müller", "nothing": None, "7": {"deep": [3, None]},
}  # fmt: skip


def test_a_command_receives_all_its_options_in_one_record() -> None:
    seen: list[Probe] = []
    flags = ["x", "--size=5", "--pair=a=1", "--pair", "b=2", "y", "--loud"]
    assert CliRunner().invoke(probe(seen), flags).exit_code == 0
    assert seen == [Probe(("x", "y"), 5, (("a", "1"), ("b", "2")), True, None)]
    assert options.record_of(probe(seen)) is Probe
    assert options.record_of(click.Command("other")) is None


def test_a_verb_of_a_group_is_declared_the_same_way() -> None:
    @click.group()
    def verbs() -> None:
        """Verbs."""

    seen: list[Probe] = []
    made = probe(seen, parent=verbs)
    assert verbs.commands == {"probe": made}
    assert CliRunner().invoke(verbs, ["probe", "--size", "4"]).exit_code == 0
    assert seen[0].size == 4
    output = CliRunner().invoke(verbs, ["probe", "-h"]).output
    assert "Says what it was asked." in output
    assert output.index("Sizes:") < output.index("For programs:")


def test_numbers_go_to_a_file_and_words_stay(tmp_path: Path) -> None:
    result = CliRunner().invoke(probe([]), [f"--json={tmp_path / 'numbers.json'}"])
    assert (result.exit_code, result.stdout, result.stderr) == (0, "words for people\n", "")
    text = (tmp_path / "numbers.json").read_text("utf-8")
    assert json.loads(text, parse_constant=pytest.fail) == EXPECTED_NUMBERS
    assert "Müller" in text


def test_standard_output_holds_nothing_but_the_numbers() -> None:
    result = CliRunner().invoke(probe([]), ["--json", "-"])
    assert json.loads(result.stdout, parse_constant=pytest.fail) == EXPECTED_NUMBERS
    assert result.stdout.isascii()
    assert result.stderr == "words for people\n"


def test_without_json_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(probe([]), [])
    assert (result.stdout, list(tmp_path.iterdir())) == ("words for people\n", [])


def test_a_json_file_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    for place in (tmp_path / "none" / "x.json", tmp_path):
        result = CliRunner().invoke(probe([]), [f"--json={place}"])
        assert result.exit_code == 2
        (line,) = result.stderr.splitlines()
        assert line.startswith(f"Error: --json={place} cannot be written (")
        assert line.endswith("give another file, or -")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("flag", "words"), [("--epochs=3", "--kimg"), ("--lr=0.1", "--cfg")])
def test_flags_of_other_programs_are_answered_with_ours(flag: str, words: str) -> None:
    result = CliRunner().invoke(train, [flag])
    assert result.exit_code == 2
    assert f"No such option '{flag.split('=')[0]}'" in result.output
    assert words in result.output


def test_a_run_to_start_from_is_its_newest_network_and_known_names_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("ffhq256", "run"):
        Path(folder).mkdir()
        Path(folder, "network-snapshot-000004.pkl").write_bytes(b"")
    for given, meant in (
        ("ffhq256", "ffhq256"), ("noresume", "noresume"), ("net.pkl", "net.pkl"),
        ("run", str(Path("run", "network-snapshot-000004.pkl"))),
    ):  # fmt: skip
        assert train.make_context("train", [f"--resume={given}"]).params["resume"] == meant
    Path("empty").mkdir()
    result = CliRunner().invoke(train, ["--resume=empty"])
    assert (result.exit_code, "empty holds no network yet" in result.output) == (2, True)


def test_what_habits_advise_exists() -> None:
    known = {name for c in (train, generate) for p in c.params for name in p.opts}
    for name, hint in options.HABITS.items():
        assert f"--{name}" not in known
        assert {flag.split("=")[0] for flag in re.findall(r"--[a-z=0-9-]+", hint)} <= known, hint
