"""Mix styles: `python stylegan2ada/style_mixing.py --network=... --rows=... --cols=... --outdir=...`."""

if __name__ == "__main__" and not __package__:
    import as_script  # noqa: F401

from pathlib import Path
from typing import Any

import click
import numpy as np

from stylegan2ada import options, synthesis
from stylegan2ada.checkpoints import load_network
from stylegan2ada.generate import chosen_labels, image_options, label_options, network_option
from stylegan2ada.images import save_png
from stylegan2ada.processes import pick_device


@options.command()
@network_option
@options.group(
    "What to mix",
    options.opt("--rows", "row_seeds", type=options.NumRange(), required=True, help="Seeds of the rows"),
    options.opt("--cols", "col_seeds", type=options.NumRange(), required=True,
                help="Seeds of the columns"),
    options.opt("--styles", type=options.NumRange(), default="0-6",
                help="Layers that a picture takes from its column [default: 0-6]"),
)  # fmt: skip
@label_options
@image_options
@options.group(
    "Where to",
    options.opt("--outdir", required=True, metavar="DIR", help="Folder for the pictures and grid.png"),
)
def main(**given: Any) -> None:
    """Pictures that take coarse styles from one seed and the rest from another, singly and as a grid.

    \b
    python stylegan2ada/style_mixing.py --network=net.pkl --rows=85,100 --cols=55,821 --outdir=out
    """
    loaded = load_network(given["network"])
    device = pick_device(given["device"])
    G = loaded["G_ema"].to(device)
    rows, columns = given["row_seeds"], given["col_seeds"]
    images = synthesis.mixed_styles(
        G, rows, columns, given["styles"], chosen_labels(G, 1, given),
        device=device, psi=given["trunc"], noise_mode=given["noise_mode"],
    )  # fmt: skip
    folder = Path(given["outdir"])
    folder.mkdir(parents=True, exist_ok=True)
    for (row, column), image in images.items():
        save_png(image, folder / f"{row}-{column}.png")
    save_png(grid(images, rows, columns), folder / "grid.png")
    click.echo(f"{len(images)} images and grid.png in {folder}")


def grid(images: dict[tuple[int, int], np.ndarray], rows: list[int], columns: list[int]) -> np.ndarray:
    """All mixtures as one picture: column seeds on top, row seeds at the left, a black corner."""
    corner = np.zeros_like(next(iter(images.values())))
    lines = [[corner, *(images[column, column] for column in columns)]]
    lines += [[images[row, row], *(images[row, column] for column in columns)] for row in rows]
    return np.concatenate([np.concatenate(line, axis=1) for line in lines])


if __name__ == "__main__":
    main()
