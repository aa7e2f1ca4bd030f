"""Names for losses and generator terms: `--loss=NAME`, `--term=NAME[:WEIGHT]`, or an import path."""

from __future__ import annotations

from stylegan2ada.registry import Registry

LOSSES = Registry("loss")
TERMS = Registry("term")

register_loss = LOSSES.register
find_loss = LOSSES.find
loss_names = LOSSES.names
register_term = TERMS.register
find_term = TERMS.find
term_names = TERMS.names

for _name in ("stylegan2", "ns", "minimax", "lsgan", "wgan", "wgan-gp"):
    register_loss(_name, "stylegan2ada.losses.stylegan2:StyleGAN2Loss")
