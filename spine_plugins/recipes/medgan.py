"""medGAN: tables of codes by a GAN in the space of an autoencoder (Choi et al. 2017, arXiv:1703.06490).

Modes are the paper's ablations and its successor: a Wasserstein critic with gradient penalty (Baowaly et al.
2019), which is the default because it alone keeps the correlations of codes.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from spine_plugins.recipes import asked, skeleton
from spine_plugins.recipes.scores import prediction_f1, privacy_scores, table_scores
from spine_plugins.recipes.sheets import plotting
from spine_plugins.recipes.tables import Kind, Table, factor_table, read_table, write_table
from spine_plugins.resumable import seeded, step_seed
from stylegan2ada import files, untrusted
from stylegan2ada.errors import UserError
from stylegan2ada.losses.objectives import find_objective, gradient_penalty
from stylegan2ada.protocols import JsonObject

LATENTS = WIDTH = 128
_AE_STEPS, _AE_BATCH = 300, 500
_HELD_OUT = 0.1
_LAMBDA = 10.0
_SETTLING = 100  # batches after which batch norm knows the averaged weights
_FAKES = 10_000  # at most, for a measurement


@dataclass(frozen=True)
class Mode:
    """One row of the paper's ablation."""

    pretrains: bool = True
    minibatch: str = "none"  # what D sees of the batch: none, avg (its mean), disc (distances)
    has_shortcut: bool = False  # batch norm and identity shortcuts in G
    objective: str = "ns"
    D_steps: int = 2
    batch: int = 1000


MODES = {
    "gan": Mode(pretrains=False),
    "gan-p": Mode(),
    "gan-pd": Mode(minibatch="disc"),
    "gan-pa": Mode(minibatch="avg"),
    "medgan": Mode(minibatch="avg", has_shortcut=True),
    "wgan-gp": Mode(has_shortcut=True, objective="wgan-gp", D_steps=4, batch=500),
}


class Decoder(nn.Module):
    """Latent [n, 128] -> codes [n, k]: probabilities, or scaled counts."""

    def __init__(self, k: int, kind: Kind) -> None:
        super().__init__()
        self.out, self.kind = nn.Linear(WIDTH, k), kind

    def forward(self, latent: Tensor) -> Tensor:
        return self.out(latent).sigmoid() if self.kind == "binary" else self.out(latent).relu()

    def loss(self, latent: Tensor, rows: Tensor) -> Tensor:
        """Of the autoencoder: cross-entropy summed over codes, or squared error of counts."""
        if self.kind == "binary":
            return binary_cross_entropy_with_logits(self.out(latent), rows, reduction="none").sum(1).mean()
        return mse_loss(self.out(latent).relu(), rows, reduction="none").sum(1).mean()


class Encoder(nn.Module):
    """Codes -> latent; needed before the game begins only."""

    def __init__(self, k: int, kind: Kind) -> None:
        super().__init__()
        self.into, self.kind = nn.Linear(k, WIDTH), kind

    def forward(self, rows: Tensor) -> Tensor:
        return self.into(rows).tanh() if self.kind == "binary" else self.into(rows).relu()


class Generator(nn.Module):
    """z -> latent: three layers, each around an identity."""

    def __init__(self, kind: Kind, has_shortcut: bool) -> None:
        super().__init__()
        self.kind, self.has_shortcut = kind, has_shortcut
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH, bias=not has_shortcut) for _ in range(3))
        self.norms = nn.ModuleList(nn.BatchNorm1d(WIDTH) if has_shortcut else nn.Identity() for _ in range(3))

    def forward(self, z: Tensor) -> Tensor:
        x = z
        for i, (layer, norm) in enumerate(zip(self.layers, self.norms)):
            y = norm(layer(x))
            y = y.tanh() if i == 2 and self.kind == "binary" else y.relu()
            x = x + y if self.has_shortcut else y
        return x


