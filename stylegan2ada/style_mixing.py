"""Mix styles: `python stylegan2ada/style_mixing.py --network=... --rows=... --cols=... --outdir=...`."""

from __future__ import annotations

if __name__ == "__main__" and not __package__:
    import as_script  # noqa: F401
elif __name__ == "__main__":  # python -m
    import stylegan2ada.as_script  # noqa: F401

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import torch

from stylegan2ada import flag_types, options, synthesis
from stylegan2ada.checkpoints import load_network
from stylegan2ada.images import captioned_tiles, save_png, to_pil
from stylegan2ada.lazy import is_command
from stylegan2ada.ops import choice
from stylegan2ada.processes import pick_device

_COARSE = 7  # layers that --styles means by default; networks below 64x64 have fewer, there it is all of them


@dataclass(frozen=True)
class StyleMixing:
    """What `style_mixing` was asked."""

    network: str
    device: str
    row_seeds: list[int]
    col_seeds: list[int]
    styles: list[int] | None
    class_idx: int | str | None
    label: str | None
    trunc: float
    noise_mode: str
    outdir: str
    captions: bool
    ops: str | None
    graphs: str | None
    json_file: str | None


@options.command(record=StyleMixing)
@options.network_option
@options.group(
    "What to mix",
    options.opt("--rows", "row_seeds", type=flag_types.Seeds(), required=True, help="Seeds of the rows"),
    options.opt("--cols", "col_seeds", type=flag_types.Seeds(), required=True,
                help="Seeds of the columns"),
    options.opt("--styles", type=flag_types.NumRange(),
                help="Layers that a picture takes from its column [default: 0-6, as far as there are]"),
)  # fmt: skip
@options.label_options
@options.image_options
@options.group(
    "Where to",
    options.opt("--outdir", required=True, metavar="DIR", help="Folder for the pictures and grid.png"),
    options.opt("--captions", is_flag=True, help="Seeds of row and column on the images of grid.png"),
)
@options.speed_options
@options.json_option
def main(asked: StyleMixing) -> None:
    """Pictures that take coarse styles from one seed and the rest from another, singly and as a grid.

    \b
    style_mixing.py --network=net.pkl --rows=85,100 --cols=55,821 --outdir=out
    """
    voice = options.Voice(asked.json_file)
    device = pick_device(asked.device)
    choice.use_for_command(asked.ops, asked.graphs, device.type)
    loaded = load_network(asked.network, log=voice.say)
    G = synthesis.averaged_generator(loaded, device)
    number = synthesis.class_number(asked.class_idx, loaded["card"])
    c = synthesis.labels(G, 1, class_idx=number, vector=synthesis.label_vector(asked.label))
    styles = list(range(min(_COARSE, G.num_ws))) if asked.styles is None else asked.styles
    torch.manual_seed(asked.row_seeds[0])  # of random noise; torch begins every process with another seed
    images = synthesis.mixed_styles(
        G,
        asked.row_seeds,
        asked.col_seeds,
        styles,
        c,
        device=device,
        psi=asked.trunc,
        noise_mode=asked.noise_mode,
    )
    folder = Path(asked.outdir)
    folder.mkdir(parents=True, exist_ok=True)
    for (row, column), image in images.items():
        save_png(image, folder / f"{row}-{column}.png")
    # upstream: without words; --captions writes the seeds on it
    picture = to_pil(grid(images, asked.row_seeds, asked.col_seeds))
    if asked.captions:
        picture = captioned(images, asked.row_seeds, asked.col_seeds)
    picture.save(folder / "grid.png", format="PNG")
    voice.say(f"{len(images)} images and grid.png in {folder}")
    voice.numbers({
        "images": len(images),
        "files": [*(folder / f"{row}-{column}.png" for row, column in images), folder / "grid.png"],
        "rows": asked.row_seeds,
        "cols": asked.col_seeds,
        "styles": styles,
    })  # fmt: skip


def grid(images: dict[tuple[int, int], np.ndarray], rows: list[int], columns: list[int]) -> np.ndarray:
    """All mixtures as one picture: column seeds on top, row seeds at the left, a black corner."""
    corner = np.zeros_like(next(iter(images.values())))
    lines = [[corner, *(images[column, column] for column in columns)]]
    lines += [[images[row, row], *(images[row, column] for column in columns)] for row in rows]
    return np.concatenate([np.concatenate(line, axis=1) for line in lines])


def captioned(
    images: dict[tuple[int, int], np.ndarray], rows: list[int], columns: list[int]
) -> PIL.Image.Image:
    """The same picture with the seeds on it: of a row, of a column, or of both."""
    corner = np.zeros_like(next(iter(images.values())))
    named = [("", corner), *((f"column {column}", images[column, column]) for column in columns)]
    for row in rows:
        named.append((f"row {row}", images[row, row]))
        named += [(f"{row} with {column}", images[row, column]) for column in columns]
    captions, tiles = zip(*named)
    return captioned_tiles(tiles, captions, 1 + len(columns))


is_command(__name__, "stylegan2ada.synthesis.mixed_styles mixes from Python")
if __name__ == "__main__":
    main()
