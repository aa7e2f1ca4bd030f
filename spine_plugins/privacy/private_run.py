"""A private training as makers of the loop and one hook: ledger before each look, budget, report."""

from __future__ import annotations

import dataclasses
import fnmatch
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from spine_plugins.privacy import ledger, report
from spine_plugins.privacy.accountant import Adjacency, Query, account_queries
from spine_plugins.privacy.canaries import Canaries
from spine_plugins.privacy.ledger import Ledger, Terms
from spine_plugins.privacy.noise import Chance, SeededChance, SystemChance, gaussian
from spine_plugins.privacy.private_data import Door, PublicFace, declared_classes
from spine_plugins.privacy.private_loss import Pace, PrivateLoss
from spine_plugins.privacy.private_step import PrivateStep, Reals, StepSettings
from spine_plugins.privacy.sampling import Unit
from stylegan2ada import files, processes
from stylegan2ada.checkpoints import save_network
from stylegan2ada.config import TrainConfig
from stylegan2ada.data.dataset import Dataset, ImageFolderDataset
from stylegan2ada.errors import UserError
from stylegan2ada.losses.draws import Draws
from stylegan2ada.losses.stylegan2 import StyleGAN2Loss
from stylegan2ada.networks.augment import AugmentPipe
from stylegan2ada.networks.stylegan2 import Discriminator, Generator
from stylegan2ada.protocols import JsonObject, Networks, State
from stylegan2ada.training.hooks import Hook
from stylegan2ada.training.log import private_folder
from stylegan2ada.training.phases import Phase, network_phases
from stylegan2ada.training.run import Run
from stylegan2ada.training.seams import Seams
from stylegan2ada.training.source import FakeLabels, Source

PRIVATE_STATISTICS = r"Loss/(scores|signs)/real|Loss/D/.*|Loss/r1_penalty|Private/.*|(Timing|Resources)/.*"
_DATA = "data.json"  # in the private folder: what was read, and of which images


@dataclass(frozen=True)
class RunSettings:
    """What a private run does and promises; picklable, and public but for the canaries."""

    cond: bool
    unit: Unit
    adjacency: Adjacency
    n: float  # units, or the public number that stands for them: q = batch / n
    n_public: int | None
    step: StepSettings
    pace: Pace
    steps: int  # of D
    delta: float
    budget: float  # epsilon that no step may exceed
    prior: str = "uniform"  # or a file, or dp:NOISE
    trainable: str | None = None  # pattern of D's parameters that learn; None: all
    public_init: str | None = None  # where the weights of --resume are from
    insecure_seed: int | None = None
    sign_key: str | None = None

    @property
    def q(self) -> float:
        return self.step.batch / self.n

    @property
    def query(self) -> Query:
        """One step; with the noisy signs of the same images as one Gaussian of both."""
        z, s = self.step.noise_multiplier, self.pace.ada_noise
        return Query(self.q, z if self.pace.ada != "noisy" else (z**-2 + s**-2) ** -0.5)

    @property
    def kind(self) -> str:
        return "dp-sgd+ada" if self.pace.ada == "noisy" else "dp-sgd"

    @property
    def prior_noise(self) -> float | None:
        """Of the released histogram of labels; None: nothing is released."""
        return float(self.prior.removeprefix("dp:")) if self.prior.startswith("dp:") else None

    @property
    def terms(self) -> Terms:
        return Terms(self.unit, self.adjacency, self.n_public)


class PriorLabels:
    """Labels of fakes by a declared prior, never by those of the data."""

    def __init__(self, prior: np.ndarray) -> None:
        self.prior = prior  # float64 [classes], sums to 1; empty: no labels

    def draw(self, count: int, rng: np.random.RandomState) -> np.ndarray:
        classes = len(self.prior)
        if not classes:
            return np.zeros((count, 0), np.float32)
        return np.eye(classes, dtype=np.float32)[rng.choice(classes, size=count, p=self.prior)]

    def for_grid(self, columns: int, rows: int) -> np.ndarray:
        """A row per class, in turn."""
        classes = len(self.prior)
        numbers = np.arange(columns * rows) // columns % max(classes, 1)
        return (
            np.eye(classes, dtype=np.float32)[numbers] if classes else np.zeros((len(numbers), 0), np.float32)
        )