class Discriminator(nn.Module):
    """Codes, with what the mode shows of the batch -> logit [n, 1]."""

    def __init__(self, k: int, minibatch: str) -> None:
        super().__init__()
        self.minibatch = minibatch
        width = {"none": k, "avg": 2 * k, "disc": k + 16}[minibatch]
        self.kernel = nn.Linear(k, 16 * 8) if minibatch == "disc" else None
        self.score = nn.Sequential(
            nn.Linear(width, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 1)
        )

    def forward(self, rows: Tensor) -> Tensor:
        if self.minibatch == "avg":
            rows = torch.cat([rows, rows.mean(0, keepdim=True).expand_as(rows)], 1)
        elif self.kernel is not None:
            # Minibatch discrimination (Salimans et al. 2016, arXiv:1606.03498, section 3.2), 128 rows at
            # a time: all pairs of a thousand rows would need gigabytes.
            m = self.kernel(rows).view(len(rows), 16, 8)
            near = [torch.exp(-(g[:, None] - g).abs().sum(3)).mean(1) for g in m.split(128)]
            rows = torch.cat([rows, torch.cat(near)], 1)
        return self.score(rows)


@dataclass(frozen=True, kw_only=True)
class Train(asked.TrainOnData):
    """What `recipe medgan train` was asked."""

    mode: str


class Game:
    """The four networks and their steps."""

    def __init__(self, k: int, kind: Kind, mode: Mode, seed: int) -> None:
        with seeded(step_seed(seed, 1 << 30)):
            self.G, self.decoder = Generator(kind, mode.has_shortcut), Decoder(k, kind)
            self.encoder, self.D = Encoder(k, kind), Discriminator(k, mode.minibatch)
        self.mode, self.objective = mode, find_objective(mode.objective)
        betas = (0.5, 0.9) if mode.objective == "wgan-gp" else (0.9, 0.999)
        # The paper's L2 of 0.001 on all weights, apart from the gradients' own scale.
        decay = 0.0 if mode.objective == "wgan-gp" else 1e-3
        both = [*self.encoder.parameters(), *self.decoder.parameters()]
        drawing = [*self.G.parameters(), *self.decoder.parameters()]
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "AE": torch.optim.Adam(both, lr=1e-3),
            "G": torch.optim.AdamW(drawing, lr=1e-3, betas=betas, weight_decay=decay),
            "D": torch.optim.AdamW(self.D.parameters(), lr=1e-3, betas=betas, weight_decay=decay),
        }

    def networks(self) -> dict[str, nn.Module]:
        return {"G": self.G, "decoder": self.decoder, "encoder": self.encoder, "D": self.D}

    def pretrain_step(self, rows: Tensor) -> None:
        """One step of the autoencoder."""
        batch = _draw(rows, _AE_BATCH)
        self._step("AE", self.decoder.loss(self.encoder(batch), batch))

    def step(self, rows: Tensor) -> None:
        """Some steps of D, one of G with the decoder."""
        for _ in range(self.mode.D_steps):
            real = _draw(rows, self.mode.batch)
            with torch.no_grad():
                fake = self.fake(len(real), rows.device)
            loss = self.objective.d(self.D(real), self.D(fake)).mean()
            if self.objective.penalty is not None:
                mix = torch.rand(len(real), device=rows.device)
                loss = loss + _LAMBDA * gradient_penalty(self.D, real, fake, mix).mean()
            self._step("D", loss)
        batch = min(self.mode.batch, len(rows))
        self._step("G", self.objective.g(self.D(self.fake(batch, rows.device))).mean())

    def fake(self, n: int, device: torch.device) -> Tensor:
        return self.decoder(self.G(torch.randn(n, LATENTS, device=device)))

    def _step(self, name: str, loss: Tensor) -> None:
        skeleton.descend(self.optimizers[name], loss)


