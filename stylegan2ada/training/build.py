"""Build all parts of a run: data, networks, augmentation, loss, optimisers; in the order of their needs."""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stylegan2ada import processes, stats
from stylegan2ada.checkpoints import copy_matching, load_network
from stylegan2ada.checkpoints.cards import derive_card
from stylegan2ada.config import TrainConfig
from stylegan2ada.data.batches import Batches
from stylegan2ada.data.dataset import Dataset, ImageFolderDataset
from stylegan2ada.data.fingerprint import fingerprint
from stylegan2ada.errors import UserError
from stylegan2ada.losses.objectives import OBJECTIVES
from stylegan2ada.losses.registry import find_loss
from stylegan2ada.networks.augment import AugmentPipe
from stylegan2ada.networks.stylegan2 import Discriminator, Generator, set_precision
from stylegan2ada.training.ada import AdaController
from stylegan2ada.training.hooks import Hooks
from stylegan2ada.training.phases import Phase, network_phases
from stylegan2ada.training.source import DatasetSource, Source


@dataclass
class Run:
    """All parts of a run and how far it is."""

    config: TrainConfig
    run_dir: Path
    device: torch.device
    dataset: Dataset
    G: Generator
    D: Discriminator
    G_ema: Generator
    augment_pipe: AugmentPipe | None
    ada: AdaController | None  # None: nobody adjusts the strength
    loss: Any
    phases: list[Phase]
    source: Source
    hooks: Hooks
    collector: stats.Collector
    stop: processes.StopRequest
    fingerprint: str  # of the data set
    card: dict[str, Any] = field(default_factory=dict)  # provenance that travels with every snapshot
    grid_size: tuple[int, int] = (0, 0)
    grid_z: torch.Tensor | None = None  # [cells, z_dim]
    grid_c: torch.Tensor | None = None  # [cells, c_dim]
    # Progress; only these change during training.
    cur_nimg: int = 0
    iteration: int = 0
    tick: int = 0
    tick_start_nimg: int = 0
    elapsed_sec: float = 0.0  # of earlier parts of the run
    warned_p: float = 0.0

    @property
    def opts(self) -> dict[str, torch.optim.Optimizer]:
        """{"G": ..., "D": ...}"""
        return {phase.name[0]: phase.opt for phase in self.phases}

    @property
    def p(self) -> float:
        """Strength of the augmentation."""
        if self.augment_pipe is None:
            return 0.0
        return self.ada.p if self.ada is not None else self.config.augment_p

    @property
    def is_done(self) -> bool:
        return self.cur_nimg >= self.config.total_kimg * 1000


def build(
    config: TrainConfig,
    run_dir: Path,
    device: torch.device,
    hooks: Hooks,
    stop: processes.StopRequest,
    *,
    source: Source | None,  # None: the data set
    draws: Any,  # of the loss; None: random
    is_new: bool,  # False: its weights are loaded afterwards
) -> Run:
    """A run at its very beginning, the same weights on all ranks."""
    prepare_process(config, device)
    dataset = open_dataset(config)
    shape = {
        "c_dim": dataset.label_dim,
        "img_resolution": dataset.resolution,
        "img_channels": dataset.num_channels,
    }
    G = Generator(**shape, **config.G_kwargs).to(device).train().requires_grad_(False)
    D = Discriminator(**shape, **config.D_kwargs).to(device).train().requires_grad_(False)
    set_precision(G, block_precision(config.precision, device))
    set_precision(D, block_precision(config.precision, device))
    G_ema = copy.deepcopy(G).eval()
    augment_pipe = build_augment_pipe(config, device)
    card = derive_card(dataset=dataset.name, trained_by="spinegan")
    if config.resume_pkl is not None and is_new:
        card = transfer(config.resume_pkl, G, D, G_ema, augment_pipe, config, card)
    for module in (G, D, G_ema):
        processes.broadcast_module(module)
    if augment_pipe is not None:
        processes.broadcast_module(augment_pipe)
    loss = build_loss(config, device, G, D, augment_pipe, draws)
    return Run(
        config=config,
        run_dir=run_dir,
        device=device,
        dataset=dataset,
        G=G,
        D=D,
        G_ema=G_ema,
        augment_pipe=augment_pipe,
        ada=build_ada(config, augment_pipe),
        loss=loss,
        phases=build_phases(config, G, D),
        source=source if source is not None else open_source(config, dataset, device),
        hooks=hooks,
        collector=stats.Collector(),
        stop=stop,
        fingerprint=processes.on_rank0(lambda: fingerprint(dataset)),
        card=card,
    )


def prepare_process(config: TrainConfig, device: torch.device) -> None:
    """Seeds and switches of this process. upstream: every rank draws its own numbers."""
    seed = config.random_seed * config.num_gpus + processes.rank()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = config.cudnn_benchmark
        torch.backends.cudnn.allow_tf32 = config.allow_tf32
        torch.set_float32_matmul_precision("high" if config.allow_tf32 else "highest")
    stats.reset()
    stats.init_multiprocessing(processes.rank(), "cpu" if processes.is_initialized() else None)


