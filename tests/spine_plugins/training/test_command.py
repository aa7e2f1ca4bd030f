"""train_spine: presets say what they do, wrong combinations are one sentence, the judge watches."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from spine_plugins.classifier import gate, load_classifier, new_classifier, save_classifier
from spine_plugins.training import command as train_command
from spine_plugins.training.presets import length_for
from stylegan2ada.data.writer import DatasetWriter

NAMES = ["normal", "abnormal"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DNNLIB_CACHE_DIR", str(tmp_path / "cache"))


def data(path: Path, classes: int = 2, names: list[str] | None = None) -> Path:
    rng = np.random.default_rng(0)
    with DatasetWriter(path, overwrite=True) as writer:
        for i in range(24):
            label = i % classes if classes else None
            writer.add((rng.integers(0, 60, size=(16, 16)) + 60 * (i % 2)).astype(np.uint8), label=label)
        writer.extra["label_names"] = names or [
            NAMES[k] if classes == 2 else f"kind {k}" for k in range(classes)
        ]
    return path


def classifier(path: Path, names: list[str] = NAMES, low: float = 0.8, **card) -> Path:
    torch.manual_seed(0)
    made = new_classifier("cnn13k", "binary" if len(names) == 2 else "multiclass", names)
    made.card |= {
        "metrics": {"val": {"auc": {"value": 0.9, "low": low, "high": 0.95, "method": "delong"}}},
        "data": {"train": {"fingerprint": "a" * 64}, "val": {"fingerprint": "b" * 64}, "test": None},
        "provenance": {"by": "test"},
        "selected_on": "val",
        **card,
    }
    save_classifier(made, path)
    return path


def run(*args: object) -> Result:
    return CliRunner().invoke(train_command.main, [str(arg) for arg in args])


def resolved(output: str) -> dict:
    start = output.index("Options:\n") + len("Options:\n")
    return json.JSONDecoder().raw_decode(output[start:])[0]


# ---------------------------------------------------------------- presets


def test_paper_spine_expands_to_the_papers_settings(tmp_path: Path) -> None:
    path, s = data(tmp_path / "d.zip"), classifier(tmp_path / "s.safetensors")
    result = run("--preset=paper-spine", f"--data={path}", f"--outdir={tmp_path}", f"--classifier={s}", "-n")
    assert result.exit_code == 0, result.output
    options = resolved(result.output)
    assert options["total_kimg"] == 4200
    assert options["network_snapshot_ticks"] == 50
    assert options["ada_target"] == 0.6
    assert {"imgfilter", "noise", "cutout", "hue", "xflip"} <= set(options["augment_kwargs"])
    assert options["training_set_kwargs"]["use_labels"]
    assert options["loss_kwargs"]["cls_weight"] == 0.01
    assert options["loss_kwargs"]["cls_reduction"] == "sum"
    assert "--kimg=4200 (4,200,000 images" in result.output


def test_explicit_flags_win_over_a_preset(tmp_path: Path) -> None:
    path = data(tmp_path / "d.zip")
    result = run(
        "--preset=paper-ada", f"--data={path}", f"--outdir={tmp_path}", "--kimg=7", "--target=0.5", "-n"
    )
    assert resolved(result.output)["total_kimg"] == 7
    assert resolved(result.output)["ada_target"] == 0.5
    assert "--kimg stays 7, as given" in result.output


@pytest.mark.parametrize(("images", "kimg"), [(0, 200), (640, 300), (8400, 4200), (10**6, 25000)])
def test_the_radiograph_preset_is_as_long_as_the_data_ask_for(images: int, kimg: int) -> None:
    assert length_for(images)[0] == kimg


@pytest.mark.parametrize("flags", [("--preset=radiograph",), ("--dp-mode=paper", "--dp-ablation=d")])
def test_the_first_start_of_a_job_that_may_be_requeued_is_a_new_run(
    tmp_path: Path, flags: tuple[str, ...]
) -> None:
    """With --continue=latest, too, the length comes from the data and the batch from the arm."""
    path = data(tmp_path / "x.zip")
    common = (f"--data={path}", f"--outdir={tmp_path / 'runs'}", "--loss=stylegan2", *flags, "-n")
    plain, requeued = (resolved(run(*common, *more).output) for more in ((), ("--continue=latest",)))
    assert plain == requeued
    assert plain["batch_size"] == 4 if "--dp-mode=paper" in flags else plain["total_kimg"] == 200


def test_paper_multi_and_radiograph(tmp_path: Path) -> None:
    eight = data(tmp_path / "eight.zip", classes=8)
    multi = run("--preset=paper-multi", f"--data={eight}", f"--outdir={tmp_path}", "-n")
    assert resolved(multi.output)["total_kimg"] == 1200
    small = resolved(run("--preset=radiograph", f"--data={eight}", f"--outdir={tmp_path}", "-n").output)
    assert small["sampler"] == "balanced"
    assert small["total_kimg"] == 200  # few images: the shortest that is sensible
    assert small["ada_max_p"] == 0.8
    assert not {"xflip", "rotate90", "hue"} & set(small["augment_kwargs"])
    wrong = run("--preset=paper-multi", f"--data={data(tmp_path / 'two.zip')}", f"--outdir={tmp_path}", "-n")
    assert wrong.exit_code == 2
    assert "for 8 classes" in wrong.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--preset=radiograph", "--loss=spine", "--batch=16"], "gamma 0.16: weight 0.01 x batch 16;"),
        (
            ["--cond=1", "--loss=spine", "--batch=32", "--cls-weight=0.05"],
            "gamma 1.6: weight 0.05 x batch 32;",
        ),
        (["--cond=1", "--term=spine:0.002", "--batch=16"], "gamma 0.032: weight 0.002 x batch 16;"),
        (["--cond=1", "--loss=spine", "--batch=32", "--cls-reduction=mean"], "gamma 0.01: the weight itself"),
        (
            ["--cond=1", "--loss=spine", "--batch=32", "--spine-compat=authors"],
            "gamma 0.1: the weight",
        ),
    ],
)
def test_a_run_with_the_class_term_says_its_effective_gamma(
    words: list[str], said: str, tmp_path: Path
) -> None:
    """The adversarial part is a mean, the class term a sum: what compares is weight x batch."""
    path, s = data(tmp_path / "d.zip"), classifier(tmp_path / "s.safetensors")
    result = run(f"--data={path}", f"--outdir={tmp_path}", f"--classifier={s}", *words, "-n")
    assert result.exit_code == 0, result.output
    assert f"effective {said}" in result.output
    plain = run(f"--data={path}", f"--outdir={tmp_path}", "--preset=radiograph", "-n")
    assert "effective gamma" not in plain.output


# ---------------------------------------------------------------- wrong combinations


def test_wrong_combinations_are_one_clear_sentence(tmp_path: Path) -> None:
    two, three = data(tmp_path / "two.zip"), data(tmp_path / "three.zip", classes=3)
    renamed = data(tmp_path / "renamed.zip", names=["healthy", "ill"])
    s = classifier(tmp_path / "s.safetensors")
    weak = classifier(tmp_path / "weak.safetensors", low=0.45)
    on_test = classifier(tmp_path / "on_test.safetensors", selected_on="test")
    unknown = classifier(tmp_path / "unknown.safetensors", provenance=None)
    base = [f"--outdir={tmp_path}", "-n", "--loss=spine"]
    cases = [
        ([f"--data={two}", "--cond=1"], "needs a classifier", 2),
        ([f"--data={two}", f"--classifier={s}"], "add --cond=1", 2),
        ([f"--data={three}", "--cond=1", f"--classifier={s}"], "knows 2 classes (normal, abnormal)", 2),
        ([f"--data={renamed}", "--cond=1", f"--classifier={s}"], "healthy, ill", 2),
        ([f"--data={two}", "--cond=1", f"--classifier={tmp_path}/none.safetensors"], "none.safetensors", 3),
        ([f"--data={two}", "--cond=1", f"--classifier={weak}"], "may be chance", 2),
        ([f"--data={two}", "--cond=1", f"--classifier={on_test}"], "chosen on the test set", 2),
        ([f"--data={two}", "--cond=1", f"--classifier={unknown}"], "does not say what it was trained on", 2),
        ([f"--data={data(tmp_path / 'un.zip', classes=0)}", "--cond=1", f"--classifier={s}"], "has none", 2),
    ]
    for flags, words, code in cases:
        result = run(*base, *flags)
        assert result.exit_code == code, (flags, result.output)
        assert words in result.output.replace("\n", " "), (flags, result.output)
        assert "Traceback" not in result.output
    blind = run(f"--outdir={tmp_path}", "-n", f"--data={two}", f"--judge={s}")
    assert blind.exit_code == 2
    assert "--judge asks fakes for their class" in blind.output
    stray = run(f"--outdir={tmp_path}", "-n", f"--data={two}", "--cls-weight=1")
    assert "belongs to the spine loss" in stray.output
    critic = run(f"--outdir={tmp_path}", "-n", f"--data={two}", "--cond=1", "--loss=wgan", "--aug=ada")
    assert critic.exit_code == 2
    assert "--aug=noaug" in critic.output


def test_a_refused_classifier_can_be_accepted_and_is_recorded(tmp_path: Path) -> None:
    weak = classifier(tmp_path / "weak.safetensors", low=0.45)
    base = [f"--outdir={tmp_path}", "-n", "--loss=spine", "--cond=1", f"--data={data(tmp_path / 'd.zip')}"]
    result = run(*base, f"--classifier={weak}", "--accept-classifier=1")
    assert result.exit_code == 0, result.output
    assert "Warning: the classifier was accepted although its validation AUC" in result.output


def test_a_classifier_that_saw_the_test_set_is_refused(tmp_path: Path) -> None:
    card = load_classifier(str(classifier(tmp_path / "s.safetensors"))).card
    assert gate.doubts(card) == []
    assert "test set" in gate.doubts(card, test_fingerprint="b" * 64)[0]
    card["data"]["test"] = card["data"]["train"]
    card["metrics"]["val"]["auc"] |= {"low": None, "high": None}
    assert "too small" in gate.doubts(card)[0]
    del card["metrics"]["val"]["auc"]
    assert "no validation AUC" in gate.doubts(card)[0]
    card["metrics"]["val"]["auc"] = {"value": 0.9, "low": 0.8, "high": 0.95}
    assert "test set" in gate.doubts(card)[0]


def test_a_spine_term_beside_another_objective(tmp_path: Path) -> None:
    path, s = data(tmp_path / "d.zip"), classifier(tmp_path / "s.safetensors")
    result = run(f"--outdir={tmp_path}", "-n", f"--data={path}", "--cond=1", "--aug=noaug", "--loss=wgan-gp",
                 "--term=spine:0.02", f"--classifier={s}")  # fmt: skip
    assert result.exit_code == 0, result.output
    options = resolved(result.output)
    assert options["loss_kwargs"]["objective"] == "wgan-gp"
    assert options["loss_kwargs"]["cls_weight"] == 0.02
    assert options["D_kwargs"]["epilogue_kwargs"]["mbstd_num_channels"] == 0
