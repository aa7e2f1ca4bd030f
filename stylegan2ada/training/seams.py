"""Who makes the parts of a run: the usual makers, and the record that puts others in their place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from stylegan2ada import processes, protocols
from stylegan2ada.checkpoints import save_network
from stylegan2ada.config import TrainConfig
from stylegan2ada.data.batches import Batches
from stylegan2ada.data.dataset import Dataset, ImageFolderDataset
from stylegan2ada.errors import UserError
from stylegan2ada.losses.draws import Draws
from stylegan2ada.losses.objectives import OBJECTIVES
from stylegan2ada.losses.registry import find_loss
from stylegan2ada.networks.augment import AugmentPipe
from stylegan2ada.networks.stylegan2 import Discriminator, Generator
from stylegan2ada.protocols import Networks, Options
from stylegan2ada.training.phases import Phase, network_phases
from stylegan2ada.training.source import BalancedLabels, DatasetLabels, DatasetSource, FakeLabels, Source


def open_dataset(config: TrainConfig) -> Dataset:
    """The training images."""
    try:
        return ImageFolderDataset(**config.training_set_kwargs)
    except UserError as error:
        raise UserError(f"--data: {error}") from error


def build_networks(config: TrainConfig, dataset: Dataset) -> tuple[Generator, Discriminator]:
    """G and D with fresh weights."""
    shape: Options = {
        "c_dim": dataset.label_dim,
        "img_resolution": dataset.resolution,
        "img_channels": dataset.num_channels,
    }
    return Generator(**shape, **config.G_kwargs), Discriminator(**shape, **config.D_kwargs)


def build_loss(
    config: TrainConfig,
    device: torch.device,
    G: Generator,
    D: Discriminator,
    augment_pipe: AugmentPipe | None,
    draws: Draws | None,
) -> protocols.Loss:
    """The loss that the configuration names."""
    optional: Options = {}
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


def build_phases(config: TrainConfig, G: torch.nn.Module, D: torch.nn.Module) -> list[Phase]:
    """Gmain, Greg, Dmain, Dreg with their optimisers; Gboth, Dboth for an objective without regularisers.

    Parameters that came with `requires_grad=False` stay as they are.
    """
    objective = OBJECTIVES.get(config.loss_kwargs.get("objective", "stylegan2"))
    # Without regularisers there is nothing lazy that the optimisers' pace would have to be corrected for
    is_lazy = objective is None or objective.has_regularisers
    G_interval, D_interval = (config.G_reg_interval, config.D_reg_interval) if is_lazy else (None, None)
    phases = network_phases("G", G, config.G_opt_kwargs, G_interval, parameters=_learning(G))
    if objective is not None and not is_lazy:
        phases[0].every = objective.G_every  # a critic may want several steps per step of G
    return phases + network_phases("D", D, config.D_opt_kwargs, D_interval, parameters=_learning(D))


def build_labels(config: TrainConfig, dataset: Dataset) -> FakeLabels:
    """Labels for fakes, as frequent as the sampler draws them of the data."""
    return BalancedLabels(dataset) if config.sampler == "balanced" else DatasetLabels(dataset)


def open_source(
    config: TrainConfig,
    dataset: Dataset,
    device: torch.device,
    labels: FakeLabels | None = None,  # None: as `build_labels` says
) -> DatasetSource:
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
    return DatasetSource(
        batches,
        labels or build_labels(config, dataset),
        batch_size=share,
        z_dim=config.G_kwargs["z_dim"],
        device=device,
        seed=(config.random_seed * config.num_gpus + processes.rank()) % 2**32,
    )


@dataclass(frozen=True)
class Seams:
    """One maker per part; what is not named is made as usual.

    Makers are functions of a module or picklable objects: a run on several devices sends them to its
    processes, and each process makes its own parts.
    """

    dataset: Callable[[TrainConfig], Dataset] = open_dataset
    networks: Callable[[TrainConfig, Dataset], tuple[Generator, Discriminator]] = build_networks
    loss: Callable[..., protocols.Loss] = build_loss  # called like build_loss, by position
    phases: Callable[[TrainConfig, torch.nn.Module, torch.nn.Module], list[Phase]] = build_phases
    labels: Callable[[TrainConfig, Dataset], FakeLabels] = build_labels
    source: Callable[[TrainConfig, Dataset, torch.device, FakeLabels], Source] = open_source
    save: Callable[[Networks, Path], None] = save_network  # the networks of a snapshot
    # What may be seen of the training images.
    private_statistics: str = ""  # names (regular expression) kept in privacy/private/ and nowhere else
    shows_reals: bool = True  # False: reals.png goes there, too, and nothing printed was measured on images


def _learning(network: torch.nn.Module) -> list[torch.nn.Parameter]:
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    assert learning, f"{type(network).__name__} has no parameter that may learn"
    return learning
