"""Find the latent of an image: `python stylegan2ada/projector.py --network=... --target=... --outdir=...`."""

if __name__ == "__main__" and not __package__:
    import as_script  # noqa: F401

import importlib
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import PIL.Image
import torch

from stylegan2ada import options, projection, synthesis
from stylegan2ada.checkpoints import load_network
from stylegan2ada.errors import MissingError, UserError
from stylegan2ada.generate import chosen_labels, label_options, network_option, read_w
from stylegan2ada.images import save_png
from stylegan2ada.metrics.detectors import Detectors
from stylegan2ada.processes import pick_device
from stylegan2ada.progress import Progress

_FRAMES_PER_SEC = 10


@options.command()
@network_option
@options.group(
    "What to find",
    options.opt("--target", required=True, metavar="FILE", help="Picture to look for"),
    options.opt("--num-steps", type=int, default=1000, metavar="N", help="Steps to take [default: 1000]"),
    options.opt("--seed", type=int, default=303, metavar="INT", help="Of the noise [default: 303]"),
    options.opt("--start-w", metavar="FILE", help="Start at the first w of this .npz [default: mean w]"),
    options.opt("--detector", type=options.NamedValue(), multiple=True,
                help="vgg16=FILE judges likeness; vgg16=tiny is a rough stand-in"),
)  # fmt: skip
@label_options
@options.group(
    "Where to",
    options.opt("--outdir", required=True, metavar="DIR", help="Folder for the results"),
    options.opt("--save-video", type=bool, default=True, metavar="BOOL",
                help="Film of the search: proj.mp4, or proj.gif without imageio-ffmpeg [default: true]"),
)  # fmt: skip
def main(**given: Any) -> None:
    """Find the w whose image looks like a given one, by optimisation.

    Writes target.png, proj.png, projected_w.npz (for generate.py --projected-w) and a film.

    \b
    python stylegan2ada/projector.py --network=net.pkl --target=spine.png --class=1 --outdir=out
    """
    if given["num_steps"] < 1:
        raise UserError(f"--num-steps={given['num_steps']} does nothing; give at least 1")
    np.random.seed(given["seed"])
    torch.manual_seed(given["seed"])
    device = pick_device(given["device"])
    G = load_network(given["network"])["G_ema"].to(device)
    target = read_target(given["target"], G.img_resolution, G.img_channels)  # uint8 [H, W, C]
    judge = Detectors(dict(given["detector"]), device).load("vgg16")
    start_w = None if given["start_w"] is None else read_w(given["start_w"], G)[0, 0]

    started, bar = time.monotonic(), Progress(given["num_steps"], "projecting")
    path = projection.project(
        G,
        torch.from_numpy(target).permute(2, 0, 1),
        features=lambda img: judge.module(img, resize_images=False, return_lpips=True),
        num_steps=given["num_steps"],
        c=chosen_labels(G, 1, given) if G.c_dim else None,
        start_w=start_w,
        on_step=lambda step, distance, loss: bar.step(),
        device=device,
    )
    bar.close()
    click.echo(f"Took {time.monotonic() - started:.1f} s")

    folder = Path(given["outdir"])
    folder.mkdir(parents=True, exist_ok=True)
    frames = _frames(G, path, device)
    save_png(target, folder / "target.png")
    save_png(frames[-1], folder / "proj.png")
    np.savez(folder / "projected_w.npz", w=path[-1:].cpu().numpy())
    if given["save_video"]:
        click.echo(f"Film: {write_film(folder, target, frames)}")
    click.echo(f"Results in {folder}")


def read_target(file: str, resolution: int, channels: int) -> np.ndarray:
    """The centre square of a picture in the network's size and channels, uint8 [H, W, C]."""
    if not Path(file).is_file():
        raise MissingError(f"--target={file} is not there; give a picture")
    try:
        with PIL.Image.open(file) as opened:
            picture = opened.convert("L" if channels == 1 else "RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"--target={file} is not a picture that can be read ({error})") from error
    w, h = picture.size
    side = min(w, h)
    square = picture.crop(((w - side) // 2, (h - side) // 2, (w + side) // 2, (h + side) // 2))
    pixels = np.array(square.resize((resolution, resolution), PIL.Image.Resampling.LANCZOS))
    return pixels.reshape(resolution, resolution, channels)


def _frames(G: Any, path: torch.Tensor, device: torch.device) -> list[np.ndarray]:
    """The image of every step, with the pixel rule of the projector (no rounding offset)."""
    found = []
    for img in synthesis.images_from_w(G, path, device=device, batch=8):
        values = ((img.float() + 1) * 127.5).clamp(0, 255).to(torch.uint8)
        found += list(values.permute(0, 2, 3, 1).cpu().numpy())
    return found


def write_film(folder: Path, target: np.ndarray, frames: list[np.ndarray]) -> Path:
    """Target and search side by side; mp4 where an encoder is installed, else gif."""
    pairs = [np.concatenate([target, frame], axis=1) for frame in frames]
    pairs = [np.repeat(pair, 3, axis=2) if pair.shape[2] == 1 else pair for pair in pairs]
    try:
        imageio = importlib.import_module("imageio.v2")
        importlib.import_module("imageio_ffmpeg")
    except ImportError:
        click.echo("No mp4 without imageio-ffmpeg (pip install 'spinegan[video]'); writing a gif", err=True)
        pictures = [PIL.Image.fromarray(pair) for pair in pairs]
        pictures[0].save(
            folder / "proj.gif", save_all=True, append_images=pictures[1:], duration=1000 // _FRAMES_PER_SEC
        )
        return folder / "proj.gif"
    with imageio.get_writer(
        str(folder / "proj.mp4"), mode="I", fps=_FRAMES_PER_SEC, codec="libx264", bitrate="16M"
    ) as film:
        for pair in pairs:
            film.append_data(pair)
    return folder / "proj.mp4"


if __name__ == "__main__":
    main()
