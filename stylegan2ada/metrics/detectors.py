"""Feature networks: where their files are, that they are the same as ever, and how they are called.

A detector is a TorchScript file with the calls of the official ones: `det(uint8 [N, 3, H, W],
return_features=True)`, `no_output_bias=True` for class probabilities, `resize_images=False,
return_lpips=True` for path length. `tiny` is built in; its numbers compare with nothing but themselves.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from stylegan2ada import files, protocols
from stylegan2ada.errors import MissingError, UserError
from stylegan2ada.images import to_float
from stylegan2ada.untrusted import is_regular, read_json

FOLDER_VARIABLE = "SPINEGAN_DETECTORS"  # a folder with the files under their official names
_OFFICIAL = "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/"
_LICENCE = "published by NVIDIA; read their terms before you use it commercially"


@dataclass(frozen=True)
class Source:
    """Where a detector's file comes from."""

    url: str
    licence: str

    @property
    def file_name(self) -> str:
        return self.url.rsplit("/", 1)[-1]


KNOWN = {
    "inception": Source(_OFFICIAL + "inception-2015-12-05.pt", _LICENCE),
    "vgg16": Source(_OFFICIAL + "vgg16.pt", _LICENCE),
}


@dataclass(frozen=True)
class Detector:
    """A loaded feature network and what identifies it in every result."""

    name: str
    module: protocols.FeatureNetwork
    sha256: str
    file_stem: str
    url: str  # of the official file, or the path that was given; part of cache names
    device: torch.device

    @property
    def is_comparable(self) -> bool:
        """Whether numbers made with it mean anything outside this software."""
        return self.sha256 != TINY_HASH

    def __call__(self, img: torch.Tensor, **options: bool) -> torch.Tensor:
        """float32 [N, d] on the CPU; one-channel images are repeated to three."""
        if img.shape[1] == 1:
            img = img.expand(-1, 3, -1, -1)
        return self.module(img.to(self.device), **options).to(torch.float32)


class Detectors:
    """Finds and loads detectors: path given by flag, then $SPINEGAN_DETECTORS, then the download cache."""

    def __init__(self, given: Mapping[str, str] | None = None, device: torch.device | str = "cpu") -> None:
        self.given = dict(given or {})
        self.device = torch.device(device)
        self._loaded: dict[str, Detector] = {}

    def find(self, name: str) -> Path | None:
        """The file of a detector, None if it is nowhere."""
        if name in self.given:
            path = Path(self.given[name])
            if not is_regular(path):
                raise MissingError(f"--detector {name}={path}: there is no such file; check the path")
            return path
        if name not in KNOWN:
            return None
        places = [files.download_target(KNOWN[name].url)]
        if os.environ.get(FOLDER_VARIABLE):
            places.insert(0, Path(os.environ[FOLDER_VARIABLE], KNOWN[name].file_name))
        return next((place for place in places if is_regular(place)), None)

    def load(self, name: str) -> Detector:
        """A detector on its device; MissingError says how to get one that is nowhere."""
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def _load(self, name: str) -> Detector:
        if name == "tiny" or self.given.get(name) == "tiny":
            return Detector(name, tiny_network().to(self.device), TINY_HASH, "tiny", "built-in", self.device)
        path = self.find(name)
        if path is None:
            raise MissingError(_how_to_get(name))
        # Before loading: TorchScript is code.
        digest = checked_hash(path)
        try:
            with warnings.catch_warnings():
                # TorchScript is on its way out of torch; the published files stay what they are.
                warnings.filterwarnings("ignore", category=DeprecationWarning)
                warnings.filterwarnings("ignore", category=FutureWarning)
                module = torch.jit.load(str(path), map_location="cpu").eval().to(self.device)
        except RuntimeError as error:
            first_line = str(error).strip().splitlines()[0]
            raise UserError(
                f"{path} is not a usable TorchScript file ({first_line}); fetch it again"
            ) from error
        url = KNOWN[name].url if name in KNOWN and name not in self.given else str(path)
        return Detector(name, module, digest, Path(url).stem, url, self.device)


