"""What objectives ask of D as a critic: bounded weights, samples kept apart, penalties in full precision."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import torch
from torch import Tensor

from stylegan2ada.errors import UserError
from stylegan2ada.losses.objectives import Objective


@torch.no_grad()
def clip_effective_weights(network: Callable[..., Tensor], bound: float) -> None:
    """Clip parameters so that what the layers compute with lies in [-bound, bound].

    Layers with equalised learning rate store N(0, 1) and scale when used; their stored weights may be larger.
    """
    assert isinstance(network, torch.nn.Module)
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            reach = bound / float(getattr(module, f"{name}_gain", 1))
            parameter.clamp_(-reach, reach)


def takes(function: Callable[..., object], name: str) -> bool:
    """True if `function` accepts an argument of this name."""
    call = function.forward if isinstance(function, torch.nn.Module) else function
    parameters = inspect.signature(call).parameters.values()
    return any(p.name == name or p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)


def check_critic(D: object, objective: Objective) -> None:
    """Refuse a D that compares samples where the objective measures each sample's gradient."""
    if objective.penalty is None or not isinstance(D, torch.nn.Module):
        return
    if any(type(module).__name__ == "MinibatchStdLayer" for module in D.modules()):
        raise UserError(
            f"--loss={objective.name} penalises D's gradient sample by sample, but this D mixes samples in a "
            "minibatch-stddev layer; build D with epilogue_kwargs mbstd_num_channels=0"
        )
