"""Build all parts of a run: data, networks, augmentation, loss, optimisers; in the order of their needs."""

from __future__ import annotations

import copy
import random
from pathlib import Path

import numpy as np
import torch

from stylegan2ada import processes, provenance, stats
from stylegan2ada.checkpoints import copy_matching, load_network
from stylegan2ada.checkpoints.cards import derive_card
from stylegan2ada.config import TrainConfig
from stylegan2ada.data.dataset import Dataset
from stylegan2ada.data.fingerprint import fingerprint
from stylegan2ada.errors import UserError
from stylegan2ada.losses.base import as_loss
from stylegan2ada.losses.draws import Draws
from stylegan2ada.networks.augment import AugmentPipe
from stylegan2ada.networks.stylegan2 import Discriminator, Generator, set_precision
from stylegan2ada.ops import choice
from stylegan2ada.protocols import Card
from stylegan2ada.training.ada import AdaController
from stylegan2ada.training.run import Progress, Run
from stylegan2ada.training.seams import Seams
from stylegan2ada.training.source import Source

_OF_THE_PROGRAM = ("version", "source_sha256", "libraries")  # no paths: cards are given away
_OF_ORIGINS = ("foreign", "starts_from", "licence")  # parts of a card that only its parents decide


def build(
    config: TrainConfig,
    run_dir: Path,
    device: torch.device,
    stop: processes.StopRequest,
    seams: Seams,
    *,
    dataset: Dataset | None,  # already open; None: opened here
    source: Source | None,  # None: as the seams say
    draws: Draws | None,  # of the loss; None: random
    card: Card | None,  # of the run that goes on, whose weights are loaded afterwards; None: a new run
) -> Run:
    """A run at its very beginning, the same weights on all ranks."""
    prepare_process(config, device)
    dataset = seams.dataset(config) if dataset is None else dataset
    G, D = seams.networks(config, dataset)
    # Before gradients are switched off below: phases note which parameters may learn.
    phases = seams.phases(config, G.to(device).train(), D.to(device).train())
    for network in (G, D):
        network.requires_grad_(False)  # a phase lets its own parameters learn while it runs
        set_precision(network, block_precision(config.precision, device))
    G_ema = copy.deepcopy(G).eval()
    augment_pipe = build_augment_pipe(config, device)
    # A run that goes on gets its weights from its state: the file of --resume is not read again.
    if card is None:
        card = start_weights(config, new_card(dataset), G, D, G_ema, augment_pipe)
    # Each rank drew its own first weights; rank 0's count.
    for module in (G, D, G_ema, *([] if augment_pipe is None else [augment_pipe])):
        processes.broadcast_module(module)
    labels = seams.labels(config, dataset)
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
        loss=as_loss(seams.loss(config, device, G, D, augment_pipe, draws)),
        phases=phases,
        source=source if source is not None else seams.source(config, dataset, device, labels),
        labels=labels,
        collector=stats.Collector(),
        stop=stop,
        fingerprint=processes.on_rank0(lambda: fingerprint(dataset)),
        card=card,
        progress=Progress(batch_gpu=config.batch_gpu),
    )


def new_card(dataset: Dataset) -> Card:
    """What networks of a new run say about themselves."""
    program = provenance.of_this_program()
    card = derive_card(dataset=dataset.name, trained_by="spinegan")
    card["provenance"] = {name: program[name] for name in _OF_THE_PROGRAM}
    names = dataset.info().label_names
    return card | ({"label_names": list(names)} if names else {})


def prepare_process(config: TrainConfig, device: torch.device) -> None:
    """Seeds and switches of this process. upstream: every rank draws its own numbers."""
    seed = config.random_seed * config.num_gpus + processes.rank()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    choice.use(config.ops)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = config.cudnn_benchmark
        torch.backends.cudnn.allow_tf32 = config.allow_tf32
        torch.set_float32_matmul_precision("high" if config.allow_tf32 else "highest")
    # A process may train more than once: earlier counts are none of this run's.
    stats.reset()
    # Sums are formed on the CPU, without waiting for the device.
    stats.init_multiprocessing(processes.rank(), "cpu" if processes.is_initialized() else None)


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


def start_weights(
    config: TrainConfig,
    card: Card,  # of networks with fresh weights
    G: Generator,
    D: Discriminator,
    G_ema: Generator,
    augment_pipe: AugmentPipe | None,
) -> Card:
    """With --resume, start from other networks: weights of equal names, and ADA's strength.

    The card of what is then there, which says so.
    """
    resume_pkl = config.resume_pkl
    if resume_pkl is None:
        return card

    def load() -> Card:
        processes.print0(f"Starting from {resume_pkl}")
        is_grey = G.img_channels == 1
        loaded = load_network(resume_pkl, grey_from_rgb=is_grey, log=processes.print0)
        pairs = (("G", loaded["G"], G), ("D", loaded["D"], D), ("G_ema", loaded["G_ema"], G_ema))
        for name, source, module in pairs:
            if source is None:
                raise UserError(f"--resume={resume_pkl} holds no {name}; give a file of all three networks")
            missing = copy_matching(source, module).missing
            if missing:
                processes.print0(f"  {name}: {len(missing)} tensors are not in that file and start afresh")
        pipe = loaded["augment_pipe"]
        if augment_pipe is not None and config.ada_target is not None and pipe is not None:
            augment_pipe.get_buffer("p").copy_(pipe.p)
            processes.print0(f"  augmentation goes on with the file's strength p = {float(pipe.p):.3f}")
        facts = {name: value for name, value in card.items() if name not in _OF_ORIGINS}
        return derive_card(loaded["card"], **facts)

    # Read once; `build` hands the weights on to the other ranks.
    return processes.on_rank0(load)
