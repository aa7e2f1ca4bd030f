"""What the training loop asks of a loss; everything but the gradients may be left out."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Protocol

from torch import Tensor

from stylegan2ada import protocols
from stylegan2ada.protocols import State


class Context(Protocol):
    """What a run tells its loss, and the loss its terms."""

    @property
    def cur_nimg(self) -> int: ...  # images shown to D so far


class NamedPhase(Protocol):
    """The phase of a step, as far as a loss cares."""

    name: str


class Loss:
    """Derive from this and override what you need; the loop calls all of it."""

    # True in the class itself, not in a parent: a phase may be recorded and replayed, without its Python.
    # What changes on the host from call to call must then be among `facts`.
    capturable: bool = False

    def why_not_recorded(self) -> str | None:
        """What stands against a recording, as a clause; None: nothing."""
        if vars(type(self)).get("capturable", False):
            return None
        return f"{type(self).__name__} does not say that it may be recorded (capturable = True)"

    def facts(self) -> Hashable:
        """Numbers of the host that gradients depend on; a recording holds while they stay equal."""
        return ()

    def start(self, context: Context) -> None:
        """Networks and data are built (or continued); the first iteration comes next."""

    def accumulate_gradients(
        self,
        phase: str,  # Gmain, Greg, Gboth, Dmain, Dreg, Dboth
        real_img: Tensor,  # [N, C, H, W] in [-1, 1]; none at all where a sampler draws by chance
        real_c: Tensor,  # [N, c_dim]
        gen_z: Tensor,  # [M, z_dim]; M = N unless a sampler draws by chance
        gen_c: Tensor,  # [M, c_dim]
        sync: bool,  # networks in DDP exchange gradients now; ours are not, and the loop averages over ranks
        gain: float,  # factor of the gradients
    ) -> None:
        """Back-propagate one round of one phase: add gradients to the parameters that require them."""
        raise NotImplementedError(f"{type(self).__name__} has no accumulate_gradients")

    def after_step(self, phase: NamedPhase | str) -> None:
        """A phase's optimiser has moved the weights."""

    def state_dict(self) -> State:
        """What must survive an interruption."""
        return {}

    def load_state_dict(self, state: State) -> None:
        """The inverse."""


class _Foreign(Loss):
    """A loss that knows nothing of ours, such as one written for upstream; what it lacks stays a no-op."""

    def __init__(self, inner: protocols.Loss) -> None:
        self.inner = inner
        for name in ("start", "accumulate_gradients", "after_step", "state_dict", "load_state_dict", "facts"):
            if callable(getattr(inner, name, None)):
                setattr(self, name, getattr(inner, name))

    def why_not_recorded(self) -> str | None:
        return Loss.why_not_recorded.__get__(self.inner)()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)  # hooks that know their loss find it unchanged


def as_loss(loss: protocols.Loss) -> Loss:
    """Any loss as the loop wants it."""
    return loss if isinstance(loss, Loss) else _Foreign(loss)
