"""Which flags may change when a run goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from stylegan2ada.config.records import TrainConfig, TrainOptions
from stylegan2ada.errors import UserError
from stylegan2ada.protocols import Options

# Flags that may change when a run goes on: they do not touch its numbers. --data may name another place with
# the same images, which the loop checks; another number of devices gives up bitwise equality, and says so.
# Another device or other operations change the last digits, as moving to another machine does.
SAFE_TO_CHANGE = ("outdir", "gpus", "snap", "metrics", "kimg", "workers", "data", "device", "nobench",
                  "state_minutes", "keep_snapshots", "detector", "log", "ops", "graphs")  # fmt: skip


def continue_with(
    recorded: TrainConfig,  # of the run so far
    before: TrainOptions,  # the flags it was started with
    asked: TrainOptions,  # the flags given now
    resolve_again: Callable[[TrainOptions], TrainConfig],
) -> TrainConfig:
    """The recorded configuration with safe changes put in; other changes are refused by name."""
    risky = {name: value for name, value in asked.given().items() if name not in SAFE_TO_CHANGE}
    differing = [name for name, value in risky.items() if value != getattr(before, name)]
    if differing:
        quiet = replace(before, metrics=())
        if _numbers(resolve_again(replace(quiet, **risky))) != _numbers(resolve_again(quiet)):
            listed = ", ".join(f"--{name.replace('_', '-')}={risky[name]}" for name in differing)
            raise UserError(
                f"{listed}: this run was started differently, and it would change its numbers; leave it out, "
                "or start a new run from the last snapshot with --resume=PKL"
            )
    changes: Options = {}
    direct = {"kimg": "total_kimg", "device": "device", "state_minutes": "state_minutes",
              "keep_snapshots": "keep_snapshots", "ops": "ops", "graphs": "graphs"}  # fmt: skip
    changes |= {
        target: getattr(asked, name) for name, target in direct.items() if getattr(asked, name) is not None
    }
    if asked.snap is not None:
        changes |= {"image_snapshot_ticks": asked.snap, "network_snapshot_ticks": asked.snap}
    if asked.metrics is not None:
        changes["metrics"] = list(asked.metrics)
    if asked.log is not None:
        changes["log"] = list(asked.log)
    if asked.workers is not None:
        changes["data_loader_kwargs"] = recorded.data_loader_kwargs | {"num_workers": asked.workers}
    if asked.data is not None:
        changes["training_set_kwargs"] = recorded.training_set_kwargs | {"path": asked.data}
    if asked.nobench is not None:
        changes["cudnn_benchmark"] = not asked.nobench
    if asked.detector is not None:
        changes["detectors"] = recorded.detectors | dict(asked.detector)
    return replace(recorded, **changes).on_devices(asked.gpus or recorded.num_gpus)


def _numbers(config: TrainConfig) -> TrainConfig:
    """The configuration without its name and remarks."""
    return replace(config, desc="", notes=[])
