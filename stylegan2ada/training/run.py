"""A run: its parts, which stay as they were built, and its progress, which is all that training changes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from stylegan2ada import processes, stats
from stylegan2ada.config import TrainConfig
from stylegan2ada.data.dataset import Dataset
from stylegan2ada.losses.base import Loss
from stylegan2ada.networks.augment import AugmentPipe
from stylegan2ada.networks.stylegan2 import Discriminator, Generator
from stylegan2ada.protocols import Card, State
from stylegan2ada.training.ada import AdaController
from stylegan2ada.training.phases import Phase
from stylegan2ada.training.source import FakeLabels, Source


@dataclass
class Progress:
    """How far a run is. Saved whole; a new field is saved by standing here."""

    batch_gpu: int  # images at once; less than was asked for where the device's memory is short
    cur_nimg: int = 0  # images shown to D
    iteration: int = 0
    tick: int = 0
    tick_start_nimg: int = 0
    elapsed_sec: float = 0.0  # of all parts of the run, up to the last save
    warned_p: float = 0.0  # strength of the augmentation when a leak was last looked for
    last_nimg: int | None = None  # where it ends, whatever was asked for: a budget that is spent

    def state_dict(self) -> State:
        return asdict(self)

    def load_state_dict(self, state: State) -> None:
        for name, value in state.items():
            setattr(self, name, value)


@dataclass(frozen=True)
class Run:
    """Everything that training works with."""

    config: TrainConfig
    run_dir: Path
    device: torch.device
    dataset: Dataset
    G: Generator
    D: Discriminator
    G_ema: Generator
    augment_pipe: AugmentPipe | None
    ada: AdaController | None  # None: nobody adjusts the strength
    loss: Loss
    phases: list[Phase]
    source: Source
    labels: FakeLabels  # of fakes, and of the pictures that a run shows
    collector: stats.Collector
    stop: processes.StopRequest
    fingerprint: str  # of the data set; empty where it must not be known
    card: Card  # provenance that travels with every snapshot
    progress: Progress

    @property
    def cur_nimg(self) -> int:
        return self.progress.cur_nimg

    @property
    def iteration(self) -> int:
        return self.progress.iteration

    @property
    def tick(self) -> int:
        return self.progress.tick

    @property
    def kimg(self) -> float:
        return self.progress.cur_nimg / 1000

    @property
    def opts(self) -> dict[str, torch.optim.Optimizer]:
        """{"G": ..., "D": ...}"""
        # Main and reg phase of a network share one optimiser, so either will do.
        return {phase.name[0]: phase.opt for phase in self.phases}

    @property
    def modules(self) -> dict[str, torch.nn.Module]:
        """What a run has learned, by name; no pipe, no entry."""
        found: dict[str, torch.nn.Module] = {"G": self.G, "D": self.D, "G_ema": self.G_ema}
        return found if self.augment_pipe is None else found | {"augment_pipe": self.augment_pipe}

    @property
    def p(self) -> float:
        """Strength of the augmentation."""
        if self.augment_pipe is None:
            return 0.0
        return self.ada.p if self.ada is not None else self.config.augment_p

    @property
    def is_done(self) -> bool:
        asked, last = self.config.total_kimg * 1000, self.progress.last_nimg
        return self.progress.cur_nimg >= (asked if last is None else min(asked, last))
