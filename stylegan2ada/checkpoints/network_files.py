"""The two doors of this room: `load_network` and `save_network`, for every format there is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from stylegan2ada import files, untrusted
from stylegan2ada.checkpoints import native, official_names, official_read, official_write, tensorflow_read
from stylegan2ada.checkpoints.cards import card_of_file, card_to_store
from stylegan2ada.checkpoints.pickle_machine import Unreadable
from stylegan2ada.checkpoints.rebuild import Description, assemble
from stylegan2ada.checkpoints.surgery import fold_to_grey
from stylegan2ada.errors import UserError
from stylegan2ada.protocols import NETWORK_KEYS, Networks, Options

if TYPE_CHECKING:
    pass

_MAX_FILE = 4 << 30  # bytes; ten times the largest official network
_TAKEN_FOR_NETWORKS = {  # what such files begin with: what they are
    b"PK\x03\x04": "it is a zip file, like a data set or the state of a run; take a network-snapshot-*.pkl",
    b"<": "it is a web page; the address leads to a page about the file, or to an error",
    b"version https://git-lfs": "it only points to a file in Git LFS; fetch that with `git lfs pull`",
}
_SEAM = 'if __name__.startswith("stylegan2ada.")'  # in the text of our portable files, nobody else's


def load_network(
    path_or_url: str | Path,
    *,
    grey_from_rgb: bool = False,  # fold an RGB network to one that makes and judges grey images
    log: Callable[[str], None] = print,
) -> Networks:
    """G, D, G_ema, augment_pipe (modules or None), training_set_kwargs and card of a network file.

    Reads official pickles of the PyTorch and the TensorFlow era and our own files, by content. Modules are in
    eval mode, on the CPU and without gradients. Code inside a file is never run.

    >>> G = sg.load_network("network.pkl")["G_ema"]
    >>> G.img_resolution, G.img_channels, G.c_dim
    (8, 1, 2)
    """
    origin = str(path_or_url)
    try:
        with files.open_path_or_url(origin) as file:
            # Whole: the card's hash must be of the very bytes that were read.
            data = untrusted.read_whole(file, _MAX_FILE, origin)
        networks, file_format, is_foreign = _read(data, log)
        if all(networks[key] is None for key in NETWORK_KEYS):
            raise Unreadable("it holds no network, only empty places for them")
    except Unreadable as reason:
        raise UserError(f"{origin} cannot be used as a network file: {reason}; {_ADVICE}") from reason
    except MemoryError as error:
        raise UserError(f"{origin} needs more memory than this computer has; {_ADVICE}") from error
    networks["card"] = card_of_file(
        origin=origin,
        sha256=hashlib.sha256(data).hexdigest(),
        file_format=file_format,
        is_foreign=is_foreign,
        inner=networks["card"] or {},
    )
    return fold_to_grey(networks, log=log) if grey_from_rgb else networks


_ADVICE = "check that the download is complete and that it is a StyleGAN2-ADA network"


def save_network(
    networks: Mapping[str, Any],  # as load_network returns them; what is left out is saved as None
    path: str | Path,
) -> None:
    """Write by the name's ending: `.pkl` official, `.safetensors` native with a `.json` card beside it.

    >>> sg.save_network(sg.load_network("network.pkl"), "copy.safetensors")
    >>> sg.load_network("copy.safetensors")["card"]["format"]
    'native'
    """
    path = Path(path)
    if path.suffix not in (".pkl", ".safetensors"):
        raise UserError(f"{path} ends in {path.suffix!r}; networks are written as .pkl or .safetensors")
    # Before a file is begun: what cannot be loaded again is not written.
    if all(networks.get(key) is None for key in NETWORK_KEYS):
        raise UserError(f"{path} cannot be written: none of {', '.join(NETWORK_KEYS)} is there")
    for key, class_name in official_names.ENTRY_CLASSES.items():
        entry = networks.get(key)
        if entry is not None and (not isinstance(entry, nn.Module) or type(entry).__name__ != class_name):
            raise UserError(
                f"{path} cannot be written: its {key} is a {type(entry).__name__}, not a {class_name}"
            )
    networks = {**networks, "card": card_to_store(networks.get("card"))}
    try:
        if path.suffix == ".pkl":
            with files.atomic_write(path) as file:
                official_write.write_official(networks, file)
        else:
            native.write_native(networks, path)
    except Unreadable as reason:
        raise UserError(f"{path} cannot be written: {reason}") from reason
    except OSError as error:
        raise UserError(
            f"{path} cannot be written: {error.strerror}; give a place that can be written to"
        ) from error


def _read(data: bytes, log: Callable[[str], None]) -> tuple[Networks, str, bool]:
    """(content, format, is it from elsewhere?)."""
    if not data:
        raise Unreadable("it is empty")
    if native.is_native(data):
        return native.read_native(data), "native", False
    # Common mistakes; without these hints all that would be said is that the pickle is broken.
    for beginning, what_it_is in _TAKEN_FOR_NETWORKS.items():
        if data.startswith(beginning):
            raise Unreadable(what_it_is)
    content = official_read.read_records(data)
    if isinstance(content, tuple):
        return tensorflow_read.convert(content, len(data), log), "tensorflow", True
    for key in NETWORK_KEYS:
        if key not in content:
            raise Unreadable(f"it has no entry {key}")
    networks = assemble(_descriptions(content, len(data)))
    networks["training_set_kwargs"] = _dictionary(content, "training_set_kwargs")
    networks["card"] = _dictionary(content, "card")
    # Foreign unless every module carries the text of our own files: a licence hangs on it.
    records = (content[key] for key in NETWORK_KEYS)
    texts = [record.module_src for record in records if isinstance(record, official_read.Record)]
    return networks, "official", not texts or not all(_SEAM in text for text in texts)


def _dictionary(content: dict[str, object], name: str) -> Options | None:
    value = content.get(name)
    if value is not None and type(value) is not dict:
        raise Unreadable(f"its {name} is no dictionary")
    return official_read.plain(value)


def _descriptions(content: dict[str, object], max_bytes: int) -> Iterator[tuple[str, Description]]:
    for key in official_names.ENTRY_CLASSES:
        record = content.get(key)
        if record is not None:
            yield key, official_read.describe(record, max_bytes=max_bytes)
