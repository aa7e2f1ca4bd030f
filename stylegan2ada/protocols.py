"""The parts that more than one class can play: networks, detectors, losses, sources of labels.

For type checkers and readers; nothing here runs, and nothing needs to derive from it. Rooms that rebuild our
own networks (checkpoints) name the classes themselves; those that only use a network ask for its part.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, TypedDict

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor, nn

    from stylegan2ada.networks import augment, stylegan2

# Dictionaries whose values only the other end knows: the one place where that is said.
Options = dict[
    str, Any
]  # keyword arguments of a constructor or a call, as options files and pickles hold them
State = dict[str, Any]  # of an object, for its load_state_dict: tensors and plain data
Card = dict[str, Any]  # facts about networks or images that travel with them; JSON

NetworkKey = Literal["G", "D", "G_ema"]
NETWORK_KEYS: tuple[NetworkKey, ...] = ("G", "D", "G_ema")


class Networks(TypedDict):
    """What a network file holds, rebuilt as our classes; None where it holds none."""

    G: stylegan2.Generator | None
    D: stylegan2.Discriminator | None
    G_ema: stylegan2.Generator | None
    augment_pipe: augment.AugmentPipe | None
    training_set_kwargs: Options | None
    card: Card | None


class Module(Protocol):
    """As much of torch.nn.Module as the rooms above the networks use."""

    training: bool

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]: ...

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Parameter]]: ...

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]: ...

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]: ...

    def modules(self) -> Iterator[nn.Module]: ...

    def train(self, mode: bool = True) -> Self: ...

    def eval(self) -> Self: ...

    def requires_grad_(self, requires_grad: bool = True) -> Self: ...

    def to(self, device: torch.device | str) -> Self: ...

    def state_dict(self) -> State: ...

    def load_state_dict(self, state_dict: State) -> object: ...


class Mapping(Module, Protocol):
    """z [N, z_dim], c [N, c_dim] -> ws [N, num_ws, w_dim]."""

    w_avg: Tensor  # running mean of w, [w_dim]

    def __call__(
        self,
        z: Tensor,
        c: Tensor | None,
        truncation_psi: float = 1,
        truncation_cutoff: int | None = None,
        skip_w_avg_update: bool = False,
    ) -> Tensor: ...


class Synthesis(Module, Protocol):
    """ws [N, num_ws, w_dim] -> images [N, C, R, R], nominally in [-1, 1]."""

    def __call__(self, ws: Tensor, **options: Any) -> Tensor: ...  # noise_mode, force_fp32, ...


class Generator(Module, Protocol):
    """z [N, z_dim], c [N, c_dim] -> images [N, C, R, R], nominally in [-1, 1]."""

    z_dim: int
    c_dim: int
    w_dim: int
    num_ws: int
    img_resolution: int
    img_channels: int

    @property
    def mapping(self) -> Mapping: ...

    @property
    def synthesis(self) -> Synthesis: ...

    def __call__(
        self,
        z: Tensor,
        c: Tensor | None,
        truncation_psi: float = 1,
        truncation_cutoff: int | None = None,
        **synthesis_options: Any,
    ) -> Tensor: ...


class Discriminator(Module, Protocol):
    """Images [N, C, R, R], c [N, c_dim] -> logits [N, 1]; higher is more real."""

    c_dim: int
    img_resolution: int
    img_channels: int

    def __call__(self, img: Tensor, c: Tensor | None, **options: Any) -> Tensor: ...


class AugmentPipe(Module, Protocol):
    """Images -> images of the same shape, changed with the overall probability `p`."""

    p: Tensor  # [], written by whoever controls it

    def __call__(self, images: Tensor, debug_percentile: float | None = None) -> Tensor: ...


class FeatureNetwork(Protocol):
    """The network of a detector: the calls of the official TorchScript files."""

    def __call__(
        self,
        img: Tensor,  # [N, 3, H, W], 0..255
        return_features: bool = False,
        no_output_bias: bool = False,  # class probabilities, as the Inception Score wants them
        resize_images: bool = True,
        return_lpips: bool = False,  # squared distances of the result are perceptual distances
    ) -> Tensor: ...


class Loss(Protocol):
    """Upstream's contract: adds the gradients of one round of a phase to the parameters."""

    def accumulate_gradients(
        self,
        phase: str,  # Gmain, Greg, Gboth, Dmain, Dreg, Dboth
        real_img: Tensor,  # [N, C, H, W] in [-1, 1]
        real_c: Tensor,  # [N, c_dim]
        gen_z: Tensor,  # [N, z_dim]
        gen_c: Tensor,  # [N, c_dim]
        sync: bool,  # always True here; for losses that were written for upstream
        gain: float,  # factor of the gradients
    ) -> None: ...


class LabelSource(Protocol):
    """Where labels of generated images are drawn from; a data set is one."""

    def draw_labels(
        self, count: int, rng: np.random.RandomState | np.random.Generator | None = None
    ) -> np.ndarray: ...  # float32 [count, label_dim]


class Stateful(Protocol):
    """What survives an interruption."""

    def state_dict(self) -> State: ...

    def load_state_dict(self, state: State) -> None: ...
