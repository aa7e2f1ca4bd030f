"""Tables that flags choose from: base configurations, kinds of augmentation, networks to start from."""

from __future__ import annotations

import os
from typing import NamedTuple

from stylegan2ada.errors import UserError


class Preset(NamedTuple):
    """One row of the table of base configurations."""

    ref_gpus: int
    kimg: int
    batch: int
    mbstd: int
    fmaps: float
    lr: float
    gamma: float
    ema_kimg: float
    rampup: float | None
    map: int


# fmt: off
PRESETS = {  #             gpus    kimg  batch  mbstd  fmaps      lr  gamma   ema  ramp-up  map
    "stylegan2": Preset(      8,  25000,    32,     4,   1.0, 0.0020, 10.00,   10,    None,   8),
    "paper256":  Preset(      8,  25000,    64,     8,   0.5, 0.0025,  1.00,   20,    None,   8),
    "paper512":  Preset(      8,  25000,    64,     8,   1.0, 0.0025,  0.50,   20,    None,   8),
    "paper1024": Preset(      8,  25000,    32,     4,   1.0, 0.0020,  2.00,   10,    None,   8),
    "cifar":     Preset(      2, 100000,    64,    32,   1.0, 0.0025,  0.01,  500,    0.05,   2),
}
# fmt: on


def auto_preset(resolution: int, gpus: int) -> Preset:
    """The base configuration `auto`: upstream's rules of thumb for a resolution and a number of devices."""
    per_gpu = min(4096 // resolution, 32)
    batch = max(min(gpus * per_gpu, 64), gpus)
    return Preset(
        ref_gpus=gpus,
        kimg=25000,
        batch=batch,
        mbstd=min(batch // gpus, 4),
        fmaps=1.0 if resolution >= 512 else 0.5,
        lr=0.002 if resolution >= 1024 else 0.0025,
        gamma=0.0002 * resolution**2 / batch,
        ema_kimg=batch * 10 / 32,
        rampup=0.05,
        map=2,
    )


_KINDS = {
    "blit": "xflip rotate90 xint",
    "geom": "scale rotate aniso xfrac",
    "color": "brightness contrast lumaflip hue saturation",
    "filter": "imgfilter",
    "noise": "noise",
    "cutout": "cutout",
}
_SUMS = {"bg": 2, "bgc": 3, "bgcf": 4, "bgcfn": 5, "bgcfnc": 6}  # the first kinds, taken together


def augmentation_presets() -> dict[str, dict[str, float]]:
    """{name for --augpipe: arguments of the augmentation pipeline}."""
    names = {kind: words.split() for kind, words in _KINDS.items()}
    names |= {total: [w for kind in list(_KINDS)[:n] for w in names[kind]] for total, n in _SUMS.items()}
    table: dict[str, dict[str, float]] = {kind: dict.fromkeys(words, 1) for kind, words in names.items()}
    # What a radiograph can show: shifts, scale, exposure, and a patient who stands a little askew. No flips
    # (the heart is on one side), no quarter turns, no colours: those would leak into the fakes as anatomy.
    gentle = dict.fromkeys("xint scale aniso xfrac rotate brightness contrast".split(), 1)
    table["radiograph"] = gentle | {"rotate_max": 5 / 180}  # rotate_max is a fraction of half a turn
    return table


TRANSFER_URL = (
    "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/transfer-learning-source-nets/"
)
TRANSFER_SOURCES = {  # all below TRANSFER_URL
    "ffhq256": "ffhq-res256-mirror-paper256-noaug.pkl",
    "ffhq512": "ffhq-res512-mirror-stylegan2-noaug.pkl",
    "ffhq1024": "ffhq-res1024-mirror-stylegan2-noaug.pkl",
    "celebahq256": "celebahq-res256-mirror-paper256-kimg100000-ada-target0.5.pkl",
    "lsundog256": "lsundog-res256-paper256-kimg100000-noaug.pkl",
}


def transfer_source(name: str) -> str:
    """The URL of a known source network, or the path or URL itself."""
    file = TRANSFER_SOURCES.get(name)
    # A bare word is a name that is not known; whether files are there is for those who open them.
    if file is None and not set(name) & set("./\\:") and not os.path.exists(name):
        raise UserError(
            f"--resume={name} is neither a file nor a network known by name; those are "
            f"{', '.join(TRANSFER_SOURCES)}"
        )
    return name if file is None else TRANSFER_URL + file
