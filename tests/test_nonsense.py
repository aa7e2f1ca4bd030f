"""What no flag of any command means: NaN, infinity, nothing at all, numbers beyond every size."""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner, Result

from spine_plugins.__main__ import main
from stylegan2ada import flag_types, options
from stylegan2ada.checkpoints import save_network
from stylegan2ada.data.writer import DatasetWriter
from stylegan2ada.errors import UserError
from stylegan2ada.synthesis import generate_images, label_vector
from tests.stylegan2ada.checkpoints.conftest import make_networks
from tests.test_help import COMMANDS

PARAMETERS = [(name, parameter) for name, command in COMMANDS.items() for parameter in command.params]


def refused(name: str, parameter: click.Parameter, word: str) -> str:
    """What the command's own parser says of this one value."""
    flag = [max(parameter.opts, key=len)] if isinstance(parameter, click.Option) else []
    with pytest.raises(click.BadParameter) as caught:
        COMMANDS[name].make_context(name, [*flag, *[word] * max(parameter.nargs, 1)])
    assert caught.value.param is parameter, (name, caught.value)
    return caught.value.format_message()


def test_no_command_takes_nan_or_infinity() -> None:
    floats = [(n, p) for n, p in PARAMETERS if isinstance(p.type, click.types.FloatParamType)]
    assert len(floats) >= 25
    for name, parameter in floats:
        for word in ("nan", "inf", "-Infinity", "1e999"):
            assert refused(name, parameter, word)


def test_no_command_takes_an_empty_path() -> None:
    """It is the folder that one stands in: a script whose variable is not set would write there."""
    texts = [(n, p) for n, p in PARAMETERS
             if isinstance(p.type, click.types.StringParamType | click.Path)]  # fmt: skip
    assert len(texts) >= 60
    for name, parameter in texts:
        if parameter.default == "":  # --body-part: nothing is any
            assert parameter.metavar == "REGEX"
        else:
            assert "it is empty" in refused(name, parameter, ""), (name, parameter.name)


def test_no_command_takes_a_number_beyond_every_size() -> None:
    whole = [(n, p) for n, p in PARAMETERS if isinstance(p.type, click.types.IntParamType)]
    assert len(whole) >= 55
    for name, parameter in whole:
        for word in (str(10**20), str(-(10**20)), "9" * 400):
            refused(name, parameter, word)


def test_every_seed_is_one_that_generators_take() -> None:
    seeds = [(n, p) for n, p in PARAMETERS if "seed" in str(p.name)]
    assert len(seeds) >= 12
    for name, parameter in seeds:
        for word in ("-1", str(2**32)):
            refused(name, parameter, word)
    generate = COMMANDS["generate"]
    flags = ["--network=x", "--outdir=x", f"--seeds=0,{2**32 - 1}"]
    assert generate.make_context("generate", flags).params["seeds"] == [0, 2**32 - 1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("-1", "-1 is no seed"),
        ("4294967296", "from 0 to 4294967295"),
        ("5,99999999999999999999", "is no seed"),
        ("0-999999999999", "more than 1,000,000 numbers"),
        ("0-" + "9" * 5000, "more than 1,000,000 numbers"),
        ("5-1", "the smaller end of a range comes first"),
        ("4294967290-4294967299", "4294967296 is no seed"),
    ],
)
def test_seeds_that_are_none(text: str, words: str) -> None:
    with pytest.raises(click.BadParameter, match=words):
        flag_types.Seeds().convert(text, None, None)


def test_pairs_and_labels_without_a_number() -> None:
    for text in ("spine:nan", "spine:inf"):
        with pytest.raises(click.BadParameter, match="must be a number"):
            flag_types.WeightedName().convert(text, None, None)
    with pytest.raises(click.BadParameter, match="NAME=VALUE"):
        flag_types.NamedValue().convert("inception=", None, None)
    with pytest.raises(UserError, match="numbers between commas"):
        label_vector("1,nan")
    assert flag_types.ClassChoice().convert("9" * 5000, None, None) == "9" * 5000  # as a name: not known


# Whole commands.


def said(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def assert_refused(result: Result, *words: str) -> None:
    assert result.exit_code == 2, (result.output, result.exception)
    assert isinstance(result.exception, SystemExit)
    for word in words:
        assert word in result.output, result.output


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "images.zip"
    with DatasetWriter(path) as writer:
        for i in range(4):
            writer.add(np.full([16, 16], 60 * i, dtype=np.uint8), label=i % 2)
    return path


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--loss=os.system", "--loss=os.system is no loss"),
        ("--loss=builtins.dict", "--loss=builtins.dict is no loss"),
        ("--loss=types.SimpleNamespace", "no loss"),
        ("--term=os.system:0.1", "--term=os.system:0.1 is no term"),
        ("--sampler=os.system", "--sampler=os.system is no sampler"),
        ("--loss-opt=r1_gamma=nan", "--loss-opt=r1_gamma=nan is no number"),
    ],
)
def test_what_is_no_plugin_is_refused_before_anything_runs(
    flag: str, words: str, data: Path, tmp_path: Path
) -> None:
    result = said("train", f"--data={data}", f"--outdir={tmp_path / 'out'}", "--metrics=none", flag)
    assert_refused(result, words)
    assert not (tmp_path / "out").exists()


