"""Measure networks or image sets: `python stylegan2ada/calc_metrics.py --network=... --metrics=...`."""

from __future__ import annotations

if __name__ == "__main__" and not __package__:
    import as_script  # noqa: F401
elif __name__ == "__main__":  # python -m
    import stylegan2ada.as_script  # noqa: F401

import contextlib
import json
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from stylegan2ada import flag_types, options, processes, synthesis
from stylegan2ada.checkpoints import load_network
from stylegan2ada.data.dataset import Dataset, ImageFolderDataset
from stylegan2ada.errors import UserError
from stylegan2ada.files import is_url
from stylegan2ada.lazy import is_command
from stylegan2ada.metrics import registry
from stylegan2ada.metrics.detectors import Detectors
from stylegan2ada.ops import choice
from stylegan2ada.protocols import Generator, Options
from stylegan2ada.training import run_files


@dataclass(frozen=True)
class CalcMetrics:
    """What `calc_metrics` was asked."""

    network: str | None
    fakes: str | None
    data: str | None
    mirror: bool | None
    metrics: tuple[str, ...]
    detector: tuple[tuple[str, str], ...]
    gpus: int
    device: str
    batch: int
    seed: int
    verbose: bool
    ops: str | None
    graphs: str | None
    json_file: str | None


_FAMILIES = {
    "fid": "distance of the statistics of features; 0 is best",
    "kid": "the same by kernels, also fair to few images; 0 is best",
    "pr": "precision: fakes look real; recall: reals are drawn; 1 is best",
    "dc": "density and coverage: the same, less moved by outliers; 1 is best",
    "ppl": "length of paths between images; shorter is smoother",
    "is": "inception score, for photographs of objects; higher is better",
}


def _epilog() -> str:
    """All metrics, by what they say."""
    lines = ["Metrics, by number of images; _full: against all real ones:"]
    left = registry.list_valid_metrics()
    for family, meaning in _FAMILIES.items():
        names = [name for name in left if re.match(rf"{family}[\d_]", name)]
        lines += [f"  {meaning}", *textwrap.wrap(", ".join(names), 72, initial_indent=" " * 4,
                                                 subsequent_indent=" " * 4)]  # fmt: skip
        left = [name for name in left if name not in names]
    lines += [f"  others: {', '.join(left)}"] if left else []
    return "\b\n" + "\n".join([*lines, "  NAME@DETECTOR measures with a feature network of your own"])


@options.command(record=CalcMetrics, epilog=_epilog())
@options.group(
    "What to measure",
    options.opt("--network", metavar="FILE|RUN|URL",
        help="Network, or a run folder: all its snapshots; one of them: RUN/latest, RUN/best:METRIC"),
    options.opt("--fakes", metavar="PATH", help="Instead of a network: zip or folder of generated images"),
    options.opt("--data", metavar="PATH", help="Real images [default: what the network was trained on]"),
    options.opt("--mirror", type=bool, metavar="BOOL", help="Mirror the real images [default: as trained]"),
)  # fmt: skip
@options.group(
    "How",
    options.opt("--metrics", type=flag_types.CommaList(), default="fid50k_full",
                help="The last lines here list them [default: fid50k_full]"),
    options.opt("--detector", type=flag_types.NamedValue(), multiple=True, help="File of a feature network"),
    options.opt("--gpus", type=int, default=1, metavar="INT", help="Processes, one device each [default: 1]"),
    options.DEVICE,
    options.opt("--batch", type=click.IntRange(1), default=64, metavar="INT",
                help="Images per detector call [default: 64]"),
    options.opt("--seed", type=flag_types.SEED, default=0, metavar="INT",
                help="Of latents and labels [default: 0]"),
    options.opt("--verbose", type=bool, default=True, metavar="BOOL", help="Show progress [default: true]"),
)  # fmt: skip
@options.speed_options
@options.json_option
def main(asked: CalcMetrics) -> None:
    """Score a network, every snapshot of a run, or any two sets of images.

    Results are printed as JSON lines; beside a training_options.json they are also appended to
    metric-NAME.jsonl there. Numbers made with different detectors, counts or resize filters do not compare.

    \b
    calc_metrics.py --network=runs/00000-spine/network-snapshot-000200.pkl
    calc_metrics.py --data=real.zip --fakes=fake.zip --metrics=kid50k_full
    """
    _check(asked)
    if asked.gpus > 1 and not processes.is_launched():
        processes.launch(measure, (asked,), asked.gpus)
    else:
        measure(asked)


def measure(asked: CalcMetrics) -> None:
    """Everything after the flags, in each process."""
    device = processes.pick_device(asked.device)
    choice.use_for_command(asked.ops, asked.graphs, device.type)
    processes.init(device)
    try:
        detectors = Detectors(dict(asked.detector), device)
        for metric in asked.metrics:
            detectors.load(registry.find_metric(metric).detector)  # rather now than after an hour
        records = [
            record
            for subject in _subjects(asked, detectors)
            for record in _measured(asked, subject, detectors)
        ]
        if processes.rank() == 0:
            options.Voice(asked.json_file).numbers({"records": records})
    finally:
        processes.close()