def train(given: Train) -> asked.Numbers:
    """Autoencoder, then the game -> the scores on held-out rows."""
    table = read_table(given.data)
    members, held = _parts(table, given.val, given.seed)
    mode = MODES[given.mode]
    settings: JsonObject = {"mode": given.mode, "kind": table.kind, "columns": list(table.columns)}
    settings["top"] = float(table.values.max())
    facts = {"fingerprint": table.fingerprint, "rows": len(members.values), "held_out": len(held.values)}
    course = skeleton.Course("medgan", given, settings, facts, before=_AE_STEPS if mode.pretrains else 0)
    game = Game(len(table.columns), table.kind, mode, given.seed)
    parts = skeleton.Parts(game.networks(), game.optimizers, ("G", "decoder"))
    rows = _scaled(torch.from_numpy(members.values), settings).to(course.device)
    before = course.steps - given.steps

    def step(number: int) -> None:
        if number < before:
            game.pretrain_step(rows)
        else:
            game.step(rows)

    def settle() -> JsonObject:
        """Batch norm has seen the weights as they trained, not their average."""
        G = parts.averages["G"].train()
        with seeded(step_seed(given.seed, course.steps), course.device), torch.no_grad():
            for _ in range(_SETTLING):
                G(torch.randn(mode.batch, LATENTS, device=course.device))
        G.eval()
        return {}

    course.run(parts, step, extra=settle)
    # Where the rows lie, for measuring copies later; on this computer, for its owner alone.
    folder = files.private_folder(Path(given.out) / "private")
    places = {"data": os.path.abspath(given.data), "val": given.val and os.path.abspath(given.val)}
    with files.atomic_write(folder / "data.json", private=True) as file:
        file.write(json.dumps({**places, "seed": given.seed}).encode())
    fake = _sample(skeleton.load_model(given.out, "medgan"), len(members.values), given.seed)
    return {"out": given.out, **_measured(held.values, members.values, fake)}


def apply(given: asked.Apply) -> asked.Numbers:
    """Rows with the columns of the training table."""
    path = skeleton.check_free(given.out, overwrite=given.overwrite)
    model = skeleton.load_model(given.model, "medgan")
    write_table(path, _columns(model), _sample(model, given.n, given.seed))
    return {"out": str(path), "n": given.n}


def evaluate(given: asked.Evaluate) -> asked.Numbers:
    """Scores against a table; copies and membership need the training table where it was, or as --data."""
    if given.data is None:
        raise UserError("give --data, a table to compare with")
    model = skeleton.load_model(given.model, "medgan")
    table = read_table(given.data)
    if table.columns != _columns(model):
        raise UserError(f"{given.data} has other columns than the table that {given.model} was trained on")
    members, held = _sides(model, table, given.data)
    n = _FAKES if members is None else len(members)
    fake = _sample(model, min(n, _FAKES), given.seed)
    if members is None:
        lacking = {"exact_copies": None, "membership_auc": None}
        note = "the training table is not where it was: no copies or membership without it"
        return {**table_scores(held, fake), **lacking, "note": note}
    return _measured(held, members, fake)


def demo(given: asked.Demo) -> asked.Numbers:
    """3,000 rows of 60 codes: the historical loss and its successor, code by code."""
    folder = skeleton.demo_folder(given.out)
    table = factor_table(4000, 60, given.seed)
    write_table(folder / "codes.csv", table.columns, table.values)
    found: asked.Numbers = {}
    plt = plotting()
    figure, panels = plt.subplots(1, 2, figsize=(9, 4.5), layout="constrained", sharex=True, sharey=True)
    for panel, mode in zip(panels, ("medgan", "wgan-gp")):
        out = folder / mode
        found[mode] = train(Train(
            out=str(out), steps=150, seed=given.seed, continue_run=False, device="cpu",
            json_file=None,
            data=str(folder / "codes.csv"), val=None, mode=mode,
        ))  # fmt: skip
        fake = _sample(skeleton.load_model(out, "medgan"), 4000, given.seed)
        panel.loglog([1e-3, 1], [1e-3, 1], color="grey", linewidth=0.8)
        panel.scatter(table.values.mean(0), np.maximum(fake.mean(0), 5e-4), s=14)
        panel.set(title=f"--mode={mode}", xlabel="rate of a code, real", ylabel="synthetic")
    figure.savefig(folder / "medgan.png", dpi=80)
    plt.close(figure)
    return {"picture": str(folder / "medgan.png"), **found}


