"""Seeds -> z -> w -> images: the one way in which commands, snapshots and metrics run a generator."""

from __future__ import annotations

import copy
import math
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stylegan2ada.errors import MissingError, UserError
from stylegan2ada.images import to_uint8
from stylegan2ada.ops.recorded_images import drawn
from stylegan2ada.protocols import Card, Generator, Networks, Options

NOISE_MODES = ("const", "random", "none")
BATCH = 16  # images at once: other sizes may differ in the last bit


def averaged_generator(networks: Mapping[str, Any], device: torch.device | str) -> Generator:
    """G_ema of what load_network read, on a device."""
    G: Generator | None = networks["G_ema"]
    if G is None:
        raise UserError("this network file holds no G_ema, so nothing can be drawn; give another file")
    refuse_broken(G)
    return G.to(device)


def refuse_broken(G: Generator) -> None:
    """UserError for weights that are no numbers: every picture would be black."""
    for name, tensor in G.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise UserError(
                f"the network's {name} holds NaN or infinity, so its pictures would be black; "
                "its training diverged: take an earlier snapshot"
            )


def class_number(choice: int | str | None, card: Card | None, *, given: str = "--class=") -> int | None:
    """The number of a class that was given by number or by name; the card knows the names."""
    if not isinstance(choice, str):
        return choice
    names = list((card or {}).get("label_names") or ())
    if choice in names:
        return names.index(choice)
    known = f"its classes are {', '.join(names)}" if names else "this network knows no names of classes"
    raise UserError(f"{given}{choice}: {known}; give one of them, or a number from 0")


def label_text(card: Card | None, *, class_idx: int | None, label: str | None) -> str:
    """What people call a class or a label vector."""
    if label is not None:
        return label
    names = list((card or {}).get("label_names") or ())
    return f"class {class_idx}" if class_idx is None or class_idx >= len(names) else str(names[class_idx])


# A network itself must hold nothing that its file's format has no place for.
_CARDS: weakref.WeakKeyDictionary[object, Card] = weakref.WeakKeyDictionary()


def remember_card(networks: Networks) -> Networks:
    """The same networks, whose generators are known by the card of their file: classes have names."""
    for name in ("G", "G_ema"):
        if networks[name] is not None and networks["card"]:
            _CARDS[networks[name]] = networks["card"]
    return networks


def seed_latents(seeds: Sequence[int], z_dim: int) -> torch.Tensor:
    """One latent per seed, each from its own numpy generator: float64 [n, z_dim]."""
    # upstream: float64, the mapping network casts. A seed's image does not depend on its neighbours.
    rows = [np.random.RandomState(seed).randn(z_dim) for seed in seeds]
    return torch.from_numpy(np.stack(rows)) if rows else torch.zeros([0, z_dim], dtype=torch.float64)


def label_vector(text: str | None) -> list[float] | None:
    """`0.2,1,0` -> [0.2, 1.0, 0.0]: the value of --label."""
    if text is None:
        return None
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = [math.nan]
    if not all(map(math.isfinite, numbers)):
        raise UserError(f"--label={text} must be numbers between commas, such as 0.2,1,0")
    return numbers


def labels(
    G: Generator, n: int, *, class_idx: int | None = None, vector: Sequence[float] | None = None
) -> torch.Tensor:
    """n equal labels, [n, c_dim]: one class, one vector, or empty for a network without labels."""
    if G.c_dim == 0:
        return torch.zeros([n, 0])
    if vector is not None:
        if len(vector) != G.c_dim:
            raise UserError(
                f"--label has {len(vector)} numbers, but this network takes {G.c_dim}; give one per class"
            )
        return torch.tensor(list(vector), dtype=torch.float32).expand(n, -1)
    if class_idx is None:
        raise UserError(
            f"this network is conditional; choose with --class=0..{G.c_dim - 1}, or give --label numbers"
        )
    if not 0 <= class_idx < G.c_dim:
        raise UserError(
            f"--class={class_idx} does not exist; this network knows the classes 0 to {G.c_dim - 1}"
        )
    one_hot = torch.zeros([n, G.c_dim])
    one_hot[:, class_idx] = 1
    return one_hot


