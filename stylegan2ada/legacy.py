"""`legacy.py`: read any supported network file and write it in today's official (or our native) format."""

from __future__ import annotations

if __name__ == "__main__" and not __package__:
    import as_script  # noqa: F401
elif __name__ == "__main__":  # python -m
    import stylegan2ada.as_script  # noqa: F401

from dataclasses import dataclass

import click

from stylegan2ada import options


@dataclass(frozen=True)
class Legacy:
    """What `legacy` was asked."""

    source: str
    dest: str
    force_fp16: bool


@options.command(record=Legacy)
@options.group(
    "Conversion",
    options.opt("--source", metavar="PKL|RUN|URL", required=True, callback=options.network_place,
                help="Network file of any era to read; a run folder: its newest"),
    options.opt("--dest", metavar="PKL", required=True,
                help="File to write: .pkl official, .safetensors native"),
    options.opt("--force-fp16", type=bool, default=False, metavar="BOOL",
                help="Compute the top 4 resolutions in float16"),
)  # fmt: skip
def main(asked: Legacy) -> None:
    """Convert a network file, also one of the TensorFlow era, to the current format."""
    from stylegan2ada.checkpoints import load_network, save_network
    from stylegan2ada.checkpoints.surgery import with_half_precision

    click.echo(f"Reading {asked.source}")
    networks = load_network(asked.source, log=click.echo)
    if asked.force_fp16:
        networks = with_half_precision(networks)
    click.echo(f"Writing {asked.dest}")
    save_network(networks, asked.dest)


if __name__ == "__main__":
    main()
