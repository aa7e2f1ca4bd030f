"""A generator that knows its training images by heart, and one that cannot: does the audit tell them apart?

A positive control: StyleGAN2's synthesis network, fitted to images by optimising its weights and a latent
per image together (generative latent optimisation, Bojanowski et al. 2018). On 40 phantoms it copies; on
many it has to generalise. `python benchmarks/audit_overfit.py` prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from benchmarks.audit_acceptance import Phantoms
from spine_plugins.audit import auditing
from spine_plugins.audit.features import find_features
from spine_plugins.audit.inputs import Inputs, from_arrays
from spine_plugins.phantom.dataset import draw_phantoms
from stylegan2ada.images import to_float, to_uint8
from stylegan2ada.networks.stylegan2 import Generator
from stylegan2ada.progress import Progress

SIDE, FEW, MANY, HELD_OUT = 32, 40, 2000, 400
_BATCH = 32
_WIDTH = {"channel_base": 1024, "channel_max": 64}


def draw(n: int, seed: int) -> Phantoms:
    images, labels, rows = draw_phantoms(n, seed, resolution=SIDE)
    return Phantoms(images[:, None], labels, [str(row["patient"]) for row in rows])


def fitted(pixels: np.ndarray, steps: int, seed: int = 0) -> tuple[Generator, torch.Tensor, float]:
    """The network, a latent per image, and the root mean square error in grey levels."""
    torch.manual_seed(seed)
    G = Generator(
        z_dim=32, c_dim=0, w_dim=32, img_resolution=SIDE, img_channels=1, synthesis_kwargs=_WIDTH
    ).train()
    w = torch.randn(len(pixels), 32).requires_grad_(True)
    weights, latents = {"params": G.synthesis.parameters(), "lr": 3e-3}, {"params": [w], "lr": 3e-2}
    optimiser = torch.optim.Adam([weights, latents])
    wanted = to_float(torch.from_numpy(pixels))
    rng = np.random.default_rng(seed)
    errors: list[float] = []
    for _ in Progress(steps, f"fitting {len(pixels)} images"):
        rows = torch.from_numpy(rng.permutation(len(pixels))[:_BATCH])
        loss = (render(G, w[rows]) - wanted[rows]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        errors.append(loss.item())
    return G.eval(), w.detach(), 127.5 * float(np.mean(errors[-50:])) ** 0.5


def render(G: Generator, w: torch.Tensor) -> torch.Tensor:
    return G.synthesis(w[:, None].expand(-1, G.num_ws, -1), noise_mode="none")


@torch.no_grad()
def fakes_of(G: Generator, w: torch.Tensor, n: int, seed: int = 1) -> np.ndarray:
    """Images at latents near the fitted ones: what such a network draws when it is asked."""
    torch.manual_seed(seed)
    chosen = w[torch.randint(len(w), [n])]
    near = chosen + 0.1 * w.std() * torch.randn_like(chosen)
    return torch.cat([to_uint8(render(G, part)) for part in near.split(100)]).numpy()


def measure(steps: int, n_fakes: int = 2000) -> dict[str, Any]:
    """The audit of both, and whom it names as the worst patient."""
    start = time.perf_counter()
    holdout = draw(HELD_OUT, 42)
    found = {}
    for name, n in (("few", FEW), ("many", MANY)):
        train = draw(n, 41)
        G, w, error = fitted(train.pixels, steps)
        fakes = from_arrays(fakes_of(G, w, n_fakes), "fakes")
        inputs = Inputs(
            train.images("train", np.arange(n)), holdout.images("holdout", np.arange(HELD_OUT)), fakes, ()
        )
        audit = auditing.run(inputs, [find_features("pixels", torch.device("cpu"))], repeats=10)
        tests = audit.examined[0].tests
        copies = tests["copies"]
        columns = copies.finding.private
        units = columns["nearest_unit"][columns["vote"] > 0]
        worst = np.bincount(units).argmax() if len(units) else None
        names = audit.examined[0].evidence.reals.unit_names
        found[name] = {
            "images": n,
            "error_grey_levels": error,
            "verdict": audit.verdict,
            "tests": {key: [test.finding.p_value, test.p_holm] for key, test in tests.items()},
            "copies": copies.finding.estimate.as_dict(),
            "threshold": copies.finding.more["threshold"],
            "fakes_of_the_worst_patient": copies.finding.more["worst_patient_fakes"],
            "patients_concerned": copies.finding.more["training_patients_concerned"],
            "worst_patient_is_a_training_patient": None if worst is None else names[worst] in train.patients,
        }
    return {"steps": steps, **found, "seconds": time.perf_counter() - start}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1500)
    print(json.dumps(measure(parser.parse_args().steps), indent=1))
