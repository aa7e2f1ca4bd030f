"""The flags: which there are, how values are read, what help and mistakes look like."""

from __future__ import annotations

from dataclasses import fields

import click
import pytest
from click.testing import CliRunner

from stylegan2ada import options
from stylegan2ada.config import TrainOptions, augmentation_presets
from stylegan2ada.errors import (
    MissingError,
    NothingToDoError,
    StoppedOnRequest,
    TooManyFailuresError,
    UserError,
)
from stylegan2ada.train import main as train
from tests.golden_data import golden_json

UPSTREAM = """
    --outdir --gpus --snap --metrics --seed -n --dry-run --data --cond --subset --mirror --cfg --gamma --kimg
    --batch --aug --p --target --augpipe --resume --freezed --fp32 --nhwc --nobench --allow-tf32 --workers
""".split()
OURS = """
    --loss --loss-opt --term --cbase --cmax --tick --detector --device --precision --sampler --ada-max-p
    --batch-gpu --keep-snapshots --continue --state-minutes
""".split()


def test_the_flag_set_is_pinned() -> None:
    declared = {name for parameter in train.params for name in parameter.opts}
    assert declared == {*UPSTREAM, *OURS}
    assert {parameter.name for parameter in train.params} == {f.name for f in fields(TrainOptions)}


def test_nothing_has_a_default_so_that_what_was_asked_for_can_be_told() -> None:
    seen: dict = {}
    probe = options.command()(options.train_options(lambda **values: seen.update(values)))
    assert CliRunner().invoke(probe, []).exit_code == 0
    assert {name: value for name, value in seen.items() if value not in (None, ())} == {"dry_run": False}


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
            "detector",
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


def test_seed_ranges_as_recorded() -> None:
    record = golden_json("cli/num_range.json")
    for text, expected in record["ok"]:
        assert options.num_range(text) == expected, text
        assert options.NumRange().convert(text, None, None) == expected
    for text, error in record["bad"]:
        assert error == "ValueError"
        with pytest.raises(ValueError):  # noqa: PT011 - the recorded type is all there is
            options.num_range(text)
        with pytest.raises(click.BadParameter):
            options.NumRange().convert(text, None, None)


@pytest.mark.parametrize(
    ("type_", "text", "expected"),
    [
        (options.NamedValue(), "r1_gamma=1=2", ("r1_gamma", "1=2")),
        (options.WeightedName(), "spine:0.5", "spine:0.5"),
        (options.WeightedName(), "spine", "spine"),
    ],
)
def test_pairs(type_: click.ParamType, text: str, expected: object) -> None:
    assert type_.convert(text, None, None) == expected


@pytest.mark.parametrize(
    ("type_", "text"), [(options.NamedValue(), "r1_gamma"), (options.WeightedName(), "a:b")]
)
def test_broken_pairs(type_: click.ParamType, text: str) -> None:
    with pytest.raises(click.BadParameter):
        type_.convert(text, None, None)
