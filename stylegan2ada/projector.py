"""Find the latent of an image: `python stylegan2ada/projector.py --network=... --target=... --outdir=...`."""

from __future__ import annotations

if __name__ == "__main__" and not __package__:
    import as_script  # noqa: F401
elif __name__ == "__main__":  # python -m
    import stylegan2ada.as_script  # noqa: F401

import importlib
import time
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import PIL.Image
import torch

from stylegan2ada import flag_types, options, projection, synthesis
from stylegan2ada.checkpoints import load_network
from stylegan2ada.data.decode import DEEP_MODES, open_picture
from stylegan2ada.errors import MissingError, UserError
from stylegan2ada.images import save_png, to_uint8_truncated
from stylegan2ada.lazy import is_command
from stylegan2ada.metrics.detectors import Detectors
from stylegan2ada.ops import choice
from stylegan2ada.processes import pick_device
from stylegan2ada.progress import Progress
from stylegan2ada.protocols import FeatureNetwork, Generator

_FRAMES_PER_SEC = 10


@dataclass(frozen=True)
class Projector:
    """What `projector` was asked."""

    network: str
    device: str
    target: str
    num_steps: int
    seed: int
    start_w: str | None
    detector: tuple[tuple[str, str], ...]
    class_idx: int | str | None
    label: str | None
    outdir: str
    save_video: bool
    ops: str | None
    graphs: str | None
    json_file: str | None


@options.command(record=Projector)
@options.network_option
@options.group(
    "What to find",
    options.opt("--target", required=True, metavar="FILE", help="Picture to look for"),
    options.opt("--num-steps", type=click.IntRange(max=100_000), default=1000, metavar="N",
                help="Steps to take [default: 1000]"),
    options.opt("--seed", type=flag_types.SEED, default=303, metavar="INT",
                help="Of the noise [default: 303]"),
    options.opt("--start-w", metavar="FILE", help="Start at the first w of this .npz [default: mean w]"),
    options.opt("--detector", type=flag_types.NamedValue(), multiple=True,
                help="vgg16=FILE judges likeness; vgg16=tiny is a rough stand-in"),
)  # fmt: skip
@options.label_options
@options.group(
    "Where to",
    options.opt("--outdir", required=True, metavar="DIR", help="Folder for the results"),
    options.opt("--save-video", type=bool, default=True, metavar="BOOL",
                help="Film of the search: proj.mp4, or proj.gif without imageio-ffmpeg [default: true]"),
)  # fmt: skip
@options.speed_options
@options.json_option
def main(asked: Projector) -> None:
    """Find the w whose image looks like a given one, by optimisation.

    Writes target.png, proj.png, projected_w.npz (for generate.py --projected-w) and a film.

    \b
    projector.py --network=net.pkl --target=spine.png --class=1 --outdir=out
    """
    if asked.num_steps < 1:
        raise UserError(f"--num-steps={asked.num_steps} does nothing; give at least 1")
    voice = options.Voice(asked.json_file)
    torch.manual_seed(asked.seed)
    loaded = load_network(asked.network, log=voice.say)
    device = pick_device(asked.device)
    choice.use_for_command(asked.ops, asked.graphs, device.type)
    G = synthesis.averaged_generator(loaded, device)
    target = read_target(asked.target, G.img_resolution, G.img_channels)  # uint8 [H, W, C]
    judge = _judge(dict(asked.detector), device)

    started = time.monotonic()
    number = synthesis.class_number(asked.class_idx, loaded["card"])
    c = (
        synthesis.labels(G, 1, class_idx=number, vector=synthesis.label_vector(asked.label))
        if G.c_dim
        else None
    )
    path, distance = search(G, c, target, judge, asked, device)
    seconds = time.monotonic() - started
    voice.say(f"Took {seconds:.1f} s")

    folder = Path(asked.outdir)
    folder.mkdir(parents=True, exist_ok=True)
    frames = _frames(G, path, device)
    written = [folder / "target.png", folder / "proj.png", folder / "projected_w.npz"]
    save_png(target, written[0])
    save_png(frames[-1], written[1])
    np.savez(written[2], w=path[-1:].cpu().numpy())
    if asked.save_video:
        written.append(write_film(folder, target, frames))
        voice.say(f"Film: {written[-1]}")
    voice.say(f"Results in {folder}")
    voice.numbers({"distance": distance, "seconds": seconds, "steps": asked.num_steps, "files": written})


def _judge(known: dict[str, str], device: torch.device) -> FeatureNetwork:
    """The network that tells how alike pictures are."""
    try:
        return Detectors(known, device).load("vgg16").module
    except UserError as error:
        if known:
            raise
        # Who has no network file to fetch shall know that one is built in.
        raise type(error)(f"{error}; --detector vgg16=tiny is built in, a rough stand-in") from error


def search(
    G: Generator,
    c: torch.Tensor | None,  # [1, c_dim]
    target: np.ndarray,  # uint8 [H, W, C]
    judge: FeatureNetwork,
    asked: Projector,
    device: torch.device,
) -> tuple[torch.Tensor, float]:
    """The w of every step, and the distance that the last one was judged by (before its update)."""
    start_w = None if asked.start_w is None else synthesis.read_w(asked.start_w, G, flag="--start-w")[0, 0]
    bar = Progress(asked.num_steps, "projecting")
    distances: list[float] = []

    def note(step: int, distance: float, loss: float) -> None:
        distances.append(distance)
        bar.step()

    path = projection.project(
        G,
        torch.from_numpy(target).permute(2, 0, 1),
        features=lambda img: judge(img, resize_images=False, return_lpips=True),
        num_steps=asked.num_steps,
        c=c,
        start_w=start_w,
        on_step=note,
        device=device,
    )
    bar.close()
    return path, distances[-1]


def read_target(file: str, resolution: int, channels: int) -> np.ndarray:
    """The centre square of a picture in the network's size and channels, uint8 [H, W, C]."""
    if not Path(file).exists():
        raise MissingError(f"--target={file} is not there; give a picture")
    with open_picture(file, f"--target={file}", error=UserError) as opened:
        if opened.mode in DEEP_MODES:  # Pillow would cut all above 255
            raise UserError(f"--target={file} has more than 8 bits; convert it to 8-bit grey or RGB")
        picture = opened.convert("L" if channels == 1 else "RGB")
    w, h = picture.size
    side = min(w, h)
    square = picture.crop(((w - side) // 2, (h - side) // 2, (w + side) // 2, (h + side) // 2))
    pixels = np.array(square.resize((resolution, resolution), PIL.Image.Resampling.LANCZOS))
    return pixels.reshape(resolution, resolution, channels)


def _frames(G: Generator, path: torch.Tensor, device: torch.device) -> list[np.ndarray]:
    """The image of every step, with the pixel rule of the projector (no rounding offset)."""
    batches = synthesis.images_from_w(G, path, device=device, batch=8)
    return [frame for img in batches for frame in to_uint8_truncated(img).permute(0, 2, 3, 1).cpu().numpy()]


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


is_command(__name__, "sg.project(G, target) searches from Python")
if __name__ == "__main__":
    main()
