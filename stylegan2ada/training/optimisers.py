"""How the optimisers compute where they are, and states of theirs that go on anywhere."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from stylegan2ada.protocols import State

_SWITCHES = {"fused": None, "capturable": False}  # of the machine, not of the run; torch's own defaults


def switches_for(device: torch.device, optimizer: object) -> dict[str, Any]:
    """On CUDA one kernel for all parameters, which keeps its count of steps on the device."""
    return (
        {"fused": True, "capturable": True} if device.type == "cuda" and optimizer is torch.optim.Adam else {}
    )


def portable_state(opt: torch.optim.Optimizer) -> State:
    """The state as any device would have written it."""
    state = opt.state_dict()
    groups = [
        group | {name: plain for name, plain in _SWITCHES.items() if name in group}
        for group in state["param_groups"]
    ]
    return state | {"param_groups": groups}


def load(opt: torch.optim.Optimizer, state: State) -> None:
    """Take over numbers and settings; how to compute stays as it was built for this device."""
    # Before torch reads them: they decide on which device it puts the counts of steps.
    groups = [
        saved | {name: own[name] for name in _SWITCHES if name in own}
        for saved, own in zip(state["param_groups"], opt.param_groups, strict=True)
    ]
    opt.load_state_dict({**state, "param_groups": groups})


def settings(opt: torch.optim.Optimizer) -> tuple[object, ...]:
    """What a step computes with beside tensors; a recording of it holds these as they were."""
    return tuple(
        (name, value)
        for group in opt.param_groups
        for name, value in group.items()
        if name != "params" and not isinstance(value, torch.Tensor | nn.Parameter)
    )
