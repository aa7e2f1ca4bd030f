"""What a network gives away of its training images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from spine_plugins.audit import attacks
from spine_plugins.audit.command import audit
from spine_plugins.audit.evidence import pool
from stylegan2ada.checkpoints import save_network
from stylegan2ada.errors import UserError
from stylegan2ada.networks.stylegan2 import Discriminator, Generator
from tests.spine_plugins.audit.making import inputs, write_sets

WIDTH = {"channel_base": 64, "channel_max": 4}


def network(path: Path, side: int = 32) -> str:
    torch.manual_seed(0)
    G = Generator(z_dim=4, c_dim=2, w_dim=4, img_resolution=side, img_channels=1, synthesis_kwargs=WIDTH)
    D = Discriminator(c_dim=2, img_resolution=side, img_channels=1, **WIDTH)
    parts = {"G": G, "D": D, "G_ema": G, "augment_pipe": None, "training_set_kwargs": None}
    save_network({name: part and part.eval() for name, part in parts.items()}, path)
    return str(path)


def test_both_attacks_score_images_of_both_sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attacks, "SEARCHED", 2)
    monkeypatch.setattr(attacks, "_STEPS", 4)
    made = inputs(n=6, n_fakes=4)
    reals = pool(made.train, made.holdout)
    found = attacks.of_network(network(tmp_path / "net.pkl"), reals, "cpu", 0)
    assert np.isfinite(found["discriminator"]).all()
    asked = np.isfinite(found["latent search"])
    assert [asked[:6].sum(), asked[6:].sum()] == [2, 2]
    assert (found["latent search"][asked] < 0).all()


def test_a_network_of_other_images_is_refused(tmp_path: Path) -> None:
    made = inputs(n=6, n_fakes=4)
    with pytest.raises(UserError, match="draws 16x16"):
        attacks.of_network(network(tmp_path / "net.pkl", 16), pool(made.train, made.holdout), "cpu", 0)


@pytest.mark.slow
def test_a_network_joins_the_audit(tmp_path: Path) -> None:
    words = (f"--network={network(tmp_path / 'net.pkl')}", "--no-plant", "--only=membership")
    out = tmp_path / "out"
    result = CliRunner().invoke(audit, [*write_sets(tmp_path, 20, 20), *words, f"--out={out}"])
    assert result.exit_code == 7, result.output
    found = json.loads((out / "audit.json").read_text())
    assert set(found["tests"]["membership"]["attacks"]) == {"distances", "discriminator", "latent search"}
    assert len(found["network_sha256"]) == 64
