"""Record and replay: command-line runs on neighbouring data sets, mechanisms' outputs frozen to the first.

All public files must be the same to the byte: nothing else may carry the data out. This sees data-derived
sizes, labels, logs and early stops; not clipping, noise or sampling: those have tests of their own.
"""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from spine_plugins.privacy import accountant
from spine_plugins.privacy.private_loss import PrivateLoss
from spine_plugins.privacy.private_run import PrivateRun
from spine_plugins.privacy.private_step import PrivateStep
from spine_plugins.training import command
from stylegan2ada.training import run_files, status
from tests.spine_plugins.privacy.runs import SIDE, data_set, images, with_a_broken_image

# A batch of all: the unit that differs takes part in every step.
FLAGS = [
    "--data=d.zip", "--outdir=runs", "--cond=1", "--cbase=64", "--cmax=4", "--tick=0.012", "--snap=1",
    "--device=cpu", "--seed=3", "--dp-mode=sgd", "--dp-batch=12", "--dp-n-public=12", "--dp-steps=2",
    "--dp-noise-multiplier=5", "--dp-r1=real", "--dp-ada=noisy:9", "--dp-label-prior=dp:9", "--dp-chunk=4",
    "--dp-insecure-seed=1", "--augpipe=radiograph",
]  # fmt: skip


def neighbours() -> dict[str, object]:
    """Each differs from the first data set in one unit; makers of d.zip."""
    base, labels = images(), [i % 2 for i in range(12)]
    more = images(1, seed=9)
    return {
        "only member of a class": lambda path: data_set(path, base + more, [*labels, 2]),
        "one less": lambda path: data_set(path, base[:-1], labels[:-1]),
        "huge values": lambda path: data_set(
            path, [*base[:-1], np.full((SIDE, SIDE), 255, np.uint8)], labels
        ),
        "cannot be decoded": lambda path: with_a_broken_image(data_set(path), 7),
        "crosses a chunk": lambda path: data_set(path, [*base, *more], [*labels, 0]),
        "nobody at all but one": lambda path: data_set(path, base[:1], [0]),
    }


class Frozen:
    """Records what the mechanisms gave out, or gives it out again."""

    def __init__(self) -> None:
        self.kept: list[object] = []
        self.at: int | None = None  # None: recording

    def through(self, value: object) -> object:
        if self.at is None:
            self.kept.append(value)
            return value
        self.at += 1
        return self.kept[self.at - 1]


def public_files(run_dir: Path) -> dict[str, bytes]:
    found = {}
    for path in sorted(run_dir.rglob("*")):
        name = path.relative_to(run_dir).as_posix()
        if path.is_file() and run_files.is_public(name):
            found[name] = path.read_bytes()
    return found


def ran(folder: Path, make, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    folder.mkdir()
    monkeypatch.chdir(folder)
    make(Path("d.zip"))
    result = CliRunner().invoke(command.main, FLAGS)
    assert result.exit_code == 0, result.output
    (run_dir,) = (folder / "runs").iterdir()
    return public_files(run_dir)


@pytest.mark.slow
def test_all_that_is_public_is_the_same_on_neighbouring_data(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(accountant, "has_library", lambda: False)
    monkeypatch.setenv("DNNLIB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(time, "time", lambda: 1e9)  # of events; when a run was is excluded from the promise
    monkeypatch.setattr(status.shutil, "disk_usage", lambda path: SimpleNamespace(free=2**40))
    frozen = Frozen()
    gradients, sign, prior = PrivateStep.gradients, PrivateLoss._noisy_sign, PrivateRun._release_prior
    seen: list[int] = []

    def kept_gradients(self, reals, fakes, c):
        seen.append(len(reals.images))
        return [t.clone() for t in frozen.through(gradients(self, reals, fakes, c))]  # type: ignore[attr-defined]

    monkeypatch.setattr(PrivateStep, "gradients", kept_gradients)
    monkeypatch.setattr(PrivateLoss, "_noisy_sign", lambda self, reals: frozen.through(sign(self, reals)))
    monkeypatch.setattr(PrivateRun, "_release_prior", lambda self, s: frozen.through(prior(self, s)))
    first = ran(tmp_path / "base", data_set, monkeypatch)
    assert {"log.txt", "stats.jsonl", "training_options.json", "privacy/ledger.jsonl"} <= set(first)
    assert any(name.endswith(".pkl") for name in first) and any(name.endswith(".png") for name in first)
    for number, (kind, make) in enumerate(neighbours().items()):
        frozen.at = 0
        other = ran(tmp_path / str(number), make, monkeypatch)
        assert set(other) == set(first), kind
        for name, content in first.items():
            assert other[name] == content, f"{kind}: {name} differs"
        assert frozen.at == len(frozen.kept)
    # The neighbours were looked at, and they were neighbours.
    assert set(seen) == {12, 13, 11, 1}


def test_reals_have_a_stream_of_random_numbers_of_their_own() -> None:
    """The frozen run repeats public draws only if nothing private uses them up."""
    from tests.spine_plugins.privacy.making import pipe, some_fakes, some_reals, step_of, tiny_D

    after = []
    for count in (1, 5):
        step = step_of(tiny_D(), augment_pipe=pipe(), chunk=4)
        torch.manual_seed(0)
        step.gradients(some_reals(count), *some_fakes(2))
        after.append(torch.rand(4))
    assert torch.equal(*after)
