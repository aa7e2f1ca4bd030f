"""Whole private runs: what is written where, the ledger before each look, the budget, and going on."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from spine_plugins.privacy import accountant, ledger, report, verification
from spine_plugins.privacy.accountant import Query, account_queries
from spine_plugins.privacy.ledger import BrokenLedger
from spine_plugins.privacy.noise import SystemChance
from spine_plugins.privacy.private_data import Door
from spine_plugins.privacy.private_loss import Pace, PrivateLoss
from spine_plugins.privacy.private_run import PRIVATE_STATISTICS, PrivateRun
from stylegan2ada.checkpoints import load_network
from stylegan2ada.errors import StoppedOnRequest, UserError
from stylegan2ada.training import run_files
from stylegan2ada.training.hooks import Hook
from tests.spine_plugins.privacy.runs import config_of, data_set, private_run, settings
from tests.stylegan2ada.training.toy import StopAfter


@pytest.fixture(autouse=True)
def _own_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accountant, "has_library", lambda: False)  # quicker; pins are elsewhere


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_set(tmp_path_factory.mktemp("data") / "d.zip")


def lines(run_dir: Path) -> list[ledger.Line]:
    return ledger.read(run_dir / ledger.FILE)[0]


class Watch(Hook):
    """Who looked at the data while which phase ran, and what G was given."""

    def __init__(self) -> None:
        self.reads: dict[str, list[int]] = {}

    def on_start(self, run) -> None:
        self.run, self.before = run, 0
        self.door = run.dataset.door

    def after_step(self, phase) -> None:
        now = self.door.reads["batches"]
        self.reads.setdefault(phase.name, []).append(now - self.before)
        self.before = now


def test_a_run_from_end_to_end(path: Path, tmp_path: Path) -> None:
    watch = Watch()
    run, private = private_run(path, tmp_path / "run", hooks=[watch])
    # One look per step of D, none by G.
    assert watch.reads["Dmain"] == [1] * 4
    assert set(watch.reads["Gmain"]) == set(watch.reads["Greg"]) == {0}
    assert run.cur_nimg == 16
    # One line per look.
    assert [(line.kind, line.q, line.noise_multiplier) for line in lines(run.run_dir)] == [
        ("dp-sgd", pytest.approx(1 / 3), 2.0)
    ] * 4
    found = verification.verify(run.run_dir)
    expected = account_queries([Query(1 / 3, 2.0, 4)], 1e-5)
    assert found["epsilon"] == expected["epsilon"] and found["releases"] == 4
    card = load_network(str(run_files.snapshots_in(run.run_dir)[-1]))["card"]
    assert card["privacy"]["epsilon"] == expected["epsilon"] and card["privacy"]["ledger_lines"] == 4


def test_what_is_private_stands_in_the_private_folder_alone(path: Path, tmp_path: Path) -> None:
    run, private = private_run(path, tmp_path / "run", image_snapshot_ticks=1)
    folder = run.run_dir / run_files.PRIVATE
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {"reals.png", "stats.jsonl", "data.json"} <= {p.name for p in folder.iterdir()}
    assert not (run.run_dir / run_files.REALS).exists()
    secret = json.loads((folder / "data.json").read_text())
    assert secret["units"] == 12 and len(secret["fingerprint"]) == 64
    shown = (run.run_dir / run_files.STATS).read_text().splitlines()
    hidden = (folder / run_files.STATS).read_text().splitlines()
    for names in map(json.loads, shown):
        assert not {n for n in names if n.startswith(("Timing", "Private", "Resources")) or "real" in n}
        assert names["timestamp"] == 0
    assert "Private/images" in json.loads(hidden[-1]) and "Timing/sec_per_tick" in json.loads(hidden[-1])
    public = b"".join(
        p.read_bytes() for p in run.run_dir.rglob("*")
        if p.is_file() and run_files.is_public(p.relative_to(run.run_dir).as_posix())
    )  # fmt: skip
    assert secret["fingerprint"].encode() not in public
    log = (run.run_dir / run_files.LOG).read_text()
    assert "sec/kimg" not in log and "sec/tick" not in log
    assert PRIVATE_STATISTICS


def test_the_line_is_on_disk_before_anybody_looks(path: Path, tmp_path: Path, monkeypatch) -> None:
    order, draw = [], Door.draw
    run_dir = tmp_path / "run"

    def watched(self):
        order.append(len(lines(run_dir)))
        return draw(self)

    monkeypatch.setattr(Door, "draw", watched)
    private_run(path, run_dir)
    assert order == [1, 2, 3, 4]


def test_a_killed_step_stays_charged_and_the_run_ends_within_its_budget(path, tmp_path, monkeypatch) -> None:
    """Killed after the charge and before the look, then continued: four lines allowed, one of them lost."""
    run_dir, draw, looks = tmp_path / "run", Door.draw, []

    def killed(self):
        looks.append(1)
        if len(looks) == 3:
            raise KeyboardInterrupt
        return draw(self)

    monkeypatch.setattr(Door, "draw", killed)
    with pytest.raises(KeyboardInterrupt):
        private_run(path, run_dir)
    assert len(lines(run_dir)) == 3
    state_lines = 2
    run, private = private_run(path, run_dir, PrivateRun(settings()), is_continued=True)
    assert len(lines(run_dir)) == 4
    assert run.cur_nimg == (state_lines + 1) * 4  # ended a step early
    assert verification.verify(run_dir)["releases"] == 4


def test_no_step_beyond_the_budget(path: Path, tmp_path: Path) -> None:
    budget = account_queries([Query(1 / 3, 2.0, 2)], 1e-5)["epsilon"]
    run, private = private_run(path, tmp_path / "run", PrivateRun(settings(budget=budget)))
    assert len(lines(run.run_dir)) == 2 and run.cur_nimg == 8
    assert verification.verify(run.run_dir)["epsilon"] <= budget * (1 + 1e-9)
    again, _ = private_run(path, run.run_dir, PrivateRun(settings(budget=budget)), is_continued=True)
    assert len(lines(run.run_dir)) == 2


def stopped(path: Path, run_dir: Path, after: int = 2, **changes) -> None:
    with pytest.raises(StoppedOnRequest):
        private_run(path, run_dir, PrivateRun(settings(**changes)), hooks=[StopAfter(after)])


def test_a_run_without_its_ledger_or_with_another_does_not_go_on(path: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    stopped(path, run_dir)
    book = run_dir / ledger.FILE
    whole = book.read_text()
    book.unlink()
    with pytest.raises(UserError, match="is missing"):
        private_run(path, run_dir, PrivateRun(settings()), is_continued=True)
    book.write_text("".join(whole.splitlines(keepends=True)[:-1]))
    with pytest.raises(BrokenLedger, match="not the ledger"):
        private_run(path, run_dir, PrivateRun(settings()), is_continued=True)
    book.write_text(whole)
    other = data_set(tmp_path / "other.zip", labels=[1] * 12)
    with pytest.raises(UserError, match="not the images"):
        private_run(other, run_dir, PrivateRun(settings()), is_continued=True)
    private_run(path, run_dir, PrivateRun(settings()), is_continued=True)
    assert len(lines(run_dir)) == 4


@pytest.mark.slow
def test_entropy_is_fresh_after_going_on(path: Path, tmp_path: Path, monkeypatch) -> None:
    """The state holds every generator of the run, and none that draws noise."""
    run_dir, noises = tmp_path / "run", []
    stopped(path, run_dir)
    reduce = PrivateLoss.reduce

    def keep(self, gradients):
        reduce(self, gradients)
        noises.append(torch.cat([g.reshape(-1) for g in gradients]))

    monkeypatch.setattr(PrivateLoss, "reduce", keep)
    for copy in ("a", "b"):
        shutil.copytree(run_dir, tmp_path / copy)
        private_run(path, tmp_path / copy, PrivateRun(settings()), is_continued=True)
    assert len(noises) == 4 and not torch.equal(noises[0], noises[2])


def test_the_runs_seed_is_not_the_noises(path: Path, tmp_path: Path) -> None:
    weights = []
    for name in ("a", "b"):
        run, private = private_run(path, tmp_path / name, random_seed=5)
        assert isinstance(private.chance, SystemChance)
        weights.append(torch.cat([p.reshape(-1) for p in run.D.parameters()]))
    assert not torch.equal(*weights)
    assert report.read(tmp_path / "a")["rng"] == "system entropy"


@pytest.mark.slow
def test_a_seed_for_tests_repeats_everything_and_takes_the_guarantee_away(path: Path, tmp_path: Path) -> None:
    weights = []
    for name in ("a", "b"):
        run, private = private_run(path, tmp_path / name, PrivateRun(settings(insecure_seed=1)))
        weights.append(torch.cat([p.reshape(-1) for p in run.G_ema.parameters()]))
    assert torch.equal(*weights)
    found = report.read(tmp_path / "a")
    assert found["guarantee"] == "none" and "insecure" in found["statement"]
    with pytest.raises(verification.ClaimFails):
        verification.verify(tmp_path / "a")


def test_a_histogram_of_labels_is_charged_once_and_kept(path: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    stopped(path, run_dir, prior="dp:0.001", budget=1e9)
    first = lines(run_dir)[0]
    assert (first.kind, first.q, first.noise_multiplier, first.count) == ("labels", 1.0, 0.001, 1)
    again = PrivateRun(settings(prior="dp:0.001", budget=1e9))
    private_run(path, run_dir, again, is_continued=True)
    assert [line.kind for line in lines(run_dir)] == ["labels"] + ["dp-sgd"] * 4
    # Six of each of two classes, the third without a member but not dead.
    assert again.prior.prior == pytest.approx(np.array([6, 6, 1]) / 13, abs=1e-3)


def test_noisy_signs_are_charged_with_the_step(path: Path, tmp_path: Path) -> None:
    pace = Pace(ada="noisy", ada_noise=4.0, batch=4)
    run, _ = private_run(
        path, tmp_path / "run", PrivateRun(settings(pace=pace)), augment_p=0.5, augment_kwargs={"xint": 1}
    )
    line = lines(run.run_dir)[0]
    assert line.kind == "dp-sgd+ada"
    assert line.noise_multiplier == pytest.approx((2.0**-2 + 4.0**-2) ** -0.5)
    assert float(run.augment_pipe.p) != 0.5  # after four signs it moved


@pytest.mark.parametrize("r1", ["off", "fake", "real"])
def test_each_step_is_charged_whatever_r1_is(path: Path, tmp_path: Path, r1) -> None:
    run, _ = private_run(path, tmp_path / "run", PrivateRun(settings(step={"r1": r1})))
    assert sum(line.count for line in lines(run.run_dir)) == 4


@pytest.mark.slow
def test_several_steps_of_d_per_step_of_g(path: Path, tmp_path: Path) -> None:
    watch = Watch()
    private_run(path, tmp_path / "run", PrivateRun(settings(pace=Pace(2, batch=4))), hooks=[watch])
    assert len(watch.reads["Dmain"]) == 4 and len(watch.reads["Gmain"]) == 2


@pytest.mark.slow
def test_the_pace_adapts_on_fakes(path: Path, tmp_path: Path, monkeypatch) -> None:
    from spine_plugins.privacy import private_loss

    monkeypatch.setattr(private_loss, "_PATIENCE", 1)
    monkeypatch.setattr(private_loss, "_ENOUGH", 2.0)  # never enough
    private = PrivateRun(settings(pace=Pace("adaptive", batch=4)))
    run, _ = private_run(path, tmp_path / "run", private)
    assert run.loss.n_D >= 2
    assert [phase.every for phase in run.phases if phase.name == "Gmain"] == [run.loss.n_D]


def test_a_part_of_d_learns_and_the_rest_stays(path: Path, tmp_path: Path) -> None:
    chosen = PrivateRun(settings(trainable="b4.*"))
    before = {}

    class First(Hook):
        def on_start(self, run) -> None:
            before.update({name: p.clone() for name, p in run.D.named_parameters()})

    run, _ = private_run(path, tmp_path / "run", chosen, hooks=[First()])
    moved = {name for name, p in run.D.named_parameters() if not torch.equal(p, before[name])}
    assert moved and all(name.startswith("b4.") for name in moved)
    with pytest.raises(UserError, match="names no parameter of D"):
        private_run(path, tmp_path / "none", PrivateRun(settings(trainable="nothing.*")))


def test_a_discriminator_that_mixes_is_refused_when_it_is_built(path: Path, tmp_path: Path) -> None:
    config = config_of(path)
    config.D_kwargs["epilogue_kwargs"] = {"mbstd_group_size": 4}
    from stylegan2ada.training.loop import train
    from tests.stylegan2ada.training.toy import toy_run_dir

    private = PrivateRun(settings())
    with pytest.raises(UserError, match="minibatch-stddev"):
        train(config, toy_run_dir(tmp_path / "r", config), device=torch.device("cpu"), hooks=[private],
              seams=private.seams)  # fmt: skip


def test_the_settings_of_a_step_are_in_the_report(path: Path, tmp_path: Path) -> None:
    run, private = private_run(path, tmp_path / "run")
    found = report.read(run.run_dir)
    for name, value in dataclasses.asdict(private.settings.step).items():
        assert found[name] == value
    assert found["sampler"] == "Poisson" and found["q"] == pytest.approx(1 / 3)