def _measured(held: np.ndarray, members: np.ndarray, fake: np.ndarray) -> asked.Numbers:
    """All scores; rates against all rows that are known, since the held-out ones are few."""
    real = np.concatenate([members, held])
    return {
        **table_scores(real, fake),
        **privacy_scores(members, held, fake),
        "prediction_f1_real": prediction_f1(members, held),
        "prediction_f1": prediction_f1(fake, held),
    }


def _parts(table: Table, val: str | None, seed: int) -> tuple[Table, Table]:
    """(rows to learn from, rows to measure on)."""
    if val is None:
        return table.split(_HELD_OUT, seed)
    held = read_table(val)
    if held.columns != table.columns:
        raise UserError(f"{val} has other columns than --data; give rows of the same codes")
    return table, held


def _sides(model: skeleton.Model, table: Table, path: str) -> tuple[np.ndarray | None, np.ndarray]:
    """(training rows if they can be found, other rows) for a table that may be either."""
    note = model.folder / "private" / "data.json"
    known = untrusted.read_json(note) if note.is_file() else {}
    known = known if isinstance(known, dict) else {}
    seed, val = known.get("seed", 0), known.get("val")
    if table.fingerprint == model.facts.get("fingerprint"):
        # A validation table that is gone meanwhile leaves no rows to compare with: then none are said.
        members, held = _parts(table, val if val and Path(val).is_file() else None, int(seed))
        return members.values, held.values
    place = Path(str(known.get("data", "")))
    if place.is_file() and (trained := read_table(place)).fingerprint == model.facts.get("fingerprint"):
        members, _ = _parts(trained, val if val and Path(val).is_file() else None, int(seed))
        return members.values, table.values
    return None, table.values


def _sample(model: skeleton.Model, n: int, seed: int) -> np.ndarray:
    """float32 [n, k], whole numbers: probabilities are rounded, as the paper does."""
    kind: Kind = "binary" if skeleton.word(model, "kind", ("binary", "count")) == "binary" else "count"
    mode = MODES[skeleton.word(model, "mode", tuple(MODES))]
    G = model.into("G", Generator(kind, mode.has_shortcut))
    decoder = model.into("decoder", Decoder(len(_columns(model)), kind))
    with seeded(seed), torch.no_grad():
        parts = [decoder(G(torch.randn(min(1000, n - at), LATENTS))) for at in range(0, n, 1000)]
    rows = torch.cat(parts)
    if kind == "binary":
        return (rows > 0.5).float().numpy()
    return torch.expm1(rows * np.log1p(model.settings["top"])).round().clamp_min(0).numpy()


def _scaled(rows: Tensor, settings: JsonObject) -> Tensor:
    """0/1 as they are; counts on a logarithmic scale from 0 to 1, so that rare large ones do not rule."""
    return rows if settings["kind"] == "binary" else torch.log1p(rows) / float(np.log1p(settings["top"]))


def _columns(model: skeleton.Model) -> tuple[str, ...]:
    found = model.settings.get("columns")
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise UserError(
            f"{model.folder / skeleton.CARD} is damaged: it lists no columns; copy the folder again"
        )
    skeleton.setting(model, "top", float, 1e7)
    return tuple(found)


def _draw(rows: Tensor, batch: int) -> Tensor:
    return rows[torch.randint(len(rows), [min(batch, len(rows))], device=rows.device)]
