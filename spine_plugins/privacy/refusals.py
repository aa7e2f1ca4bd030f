"""What a private run refuses: a sentence for each way to leak beside the noise."""

from __future__ import annotations

import math
from collections.abc import Callable

from spine_plugins.privacy.flags import DpOptions
from stylegan2ada.config import TrainOptions
from stylegan2ada.errors import UserError

_Rule = tuple[Callable[[TrainOptions], object], str]  # when (given), and what to do instead

_OF_ENGINE: dict[str, _Rule] = {
    "mirror": (lambda o: o.mirror, "one record would be two, of twice the influence; leave it out"),
    "subset": (
        lambda o: o.subset,
        "a subset drawn by a known seed tells who took part; make another data set",
    ),
    "sampler": (lambda o: o.sampler, "the accounting holds for independent coin tosses only; leave it out"),
    "metrics": (
        lambda o: o.metrics,
        "metrics look at the private images without noise; measure on public ones",
    ),
    "loss": (
        lambda o: o.loss not in (None, "stylegan2", "dp-sgd"),
        "only the usual loss has a private step, and a classifier that saw these images would leak them",
    ),
    "term": (lambda o: o.term, "a term may look at real images or at a classifier that did; leave it out"),
    "log": (
        lambda o: o.log,
        "services note when each line came, and a pace tells of the images; leave it out",
    ),
    "loss_opt": (lambda o: o.loss_opt, "arguments of the loss are fixed here; use --gamma with --dp-r1"),
    "aug": (lambda o: o.aug, "its strength would follow D on private images; use --dp-ada"),
    "p": (lambda o: o.p is not None, "use --dp-ada=fixed:P"),
    "target": (lambda o: o.target is not None, "its strength would follow D on private images; use --dp-ada"),
    "ada_max_p": (lambda o: o.ada_max_p is not None, "use --dp-ada"),
    "batch": (
        lambda o: o.batch,
        "how many are drawn is a matter of chance; give the expectation, --dp-batch",
    ),
    "batch_gpu": (lambda o: o.batch_gpu, "how many are drawn is a matter of chance; use --dp-chunk"),
    "precision": (
        lambda o: o.precision in ("fp16", "bf16"),
        "norms of half precision overflow, and the bound is gone; leave it out",
    ),
    "fp32": (
        lambda o: o.fp32 is False,
        "norms of half precision overflow, and the bound is gone; leave it out",
    ),
    "ops": (
        lambda o: o.ops == "compiled",
        "norms of gradients are tested with plain operations only; leave it out",
    ),
}


def check(asked: DpOptions, options: TrainOptions, *, classifier: bool, judge: bool) -> None:
    """UserError for the first way to leak that was asked for."""
    for name, (is_given, reason) in _OF_ENGINE.items():
        if is_given(options):
            raise UserError(f"--{name.replace('_', '-')} with --dp-mode=sgd: {reason}")
    if classifier:
        raise UserError(
            "--classifier with --dp-mode=sgd: a classifier that saw these images would leak them through G; "
            "leave it out"
        )
    if judge:
        raise UserError(
            "--judge with --dp-mode=sgd: it compares fakes with private images; judge the finished network "
            "on public ones"
        )
    _check_start(asked, options)
    _check_numbers(asked)


def _check_start(asked: DpOptions, options: TrainOptions) -> None:
    resumes = options.resume not in (None, "noresume")
    is_public = (
        asked.dp_init is not None and asked.dp_init.startswith("public:") and asked.dp_init != "public:"
    )
    if asked.dp_init not in (None, "none") and not is_public:
        raise UserError(
            f"--dp-init={asked.dp_init} must be none, or public:NOTE with where the weights are from"
        )
    if resumes and not is_public:
        raise UserError(
            f"--resume={options.resume} with --dp-mode=sgd: weights that saw private images leak them; say "
            "with --dp-init=public:NOTE which public images they were trained on"
        )
    if is_public and not resumes and options.continue_run is None:
        raise UserError(f"--dp-init={asked.dp_init} speaks of weights, but none are given; add --resume=PKL")


def _check_numbers(asked: DpOptions) -> None:
    if (asked.dp_noise_multiplier is None) == (asked.dp_target_epsilon is None):
        raise UserError("--dp-mode=sgd needs one of --dp-target-epsilon and --dp-noise-multiplier, not both")
    noise = asked.dp_noise_multiplier
    if noise is not None and not 0 < noise < math.inf:
        raise UserError(
            f"--dp-noise-multiplier={noise:g}: without noise nothing is private; give more than 0"
        )
    for name in ("dp_batch", "dp_steps"):
        value = getattr(asked, name)
        if value is None:
            raise UserError(f"--{name.replace('_', '-')} is missing; epsilon depends on it")
    for name in ("dp_batch", "dp_steps", "dp_chunk", "dp_aug_mult", "dp_n_public", "dp_canaries"):
        value = getattr(asked, name)
        if value is not None and value < 1:
            raise UserError(f"--{name.replace('_', '-')}={value} must be at least 1")
    if asked.dp_microbatch not in (None, 1):
        raise UserError(
            f"--dp-microbatch={asked.dp_microbatch}: samples that are clipped together count as one each "
            "nowhere, so noise would have to double; only 1 is offered"
        )
    if asked.dp_clip == "none":
        raise UserError("--dp-clip=none with --dp-mode=sgd: without clipping no noise is enough; give a norm")
