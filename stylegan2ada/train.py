"""Train a network on a data set: parse -> resolve -> announce -> launch."""

from __future__ import annotations

if __name__ == "__main__" and not __package__:
    import as_script  # noqa: F401
elif __name__ == "__main__":  # python -m
    import stylegan2ada.as_script  # noqa: F401

import dataclasses
import inspect
import json
import os
from collections.abc import Sequence
from pathlib import Path

from stylegan2ada import options as flags
from stylegan2ada import processes
from stylegan2ada.config import LossFacts, TrainConfig, TrainOptions, continue_with, resolve
from stylegan2ada.data.dataset import Dataset, ImageFolderDataset
from stylegan2ada.data.samplers import find_sampler
from stylegan2ada.errors import UserError
from stylegan2ada.files import is_url
from stylegan2ada.lazy import is_command
from stylegan2ada.losses.objectives import OBJECTIVES, find_objective
from stylegan2ada.losses.registry import find_loss, find_term
from stylegan2ada.protocols import JsonObject
from stylegan2ada.registry import accepts
from stylegan2ada.training import run_dir as folders
from stylegan2ada.training import trackers
from stylegan2ada.training.hooks import Hook
from stylegan2ada.training.launch import Job, start
from stylegan2ada.training.recorded import check_loss_arguments, check_names
from stylegan2ada.training.seams import Seams, open_dataset

_MOST_FOLDERS = 100  # that may be classes


@flags.command("train", record=TrainOptions, epilog=flags.cfg_epilog())
@flags.train_options
def main(asked: TrainOptions) -> None:
    """Train a StyleGAN2-ADA on a zip or folder of images.

    Makes a new folder below --outdir for each run: options, log, image grids, network snapshots (.pkl) and
    the saved state that --continue goes on from. Interrupt with Ctrl-C or SIGTERM: the run finishes its
    iteration, saves its state and leaves with exit code 75.

    \b
    A first run:     train --outdir=runs --data=images.zip --metrics=none
    With labels:     train --outdir=runs --data=images.zip --cond=1
    Another like it: train --from-run=runs/00000-images-auto1 --seed=1
    Go on, stopped:  train --continue=runs/00000-images-auto1
    """
    run(asked)


def run(
    options: TrainOptions,  # what the user asked for
    *,
    hooks: Sequence[Hook] = (),  # called at the seams of the step
    seams: Seams | None = None,  # who makes the parts; like hooks, picklable for --gpus above 1
    record: JsonObject | None = None,  # facts for the options file, e.g. where a classifier is from
    warnings: Sequence[tuple[str, str]] = (),  # (code, text) that were told already, for the events
    dataset: Dataset | None = None,  # what --data names, if it is open already
    settings: JsonObject | None = None,  # what config.toml is to say, where that is more than the options
) -> Path | None:
    """Resolve, announce and train until done, on every process of a group; the folder of the run.

    A dry run makes none: None.
    """
    os.environ.update(processes.adopt_slurm(os.environ))
    trackers.check(options.log or ())
    going_on = run_to_continue(options)
    if going_on is None:
        job = fresh_job(options, dataset)
    else:
        job = _continued_job(options, going_on, dataset)
    job = dataclasses.replace(job, hooks=tuple(hooks), record=dict(record or {}), warnings=tuple(warnings))
    job = dataclasses.replace(job, settings=options.given() if settings is None else settings)
    if seams is not None:
        own_data = seams.dataset is not open_dataset
        job = dataclasses.replace(job, seams=seams, dataset=None if own_data else job.dataset)
    announce(job)
    if options.dry_run:
        return None
    source = job.config.resume_pkl
    # Before a folder is made for a run that cannot begin.
    if not job.is_continued and source and not is_url(source) and not Path(source).is_file():
        raise UserError(f"--resume={source} is not a file; check the path, or give a URL")
    return start(job)


def announce(job: Job) -> None:
    """Print what will be done: all options as JSON, then the few that matter most."""
    config = job.config
    where = job.run_dir or Path(job.outdir, folders.next_name(job.outdir, config.desc))
    images = config.training_set_kwargs
    printed = folders.upstream_record(config, where) | config.ours()
    rows = {
        "Output folder": where,
        "Training data": images["path"],
        "Length": f"{config.total_kimg:g} kimg",
        "Devices": f"{config.num_gpus} x {config.batch_gpu} images, {_rounds(config)} round(s)",
        "Batch": str(config.batch_size),
        "Images": f"{images['max_size']} at {images['resolution']}x{images['resolution']}",
        "Labels": "used" if images["use_labels"] else "not used",
        "Mirrored copies": "added" if images["xflip"] else "none",
        "R1 gamma": f"{config.loss_kwargs.get('r1_gamma', 0):g}",
    }
    if job.is_continued:
        rows["Continues"] = "from the saved state in its folder"
    processes.print0("Options:\n" + json.dumps(printed, indent=2) + "\n")
    for name, value in rows.items():
        processes.print0(f"{name + ':':<17} {value}")
    for note in (*config.notes, *_hint_of_folders(job)):
        processes.print0(f"{'Note:':<17} {note}")
    processes.print0()


def _hint_of_folders(job: Job) -> list[str]:
    """What to say of images without labels that lie in folders as if by class."""
    data = job.dataset
    if not isinstance(data, ImageFolderDataset) or not os.path.isdir(str(data.path)) or data.has_labels:
        return []
    found = sorted({name.partition("/")[0] for name in data.image_names if "/" in name})
    # Numbers as names are places in a data set, many folders rather patients.
    if not 2 <= len(found) <= _MOST_FOLDERS or any(map(str.isdigit, found)):
        return []
    return [
        f"images lie in {len(found)} folders ({', '.join(found[:3])}, ...), which train does not read as "
        "classes; spinegan dataset --labels=folders makes a data set with them"
    ]


