"""Twenty recorded iterations of the training loop, replayed: weights, averages, reports, p and path length.

Small rounding differences grow while a GAN trains. The recording says how far the same run drifts when its
first weights are changed by 1e-7; a hundred times that is the tolerance here.
"""

from __future__ import annotations

import copy
from collections import defaultdict

import numpy as np
import pytest
import torch

from stylegan2ada import images, stats
from stylegan2ada.losses.stylegan2 import StyleGAN2Loss
from stylegan2ada.networks.stylegan2 import Discriminator, Generator
from stylegan2ada.training import ema, phases
from stylegan2ada.training.ada import AdaController
from tests.golden_data import golden_arrays, golden_json
from tests.stylegan2ada.losses.replay import Replay, record_reports
from tests.stylegan2ada.networks.comparing import tensors

RUNS = {run["name"]: run for run in golden_json("training/training.json")}
FACTOR = 100


@pytest.fixture(autouse=True)
def _clean_statistics():
    stats.reset()
    yield
    stats.reset()


class Rerun:
    """The recorded run's set-up, and one method that repeats an iteration."""

    def __init__(self, run, golden, monkeypatch):
        options = run["training_loop_kwargs"]
        without_class = {
            key: {k: v for k, v in options[key].items() if k != "class_name"}
            for key in options
            if key.endswith("_kwargs")
        }
        self.run, self.golden, self.options = run, golden, options
        self.G = Generator(**without_class["G_kwargs"], **run["G_common"])
        self.D = Discriminator(**without_class["D_kwargs"], **run["G_common"])
        self.G_ema = copy.deepcopy(self.G).eval()
        for letter in ("G", "D", "G_ema"):
            getattr(self, letter).load_state_dict(tensors(golden.under(f"init/{letter}")), strict=True)
            getattr(self, letter).requires_grad_(False)
        self.pipe = self.ada = None
        if run["augment_kwargs"] is not None:
            from stylegan2ada.networks.augment import AugmentPipe

            self.pipe = AugmentPipe(**run["augment_kwargs"]).train().requires_grad_(False)
            self.pipe.p.zero_()
            self.ada = AdaController(
                self.pipe,
                target=options["ada_target"],
                batch_size=options["batch_size"],
                interval=options["ada_interval"],
                kimg=options["ada_kimg"],
            )
        self.draws = Replay(augment_percentile=run["debug_percentile"])
        self.loss = StyleGAN2Loss(
            "cpu",
            self.G.mapping,
            self.G.synthesis,
            self.D,
            self.pipe,
            draws=self.draws,
            **without_class["loss_kwargs"],
        )
        self.phases = [
            *phases.network_phases("G", self.G, without_class["G_opt_kwargs"], options["G_reg_interval"]),
            *phases.network_phases("D", self.D, without_class["D_opt_kwargs"], options["D_reg_interval"]),
        ]
        self.reports = record_reports(monkeypatch)
        self.done = []  # phase names, one per round
        self.means = defaultdict(list)  # "phase:stat" -> [iteration, mean]

    def iterate(self, iteration):
        self.done.append([])
        real = images.to_float(torch.tensor(self.golden["real_img_uint8"][iteration]))
        real_c = torch.tensor(self.golden["real_c"][iteration])
        for phase in phases.due(self.phases, iteration):
            self._phase(iteration, phase, real, real_c)
        cur_nimg = iteration * self.options["batch_size"]
        ema.update(
            self.G_ema,
            self.G,
            self.options["batch_size"],
            cur_nimg,
            ema_kimg=self.options["ema_kimg"],
            ema_rampup=self.options["ema_rampup"],
        )
        if self.ada is not None:
            self.ada.after_iteration(iteration + 1)

    def _phase(self, iteration, phase, real, real_c):
        recorded = f"it{iteration:02d}/{phase.name}"
        z, c = torch.tensor(self.golden[f"{recorded}/gen_z"]), torch.tensor(self.golden[f"{recorded}/gen_c"])
        if phase.name == "Greg":
            self.draws.queue = iter(torch.tensor(self.golden[f"{recorded}/pl_noise"]))
        self.reports.clear()
        phase.start()
        for part in phases.rounds(self.options["batch_gpu"], real, real_c, z, c):
            self.loss.accumulate_gradients(phase.name, *part, sync=True, gain=phase.gain)
            self.done[-1].append(phase.name)
        phase.reduce_and_step()
        values = defaultdict(list)
        for name, value in self.reports:
            values[name].append(value.double().flatten())
        for name, parts in values.items():
            self.means[f"{phase.name}:{name}"].append([iteration, float(torch.cat(parts).mean())])

    def norms(self):
        return [
            float(torch.cat([p.double().flatten() for p in m.parameters()]).norm()) for m in (self.G, self.D)
        ]


