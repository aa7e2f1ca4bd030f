"""Each phase of the loss against recorded reports, gradients and running means."""

from __future__ import annotations

import pytest
import torch

from stylegan2ada.losses.stylegan2 import StyleGAN2Loss
from stylegan2ada.networks.stylegan2 import Discriminator, Generator
from tests.golden_data import golden_arrays, golden_json
from tests.stylegan2ada.losses.replay import Replay, record_reports
from tests.stylegan2ada.networks.comparing import assert_forward, assert_gradient, tensors

SETUPS = {entry["name"]: entry for entry in golden_json("losses/losses.json")}
CASES = [(name, phase) for name, entry in SETUPS.items() for phase in entry["phases"]]


def build(entry, golden):
    """G and D in training mode, with gradients off as the training loop has them."""
    G, D = Generator(**entry["G_kwargs"]), Discriminator(**entry["D_kwargs"])
    G.load_state_dict(tensors(golden.under("G")), strict=True)
    D.load_state_dict(tensors(golden.under("D")), strict=True)
    return G.train().requires_grad_(False), D.train().requires_grad_(False)


@pytest.mark.parametrize(("name", "phase"), CASES, ids=lambda value: value)
def test_phase(name, phase, monkeypatch):
    entry, golden = SETUPS[name], golden_arrays(f"losses/{name}.npz")
    expected = entry["phases"][phase]
    G, D = build(entry, golden)
    pipe = None
    if entry["augment_kwargs"] is not None:
        from stylegan2ada.networks.augment import AugmentPipe

        pipe = AugmentPipe(**entry["augment_kwargs"]).train().requires_grad_(False)
        pipe.p.copy_(torch.ones([]))
    inputs = tensors(golden.under("in"))
    draws = Replay(inputs["pl_noise"], entry["debug_percentile"])
    loss = StyleGAN2Loss("cpu", G.mapping, G.synthesis, D, pipe, draws=draws, **entry["loss_kwargs"])
    loss.pl_mean.copy_(inputs["pl_mean"])
    reports = record_reports(monkeypatch)

    trained = {"G": G, "D": D}[phase[0]].requires_grad_(True)
    batch = [inputs[key] for key in ("real_img", "real_c", "gen_z", "gen_c")]
    loss.accumulate_gradients(phase, *batch, sync=True, gain=expected["gain"])

    assert [report_name for report_name, _ in reports] == expected["report_order"]
    recorded = golden.under(f"{phase}/report")
    assert [key.split(":")[1] for key in sorted(recorded)] == expected["report_order"]
    for (_, values), (_, truth) in zip(reports, sorted(recorded.items())):
        assert_forward(values, truth)

    without = [key for key, p in trained.named_parameters() if p.grad is None]
    assert without == expected["params_without_grad"]
    gradients = golden.under(f"{phase}/grad")
    assert set(gradients) == {key for key, p in trained.named_parameters() if p.grad is not None}
    for key, truth in gradients.items():
        assert_gradient(dict(trained.named_parameters())[key].grad, truth, key)
    other = {"G": D, "D": G}[phase[0]]
    assert all(p.grad is None for p in other.parameters())

    assert_forward(loss.pl_mean, golden[f"{phase}/pl_mean_after"])
    assert_forward(G.mapping.w_avg, golden[f"{phase}/w_avg_after"])
