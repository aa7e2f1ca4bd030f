"""Measure networks or image sets: `python stylegan2ada/calc_metrics.py --network=... --metrics=...`."""

if __name__ == "__main__" and not __package__:
    import as_script  # noqa: F401

import re
from pathlib import Path
from typing import Any

from stylegan2ada import options, processes
from stylegan2ada.checkpoints import load_network
from stylegan2ada.data.dataset import Dataset, ImageFolderDataset
from stylegan2ada.errors import UserError
from stylegan2ada.files import is_url
from stylegan2ada.metrics import registry
from stylegan2ada.metrics.detectors import Detectors

_SNAPSHOT = re.compile(r"network-snapshot-\d+\.(pkl|safetensors)$")


@options.command()
@options.group(
    "What to measure",
    options.opt("--network", metavar="FILE|URL|DIR", help="Network, or a run folder: all its snapshots"),
    options.opt("--fakes", metavar="PATH", help="Instead of a network: zip or folder of generated images"),
    options.opt("--data", metavar="PATH", help="Real images [default: what the network was trained on]"),
    options.opt("--mirror", type=bool, metavar="BOOL", help="Mirror the real images [default: as trained]"),
)
@options.group(
    "How",
    options.opt("--metrics", type=options.CommaList(), default="fid50k_full", help="[default: fid50k_full]"),
    options.opt("--detector", type=options.NamedValue(), multiple=True, help="File of a feature network"),
    options.opt("--gpus", type=int, default=1, metavar="INT", help="Processes, one device each [default: 1]"),
    options.opt("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, mps [default: auto]"),
    options.opt(
        "--batch", type=int, default=64, metavar="INT", help="Images per detector call [default: 64]"
    ),
    options.opt("--seed", type=int, default=0, metavar="INT", help="Of latents and labels [default: 0]"),
    options.opt("--verbose", type=bool, default=True, metavar="BOOL", help="Show progress [default: true]"),
)
def main(**given: Any) -> None:
    """Score a network, every snapshot of a run, or any two sets of images.

    Results are printed as JSON lines; beside a training_options.json they are also appended to
    metric-NAME.jsonl there. Numbers made with different detectors, counts or resize filters do not compare.

    \b
    python stylegan2ada/calc_metrics.py --network=runs/00000-spine/network-snapshot-000200.pkl
    python stylegan2ada/calc_metrics.py --data=real.zip --fakes=fake.zip --metrics=kid50k_full,pr50k3_full
    """
    _check(given)
    if given["gpus"] > 1 and not processes.is_launched():
        processes.launch(measure, (given,), given["gpus"])
    else:
        measure(given)


def measure(given: dict[str, Any]) -> None:
    """Everything after the flags, in each process."""
    device = processes.pick_device(given["device"])
    processes.init(device)
    try:
        detectors = Detectors(dict(given["detector"]), device)
        for metric in given["metrics"]:
            detectors.load(registry.find_metric(metric).detector)  # rather now than after an hour
        if given["fakes"]:
            dataset = ImageFolderDataset(given["data"], use_labels=False, xflip=bool(given["mirror"]))
            _measure_all(given, ImageFolderDataset(given["fakes"]), dataset, detectors, None, None)
            return
        for network in _networks(given["network"]):
            processes.print0(f"Measuring {network}")
            loaded = load_network(network, log=processes.print0)
            G = loaded["G_ema"].to(device)
            run_dir = None if is_url(network) else Path(network).resolve().parent
            is_run = run_dir is not None and (run_dir / "training_options.json").is_file()
            dataset = _dataset(given, loaded, G)
            _measure_all(given, G, dataset, detectors, run_dir if is_run else None, network)
    finally:
        processes.close()


def _measure_all(
    given: dict[str, Any],
    subject: Any,
    dataset: Dataset | None,
    detectors: Detectors,
    run_dir: Path | None,
    snapshot: str | None,
) -> None:
    for metric in given["metrics"]:
        record = registry.calc_metric(
            metric,
            subject,
            dataset,
            detectors=detectors,
            device=detectors.device,
            batch=given["batch"],
            seed=given["seed"],
            progress=given["verbose"] and processes.rank() == 0,
        )
        registry.report_metric(record, run_dir, snapshot)
        if not record["is_comparable"]:
            processes.print0(f"{metric} uses the built-in random network: compare it with nothing else")


def _dataset(given: dict[str, Any], loaded: dict[str, Any], G: Any) -> Dataset:
    """The real images: --data, or what the network remembers of its training."""
    kwargs = dict(loaded.get("training_set_kwargs") or {})
    kwargs.pop("class_name", None)
    if given["data"]:
        kwargs = {"path": given["data"]}
    if not kwargs.get("path"):
        raise UserError("this network does not say what it was trained on; give the real images with --data")
    if not given["data"] and not Path(kwargs["path"]).exists():
        raise UserError(
            f"this network was trained on {kwargs['path']}, which is not here; say where that data set "
            "is now with --data, or go to the folder that training was started in"
        )
    kwargs |= {"resolution": G.img_resolution, "use_labels": G.c_dim != 0}
    if given["mirror"] is not None:
        kwargs["xflip"] = given["mirror"]
    dataset = ImageFolderDataset(**kwargs)
    if dataset.num_channels != G.img_channels:
        raise UserError(
            f"{kwargs['path']} has {dataset.num_channels} channels, but the network draws {G.img_channels}; "
            "give the data set that it was trained on"
        )
    return dataset


def _networks(place: str) -> list[str]:
    """One file or URL, or the snapshots of a run folder in order."""
    if is_url(place) or Path(place).is_file():
        return [place]
    if Path(place).is_dir():
        found = sorted(str(path) for path in Path(place).iterdir() if _SNAPSHOT.search(path.name))
        if found:
            return found
        raise UserError(f"--network={place} holds no network-snapshot-*.pkl; give a run folder or a file")
    raise UserError(f"--network={place} does not exist; give a network file, a URL or a run folder")


def _check(given: dict[str, Any]) -> None:
    if given["gpus"] < 1:
        raise UserError(f"--gpus={given['gpus']} cannot work; give at least 1")
    if bool(given["network"]) == bool(given["fakes"]):
        raise UserError("say what to measure: either --network or --fakes")
    if given["fakes"] and not given["data"]:
        raise UserError("--fakes are compared with real images; give those with --data")
    unknown = [name for name in given["metrics"] if not registry.is_valid_metric(name)]
    if unknown:
        known = ", ".join(registry.list_valid_metrics())
        raise UserError(f"--metrics: {', '.join(unknown)} is not known; choose from {known}")
    if given["network"]:
        _networks(given["network"])


if __name__ == "__main__":
    main()