class PrivateSource:
    """Latents and labels of fakes; of reals nothing at all."""

    wait_sec = 0.0

    def __init__(
        self,
        image_shape: list[int],
        labels: FakeLabels,
        batch: int,
        z_dim: int,
        device: torch.device,
        seed: int,
    ) -> None:
        classes = labels.draw(1, np.random.RandomState(0)).shape[1]
        self._none = (
            torch.zeros([0, *image_shape], dtype=torch.uint8, device=device),
            torch.zeros([0, classes], device=device),
        )
        self.labels, self.batch, self.z_dim, self.device = labels, batch, z_dim, device
        self._rng = np.random.RandomState(seed)

    def reals(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self._none

    def latents(self, phase: str) -> tuple[torch.Tensor, torch.Tensor]:
        z = torch.randn([self.batch, self.z_dim], device=self.device)
        return z, torch.from_numpy(self.labels.draw(self.batch, self._rng)).to(self.device)

    def state_dict(self) -> State:
        _, keys, spot, *_ = self._rng.get_state()
        return {"batches": {}, "keys": torch.from_numpy(np.asarray(keys, dtype=np.int64)), "spot": int(spot)}

    def load_state_dict(self, state: State) -> None:
        if "keys" in state:  # absent after a change of the number of ranks
            keys = np.asarray(state["keys"]).astype(np.uint32)
            self._rng.set_state(("MT19937", keys, int(state["spot"]), 0, 0.0))

    def close(self) -> None:
        """Nothing is open."""


class PrivateRun(Hook):
    """Makes the parts of a private run, and keeps its books."""

    def __init__(self, settings: RunSettings, canaries: Canaries | None = None) -> None:
        self.settings, self.canaries = settings, canaries
        self.chance: Chance = (
            SystemChance() if settings.insecure_seed is None else SeededChance(settings.insecure_seed)
        )
        self.prior = PriorLabels(np.zeros(0))
        self.book: Ledger | None = None  # rank 0's
        self.door: Door | None = None
        self._loss: PrivateLoss | None = None
        self._phases: list[Phase] = []
        self._saved: State | None = None
        self._run: Run | None = None
        self._fingerprint = ""  # of the data; for the private folder alone
        self._claimed: tuple[str, JsonObject] | None = None  # the ledger's head, and what it adds up to

    @property
    def seams(self) -> Seams:
        return Seams(
            dataset=self.make_dataset,
            loss=self.make_loss,
            phases=self.make_phases,
            labels=self.make_labels,
            source=self.make_source,
            save=self.save,
            private_statistics=PRIVATE_STATISTICS,
            shows_reals=False,
        )

    # The parts.

    def make_dataset(self, config: TrainConfig) -> Dataset:
        return self.open(str(config.training_set_kwargs["path"]))

    def open(self, path: str) -> PublicFace:
        """The door to the data, and the face that the loop sees."""
        dataset = ImageFolderDataset(path, use_labels=self.settings.cond)
        names = declared_classes(dataset, cond=self.settings.cond)
        planted = (
            () if self.canaries is None else self.canaries.planted(dataset.image_shape, max(len(names), 1))
        )
        self.door = Door(dataset, len(names), self.settings.unit, canaries=planted)
        self.door.share(self.settings.q, self.chance, processes.rank(), processes.world_size())
        return PublicFace(self.door, dataset, round(self.settings.n), names)

    def make_phases(self, config: TrainConfig, G: torch.nn.Module, D: torch.nn.Module) -> list[Phase]:
        chosen = [
            parameter
            for name, parameter in D.named_parameters()
            if parameter.requires_grad and fnmatch.fnmatchcase(name, self.settings.trainable or "*")
        ]
        if not chosen:
            raise UserError(
                f"--dp-trainable={self.settings.trainable} names no parameter of D; see the names with "
                "`spinegan legacy`, e.g. b4.* is the last block"
            )
        (d_phase,) = network_phases("D", D, config.D_opt_kwargs, None, parameters=chosen)
        d_phase = dataclasses.replace(d_phase, name="Dmain", reduce=self._reduce)
        self._phases = [*network_phases("G", G, config.G_opt_kwargs, config.G_reg_interval), d_phase]
        return self._phases

    def _reduce(self, gradients: list[torch.Tensor]) -> None:
        assert self._loss is not None
        self._loss.reduce(gradients)

    def make_loss(
        self,
        config: TrainConfig,
        device: torch.device,
        G: Generator,
        D: Discriminator,
        augment_pipe: AugmentPipe | None,
        draws: Draws | None,
    ) -> PrivateLoss:
        kwargs = config.loss_kwargs | {"r1_gamma": 0, "style_mixing_prob": 0}
        inner = StyleGAN2Loss(device, G.mapping, G.synthesis, D, augment_pipe, draws=draws, **kwargs)
        ids = {id(parameter) for parameter in self._phases[-1].parameters}
        names = [name for name, parameter in D.named_parameters() if id(parameter) in ids]
        step = PrivateStep(D, names, self.settings.step, self.chance, augment_pipe)
        self._loss = PrivateLoss(inner, G, step, self.settings.pace, self._phases, self.draw, self.chance)
        return self._loss

    def make_labels(self, config: TrainConfig, dataset: Dataset) -> FakeLabels:
        classes = dataset.label_dim
        if self.settings.prior_noise is None:
            self.prior.prior = read_prior(self.settings.prior, classes)
        else:
            self.prior.prior = np.full(classes, 1 / max(classes, 1))  # until it is released, before step 1
        return self.prior

    def make_source(
        self, config: TrainConfig, dataset: Dataset, device: torch.device, labels: FakeLabels
    ) -> Source:
        seed = (config.random_seed * config.num_gpus + processes.rank()) % 2**32
        share = config.batch_size // config.num_gpus
        return PrivateSource(dataset.image_shape, labels, share, config.G_kwargs["z_dim"], device, seed)

    # A step.

    def draw(self) -> Reals:
        """One look at the data; its line is on disk before anybody reads."""
        processes.on_rank0(lambda: self._charge(self.settings.kind, self.settings.query))
        assert self.door is not None
        return self.door.draw()

    def _charge(self, kind: str, query: Query) -> None:
        assert self.book is not None
        self.book.charge(kind, query)

    # The run.

    def on_start(self, run: Run) -> None:
        self._run = run
        processes.on_rank0(self._open_book)
        self._meet_the_data(run)
        if self.settings.prior_noise is not None and not (self._saved or {}).get("prior"):
            prior = processes.on_rank0(lambda: self._release_prior(float(self.settings.prior_noise or 0)))
            self.prior.prior = np.asarray(prior)
        left = processes.on_rank0(self._steps_left)
        batch = run.config.batch_size
        run.progress.last_nimg = min(run.cur_nimg + left * batch, self.settings.steps * batch)
        processes.on_rank0(self._write)
        s = self.settings
        processes.print0(
            f"Privacy: {left} steps of D are left within epsilon {s.budget:.4g} at delta {s.delta:.3g} "
            f"for one {s.unit} ({s.adjacency})"
        )

    def on_snapshot(self, run: Run, path: Path) -> None:
        processes.on_rank0(self._write)

    def state_dict(self) -> State:
        book = self.book
        kept: State = {"prior": self.prior.prior.tolist() if self.settings.prior_noise is not None else None}
        return kept if book is None else kept | {"ledger_head": book.head, "ledger_lines": len(book.lines)}

    def load_state_dict(self, state: State) -> None:
        self._saved = state
        if state["prior"]:
            self.prior.prior = np.asarray(state["prior"])

    def save(self, networks: Networks, path: Path) -> None:
        """The usual file; its card names the ledger's last line."""
        assert self.book is not None
        card = dict(networks["card"] or {})
        found = self._claim()
        names = ("guarantee", "epsilon", "delta", "unit", "adjacency", "statement")
        card["privacy"] = {name: found[name] for name in names} | {
            "mode": "sgd", "ledger_head": self.book.head, "ledger_lines": len(self.book.lines),
            "public_init": self.settings.public_init,
        }  # fmt: skip
        save_network({**networks, "card": card}, path)

    # The books, on rank 0.

    def _open_book(self) -> None:
        assert self._run is not None
        path = self._run.run_dir / ledger.FILE
        if self._saved is not None and not path.exists():
            raise UserError(
                f"{path} is missing: what this run released is unknown, so it cannot go on; put it back"
            )
        self.book = Ledger(path, self.settings.terms)
        if self._saved is not None:
            known = ledger.heads(path)
            lines = int(self._saved["ledger_lines"])
            if lines >= len(known) or known[lines] != self._saved["ledger_head"]:
                raise ledger.BrokenLedger(
                    f"{path} is not the ledger that this run's state was saved with; put back the right one"
                )
        self._run.card["privacy"] = {"mode": "sgd", "unit": self.settings.unit}

    def _meet_the_data(self, run: Run) -> None:
        """The images must be those that the run began with; their hash stays in the private folder."""
        assert self.door is not None
        door = self.door

        def check() -> None:
            path = private_folder(run.run_dir) / _DATA
            found = self._fingerprint = door.fingerprint()
            before = json.loads(path.read_text())["fingerprint"] if path.exists() else found
            if before != found:
                raise UserError(
                    f"--data={run.dataset.path}: not the images and labels that this run was started with; "
                    "give the same data set, or start a new run"
                )
            if self.canaries is not None:
                self.canaries.save(run.run_dir)
            self._note_reads()

        processes.on_rank0(check)

    def _note_reads(self) -> None:
        assert self._run is not None and self.door is not None
        facts = {
            "fingerprint": self._fingerprint,
            "units": self.door.num_units,
            "reads": self.door.reads,
        }
        files.write_json(private_folder(self._run.run_dir) / _DATA, facts)

    def _release_prior(self, noise: float) -> list[float]:
        """A histogram of labels with noise, made a prior; each unit weighs at most 1 in it."""
        assert self.door is not None
        self._charge("labels", Query(1.0, noise))
        counts = self.door.histogram()
        noisy = counts + noise * gaussian(self.chance, len(counts)).numpy()
        kept = noisy.clip(min=1.0)  # no class dies out by noise
        return (kept / kept.sum()).tolist()

    def _steps_left(self) -> int:
        """As many as keep epsilon within the budget, what was charged before included."""
        assert self.book is not None
        done = sum(line.count for line in self.book.lines if line.kind == self.settings.kind)
        most = max(self.settings.steps - done, 0)

        def fits(count: int) -> bool:
            queries = [*self.book.queries, dataclasses.replace(self.settings.query, count=count)]  # type: ignore[union-attr]
            found = account_queries(queries, self.settings.delta, adjacency=self.settings.adjacency)
            return found["epsilon"] <= self.settings.budget * (1 + 1e-9)

        if most == 0 or fits(most):
            return most
        low, high = 0, most
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        return low

    def _claim(self) -> JsonObject:
        assert self.book is not None
        if self._claimed is not None and self._claimed[0] == self.book.head:
            return self._claimed[1]  # bounds take seconds
        settings = self.settings
        doubts = [] if self.chance.is_secure else ["noise and coins come from --dp-insecure-seed"]
        found = report.claim(
            self.book.queries,
            settings.delta,
            unit=settings.unit,
            adjacency=settings.adjacency,
            n_public=settings.n_public,
            ledger_sha256=ledger.sha256(self.book.path),
            doubts=doubts,
            facts=dict(_facts(settings)),
        )
        self._claimed = (self.book.head, found)
        return found

    def _write(self) -> None:
        assert self._run is not None
        report.write(self._run.run_dir, self._claim(), self.settings.sign_key)
        self._note_reads()


def _facts(settings: RunSettings) -> Iterator[tuple[str, object]]:
    """How it was trained, as far as it is public."""
    yield "mode", "sgd"
    yield "n", settings.n
    yield "q", settings.q
    yield from dataclasses.asdict(settings.step).items()
    yield "planned_steps", settings.steps
    yield "sampler", "Poisson"
    yield "rng", "system entropy" if settings.insecure_seed is None else "seeded, insecure"
    yield "ada", settings.pace.ada
    yield "d_steps", settings.pace.d_steps
    yield "label_prior", settings.prior
    yield "public_init", settings.public_init
    yield "trainable", settings.trainable


def read_prior(text: str, classes: int) -> np.ndarray:
    """float64 [classes] that sums to 1: uniform, or a JSON list of shares in a file."""
    if text == "uniform" or not classes:
        return np.full(classes, 1 / max(classes, 1))
    try:
        shares = np.asarray(json.loads(Path(text).read_text()), dtype=np.float64)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"--dp-label-prior={text} is neither uniform, dp:NOISE, nor a JSON list of shares"
        ) from error
    if shares.shape != (classes,) or not np.isfinite(shares).all() or shares.min() < 0 or shares.sum() <= 0:
        raise UserError(f"--dp-label-prior={text} must list {classes} shares of 0 or more, one per class")
    return shares / shares.sum()
