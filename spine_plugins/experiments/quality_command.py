"""`spinegan experiments quality`: metrics of a network with intervals over images, also by class."""

from __future__ import annotations

from dataclasses import dataclass

import click

from stylegan2ada import flag_types, options
from stylegan2ada.errors import UserError


@dataclass(frozen=True)
class Quality:
    """What `experiments quality` was asked."""

    network: str
    data: str
    metrics: tuple[str, ...]
    detector: tuple[tuple[str, str], ...]
    fakes: int | None
    per_class: bool
    resamples: int
    seed: int
    device: str
    json_file: str | None


@options.command("quality", record=Quality)
@options.group(
    "What to measure",
    options.opt("--network", required=True, metavar="FILE", help="Network, or RUN/latest"),
    options.opt("--data", required=True, metavar="ZIP", help="Real images, with their labels"),
    options.opt("--metrics", type=flag_types.CommaList(), required=True, metavar="A,B,C",
                help="Names of `spinegan metrics` that compare two sets of images"),
    options.opt("--per-class", is_flag=True, help="Each class by itself, too"),
)  # fmt: skip
@options.group(
    "How",
    options.opt("--detector", type=flag_types.NamedValue(), multiple=True, help="File of a feature network"),
    options.opt("--fakes", type=click.IntRange(4), metavar="INT",
                help="Images to draw [default: as the metrics' names say, at most 10,000]"),
    options.opt("--resamples", type=click.IntRange(2), default=100, metavar="INT",
                help="Pairs of halves that the intervals rest on [default: 100]"),
    options.opt("--seed", type=flag_types.SEED, default=0, metavar="INT", help="Of latents [default: 0]"),
    options.DEVICE,
)  # fmt: skip
@options.json_option
def quality(asked: Quality) -> None:
    """Metrics of one network with intervals over the images, real (by patient) and generated.

    Everything is measured again on random halves of both sets, without replacement. What stands in the
    intervals is the luck of the images; that of the training takes several trainings.
    """
    # With torch: not for --help.
    from spine_plugins.experiments.estimate import images_of
    from spine_plugins.experiments.halves import MOST_FAKES
    from spine_plugins.experiments.quality import Question, check, measure
    from stylegan2ada import synthesis
    from stylegan2ada.checkpoints import load_network
    from stylegan2ada.data.dataset import ImageFolderDataset
    from stylegan2ada.metrics import registry
    from stylegan2ada.metrics.detectors import Detectors
    from stylegan2ada.processes import pick_device
    from stylegan2ada.training import run_files

    voice = options.Voice(asked.json_file)
    unknown = [name for name in asked.metrics if not registry.is_valid_metric(name)]
    if unknown or not asked.metrics:
        raise UserError(
            f"--metrics: {', '.join(unknown) or 'none'} is not known; `spinegan metrics` lists them"
        )
    detectors = Detectors(dict(asked.detector), pick_device(asked.device))
    path = run_files.network_in(asked.network)
    network = synthesis.averaged_generator(load_network(path), detectors.device)
    data = ImageFolderDataset(asked.data, use_labels=network.c_dim != 0 or asked.per_class)
    fakes = asked.fakes or min(MOST_FAKES, max(images_of(name) for name in asked.metrics))
    question = Question(network, data, asked.metrics, fakes, asked.per_class, asked.resamples, asked.seed)
    check(question)
    records = []
    for record in measure(question, detectors):
        records.append(record)
        which = f"{record['class']}: " if record["class"] is not None else ""
        for name, found in record["results"].items():
            voice.say(f"{which}{name} {_between(found)}")
    voice.numbers({"network": path, "data": asked.data, "resamples": asked.resamples, "records": records})


def _between(found: dict[str, float | None]) -> str:
    if found["value"] is None:
        return "cannot be measured: too few images"
    low, high = found["low"], found["high"]
    return f"{found['value']:.4g}" + ("" if low is None or high is None else f" ({low:.4g} to {high:.4g})")
