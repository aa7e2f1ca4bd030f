"""Which phases a run gets for an objective: lazy pairs with corrected Adam, or one per network as it is."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from stylegan2ada.losses.objectives import OBJECTIVES
from stylegan2ada.training.seams import build_phases


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_phases(objective):
    adam = {"lr": 0.1, "betas": [0, 0.99]}
    config = SimpleNamespace(
        loss_kwargs={"objective": objective},
        G_opt_kwargs=adam,
        D_opt_kwargs=adam,
        G_reg_interval=4,
        D_reg_interval=16,
    )
    phases = build_phases(config, torch.nn.Linear(1, 1), torch.nn.Linear(1, 1))
    found = [(p.name, p.every, p.gain, pytest.approx(p.opt.defaults["lr"])) for p in phases]
    if objective == "stylegan2":
        slow, fast = 0.1 * 4 / 5, 0.1 * 16 / 17
        expected = [
            ("Gmain", 1, 1, slow),
            ("Greg", 4, 4, slow),
            ("Dmain", 1, 1, fast),
            ("Dreg", 16, 16, fast),
        ]
    else:
        expected = [("Gboth", 5 if objective.startswith("wgan") else 1, 1, 0.1), ("Dboth", 1, 1, 0.1)]
    assert found == expected
