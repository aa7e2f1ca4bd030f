"""The networks; ours have the same arguments."""

from stylegan2ada.networks.stylegan2 import Discriminator, Generator  # noqa: F401
