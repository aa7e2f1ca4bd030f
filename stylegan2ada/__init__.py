"""SpineGAN's engine: a clean-room StyleGAN2-ADA with upstream's commands, files and numbers.

    import stylegan2ada as sg
    G = sg.load_network("network-snapshot-004200.pkl")["G_ema"]
    images = sg.generate_images(G, seeds=range(8), psi=0.7)

A name is imported when it is first used, so that `import stylegan2ada` itself loads no torch.
docs/python.md shows the names at work.
"""

from typing import TYPE_CHECKING

from stylegan2ada.lazy import exports

if TYPE_CHECKING:
    from stylegan2ada import data, metrics, stats
    from stylegan2ada.checkpoints.network_files import save_network
    from stylegan2ada.data.dataset import ImageFolderDataset
    from stylegan2ada.library import load_network, train_network
    from stylegan2ada.losses.registry import find_loss, register_loss, register_term
    from stylegan2ada.losses.stylegan2 import StyleGAN2Loss
    from stylegan2ada.networks.augment import AugmentPipe
    from stylegan2ada.networks.stylegan2 import Discriminator, Generator
    from stylegan2ada.projection import project
    from stylegan2ada.synthesis import generate_images
    from stylegan2ada.training.hooks import Hook

__version__ = "0.1.0"
__all__ = [
    "AugmentPipe", "Discriminator", "Generator", "Hook", "ImageFolderDataset", "StyleGAN2Loss", "data",
    "find_loss", "generate_images", "load_network", "metrics", "project", "register_loss", "register_term",
    "save_network", "stats", "train_network",
]  # fmt: skip

_HOMES = {
    "checkpoints.network_files": ["save_network"],
    "data.dataset": ["ImageFolderDataset"],
    "library": ["load_network", "train_network"],
    "losses.registry": ["find_loss", "register_loss", "register_term"],
    "losses.stylegan2": ["StyleGAN2Loss"],
    "networks.augment": ["AugmentPipe"],
    "networks.stylegan2": ["Discriminator", "Generator"],
    "projection": ["project"],
    "synthesis": ["generate_images"],
    "training.hooks": ["Hook"],
}
_ROOMS = ["data", "metrics", "stats"]
_COMMANDS = [
    "calc_metrics",
    "generate",
    "projector",
    "style_mixing",
    "train",
]  # called, they say what to call
if not TYPE_CHECKING:  # a type checker that sees __getattr__ lets every misspelt name pass
    __getattr__, __dir__ = exports(
        __name__,
        {name: f"{__name__}.{home}" for home, names in _HOMES.items() for name in names}
        | dict.fromkeys(_ROOMS + _COMMANDS, ""),
    )
