"""Settings with reasons: each preset of train_spine as flag values and why."""

from __future__ import annotations

Choice = tuple[bool | int | float | str, str]  # value of a flag, and the reason for it

_PAPER: dict[str, Choice] = {
    "cond": (True, "the paper's networks are conditional"),
    "aug": ("ada", "adaptive discriminator augmentation"),
    "target": (0.6, "the paper's ADA parameter"),
    "augpipe": ("bgcfnc", "blit, geometry, colour, filter, noise and cutout, as in section 4.3"),
    "snap": (50, "a snapshot every 200 kimg at 4 kimg per tick"),
}
_PASSES = 500  # 4200 kimg of the paper's about 8400 images are as many passes
_SHORTEST, _LONGEST = 200, 25000  # kimg; the longer one is upstream's


def length_for(num_images: int) -> Choice:
    """kimg for a data set of that size."""
    passes = 100 * max(1, round(num_images * _PASSES / 1000 / 100))
    kimg = min(max(passes, _SHORTEST), _LONGEST)
    return kimg, f"about {kimg * 1000 / max(num_images, 1):.0f} passes over {num_images:,} images"


PRESETS: dict[str, dict[str, Choice]] = {
    "paper-ada": _PAPER | {"kimg": (4200, "4,200,000 images shown to the discriminator")},
    "paper-spine": _PAPER
    | {
        "kimg": (4200, "4,200,000 images shown to the discriminator"),
        "loss": ("spine", "the class term of section 4.5"),
        "cls_weight": (0.01, "the paper's factor"),
        "cls_reduction": ("sum", "the paper's formula sums over the minibatch"),
    },
    "paper-multi": _PAPER | {"kimg": (1200, "1,200,000 images, for the eight lesion classes")},
    **{
        f"paper-dp-{arm}": _PAPER
        | {
            "kimg": (200, "Figure 3 is drawn after 200,000 images"),
            "dp_mode": ("paper", "clipping and noise as in section 4.4; guarantee: none"),
            "dp_ablation": (arm, reason),
        }
        for arm, reason in (
            ("b", "noise 0.2"),
            ("c", "noise 0.02"),
            ("d", "minibatches of 4 instead of 1"),
            ("e", "without clipping"),
        )
    },
    "radiograph": {
        "augpipe": (
            "radiograph",
            "no flips, quarter turns or colours: they would leak into fakes as anatomy",
        ),
        "ada_max_p": (0.8, "above that, augmentations themselves leak into the fakes"),
        "sampler": ("balanced", "rare classes are seen as often as frequent ones"),
        "cond": (True, "labels are what the data set is for"),
        "snap": (10, "small data overfits early: look often"),
    },
}
