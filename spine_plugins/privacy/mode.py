"""From the flags of --dp-mode to what a training is given: options, hooks, makers, facts for the record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from spine_plugins.privacy import flags
from spine_plugins.privacy.flags import DpOptions
from spine_plugins.privacy.paper import PaperDP, expanded
from stylegan2ada.config import TrainOptions
from stylegan2ada.errors import UserError
from stylegan2ada.protocols import JsonObject
from stylegan2ada.training.hooks import Hook


@dataclass(frozen=True)
class Mode:
    """What differential privacy adds to a training."""

    options: TrainOptions
    hooks: Sequence[Hook] = ()
    record: JsonObject = field(default_factory=dict)  # the flags, so that --continue finds them


def assemble(
    asked: DpOptions,
    options: TrainOptions,
    recorded: JsonObject | None,  # of the run that goes on
    *,
    goes_on: bool,
) -> Mode:
    """The mode that the flags, or the record of the run that goes on, ask for."""
    if goes_on and not recorded and asked.dp_mode not in (None, "off"):
        raise UserError(
            f"--dp-mode={asked.dp_mode} cannot begin on --continue: the steps before it were not private; "
            "start a new run"
        )
    if recorded:
        before = DpOptions.from_record(recorded)
        if changed := {k: v for k, v in asked.of_dp().items() if getattr(before, k) != v}:
            name = next(iter(changed)).replace("_", "-")
            raise UserError(
                f"--{name} cannot change on --continue: what is promised of a run holds for all of it"
            )
        asked = before
    if asked.dp_mode in (None, "off"):
        flags.refuse(asked, ("dp_clip", *flags.OF_PAPER), "off")
        return Mode(options)
    settings, options = expanded(asked, options)
    return Mode(options, [PaperDP(settings)], {"dp": asked.of_dp()})
