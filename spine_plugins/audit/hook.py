"""The test of copies during training, at snapshots, so that memorising is seen when it begins."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from spine_plugins.audit.copies import Copies
from spine_plugins.audit.evidence import Evidence, pool
from spine_plugins.audit.features import find_features
from spine_plugins.audit.inputs import Images, Inputs, from_arrays, open_real, refuse_shared
from spine_plugins.audit.neighbours import Search
from spine_plugins.audit.permutation import Relabelling
from stylegan2ada import processes, synthesis
from stylegan2ada.images import to_uint8
from stylegan2ada.networks.stylegan2 import Generator
from stylegan2ada.training import run_files
from stylegan2ada.training.hooks import AtSnapshot, Hook

FAKES = 500
ALARM = 0.01  # p-value: a run is looked at many times, and a warning shall mean something
_BATCH = 50


class CopyWatch(Hook):
    """Every so many snapshots: do the fakes lie nearer to training patients than to held-out ones?"""

    def __init__(self, train: str, holdout: str, every: int = 1, n_fakes: int = FAKES, seed: int = 0) -> None:
        self.train, self.holdout = open_real(train, "train"), open_real(holdout, "holdout")
        refuse_shared(self.train, self.holdout)
        self.every, self.n_fakes, self.seed = every, n_fakes, seed
        self._search: Search | None = None
        self._snapshots = 0
        self._has_warned = False

    def on_snapshot(self, run: AtSnapshot, path: Path) -> None:
        self._snapshots += 1
        # Every rank has the same G_ema, so one look is enough.
        if processes.rank() != 0 or (self._snapshots - 1) % self.every:
            return
        found = self.look(run.G_ema, run.device)
        kimg = run.cur_nimg / 1000
        # Appended line by line: a run that is killed keeps what was found before.
        with open(run.run_dir / run_files.AUDITS, "a") as file:
            file.write(json.dumps({"kimg": kimg, "snapshot": path.name, **found}) + "\n")
        print(f"Audit: copies p {found['p_value']:.3g}, {100 * found['estimate']:.2g} % of the fakes")
        if found["p_value"] < ALARM and not self._has_warned:
            self._has_warned = True
            text = (
                f"memorisation has begun: {found['fakes_like_a_training_image']:.0f} of {self.n_fakes} fakes "
                "are explained by a training image alone, more than held-out images allow "
                f"(p {found['p_value']:.2g}); stop here or take an earlier snapshot"
            )
            print(f"Warning: {text}")
            run_files.add_event(run.run_dir, "warning", kimg=kimg, code="memorisation", text=text)

    @torch.no_grad()  # not inference_mode, whose tensors the training could not use
    def look(self, G: Generator, device: torch.device) -> dict[str, float]:
        """The test of copies on fresh fakes of this network: the same latents at every look."""
        reals = pool(self.train, self.holdout)
        if self._search is None:
            self._search = Search(find_features("pixels", device), reals.pixels, reals.unit_of)
        fakes = from_arrays(_draw(G, self.train, self.n_fakes, self.seed, device), "fakes")
        relabelling = Relabelling.draw(reals.is_train, self.seed)
        inputs = Inputs(self.train, self.holdout, fakes, ())
        evidence = Evidence(inputs, reals, self._search, self._search(fakes.pixels), relabelling, {})
        finding = Copies(evidence).finding()
        counts = ("fakes_like_a_training_image", "fakes_like_a_held_out_image", "training_patients_concerned")
        return {
            "p_value": finding.p_value,
            "estimate": finding.estimate.value,
            "low": finding.estimate.low,
            "high": finding.estimate.high,
            **{name: float(finding.more[name]) for name in counts},
        }


def _draw(G: Generator, train: Images, n: int, seed: int, device: torch.device) -> np.ndarray:
    """uint8 [n, C, H, W], labels as frequent as in the training set."""
    z = synthesis.seed_latents(range(seed, seed + n), G.z_dim)
    c = torch.zeros(n, G.c_dim)
    if G.c_dim and train.labels is not None:
        drawn = train.labels[np.random.default_rng(seed).integers(len(train), size=n)]
        c = torch.from_numpy(np.eye(G.c_dim, dtype=np.float32)[drawn] if drawn.ndim == 1 else drawn)
    images = synthesis.images_from_z(G, z, c, device=device, batch=_BATCH)
    return torch.cat([to_uint8(img).cpu() for img in images]).numpy()