def test_a_class_between_two_classes_is_none(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for i in range(2):
        PIL.Image.new("L", (16, 16), i).save(tmp_path / "set" / f"{i}.png")
    table = {"labels": [["0.png", 0.5], ["1.png", 1.0]]}
    (tmp_path / "set" / "dataset.json").write_text(json.dumps(table))
    flags = (f"--data={tmp_path / 'set'}", f"--outdir={tmp_path / 'out'}", "--metrics=none", "-n")
    assert_refused(said("train", *flags, "--cond=1"), "has the class 0.5, which is not whole")
    packed = said("dataset", f"--source={tmp_path / 'set'}", f"--dest={tmp_path / 'x.zip'}")
    assert packed.exit_code == 1  # as all that this tool refuses
    assert "0.png has the class 0.5, which is not whole" in packed.output
    table["labels"][0][1] = 0.0
    (tmp_path / "set" / "dataset.json").write_text(json.dumps(table))
    assert said("train", *flags, "--cond=1").exit_code == 0  # upstream: 1.0 is a class


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_weights_draw_nothing(value: float, tmp_path: Path) -> None:
    networks = make_networks(resolution=16, c_dim=2)
    G = networks["G_ema"]
    name, tensor = list(G.named_parameters())[-1]
    tensor.data.flatten()[0] = value
    save_network(networks, tmp_path / "broken.pkl")
    words = f"the network's {name} holds NaN or infinity"
    for flags in (["--seeds=0", "--class=0"], ["--per-class=1"]):
        out = tmp_path / ("out" if "--class=0" in flags else "out.zip")
        assert_refused(said("generate", f"--network={tmp_path}/broken.pkl", *flags, f"--outdir={out}"), words)
        assert not out.exists()
    with pytest.raises(UserError, match="holds NaN or infinity"):
        generate_images(G, [0], classes=0)


def test_sets_that_no_disk_holds(tmp_path: Path) -> None:
    save_network(make_networks(resolution=16, c_dim=2), tmp_path / "net.pkl")
    flags = ["generate", f"--network={tmp_path}/net.pkl", f"--outdir={tmp_path}/x.zip"]
    assert_refused(said(*flags, "--per-class=1000000000"), "more than 1,000,000")
    assert_refused(said(*flags, "--per-class=5", "--seeds=4294967290"), "leads to the seed 4294967299")
    assert not (tmp_path / "x.zip").exists()


def test_pictures_that_no_memory_holds(data: Path, tmp_path: Path) -> None:
    huge = [
        "dataset",
        f"--source={data}",
        f"--dest={tmp_path / 'x.zip'}",
        "--width=1000000",
        "--height=1000000",
    ]
    assert_refused(said(*huge), "--width")
    assert_refused(said("phantom", f"--sheet={tmp_path / 's.png'}", "--size=99999x99999"), "up to 9999x9999")
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written_to_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    save_network(make_networks(resolution=16, c_dim=0), tmp_path / "net.pkl")
    network = f"--network={tmp_path}/net.pkl"
    for words in (
        ["phantom", "--sheet=/nope/x", "--size=64x64"],
        ["phantom", f"--sheet={tmp_path}", "--size=64x64"],
        ["generate", network, "--seeds=0", f"--outdir={tmp_path}/file"],
        ["generate", network, "--seeds=0", f"--outdir={tmp_path}/file/x"],
        ["generate", network, "--per-class=1", f"--outdir={tmp_path}/file/x.zip"],
        ["mix", network, "--rows=0", "--cols=1", f"--outdir={tmp_path}/file"],
        ["legacy", f"--source={tmp_path}/net.pkl", f"--dest={tmp_path}/none/x.pkl"],
    ):
        result = said(*words)
        assert result.exit_code == 2, (words, result.output, result.exception)
        assert result.stderr.splitlines()[-1].startswith("Error: "), result.output


def test_a_full_disk_is_one_sentence_and_a_bug_stays_a_traceback() -> None:
    @options.command()
    @click.option("--error", type=int)
    def fails(error: int) -> None:
        raise (
            OSError(error, "as the system says", "some/place")
            if error != 28
            else OSError(28, "No space left")
        )

    full = CliRunner().invoke(fails, ["--error=28"])
    assert_refused(full, "Error: No space left; make room, and run it again\n")
    assert_refused(
        CliRunner().invoke(fails, ["--error=13"]), "Error: some/place: as the system says; check that"
    )
    assert isinstance(CliRunner().invoke(fails, ["--error=9"]).exception, OSError)
