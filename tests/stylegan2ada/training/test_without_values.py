"""A step reads no value back from the device: all of it runs on tensors that have shapes and no values.

What reads (`float(tensor)`, a boolean of one, a size that depends on values) raises there, as it would make a
host wait for its GPU, or break a captured graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from stylegan2ada import stats
from stylegan2ada.losses.objectives import OBJECTIVES
from stylegan2ada.losses.stylegan2 import StyleGAN2Loss
from stylegan2ada.networks.augment import AugmentPipe
from stylegan2ada.networks.stylegan2 import Discriminator, Generator, set_precision
from stylegan2ada.ops import build, use_impl
from stylegan2ada.training import ema, loop
from stylegan2ada.training.hooks import Hook, Hooks
from stylegan2ada.training.phases import Phase, network_phases

SIDE, BATCH = 32, 4
BGCFNC = dict.fromkeys(
    ["xflip", "rotate90", "xint", "scale", "rotate", "aniso", "xfrac", "brightness", "contrast"]
    + ["lumaflip", "hue", "saturation", "imgfilter", "noise", "cutout"],
    1,
)


@pytest.fixture(autouse=True)
def _clean_statistics() -> Iterator[None]:
    """Counters of a device that is none must not stay."""
    stats.reset()
    yield
    stats.reset()


@pytest.fixture(params=["fast", "compiled"])
def operations(request: pytest.FixtureRequest) -> Iterator[str]:
    """Plain ones and our kernels, which must be there."""
    if request.param == "compiled":
        try:
            build.ensure("cpu", may_build=True, seconds=300)
        except build.Unavailable as reason:
            pytest.skip(str(reason))
    with use_impl(request.param):
        yield request.param


class Kernels(TorchDispatchMode):
    """Notes which kernels of ours are called within the block."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "stylegan2ada":
            self.names.add(func._opname)
        return func(*args, **(kwargs or {}))


class Bounded(Hook):
    """Clips each part's gradient and adds noise, on the device alone."""

    def after_part(self, phase: Phase) -> None:
        gradients = [p.grad for p in phase.parameters if p.grad is not None]
        norm = torch.stack(torch._foreach_norm(gradients)).norm()
        torch._foreach_mul_(gradients, (1 / norm).clamp(max=1))

    def after_backward(self, phase: Phase) -> None:
        for parameter in phase.parameters:
            if parameter.grad is not None:
                parameter.grad.add_(torch.randn_like(parameter.grad), alpha=1e-3)


class Term:
    """A term on the images themselves."""

    name, weight, reduction = "dark", 0.1, "sum"

    def __call__(self, fake_img: Tensor, gen_c: Tensor, real_img: Tensor) -> Tensor:
        return fake_img.square().flatten(1).mean(1)


def parts(device: str, channels: int = 1, *, augments: bool = True, **loss_options: Any) -> SimpleNamespace:
    """As much of a run as a step touches, on a device where nothing has a value."""
    widths = {"channel_base": 128, "channel_max": 8, "num_fp16_res": 2, "conv_clamp": 256}
    objective = loss_options.get("objective", "stylegan2")
    G = Generator(8, 2, 8, SIDE, channels, mapping_kwargs={"num_layers": 2}, synthesis_kwargs=widths)
    D = Discriminator(2, SIDE, channels, **(widths | OBJECTIVES[objective].network_settings))
    pipe = AugmentPipe(**BGCFNC)
    pipe.margins = "full"  # as "auto" means wherever reading costs something
    for module in (G, D, pipe):
        module.train().requires_grad_(False)
        if device != "cpu":  # made there
            module.to(device)
    for network in (G, D):
        set_precision(network, "bfloat16")
    loss = StyleGAN2Loss(device, G.mapping, G.synthesis, D, pipe if augments else None, **loss_options)
    adam = {"lr": 1e-3, "betas": [0, 0.99]}
    lazy = OBJECTIVES[objective].has_regularisers
    phases = network_phases("G", G, adam, 4 if lazy else None)
    phases += network_phases("D", D, adam, 16 if lazy else None)
    return SimpleNamespace(
        G=G, D=D, augment_pipe=pipe, loss=loss, phases=phases, progress=SimpleNamespace(batch_gpu=BATCH // 2)
    )


def take_a_step(run: SimpleNamespace, hooks: Hooks, device: str, channels: int = 1) -> list[str]:
    """Every phase once, and the moving average; the names of the phases."""
    images = torch.zeros([BATCH, channels, SIDE, SIDE], device=device)
    c, z = torch.zeros([BATCH, 2], device=device), torch.zeros([BATCH, 8], device=device)
    for phase in run.phases:
        loop.train_phase(run, hooks, phase, (images, c, z, c))
        hooks.after_step(phase)
    ema.update(run.G, run.G, BATCH, 0, ema_rampup=0.05)
    return [phase.name for phase in run.phases]


def test_all_phases_without_augmentation() -> None:
    run = parts("meta", augments=False, terms=[Term()])
    assert take_a_step(run, Hooks([Bounded()]), "meta") == ["Gmain", "Greg", "Dmain", "Dreg"]


@pytest.mark.slow
@pytest.mark.parametrize("hooks", [Hooks(), Hooks([Bounded()])], ids=["", "hooks"])
def test_all_phases_with_augmentation_terms_and_hooks(hooks: Hooks, operations: str) -> None:
    with FakeTensorMode(), Kernels() as kernels:
        run = parts("cpu", terms=[Term()])
        assert take_a_step(run, hooks, "cpu") == ["Gmain", "Greg", "Dmain", "Dreg"]
    known = {"epilogue", "epilogue_backward", "epilogue_second", "resample", "energy", "energy_times"}
    assert kernels.names - {"epilogue_in_place"} == (known if operations == "compiled" else set())


@pytest.mark.slow
@pytest.mark.parametrize("objective", [name for name in OBJECTIVES if name != "stylegan2"])
def test_other_objectives(objective: str, operations: str) -> None:
    with FakeTensorMode(), Kernels() as kernels:
        assert take_a_step(parts("cpu", objective=objective), Hooks(), "cpu") == ["Gboth", "Dboth"]
    assert bool(kernels.names) == (operations == "compiled")


@pytest.mark.slow
def test_on_a_device_that_is_no_cpu() -> None:
    """Branches that ask where a tensor is: those of a GPU are taken. Colours, too."""
    run = parts("meta", channels=3)
    run.augment_pipe.margins = "auto"
    assert take_a_step(run, Hooks(), "meta", channels=3) == ["Gmain", "Greg", "Dmain", "Dreg"]


@pytest.mark.parametrize("device", [pytest.param("cpu", marks=pytest.mark.slow), "meta"])
def test_what_reads_is_noticed(device: str) -> None:
    class Reads(Term):
        def __call__(self, fake_img: Tensor, gen_c: Tensor, real_img: Tensor) -> Tensor:
            return super().__call__(fake_img, gen_c, real_img) * float(fake_img.detach().mean())

    with FakeTensorMode() if device == "cpu" else torch.device("cpu"):
        run = parts(device, augments=False, terms=[Reads()])
        with pytest.raises(Exception, match="item|scalar|meta"):
            take_a_step(run, Hooks(), device)