def open_data(path: str | None) -> Dataset:
    """The images that --data names, with their labels; one command opens them once."""
    try:
        dataset = ImageFolderDataset(str(path), use_labels=True)
        _ = dataset.resolution  # refuses images that are not square
        return dataset
    except UserError as error:
        raise UserError(f"--data: {error}") from error


def fresh_job(options: TrainOptions, dataset: Dataset | None) -> Job:
    """A new run, resolved and checked; nothing is written."""
    for flag in ("data", "outdir"):
        if getattr(options, flag) is None:
            raise UserError(
                f"--{flag} is missing; say where the {'images are' if flag == 'data' else 'run goes'}"
            )
    options = _on_this_group(options)
    dataset = dataset or open_data(options.data)
    info = dataset.as_if_opened(use_labels=bool(options.cond)).info()
    config = resolve(options, info, loss=_loss_facts(options), known_metrics=_known_metrics(options))
    # What is wrong is refused before a folder is made for it.
    if not accepts(find_sampler(config.sampler), dataset, rank=0, num_replicas=1, seed=0):
        raise UserError(f"--sampler={config.sampler} is no sampler: it does not take (dataset, rank, ...)")
    return Job(
        config=config, options=options, outdir=str(options.outdir), dataset=_as_trained(dataset, config)
    )


def _continued_job(options: TrainOptions, run_dir: Path, dataset: Dataset | None) -> Job:
    recorded, before, _ = folders.read_options(run_dir)
    if recorded.ops == "auto":  # begun before there was a choice
        recorded = dataclasses.replace(recorded, ops="plain", graphs="off")
    check_names(recorded, before, options, run_dir)
    check_loss_arguments(recorded, find_loss(recorded.loss), run_dir)
    options = _on_this_group(options)
    dataset = dataset or open_data(options.data or recorded.training_set_kwargs["path"])
    info = dataset.as_if_opened(use_labels=bool(before.cond)).info()
    config = continue_with(
        recorded,
        before,
        options,
        lambda asked: resolve(asked, info, loss=_loss_facts(asked), known_metrics=_known_metrics(asked)),
    )
    for name in options.metrics or ():
        _check_metric(name)
    seen = _as_trained(dataset, config)
    if options.ops is not None:  # what is said now counts from now on
        before = dataclasses.replace(before, ops=options.ops)
    return Job(config, before, outdir=str(run_dir.parent), run_dir=run_dir, is_continued=True, dataset=seen)


def _as_trained(dataset: Dataset, config: TrainConfig) -> Dataset:
    """The part of the images that the configuration trains on."""
    kwargs = {k: v for k, v in config.training_set_kwargs.items() if k not in ("path", "resolution")}
    return dataset.as_if_opened(**kwargs)


def run_to_continue(options: TrainOptions) -> Path | None:
    """The folder that --continue means; None for a new run."""
    if options.continue_run is None:
        return None
    if options.continue_run != "latest":
        return Path(options.continue_run)
    if options.outdir is None:
        raise UserError("--continue=latest looks for runs in --outdir, which is missing")
    return folders.latest(options.outdir)  # None: the first start of a job that is written to be requeued


def _on_this_group(options: TrainOptions) -> TrainOptions:
    """Under a launcher its number of processes is the number of devices."""
    if not processes.is_launched():
        return options
    size = processes.world_size()
    if options.gpus not in (None, size):
        raise UserError(
            f"--gpus={options.gpus}, but the launcher has started {size} process(es); leave --gpus out"
        )
    return dataclasses.replace(options, gpus=size)


def _loss_facts(options: TrainOptions) -> LossFacts:
    for term in options.term or ():  # refused before a folder is made for it
        if not accepts(find_term(term.partition(":")[0]), device="cpu"):
            raise UserError(
                f"--term={term} is no term: what makes one takes device, and weight if one is given"
            )
    make = find_loss(options.loss or "stylegan2")
    parts = dict.fromkeys(("device", "G_mapping", "G_synthesis", "D", "augment_pipe"))
    is_class = inspect.isclass(make)
    is_ours = getattr(make, "made_by_seams", False)  # by who knows more than these parts
    if not (is_ours or accepts(make, **parts)) or (is_class and not hasattr(make, "accumulate_gradients")):
        raise UserError(
            f"--loss={options.loss} is no loss: that is a class made from {', '.join(parts)}, "
            "with a method accumulate_gradients"
        )
    if "objective" not in inspect.signature(make).parameters:
        return LossFacts(make)
    is_objective = options.loss in OBJECTIVES
    name = dict(options.loss_opt or ()).get("objective", str(options.loss) if is_objective else "stylegan2")
    return LossFacts(make, name, find_objective(name).refuses_ada)


def _known_metrics(options: TrainOptions) -> list[str] | None:
    if options.metrics == ():
        return None
    from stylegan2ada.metrics.registry import list_valid_metrics

    return list(list_valid_metrics())


def _check_metric(name: str) -> None:
    from stylegan2ada.metrics.registry import find_metric

    try:
        find_metric(name)
    except UserError as error:
        raise UserError(f"--metrics: {error}") from error


def _rounds(config: TrainConfig) -> int:
    return config.batch_size // (config.batch_gpu * config.num_gpus)


is_command(__name__, "sg.train_network(data, outdir) trains from Python")
if __name__ == "__main__":
    main()
