"""Which network is trained when: main and regularisation phases with one optimiser per network.

Lazy regularisation (Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", appendix B):
the costly term runs every k-th iteration, k times as strong, and the optimiser's pace is corrected for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from stylegan2ada.protocols import Options
from stylegan2ada.training.gradients import FlatGradients, average_and_repair, flat_gradients
from stylegan2ada.training.optimisers import switches_for

Reduce = Callable[[list[Tensor]], None]  # gradients of this rank, in place: what the optimiser shall see


@dataclass(eq=False)
class Phase:
    """One kind of gradient step of one network."""

    name: str  # Gmain, Greg, Gboth, Dmain, Dreg, Dboth
    module: nn.Module  # the network whose weights move
    opt: torch.optim.Optimizer  # shared by the phases of a network
    every: int = 1  # due in each iteration that this divides
    gain: float = 1.0  # factor of the gradients
    parameters: Sequence[nn.Parameter] = ()  # those that learn; (): all of the module's
    reduce: Reduce | None = None  # between the last backward and the step; None: average_and_repair
    flat: FlatGradients | None = None  # where gradients lie, shared by the phases of a network; None: apart

    def __post_init__(self) -> None:
        self.parameters = list(self.parameters) or list(self.module.parameters())

    def is_due(self, iteration: int) -> bool:
        """Iteration 0 runs every phase."""
        return iteration % self.every == 0

    def start(self) -> None:
        """Drop old gradients and let this network, alone among all, collect new ones."""
        self.opt.zero_grad(set_to_none=True)
        for parameter in self.parameters:
            parameter.requires_grad_(True)
        if self._is_flat:
            assert self.flat is not None
            self.flat.start(self.name)

    def no_samples(self) -> None:
        """This rank had nothing to look at; ranks add up equal shapes, so it hands in zeros."""
        for parameter in self.parameters:
            parameter.grad = torch.zeros_like(parameter)

    def reduce_and_step(self) -> None:
        """Make one gradient of all ranks', step."""
        # Off again: other phases differentiate through this network without training it.
        self.module.requires_grad_(False)
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        if gradients and self._is_flat:
            assert self.flat is not None
            self.flat.collect(self.name)
            average_and_repair([self.flat.buffer])
        elif gradients:
            (self.reduce or average_and_repair)(gradients)
        self.opt.step()

    @property
    def _is_flat(self) -> bool:
        # Who reduces in a way of his own is handed the gradients one by one.
        return self.flat is not None and self.reduce is None


def due(phases: Sequence[Phase], iteration: int) -> list[Phase]:
    """The phases of one iteration, in order."""
    return [phase for phase in phases if phase.is_due(iteration)]


def network_phases(
    name: str,  # "G" or "D"
    module: nn.Module,
    opt_kwargs: Options,  # of the optimiser, without a class name
    reg_interval: int | None,  # None: main loss and regularisation together, each iteration
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
    parameters: Sequence[nn.Parameter] = (),  # those that learn; (): all
) -> list[Phase]:
    """[main, reg] of one network, or [both] without lazy regularisation."""
    learning = list(parameters) or list(module.parameters())
    settings = corrected_for_laziness(opt_kwargs, reg_interval)
    opt = optimizer(learning, **switches_for(learning[0].device, optimizer), **settings)
    flat = flat_gradients(learning)
    if reg_interval is None:
        return [Phase(f"{name}both", module, opt, parameters=learning, flat=flat)]
    main = Phase(f"{name}main", module, opt, parameters=learning, flat=flat)
    return [main, replace(main, name=f"{name}reg", every=reg_interval, gain=float(reg_interval))]


def corrected_for_laziness(opt_kwargs: Options, reg_interval: int | None) -> Options:
    """Options for an optimiser that steps k+1 times in k iterations: q = k/(k+1), lr * q, beta ** q."""
    corrected = dict(opt_kwargs)
    share = 1.0 if reg_interval is None else reg_interval / (reg_interval + 1)
    if "lr" in corrected:
        corrected["lr"] = corrected["lr"] * share
    if "betas" in corrected:  # always floats: Adam refuses (0, 0.99)
        corrected["betas"] = tuple(float(beta) ** share for beta in corrected["betas"])
    return corrected


def rounds(size: int, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """At most `size` samples of each tensor at once: gradient accumulation.

    Tensors of one length are sliced alike. Where a sampler hands out more or fewer images than there are
    latents, each is shared out evenly over as many rounds as the longest needs; some shares may be empty.
    """
    longest = max(len(tensor) for tensor in tensors)
    if all(len(tensor) == longest for tensor in tensors):
        return zip(*(tensor.split(size) for tensor in tensors), strict=True) if longest else iter(())
    parts = -(-longest // size)
    return zip(*(tensor.tensor_split(parts) for tensor in tensors), strict=True)
