"""`legacy.py`: read any supported network file and write it in today's official (or our native) format."""

from __future__ import annotations

if __name__ == "__main__" and not __package__:
    import as_script  # noqa: F401


import click

from stylegan2ada.options import command, group, opt

conversion_options = group(
    "Conversion",
    opt("--source", metavar="PKL", required=True, help="Network file to read: path or URL, of any era"),
    opt("--dest", metavar="PKL", required=True, help="File to write: .pkl official, .safetensors native"),
    opt(
        "--force-fp16",
        type=bool,
        default=False,
        metavar="BOOL",
        help="Compute the top 4 resolutions in float16",
    ),
)


@command()
@conversion_options
def main(source: str, dest: str, force_fp16: bool) -> None:
    """Convert a network file, also one of the TensorFlow era, to the current format."""
    from stylegan2ada.checkpoints import load_network, save_network
    from stylegan2ada.checkpoints.surgery import with_half_precision

    click.echo(f"Reading {source}")
    networks = load_network(source, log=click.echo)
    if force_fp16:
        networks = with_half_precision(networks)
    click.echo(f"Writing {dest}")
    save_network(networks, dest)


if __name__ == "__main__":
    main()
