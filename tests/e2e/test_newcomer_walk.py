"""Sixty things that a newcomer tries, from the habits of upstream and of other programs of the field.

A guess counts if it works, or if the answer holds the words that lead to what does. The list was written
before the front door was built; nothing is taken from it, only added.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from click.testing import CliRunner

import spine_plugins as sp
import stylegan2ada as sg
from spine_plugins import phantom
from spine_plugins.__main__ import main
from spine_plugins.classifier import new_classifier, save_classifier

AT_LEAST = 60  # of the guesses below; only ever raised


@dataclass(frozen=True)
class Guess:
    """What is typed, and a pattern of the answer that would help if it does not work."""

    typed: str
    help: str = r"$^"  # nothing: it has to work


NET = "--network=runs/latest"
COMMANDS = [
    # The verbs.
    Guess("spinegan", r"report"),
    Guess("spinegan --help"),
    Guess("spinegan --version"),
    Guess("spinegan help", r"--help"),
    Guess("spinegan train --help"),
    Guess("spinegan train --outdir=out --data=images.zip --cond=1 -n"),
    Guess("spinegan train_spine --help", r"'train'"),
    Guess("spinegan trian", r"'train'"),
    Guess("spinegan convert --help"),
    Guess("spinegan dicom --help", r"'convert'"),
    Guess("spinegan dataset --help"),
    Guess("spinegan dataset_tool --help", r"'dataset'"),
    Guess("spinegan generate --help"),
    Guess("spinegan sample --help", r"'generate'"),
    Guess("spinegan metrics --help"),
    Guess("spinegan calc_metrics --help", r"'metrics'"),
    Guess("spinegan fid --help", r"'metrics'"),
    Guess("spinegan project --help"),
    Guess("spinegan projector --help", r"'project'"),
    Guess("spinegan mix --help"),
    Guess("spinegan style_mixing --help", r"'mix'"),
    Guess("spinegan legacy --help"),
    Guess("spinegan resume runs/latest", r"--continue"),
    Guess("spinegan classify --help"),
    Guess("spinegan completion bash"),
    Guess("spinegan doctor"),
    # Where a network is asked for, a run is given.
    Guess(f"spinegan generate {NET} --seeds=0-1 --class=1 --outdir=g1"),
    Guess("spinegan generate --network=RUN --seeds=0-1 --class=1 --outdir=g2"),
    Guess("spinegan generate --network=RUN --seeds=0-1 --class=abnormal --outdir=g3"),
    Guess("spinegan generate --network=RUN --seeds=0-3 --class=1 --grid --outdir=g4"),
    Guess("spinegan generate --network=RUN --seeds=0:3 --class=1 --outdir=g5", r"0-9"),
    Guess("spinegan generate --network=RUN --seeds=0-1 --class=1 --truncation=0.7 --outdir=g6", r"--trunc\b"),
    Guess("spinegan generate --network=RUN --n=16 --outdir=g7", r"--seeds"),
    Guess("spinegan metrics --network=RUN --metrics=fid1k_tiny --data=images.zip"),
    Guess("spinegan metrics --network=RUN --metrics=fid --data=images.zip", r"fid50k_full"),
    Guess("spinegan metrics --help | fid50k_full"),
    Guess("spinegan mix --network=RUN --rows=0 --cols=1 --class=1 --outdir=g8"),
    Guess("spinegan report RUN --out=r.html"),
    Guess("spinegan report runs/latest --out=r2.html"),
    # Flags of training.
    Guess("spinegan train --outdir=out --data=images.zip --epochs=10 -n", r"--kimg"),
    Guess("spinegan train --outdir=out --data=images.zip --batch-size=8 -n", r"--batch\b"),
    Guess("spinegan train --outdir=out --data=images.zip --lr=0.002 -n", r"--cfg|preset"),
    Guess("spinegan train --outdir=out --data=images.zip --config=run.toml -n"),
    Guess("spinegan train --outdir=out --data=images.zip --from-run=RUN -n"),
    Guess("spinegan train --outdir=out --data=pngs -n"),
    Guess("spinegan train --outdir=out --data=images.zip --metrics=fid -n", r"fid50k_full"),
    Guess("spinegan train --outdir=out --data=images.zip --resume=RUN -n"),
    # Data.
    Guess("spinegan dataset --source=pngs --dest=d1.zip"),
    Guess("spinegan dataset --source=pngs --dest=d2.zip --split=0.5/0.5/0"),
    Guess("spinegan dataset --source=dicom --dest=d3.zip", r"dataset_tool_dicom|convert"),
    Guess("spinegan convert --source=pngs --dest=d4.zip", r"dataset_tool\.py|spinegan dataset"),
]  # fmt: skip
CALLS = [
    Guess("sg.load_network(RUN)"),
    Guess("sg.load_network(SNAPSHOT)['G_ema'](torch.randn(1, 512), torch.eye(2)[:1])"),
    Guess("sg.generate_images(sg.load_network(SNAPSHOT)['G_ema'], [0, 1], classes='abnormal')"),
    Guess("sg.ImageFolderDataset('images.zip')[0]"),
    Guess("sg.metrics.fid.fid(np.random.randn(50, 4), np.random.randn(50, 4))"),
    Guess("sg.train('images.zip', 'out')", r"train_network"),
    Guess("sg.generate(SNAPSHOT)", r"generate_images"),
    Guess("sp.read_radiograph(DICOM)"),
    Guess("sp.load_classifier('nothere.safetensors')", r"classify train"),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a newcomer has after an hour: pictures in folders, a data set, DICOM files, a finished run."""
    folder = tmp_path_factory.mktemp("home")
    rng = np.random.default_rng(0)
    for name in ("normal", "abnormal"):
        (folder / "pngs" / name).mkdir(parents=True)
        for i in range(8):
            pixels = rng.integers(0, 255, size=(16, 16), dtype=np.uint8)
            PIL.Image.fromarray(pixels).save(folder / "pngs" / name / f"{i}.png")
    with sg.data.DatasetWriter(folder / "images.zip") as writer:
        for i in range(16):
            writer.add(rng.integers(0, 255, size=(16, 16), dtype=np.uint8), label=i % 2)
        writer.extra["label_names"] = ["normal", "abnormal"]
    phantom.write_dicom_tree(folder / "dicom", 2, seed=1, size=(160, 144))
    save_classifier(new_classifier("cnn13k", "binary", ["normal", "abnormal"]), folder / "s.safetensors")
    (folder / "run.toml").write_text("kimg = 2\ncond = true\n")
    small = {"cbase": 64, "cmax": 4, "batch": 100, "metrics": (), "aug": "noaug", "device": "cpu"}
    run = sg.train_network(folder / "images.zip", folder / "runs", cond=True, kimg=1, quiet=True, **small)
    (folder / "runs" / "latest").symlink_to(run)
    return folder