def checked_hash(path: Path) -> str:
    """SHA-256 of a detector's file; it is recorded at first use, and a file that changed since is refused."""
    record = files.cache_dir("detectors", "hashes.json")
    known = _known_hashes(record)
    key, digest = str(path.resolve()), files.sha256_file(path)
    if known.setdefault(key, digest) != digest:
        raise UserError(
            f"{path} is not the file that was used before (SHA-256 {known[key][:9]} then, {digest[:9]} now); "
            f"put the old one back, or remove its line from {record} to start afresh"
        )
    if _known_hashes(record) != known:
        files.private_folder(record.parent)  # paths are in it
        files.write_json(record, known, private=True)
    return digest


def remember(given: Iterable[tuple[str, str]]) -> None:
    """Note the files of detectors (name, path) that somebody has typed; what is missing can still come."""
    for _, place in given:
        if place != "tiny" and is_regular(Path(place)):
            checked_hash(Path(place))


def was_used_before(path: Path) -> bool:
    """Whether this very file was loaded here before."""
    known = _known_hashes(files.cache_dir("detectors", "hashes.json"))
    return known.get(str(path.resolve())) == files.sha256_file(path)


def _known_hashes(record: Path) -> dict[str, str]:
    if not os.path.lexists(record):
        return {}
    known = read_json(record)
    if not isinstance(known, dict) or not all(isinstance(value, str) for value in known.values()):
        raise UserError(f"{record} does not hold hashes of detectors; restore or remove it")
    return known


def fetch(name: str, to: Path | None = None, *, overwrite: bool = False) -> Path:
    """Download an official detector into the cache, or into a folder to carry it elsewhere; its path."""
    if name not in KNOWN:
        raise UserError(f"there is no detector {name!r} to fetch; known are {', '.join(KNOWN)}")
    cached = files.local_copy(KNOWN[name].url)
    if to is None:
        return cached
    target = to / KNOWN[name].file_name
    if target.exists() and not overwrite:
        if is_regular(target) and files.sha256_file(target) == files.sha256_file(cached):
            return target
        raise UserError(f"{target} exists already and is another file; give --overwrite, or another --to")
    to.mkdir(parents=True, exist_ok=True)
    with files.atomic_write(target) as file:
        file.write(cached.read_bytes())
    return target


def _how_to_get(name: str) -> str:
    if name not in KNOWN:
        return f"the detector {name!r} is not known; say where it is with --detector {name}=FILE"
    return (
        f"the detector {name!r} is not on this computer; fetch it with `spinegan detectors fetch {name}`, "
        f"or give --detector {name}=FILE, or set {FOLDER_VARIABLE} to a folder with {KNOWN[name].file_name}"
    )


# The built-in stand-in.

TINY_HASH = "tiny-v1"
_TINY_SIDE = 32


class _Tiny(nn.Module):
    """A small convolutional network with fixed random weights, called like the official detectors."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(20220205)
        widths = [3, 16, 32, 64]
        self.kernels = nn.ParameterList(
            torch.randn([out, into, 3, 3], generator=generator) / (3 * into**0.5)
            for into, out in zip(widths[:-1], widths[1:])
        )
        self.classifier = nn.Parameter(torch.randn([10, 128], generator=generator) / 128**0.5)
        self.requires_grad_(False)

    def forward(
        self,
        img: torch.Tensor,  # [N, 3, H, W], 0..255
        return_features: bool = False,
        no_output_bias: bool = False,
        resize_images: bool = True,
        return_lpips: bool = False,
    ) -> torch.Tensor:
        x = to_float(img)
        if resize_images:
            x = functional.interpolate(x, size=(_TINY_SIDE, _TINY_SIDE), mode="area")
        layers = []
        for kernel in self.kernels:
            x = functional.leaky_relu(functional.conv2d(x, kernel, stride=2, padding=1), 0.2)
            layers.append(x)
        if return_lpips:
            # As in LPIPS (Zhang et al. 2018): unit length over channels, squares averaged over places.
            unit = [layer / (layer.square().sum(1, keepdim=True) + 1e-10).sqrt() for layer in layers]
            return torch.cat([(u / (u.shape[2] * u.shape[3]) ** 0.5).flatten(1) for u in unit], dim=1)
        features = torch.cat([x.mean([2, 3]), x.std([2, 3], correction=0)], dim=1)  # [N, 128]
        return features if return_features else (features @ self.classifier.T).softmax(dim=1)


def tiny_network() -> nn.Module:
    """The detector that is always there: for tests, demos and a first look."""
    return _Tiny().eval()