def open_dataset(config: TrainConfig) -> Dataset:
    """The training images."""
    try:
        return ImageFolderDataset(**config.training_set_kwargs)
    except UserError as error:
        raise UserError(f"--data: {error}") from error


def block_precision(name: str, device: torch.device) -> str | None:
    """What `set_precision` is told: half precision only where the device is made for it."""
    if name == "bf16":
        return "bfloat16"
    if name == "fp16":
        if device.type != "cuda":
            raise UserError(f"--precision=fp16 needs a CUDA device, not {device}; use bf16 or fp32")
        return None
    return None if device.type == "cuda" else "float32"


def build_augment_pipe(config: TrainConfig, device: torch.device) -> AugmentPipe | None:
    """The augmentation, at the strength it starts with; None if it would never do anything."""
    if config.augment_kwargs is None or (config.augment_p <= 0 and config.ada_target is None):
        return None
    pipe = AugmentPipe(**config.augment_kwargs).to(device).train().requires_grad_(False)
    torch.nn.init.constant_(pipe.get_buffer("p"), config.augment_p)
    return pipe


def build_ada(config: TrainConfig, augment_pipe: AugmentPipe | None) -> AdaController | None:
    """Who adjusts the strength, if anybody does."""
    if augment_pipe is None or config.ada_target is None:
        return None
    return AdaController(
        augment_pipe,
        target=config.ada_target,
        batch_size=config.batch_size,
        interval=config.ada_interval,
        kimg=config.ada_kimg,
        max_p=config.ada_max_p,
    )


def build_loss(
    config: TrainConfig,
    device: torch.device,
    G: Generator,
    D: Discriminator,
    augment_pipe: AugmentPipe | None,
    draws: Any,
) -> Any:
    """The loss that the configuration names."""
    optional: dict[str, Any] = {}
    if config.terms:
        optional["terms"] = list(config.terms)
    if draws is not None:
        optional["draws"] = draws
    return find_loss(config.loss)(
        device=device,
        G_mapping=G.mapping,
        G_synthesis=G.synthesis,
        D=D,
        augment_pipe=augment_pipe,
        **config.loss_kwargs,
        **optional,
    )


def build_phases(config: TrainConfig, G: Generator, D: Discriminator) -> list[Phase]:
    """Gmain, Greg, Dmain, Dreg with their optimisers; Gboth, Dboth for an objective without regularisers."""
    objective = OBJECTIVES.get(config.loss_kwargs.get("objective", "stylegan2"))
    # Without regularisers there is nothing lazy that the optimisers' pace would have to be corrected for
    is_lazy = objective is None or objective.has_regularisers
    G_interval, D_interval = (config.G_reg_interval, config.D_reg_interval) if is_lazy else (None, None)
    phases = network_phases("G", G, config.G_opt_kwargs, G_interval)
    phases += network_phases("D", D, config.D_opt_kwargs, D_interval)
    if objective is not None and not is_lazy:
        phases[0].every = objective.G_every  # a critic may want several steps per step of G
    return phases


def open_source(config: TrainConfig, dataset: Dataset, device: torch.device) -> DatasetSource:
    """Batches of the data set for this rank."""
    share = config.batch_size // config.num_gpus
    batches = Batches(
        dataset,
        share,
        device=device,
        rank=processes.rank(),
        num_replicas=config.num_gpus,
        seed=config.random_seed,
        sampler=config.sampler,
        workers=config.data_loader_kwargs.get("num_workers", 3),
    )
    seed = (config.random_seed * config.num_gpus + processes.rank()) % 2**32
    return DatasetSource(
        dataset,
        batches,
        batch_size=share,
        z_dim=config.G_kwargs["z_dim"],
        device=device,
        seed=seed,
        is_balanced=config.sampler == "balanced",
    )


def transfer(
    resume_pkl: str,
    G: Generator,
    D: Discriminator,
    G_ema: Generator,
    augment_pipe: AugmentPipe | None,
    config: TrainConfig,
    card: dict[str, Any],
) -> dict[str, Any]:
    """Start from foreign networks: weights of equal names, and ADA's strength; returns the card saying so."""

    def load() -> dict[str, Any]:
        processes.print0(f"Starting from {resume_pkl}")
        is_grey = G.img_channels == 1
        loaded = load_network(resume_pkl, grey_from_rgb=is_grey, log=processes.print0)
        for name, module in (("G", G), ("D", D), ("G_ema", G_ema)):
            report = copy_matching(loaded[name], module)
            if report.missing:
                processes.print0(
                    f"  {name}: {len(report.missing)} tensors are not in that file and start afresh"
                )
        pipe = loaded["augment_pipe"]
        if augment_pipe is not None and config.ada_target is not None and pipe is not None:
            augment_pipe.get_buffer("p").copy_(pipe.p)
            processes.print0(f"  augmentation goes on with the file's strength p = {float(pipe.p):.3f}")
        return derive_card(loaded["card"], **{k: v for k, v in card.items() if k not in _CARD_KEYS})

    return processes.on_rank0(load)


_CARD_KEYS = ("foreign", "starts_from", "licence")