def filled(text: str, world: Path) -> str:
    run = (world / "runs" / "latest").resolve()
    dicom = next((world / "dicom").rglob("*.dicom"))
    places = {"SNAPSHOT": run / "network-snapshot-000001.pkl", "RUN": run, "DICOM": dicom}
    for name, place in places.items():
        text = re.sub(rf"\b{name}\b", str(place) if text.startswith("spinegan") else repr(str(place)), text)
    return text


def answer(guess: Guess, world: Path) -> tuple[bool, str]:
    """(does it work, what is said)"""
    typed, _, wanted = filled(guess.typed, world).partition(" | ")
    if typed.startswith("spinegan"):
        result = CliRunner().invoke(main, shlex.split(typed)[1:], prog_name="spinegan")
        return result.exit_code == 0 and wanted in result.output, result.output
    import torch

    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            eval(typed, {"sg": sg, "sp": sp, "np": np, "torch": torch})  # noqa: S307 - the lines above
    except Exception as error:  # noqa: BLE001 - whatever it is, a newcomer sees its words
        return False, str(error)
    return True, said.getvalue()


def test_there_are_sixty() -> None:
    assert len(COMMANDS) + len(CALLS) >= 60
    typed = [guess.typed for guess in COMMANDS + CALLS]
    assert len(set(typed)) == len(typed)


@pytest.mark.slow
def test_a_newcomer_is_led_on(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world)
    monkeypatch.setenv("DNNLIB_CACHE_DIR", str(world / "cache"))
    lost = []
    for guess in COMMANDS + CALLS:
        works, said = answer(guess, world)
        if not works and not re.search(guess.help, said):
            lost.append(f"{guess.typed}\n        {said.strip().splitlines()[-1:] or ['(nothing)']}")
    good = len(COMMANDS) + len(CALLS) - len(lost)
    print(f"\n{good} of {len(COMMANDS) + len(CALLS)} guesses lead on; not these:\n    " + "\n    ".join(lost))
    assert good >= AT_LEAST, lost