def precision_options(device: torch.device | str) -> Options:
    """Half precision is for accelerators; elsewhere every layer computes in float32."""
    return {} if torch.device(device).type == "cuda" else {"force_fp32": True}


@torch.no_grad()
def images_from_z(
    G: Generator,
    z: torch.Tensor,  # [n, z_dim]
    c: torch.Tensor,  # [n, c_dim]
    *,
    device: torch.device | str = "cpu",
    psi: float = 1,
    cutoff: int | None = None,
    noise_mode: str = "const",
    batch: int = BATCH,
    **synthesis_kwargs: Any,
) -> Iterator[torch.Tensor]:
    """Images in [-1, 1], float [b, C, H, W], in batches."""
    options = precision_options(device) | synthesis_kwargs
    for z_part, c_part in zip(z.split(batch), c.split(batch)):
        # Casting is the first act of the mapping network; MPS, which has no float64, needs it a step earlier.
        z_here = z_part.to(device, torch.float32)
        ws = G.mapping(z_here, c_part.to(device), truncation_psi=psi, truncation_cutoff=cutoff)
        yield drawn(G.synthesis, ws, noise_mode=noise_mode, **options)


@torch.no_grad()
def images_from_w(
    G: Generator,
    ws: torch.Tensor,  # [n, num_ws, w_dim]
    *,
    device: torch.device | str = "cpu",
    noise_mode: str = "const",
    batch: int = BATCH,
    **synthesis_kwargs: Any,
) -> Iterator[torch.Tensor]:
    """Images in [-1, 1], float [b, C, H, W], in batches."""
    options = precision_options(device) | synthesis_kwargs
    for part in ws.split(batch):
        yield drawn(G.synthesis, part.to(device), noise_mode=noise_mode, **options)


def pixels(img: torch.Tensor) -> np.ndarray:
    """float [b, C, H, W] in [-1, 1] -> uint8 [b, H, W, C]."""
    return to_uint8(img).permute(0, 2, 3, 1).cpu().numpy()


def generate_images(
    G: Generator,
    seeds: Sequence[int],
    *,
    classes: int | str | Sequence[int | str] | None = None,
    psi: float = 1.0,
    noise: str = "random",
    device: torch.device | str | None = None,
) -> np.ndarray:
    """One image per seed, uint8 [N, H, W] of a grey network or [N, H, W, 3]: the pixels of generate.py.

    `classes` is the class of all images, or one per seed, or None for a network without classes: a number, or
    a name that a network from sg.load_network knows. `psi` below 1 trades variety for typical images. `noise`
    is "const" (generate.py's default: a seed gives the same pixels every time), "random" (new noise from
    torch's generator) or "none". `device` is where to compute, by default where the network is; the network
    itself is left as it was.

    >>> import torch
    >>> from stylegan2ada import synthesis
    >>> from stylegan2ada.networks.stylegan2 import Generator
    >>> G = Generator(z_dim=8, c_dim=2, w_dim=8, img_resolution=16, img_channels=1,
    ...               synthesis_kwargs={"channel_base": 64})
    >>> images = synthesis.generate_images(G, range(6), classes=[0, 0, 0, 1, 1, 1], noise="const")
    >>> images.shape, images.dtype.name
    ((6, 16, 16), 'uint8')
    """
    seeds = [int(seed) for seed in seeds]
    if noise not in NOISE_MODES:
        raise UserError(f"noise={noise!r} is not known; choose from {', '.join(NOISE_MODES)}")
    c = _one_hot(G, len(seeds), classes)
    # Without seeds, too, the result has its shape; nothing at all cannot be concatenated.
    refuse_broken(G)
    empty = np.zeros([0, G.img_resolution, G.img_resolution, G.img_channels], dtype=np.uint8)
    home = next(G.parameters()).device
    place = torch.device(home if device is None else device)
    if G.training or place != home:  # in training, mapping would move w_avg
        G = copy.deepcopy(G).eval().to(place)
    batches = images_from_z(G, seed_latents(seeds, G.z_dim), c, device=place, psi=psi, noise_mode=noise)
    images = np.concatenate([empty, *(pixels(img) for img in batches if len(seeds))])
    return images[..., 0] if G.img_channels == 1 else images


