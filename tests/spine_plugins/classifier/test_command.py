"""`spinegan classify` end to end."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from spine_plugins.classifier import command as verbs
from spine_plugins.classifier import plots
from tests.spine_plugins.classifier.making import write_spots


def test_eval_writes_everything(trained: Path, tmp_path: Path, command) -> None:
    result = command(
        "eval", f"--classifier={trained}", f"--data={trained.parent / 'test.zip'}",
        f"--outdir={tmp_path / 'e'}", "--device=cpu", "--resamples=200",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    written = {path.name for path in (tmp_path / "e").iterdir()}
    assert written == {"metrics.json", "predictions.csv", "per_class.csv", "roc.png", "calibration.png"}
    found = json.loads((tmp_path / "e/metrics.json").read_bytes())
    assert f"AUC {found['metrics']['auc']['value']:.3f}" in result.output
    assert found["warning"] is None
    card = json.loads(trained.with_suffix(".json").read_bytes())
    assert found["metrics"]["auc"]["value"] == card["metrics"]["test"]["auc"]["value"]
    rows = list(csv.DictReader((tmp_path / "e/predictions.csv").read_text().splitlines()))
    y = np.array([int(row["label"]) for row in rows])
    p = np.array([float(row["p_abnormal"]) for row in rows])
    wins = p[y == 1][:, None] - p[y == 0]
    auc = ((wins > 0) + 0.5 * (wins == 0)).mean()
    assert auc == pytest.approx(found["metrics"]["auc"]["value"], abs=2e-3)


def test_eval_on_own_images_warns_and_record_changes_the_card(trained: Path, tmp_path: Path, command) -> None:
    data, out = write_spots(tmp_path / "v.zip", 40, size=16, groups="v"), tmp_path / "c.safetensors"
    train = trained.parent / "train.zip"
    result = command(
        "train",
        f"--data={train}",
        f"--val={data}",
        f"--out={out}",
        "--arch=cnn13k",
        "--epochs=1",
        "--device=cpu",
    )
    assert result.exit_code == 0, result.output
    result = command("eval", f"--classifier={out}", f"--data={data}", f"--outdir={tmp_path}", "--no-plots")
    assert "the classifier's own val images" in result.output
    assert not (tmp_path / "roc.png").exists()
    test = trained.parent / "test.zip"
    before = json.loads(out.with_suffix(".json").read_bytes())
    result = command(
        "eval",
        f"--classifier={out}",
        f"--data={test}",
        f"--outdir={tmp_path}",
        "--no-plots",
        "--record",
        "--overwrite",
    )
    assert result.exit_code == 0, result.output
    after = json.loads(out.with_suffix(".json").read_bytes())
    assert before["metrics"]["test"] is None and after["metrics"]["test"]["n"] == 60
    assert after["metrics"]["val"] == before["metrics"]["val"]
    assert (
        command("predict", f"--classifier={out}", f"--data={test}", f"--out={tmp_path / 'p.csv'}").exit_code
        == 0
    )


def test_eval_notices_that_its_images_were_split_for_training(trained: Path, tmp_path: Path, command) -> None:
    train = trained.parent / "train.zip"
    result = command(
        "eval", f"--classifier={trained}", f"--data={train}", f"--outdir={tmp_path}", "--no-plots"
    )
    assert result.exit_code == 0
    assert "these include the classifier's own train images" in result.output


def test_eval_without_matplotlib_says_so(trained: Path, tmp_path: Path, command, monkeypatch) -> None:
    monkeypatch.setattr(plots, "is_available", lambda: False)
    result = command(
        "eval", f"--classifier={trained}", f"--data={trained.parent / 'test.zip'}", f"--outdir={tmp_path}",
        "--resamples=100",
    )  # fmt: skip
    assert result.exit_code == 0
    assert "pip install 'spinegan[report]'" in result.output


def test_predict_needs_no_labels(trained: Path, tmp_path: Path, command) -> None:
    data = write_spots(tmp_path / "d.zip", 12, size=40, labels=None)
    result = command("predict", f"--classifier={trained}", f"--data={data}", f"--out={tmp_path / 'p.csv'}")
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader((tmp_path / "p.csv").read_text().splitlines()))
    assert len(rows) == 12 and {row["label"] for row in rows} == {""}
    assert {len(row) for row in rows} == {5}


def test_dry_run_prints_and_writes_nothing(trained: Path, tmp_path: Path, command) -> None:
    result = command(
        "train",
        f"--data={trained.parent / 'train.zip'}",
        f"--out={tmp_path / 'c.safetensors'}",
        "--arch=cnn13k",
        "-n",
    )
    assert result.exit_code == 0
    assert json.loads(result.stdout)["schedule"]["lr"] == 1e-3
    assert not (tmp_path / "c.safetensors").exists()


def test_replication_is_stamped(trained: Path, tmp_path: Path, command) -> None:
    out = tmp_path / "c.safetensors"
    result = command(
        "train", f"--data={trained.parent / 'train.zip'}", f"--test={trained.parent / 'test.zip'}",
        f"--out={out}", "--arch=cnn13k", "--epochs=1", "--select-on=test", "--val-share=0",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "chosen on the test data" in result.output
    card = json.loads(out.with_suffix(".json").read_bytes())
    assert card["selected_on"] == "test"
    assert "test_auc" in card["history"][0]


def test_refusals_are_one_sentence(trained: Path, tmp_path: Path, command) -> None:
    data = write_spots(tmp_path / "d.zip", 20, size=16, names=["cat", "dog"])
    bad = tmp_path / "bad.pth"
    torch.save({"features.conv0.weight": torch.zeros(3)}, bad)

    def refused(code: int, sentence: str, *arguments: object) -> None:
        result = command(*arguments)
        lines = [line for line in result.output.splitlines() if line.startswith("Error")]
        assert (result.exit_code, len(lines)) == (code, 1), result.output
        assert sentence in lines[0]

    place = f"--outdir={tmp_path}"
    refused(3, "does not exist", "eval", f"--classifier={tmp_path / 'x'}", f"--data={data}", place)
    refused(2, "cat, dog", "eval", f"--classifier={trained}", f"--data={data}", place)
    new = f"--out={tmp_path / 'n.safetensors'}"
    refused(2, "not torchvision's", "train", f"--data={data}", new, f"--weights={bad}")
    refused(3, "is not a file", "train", f"--data={data}", new, "--weights=missing.pth")
    refused(2, "Invalid value", "train", f"--data={data}", new, "--arch=resnet")
    # No advice to use a flag of another verb.
    findings = write_spots(tmp_path / "f.zip", 4, size=16, labels=[[1, 1], [0, 0], [1, 0], [0, 1]])
    refused(
        2, "labelled as its training data", "eval", f"--classifier={trained}", f"--data={findings}", place
    )
    unlabelled = write_spots(tmp_path / "u.zip", 20, size=16, labels=None)
    refused(2, "has no labels", "train", f"--data={unlabelled}", new, "--arch=cnn13k")


def test_a_record_has_a_field_per_option() -> None:
    records = {
        "train": verbs.Train,
        "eval": verbs.Evaluate,
        "predict": verbs.Predict,
        "sift": verbs.SiftAsked,
    }
    assert verbs.classify.commands.keys() == records.keys()
    for name, record in records.items():
        options = [p.name for p in verbs.classify.commands[name].params if p.expose_value]
        assert sorted(options) == sorted(field.name for field in dataclasses.fields(record))


def test_numbers_for_programs(trained: Path, tmp_path: Path, command) -> None:
    test, out = trained.parent / "test.zip", tmp_path / "e"
    base = [f"--classifier={trained}", f"--data={test}", "--device=cpu"]
    evaluated = command("eval", *base, f"--outdir={out}", "--no-plots", "--resamples=100", "--json=-")
    assert evaluated.exit_code == 0, evaluated.output
    assert json.loads(evaluated.stdout) == json.loads((out / "metrics.json").read_bytes())
    assert "test.zip: 60 images" in evaluated.stderr
    predicted = command("predict", *base, f"--out={tmp_path / 'p.csv'}", f"--json={tmp_path / 'p.json'}")
    assert predicted.stdout == f"60 predictions in {tmp_path / 'p.csv'}\n"
    assert json.loads((tmp_path / "p.json").read_bytes())["n"] == 60


def test_numbers_of_a_training(trained: Path, tmp_path: Path, command) -> None:
    out = tmp_path / "c.safetensors"
    base = [
        f"--data={trained.parent / 'train.zip'}",
        f"--out={out}",
        "--arch=cnn13k",
        "--epochs=1",
        "--json=-",
    ]
    planned = command("train", *base, "--dry-run")
    assert json.loads(planned.stdout)["schedule"]["epochs"] == 1
    result = command("train", *base, "--device=cpu")
    assert result.exit_code == 0, result.output
    found, card = json.loads(result.stdout), json.loads(out.with_suffix(".json").read_bytes())
    assert found["out"] == str(out)
    for name in ("chosen_epoch", "epochs", "history", "metrics", "sha256"):
        assert found[name] == card[name]
    assert "epoch 1/1" in result.stderr
    for source in (f"--config={out.with_suffix('.config.toml')}", f"--from-run={out}"):
        again = command("train", source, "--dry-run", "--overwrite", "--json=-")
        assert (again.exit_code, again.stdout) == (0, planned.stdout), again.output
