"""What the official program is told: its own flags, and the parts of its options that become ours."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from spine_plugins.privacy.paper import PaperSettings
from stylegan2ada.config import TrainConfig, TrainOptions
from stylegan2ada.errors import UserError
from stylegan2ada.protocols import Options

LOSS = "spine_plugins.official.loss.Loss"
OPTIMISER = "spine_plugins.official.optimiser.PaperAdam"
# The flags of the official train command; their names are the fields of TrainOptions.
FLAGS = (
    "outdir", "data", "gpus", "snap", "metrics", "seed", "cond", "subset", "mirror", "cfg", "gamma", "kimg",
    "batch", "aug", "p", "target", "augpipe", "resume", "freezed", "fp32", "nhwc", "nobench", "allow_tf32",
    "workers",
)  # fmt: skip
_OUR_SWITCHES = ("dry_run", "loss", "loss_opt", "term")  # read here, not by the official program
# What to do instead, where there is something.
_INSTEAD = {
    "continue_run": "it saves no state; start from a snapshot with --resume=RUN/network-snapshot-KIMG.pkl",
    "device": "it takes the CUDA devices that CUDA_VISIBLE_DEVICES leaves it",
    "precision": "use --fp32=1 to switch half precision off",
    "batch_gpu": "its presets split the batch; use --gpus and --batch",
    "sampler": "repeat rare images in the data set itself",
    "ada_max_p": "use --aug=fixed with --p",
    "cbase": "its --cfg sets the widths",
    "cmax": "its --cfg sets the widths",
    "ops": "it has operations of its own",
    "graphs": "it captures nothing",
    "tick": "its ticks take 4 kimg; --snap counts them",
}
_OUR_AUGPIPES = {"radiograph"}


@dataclass(frozen=True)
class Request:
    """For `start.py`."""

    flags: tuple[str, ...]
    changes: Options


def request(options: TrainOptions, config: TrainConfig, paper_dp: PaperSettings | None = None) -> Request:
    """The official command line for these options, and what our loss changes."""
    flags = [f"--{name.replace('_', '-')}={_word(value)}" for name in FLAGS
             if (value := getattr(options, name)) is not None]  # fmt: skip
    if options.dry_run:
        flags.append("--dry-run")
    kwargs: Options = {}
    desc = ""
    if paper_dp is not None:
        if config.num_gpus > 1:
            raise UserError(
                "--dp-mode=paper with --engine works on one device: there, gradients are exchanged before "
                "noise can be added to each; leave --gpus out"
            )
        adam = {"class_name": OPTIMISER, **dataclasses.asdict(paper_dp)}
        kwargs |= {"G_opt_kwargs": adam, "D_opt_kwargs": adam}
        desc = "-paperdp"
    if config.loss == "stylegan2" and not config.terms and not options.loss_opt:
        return Request(tuple(flags), {"desc": desc, "kwargs": kwargs})  # its own loss, as a baseline
    theirs = ("r1_gamma", *(() if options.cfg != "cifar" else ("pl_weight", "style_mixing_prob")))
    ours = {name: value for name, value in config.loss_kwargs.items() if name not in theirs}
    desc = "".join(f"-{part.replace(':', '')}" for part in (config.loss, *config.terms)) + desc
    kwargs["loss_kwargs"] = {
        "class_name": LOSS, "loss": config.loss, "terms": list(config.terms), **ours,
    }  # fmt: skip
    # Settings that the objective asks of D, such as no minibatch-stddev; the group's size is the program's.
    asked = {k: v for k, v in config.D_kwargs["epilogue_kwargs"].items() if k != "mbstd_group_size"}
    if asked:
        kwargs["D_kwargs.epilogue_kwargs"] = asked
    return Request(tuple(flags), {"desc": desc, "kwargs": kwargs})


def refuse_what_is_ours(options: TrainOptions) -> None:
    """UserError for a flag that the official program could not follow."""
    for field in dataclasses.fields(TrainOptions):
        value = getattr(options, field.name)
        if field.name in (*FLAGS, *_OUR_SWITCHES) or value == field.default:
            continue
        flag = "continue" if field.name == "continue_run" else field.name.replace("_", "-")
        raise UserError(
            f"--{flag} is a flag of our engine, which --engine replaces; leave it out"
            + (f": {_INSTEAD[field.name]}" if field.name in _INSTEAD else "")
        )
    if options.augpipe in _OUR_AUGPIPES:
        raise UserError(
            f"--augpipe={options.augpipe} is of our engine, which --engine replaces; use --augpipe=bg"
        )


def _word(value: object) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    return str(value)