@pytest.mark.parametrize("name", RUNS)
def test_trajectory(name, monkeypatch):
    run, golden = RUNS[name], golden_arrays(f"training/{name}.npz")
    drift = run["sensitivity_to_1e7_relative_perturbation"]
    loop = Rerun(run, golden, monkeypatch)
    collector, ticks = stats.Collector("Loss/.*"), []
    tick_nimg = 0
    for iteration in range(run["iterations"]):
        norms = golden["norms_G_D_at_iteration_start"][iteration]
        np.testing.assert_allclose(loop.norms(), norms, rtol=FACTOR * drift["max_rel_report"])
        if loop.ada is not None:
            assert loop.ada.p == pytest.approx(golden["augment_p_at_iteration_start"][iteration], rel=1e-6)
        loop.iterate(iteration)
        expected = golden["pl_mean_after_iteration"][iteration]
        assert float(loop.loss.pl_mean) == pytest.approx(expected, rel=FACTOR * drift["max_rel_report"])
        cur_nimg = (iteration + 1) * loop.options["batch_size"]
        is_end = iteration == 0 or iteration + 1 == run["iterations"]
        if is_end or cur_nimg >= tick_nimg + loop.options["kimg_per_tick"] * 1000:
            collector.update()
            ticks.append(collector.as_dict())
            tick_nimg = cur_nimg

    if loop.ada is not None:
        assert loop.ada.p == pytest.approx(float(golden["augment_p_final"]), rel=1e-6)
        assert float(loop.pipe.p) == pytest.approx(float(golden["augment_p_final"]), rel=1e-6)
    assert loop.done == run["phases_per_iteration"]
    assert len(loop.done[1]) // 2 == run["rounds_per_phase"]
    _assert_reports(loop.means, run["mean_reports"], FACTOR * drift["max_rel_report"])
    _assert_ticks(ticks, run)
    for letter in ("G", "D", "G_ema"):
        _assert_weights(getattr(loop, letter), golden, letter, drift)


def _assert_reports(means, recorded, tolerance):
    assert set(means) == set(recorded)
    for key, pairs in recorded.items():
        assert [at for at, _ in means[key]] == [at for at, _ in pairs]
        found, expected = np.array(means[key])[:, 1], np.array(pairs)[:, 1]
        np.testing.assert_allclose(
            found, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max(), err_msg=key
        )


def _assert_ticks(ticks, run):
    """What stats.jsonl said about the losses, tick by tick."""
    recorded = run["stats_jsonl_losses"]
    assert len(ticks) == len(recorded) == run["ticks"]
    for mine, theirs in zip(ticks, recorded):
        names = [key for key in theirs if key.startswith("Loss/")]
        assert sorted(mine) == sorted(names)
        for key in names:
            assert mine[key]["num"] == theirs[key]["num"], key
            assert mine[key]["mean"] == pytest.approx(theirs[key]["mean"], rel=1e-3, abs=1e-4), key
            assert mine[key]["std"] == pytest.approx(theirs[key]["std"], rel=1e-3, abs=1e-4), key


def _assert_weights(network, golden, letter, drift):
    """Distance to the recorded end, in units of the way the whole network went."""
    start, end = (tensors(golden.under(f"{at}/{letter}"), torch.float64) for at in ("init", "final"))
    learned = [key for key, _ in network.named_parameters()]
    state = {key: value.double() for key, value in network.state_dict().items()}
    assert set(state) == set(end)
    error = torch.cat([(state[key] - end[key]).flatten() for key in learned])
    way = torch.cat([(end[key] - start[key]).flatten() for key in learned])
    assert float(error.norm() / way.norm()) < FACTOR * drift[f"rel_l2_of_total_movement_{letter}"]
    assert float(error.abs().max()) < FACTOR * drift[f"max_abs_final_{letter}"]
    for key in set(state) - set(learned):
        torch.testing.assert_close(state[key], end[key], rtol=1e-4, atol=1e-5)