@dataclass(frozen=True)
class _Subject:
    """One thing to measure, and where its numbers belong."""

    fakes: Generator | Dataset
    reals: Dataset
    run_dir: Path | None = None  # with a run's options file: the numbers are kept there, too
    snapshot: str | None = None


def _subjects(asked: CalcMetrics, detectors: Detectors) -> Iterator[_Subject]:
    """The set of images, or one network after the other, each loaded when its turn comes."""
    if asked.fakes and asked.data:
        reals = ImageFolderDataset(asked.data, use_labels=False, xflip=bool(asked.mirror))
        yield _Subject(ImageFolderDataset(asked.fakes), reals)
        return
    for network in _networks(asked.network or ""):
        _say(f"Measuring {network}")
        loaded = load_network(network, log=_say)
        G = synthesis.averaged_generator(loaded, detectors.device)
        run_dir = None if is_url(network) else Path(network).resolve().parent
        if run_dir is not None and not (run_dir / run_files.OPTIONS).is_file():
            run_dir = None
        yield _Subject(G, _real_images(asked, loaded["training_set_kwargs"], G), run_dir, network)


def _measured(asked: CalcMetrics, subject: _Subject, detectors: Detectors) -> Iterator[dict[str, Any]]:
    """The record of each metric, printed as a line and, beside a run, kept."""
    for metric in asked.metrics:
        record = registry.calc_metric(
            metric,
            subject.fakes,
            subject.reals,
            detectors=detectors,
            device=detectors.device,
            batch=asked.batch,
            seed=asked.seed,
            progress=asked.verbose and processes.rank() == 0,
        )
        with contextlib.ExitStack() as stack:
            if options.Voice(asked.json_file).is_for_programs:  # one object there, and nothing else
                stack.enter_context(contextlib.redirect_stdout(sys.stderr))
            line = registry.report_metric(record, subject.run_dir, subject.snapshot)
        # Words where people look, in either way of asking; standard output stays a program's.
        results = ", ".join(f"{key} {value:.4g}" for key, value in record["results"].items())
        _say(f"{results} ({record['num_fake']} fakes, {record['detector']})")
        if not record["is_comparable"]:
            _say(f"{metric} uses the built-in random network: compare it with nothing else")
        yield json.loads(line)


def _say(text: str) -> None:
    """A line for people, once for all processes; standard output is for the JSON lines."""
    if processes.rank() == 0:
        click.echo(text, err=True)


def _real_images(asked: CalcMetrics, trained_on: Options | None, G: Generator) -> Dataset:
    """The real images: --data, or what the network remembers of its training."""
    kwargs = dict(trained_on or {})
    kwargs.pop("class_name", None)
    if asked.data:
        kwargs = {"path": asked.data}
    if not kwargs.get("path"):
        raise UserError("this network does not say what it was trained on; give the real images with --data")
    if not asked.data and not Path(kwargs["path"]).exists():
        raise UserError(
            f"this network was trained on {kwargs['path']}, which is not here; say where that data set "
            "is now with --data, or go to the folder that training was started in"
        )
    kwargs |= {"resolution": G.img_resolution, "use_labels": G.c_dim != 0}
    if asked.mirror is not None:
        kwargs["xflip"] = asked.mirror
    dataset = ImageFolderDataset(**kwargs)
    if dataset.num_channels != G.img_channels:
        raise UserError(
            f"{kwargs['path']} has {dataset.num_channels} channels, but the network draws {G.img_channels}; "
            "give the data set that it was trained on"
        )
    return dataset


def _networks(place: str) -> list[str]:
    """One file or URL, the snapshots of a run folder in order, or the chosen one of them."""
    if is_url(place) or Path(place).is_file():
        return [place]
    if Path(place).is_dir():
        found = run_files.snapshots_in(Path(place))
        if found:
            return [str(path) for path in found]
        raise UserError(f"--network={place} holds no network-snapshot-*.pkl; give a run folder or a file")
    if (chosen := run_files.network_in(place)) != place:
        return [chosen]
    raise UserError(f"--network={place} does not exist; give a network file, a URL or a run folder")


def _check(asked: CalcMetrics) -> None:
    if asked.gpus < 1:
        raise UserError(f"--gpus={asked.gpus} cannot work; give at least 1")
    if bool(asked.network) == bool(asked.fakes):
        raise UserError("say what to measure: either --network or --fakes")
    if asked.fakes and not asked.data:
        raise UserError("--fakes are compared with real images; give those with --data")
    unknown = [name for name in asked.metrics if not registry.is_valid_metric(name)]
    if unknown:
        known = ", ".join(registry.list_valid_metrics())
        raise UserError(f"--metrics: {', '.join(unknown)} is not known; choose from {known}")
    if asked.network:
        _networks(asked.network)


is_command(__name__, "sg.metrics has what measures from Python")
if __name__ == "__main__":
    main()
