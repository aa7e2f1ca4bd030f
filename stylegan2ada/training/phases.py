"""Which network is trained when: main and regularisation phases with one optimiser per network.

Lazy regularisation (Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", appendix B):
the costly term runs every k-th iteration, k times as strong, and the optimiser's pace is corrected for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from stylegan2ada import processes
from stylegan2ada.protocols import Options

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

    def no_samples(self) -> None:
        """This rank had nothing to look at; ranks add up equal shapes, so it hands in zeros."""
        for parameter in self.parameters:
            parameter.grad = torch.zeros_like(parameter)

    def reduce_and_step(self) -> None:
        """Make one gradient of all ranks', step."""
        # Off again: other phases differentiate through this network without training it.
        self.module.requires_grad_(False)
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        if gradients:
            (self.reduce or average_and_repair)(gradients)
        self.opt.step()


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
    opt = optimizer(learning, **corrected_for_laziness(opt_kwargs, reg_interval))
    if reg_interval is None:
        return [Phase(f"{name}both", module, opt, parameters=learning)]
    main = Phase(f"{name}main", module, opt, parameters=learning)
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


@torch.no_grad()
def average_and_repair(gradients: list[Tensor]) -> None:
    """In place: mean over ranks, then NaN -> 0 and +-infinity -> +-1e5 (one bad batch must not end a run)."""
    ranks = processes.world_size() if processes.is_initialized() else 1
    if ranks == 1 and gradients[0].device.type == "cpu":
        for gradient in gradients:
            _repair(gradient)
        return
    # One flat buffer: one all-reduce and a handful of kernels instead of hundreds
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    if ranks > 1:
        torch.distributed.all_reduce(flat)
        flat /= ranks
    # After the mean: one rank's NaN spoils the element for all, and all repair it alike.
    _repair(flat)
    parts = flat.split([gradient.numel() for gradient in gradients])
    torch._foreach_copy_(gradients, [part.view_as(g) for part, g in zip(parts, gradients)])


def _repair(gradient: Tensor) -> None:
    torch.nan_to_num(gradient, nan=0.0, posinf=1e5, neginf=-1e5, out=gradient)