def _one_hot(G: Generator, n: int, classes: int | str | Sequence[int | str] | None) -> torch.Tensor:
    """Labels [n, c_dim] of one class for all, or of a class each."""
    if G.c_dim == 0:
        if classes is not None:
            raise UserError(f"classes={classes!r} was given, but this network has no classes; leave it out")
        return torch.zeros([n, 0])
    if classes is None:
        raise UserError(
            f"this network is conditional; give classes, one of 0 to {G.c_dim - 1} or one per seed"
        )
    chosen = _class_numbers(classes, n, _CARDS.get(G))
    if len(chosen) != n:
        raise UserError(f"classes has {len(chosen)} entries for {n} seeds; give one class, or one per seed")
    unknown = chosen[(chosen < 0) | (chosen >= G.c_dim)]
    if len(unknown):
        raise UserError(
            f"class {unknown[0]} does not exist; this network knows the classes 0 to {G.c_dim - 1}"
        )
    return torch.nn.functional.one_hot(torch.from_numpy(chosen), G.c_dim).float()


def _class_numbers(classes: int | str | Sequence[int | str], n: int, card: Card | None) -> np.ndarray:
    """The classes by number, int64; n of them if one was given for all."""
    given = classes.tolist() if isinstance(classes, np.ndarray | np.generic | torch.Tensor) else classes
    listed = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given] * n
    numbers = [class_number(choice, card, given="class ") for choice in listed]
    broken = [number for number in numbers if number is None or number != int(number)]
    if broken:
        raise UserError(
            f"class {broken[0]} is no whole number; give a class by its number, from 0, or its name"
        )
    return np.array(numbers, dtype=np.int64)


def read_w(path: str, G: Generator, *, flag: str = "--projected-w") -> torch.Tensor:
    """The array `w` of an .npz, [n, num_ws, w_dim]; `flag` is where the user named it."""
    if not Path(path).is_file():
        raise MissingError(f"{flag}={path} is not there; projector.py writes such a file")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            w = torch.as_tensor(arrays["w"], dtype=torch.float32)
    except (KeyError, ValueError, OSError) as error:
        raise UserError(f"{flag}={path} is no .npz with an array named w ({error})") from error
    if tuple(w.shape[1:]) != (G.num_ws, G.w_dim):
        raise UserError(
            f"{flag}={path} holds w of shape {list(w.shape)}, but this network takes "
            f"[n, {G.num_ws}, {G.w_dim}]; was it projected with another network?"
        )
    return w


@torch.no_grad()
def mixed_styles(
    G: Generator,
    rows: Sequence[int],
    columns: Sequence[int],
    styles: Sequence[int],
    c: torch.Tensor,  # [1, c_dim]
    *,
    device: torch.device | str = "cpu",
    psi: float = 1,
    noise_mode: str = "const",
    batch: int = BATCH,
) -> dict[tuple[int, int], np.ndarray]:
    """{(row seed, column seed): uint8 [H, W, C]}; equal seeds are the plain images, the rest mix.

    A mixed image is the row's, with the column's w in the layers listed in `styles`.
    """
    unknown = [layer for layer in styles if not 0 <= layer < G.num_ws]
    if unknown:
        raise UserError(f"--styles names layer {unknown[0]}, but this network has 0 to {G.num_ws - 1}")
    seeds = list(dict.fromkeys([*rows, *columns]))
    z = seed_latents(seeds, G.z_dim).to(device, torch.float32)
    all_ws = G.mapping(z, c.to(device).expand(len(seeds), -1))
    # upstream: this formula, not the mapping network's own truncation, which may round otherwise.
    all_ws = G.mapping.w_avg + (all_ws - G.mapping.w_avg) * psi
    w_of = dict(zip(seeds, all_ws))

    pairs = [(seed, seed) for seed in seeds]
    pairs += [(row, column) for row in rows for column in columns if row != column]
    # [num_ws, 1], spread over w_dim.
    is_taken_from_column = torch.zeros(G.num_ws, 1, dtype=torch.bool, device=device)
    is_taken_from_column[list(styles)] = True
    ws = torch.stack([torch.where(is_taken_from_column, w_of[column], w_of[row]) for row, column in pairs])
    batches = images_from_w(G, ws, device=device, noise_mode=noise_mode, batch=batch)
    return dict(zip(pairs, np.concatenate([pixels(img) for img in batches])))
