"""The refusal matrix: one sentence and exit code 2 for each way to leak beside the noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from spine_plugins.privacy import accountant
from spine_plugins.training import command
from stylegan2ada.data.writer import DatasetWriter
from tests.spine_plugins.training.test_command import classifier, data

PRIVATE = ("--dp-mode=sgd", "--dp-batch=8", "--dp-steps=4", "--dp-noise-multiplier=2", "--dp-n-public=24")


@pytest.fixture(autouse=True)
def _own_bound(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(accountant, "has_library", lambda: False)
    monkeypatch.setenv("DNNLIB_CACHE_DIR", str(tmp_path / "cache"))


def refused(tmp_path: Path, *flags: str, path: Path | None = None) -> str:
    """What is said; checked that it is one sentence, exit code 2, and that nothing was begun."""
    out = tmp_path / "runs"
    found = path or data(tmp_path / "d.zip")
    result = CliRunner().invoke(command.main, [f"--data={found}", f"--outdir={out}", "--cond=1", *flags])
    assert result.exit_code == 2, result.output
    assert not out.exists()
    (line,) = [text for text in result.output.splitlines() if text.startswith("Error: ")]
    return line


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        # Each row: a leak of the table, and what is said of it.
        (["--aug=ada"], "use --dp-ada"),
        (["--aug=fixed", "--p=0.2"], "use --dp-ada"),
        (["--target=0.5"], "--target"),
        (["--ada-max-p=0.5"], "use --dp-ada"),
        (["--log=wandb"], "a pace tells of the images"),
        (["--mirror=1"], "twice the influence"),
        (["--subset=10"], "who took part"),
        (["--sampler=balanced"], "coin tosses"),
        (["--metrics=fid50k_full"], "without noise"),
        (["--batch=8"], "--dp-batch"),
        (["--batch-gpu=4"], "--dp-chunk"),
        (["--precision=bf16"], "overflow"),
        (["--precision=fp16"], "overflow"),
        (["--fp32=0"], "overflow"),
        (["--loss=wgan-gp"], "private step"),
        (["--loss-opt=pl_weight=1"], "--gamma"),
        (["--term=spine:1"], "--loss=spine"),
        (["--resume=ffhq256"], "--dp-init=public"),
        (["--dp-init=public:CheXpert"], "add --resume"),
        (["--dp-init=mine"], "public:NOTE"),
        (["--dp-delta=0.05"], "below 1/n"),
        (["--dp-delta=0"], "below 1/n"),
        (["--dp-batch=25"], "more than the 24 units"),
        (["--dp-steps=0"], "at least 1"),
        (["--dp-target-epsilon=1"], "not both"),
        (["--dp-noise-multiplier=0"], "without noise"),
        (["--dp-clip=none"], "without clipping"),
        (["--dp-clip=-1"], "positive number"),
        (["--dp-microbatch=2"], "only 1 is offered"),
        (["--dp-ada=fixed:2"], "fixed:P"),
        (["--dp-ada=noisy:0"], "noisy:S"),
        (["--dp-d-steps=0"], "adaptive"),
        (["--dp-label-prior=dp:0"], "noise of the histogram"),
        (["--dp-unit=study"], "has no groups"),
        (["--dp-unit=patient"], "has no groups"),
        (["--dp-noise=0.2"], "means nothing with --dp-mode=sgd"),
        (["--dp-variant=release"], "means nothing with --dp-mode=sgd"),
    ],
)  # fmt: skip
def test_a_leak_is_refused(tmp_path: Path, flags: list[str], word: str) -> None:
    assert word in refused(tmp_path, *PRIVATE, *flags)


def test_a_classifier_and_a_judge_are_refused(tmp_path: Path) -> None:
    s = classifier(tmp_path / "s.safetensors")
    assert "private step" in refused(tmp_path, *PRIVATE, "--loss=spine", f"--classifier={s}")
    assert "compares fakes with private" in refused(tmp_path, *PRIVATE, f"--judge={s}")


@pytest.mark.parametrize("flag", ["--dp-batch=8", "--dp-steps=4", "--dp-noise-multiplier=2"])
def test_what_epsilon_depends_on_must_be_given(tmp_path: Path, flag: str) -> None:
    said = refused(tmp_path, *(other for other in PRIVATE if other != flag))
    assert "is missing" in said or "needs one of" in said


def test_classes_that_only_private_labels_would_tell_are_refused(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path / "nameless.zip") as writer:
        for i in range(24):
            writer.add(np.full((16, 16), i, np.uint8), label=i % 2)
    assert "does not declare its classes" in refused(tmp_path, *PRIVATE, path=tmp_path / "nameless.zip")
    with DatasetWriter(tmp_path / "vectors.zip") as writer:
        for i in range(24):
            writer.add(np.full((16, 16), i, np.uint8), label=[0.5, float(i % 2)])
    assert "are vectors" in refused(tmp_path, *PRIVATE, path=tmp_path / "vectors.zip")


def test_the_private_loss_is_not_for_other_modes(tmp_path: Path) -> None:
    assert "give that, and leave --loss out" in refused(tmp_path, "--loss=dp-sgd")
    assert "means nothing with --dp-mode=paper" in refused(tmp_path, "--dp-mode=paper", "--dp-steps=3")


def test_kimg_is_ignored_with_a_note_and_a_dry_run_makes_nothing(tmp_path: Path) -> None:
    flags = [f"--data={data(tmp_path / 'd.zip')}", f"--outdir={tmp_path / 'runs'}", "--cond=1"]
    result = CliRunner().invoke(command.main, [*flags, *PRIVATE, "--kimg=77", "-n"])
    assert result.exit_code == 0, result.output
    assert "--kimg=77 is ignored" in result.output
    assert not (tmp_path / "runs").exists()
    assert '"mbstd_num_channels": 0' in result.output
    assert '"max_size": 24' in result.output
