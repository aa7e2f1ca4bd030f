"""Every command explains itself within a screen, and a mistyped flag is answered with the right one."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from spine_plugins.__main__ import VERBS, main
from stylegan2ada import options
from stylegan2ada.config import PRESETS
from stylegan2ada.metrics.registry import list_valid_metrics

COLUMNS = 80
SCRIPTS = {
    "train": "stylegan2ada.train",
    "generate": "stylegan2ada.generate",
    "style_mixing": "stylegan2ada.style_mixing",
    "projector": "stylegan2ada.projector",
    "calc_metrics": "stylegan2ada.calc_metrics",
    "dataset_tool": "stylegan2ada.dataset_tool",
    "legacy": "stylegan2ada.legacy",
    "train_spine": "spine_plugins.training.command",
    "dataset_tool_dicom": "spine_plugins.dicom.command",
}


def click_command(module: str) -> click.Command:
    found = vars(importlib.import_module(module))
    return next(found[name] for name in ("main", "command") if isinstance(found.get(name), click.Command))


def commands() -> Iterator[tuple[str, click.Command]]:
    for name, module in SCRIPTS.items():
        yield name, click_command(module)
    scripts = set(SCRIPTS.values())
    for verb, (target, _) in VERBS.items():
        module, attribute = target.split(":")
        if module in scripts:
            continue
        found = getattr(importlib.import_module(module), attribute)
        if isinstance(found, click.Group):
            GROUPS[verb] = found
            yield from verbs_of(verb, found)
        else:
            yield verb, found


def verbs_of(path: str, group: click.Group) -> Iterator[tuple[str, click.Command]]:
    """The commands of a group, and of the groups in it."""
    for name, found in group.commands.items():
        if isinstance(found, click.Group):
            GROUPS[f"{path} {name}"] = found
            yield from verbs_of(f"{path} {name}", found)
        else:
            yield f"{path} {name}", found


GROUPS: dict[str, click.Group] = {"spinegan": main}
COMMANDS = dict(commands())


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_and_says_something_of_every_option(name: str) -> None:
    command = COMMANDS[name]
    result = CliRunner().invoke(command, ["--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert [line for line in result.output.splitlines() if len(line) > COLUMNS] == []
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name}: {parameter.opts} has no help"


@pytest.mark.parametrize("name", GROUPS)
def test_the_list_of_verbs_fits(name: str) -> None:
    result = CliRunner().invoke(GROUPS[name], ["--help"], env={"COLUMNS": "200"})
    assert [line for line in result.output.splitlines() if len(line) > COLUMNS] == []
    assert set(GROUPS) > {"classify", "figures", "detectors"}


@pytest.mark.parametrize("name", ["train", "train_spine"])
def test_help_of_training_explains_the_presets(name: str) -> None:
    output = CliRunner().invoke(COMMANDS[name], ["--help"]).output
    for preset, row in PRESETS.items():
        (line,) = [line for line in output.splitlines() if line.strip().startswith(f"{preset} ")]
        assert {f"--kimg={row.kimg}", f"--batch={row.batch}", f"--gamma={row.gamma:g}:"} <= set(line.split())


def test_help_of_metrics_lists_them() -> None:
    output = CliRunner().invoke(COMMANDS["calc_metrics"], ["--help"]).output
    assert set(list_valid_metrics()) <= set(output.replace(",", " ").split())
    assert "others:" not in output


@pytest.mark.parametrize("name", COMMANDS)
def test_a_mistyped_flag_is_answered_with_the_right_one(name: str) -> None:
    command = COMMANDS[name]
    flag = next(
        (o.opts[0] for o in command.params if isinstance(o, click.Option) and len(o.opts[0]) > 4), None
    )
    if flag is None:
        pytest.skip("has no long flag")
    result = CliRunner().invoke(command, [flag + "x", "1"])
    assert result.exit_code == 2
    assert flag in result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_a_record_has_a_field_per_option_and_never_changes(name: str) -> None:
    record = options.record_of(COMMANDS[name])
    assert record is not None, f"{name} has no record"
    assert dataclasses.is_dataclass(record)
    assert {field.name for field in dataclasses.fields(record)} == {
        p.name for p in COMMANDS[name].params if p.expose_value
    }
    assert record.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert record.__doc__


def test_a_mistyped_verb_is_answered_with_the_right_one() -> None:
    result = CliRunner().invoke(main, ["docter"])
    assert result.exit_code == 2
    assert "'doctor'" in result.output
    listed = CliRunner().invoke(main, ["--help"]).output
    assert all(verb in listed for verb in VERBS)
