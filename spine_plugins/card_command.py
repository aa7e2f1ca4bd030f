"""`spinegan card`: the README.md of a network, with the front matter that model hubs read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from spine_plugins.runs.documents import as_dict, number, read_lines
from stylegan2ada import files, options
from stylegan2ada.training import run_files


@dataclass(frozen=True)
class WriteCard:
    """What `card` was asked."""

    network: str
    out: str | None
    overwrite: bool
    json_file: str | None


@options.command("card", record=WriteCard)
@options.group(
    "Network",
    options.opt("--network", required=True, metavar="FILE|RUN|URL", callback=options.network_place,
                help="Network pickle or .safetensors; a run folder: its newest, also RUN/best:METRIC"),
)  # fmt: skip
@options.group(
    "Where to",
    options.opt("--out", metavar="FILE", help="The page [default: README.md beside the network]"),
    options.OVERWRITE,
)
@options.json_option
def card(asked: WriteCard) -> None:
    """Write the README.md of a network: what it draws, where it is from, what was measured on it.

    Names no folders and no people. Read it before you give it away: the name of the data set is on it.
    """
    from stylegan2ada.checkpoints import load_network
    from stylegan2ada.checkpoints.readme import model_readme

    voice = options.Voice(asked.json_file)
    here = Path.cwd() if files.is_url(asked.network) else Path(asked.network).parent
    out = here / "README.md" if asked.out is None else Path(asked.out)
    options.check_writable("--out", out, overwrite=asked.overwrite)
    networks = load_network(asked.network, log=voice.say)
    G = networks["G_ema"] or networks["G"]
    shape = {} if G is None else {
        "resolution": f"{G.img_resolution}x{G.img_resolution}",
        "channels": G.img_channels,
        "parameters": f"{sum(parameter.numel() for parameter in G.parameters()) / 1e6:.2f} million",
    }  # fmt: skip
    name = asked.network.rsplit("/", 1)[-1]
    metrics = _metrics(here, name)
    text = model_readme(networks["card"] or {}, name=name, shape=shape, metrics=metrics)
    with files.atomic_write(out) as file:
        file.write(text.encode())
    voice.say(f"{out} describes {name}; read it before you give it away")
    voice.numbers({"file": out, "network": name, "metrics": metrics, **shape})


def _metrics(folder: Path, name: str) -> dict[str, float]:
    """What the run in a folder measured on this network, the last word of each metric."""
    found: dict[str, float] = {}
    for path in run_files.metric_files(folder).values():
        for record in read_lines(path, {}):
            if Path(str(record.get("snapshot_pkl") or "")).name == name:
                results = ((key, number(value)) for key, value in as_dict(record.get("results")).items())
                found |= {key: value for key, value in results if value is not None}
    return found
