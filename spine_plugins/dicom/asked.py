"""What the command was asked, one field per option, and the job that is made of it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spine_plugins.dicom import lists
from spine_plugins.dicom.settings import PRESETS, IngestSettings, check_labels, rare_for

if TYPE_CHECKING:
    from spine_plugins.dicom.job import Job


@dataclass(frozen=True)
class Convert:
    """What the tool was asked."""

    source: tuple[str, ...]
    dest: str | None
    annotations: tuple[str, ...]
    subset_list: str | None
    max_images: int | None
    overwrite: bool
    resume: bool
    dry_run: bool
    demo: bool
    labels: str | None
    label_rule: str
    rare: str | None
    class_map: str | None
    preset: str
    resolution: int
    channels: str | None
    crop: str | None
    resize: str | None
    window: str | None
    percentiles: tuple[float, float]
    polarity: str | None
    modality: str
    body_part: str
    min_size: int
    frames: str
    colour: str
    allow_burned_in: bool
    force_meta: bool
    dedupe: str
    checksums: str | None
    split: str | None
    stratify: bool
    split_seed: int
    forbid_groups: tuple[str, ...]
    key_file: str | None
    report_paths: str
    workers: int | None
    executor: str
    timeout: float
    max_pixels: int
    max_file_mb: int
    max_inflate: int
    fail_over: float
    on_missing_decoder: str
    list_decoders: bool
    json_file: str | None


def job_of(asked: Convert, say: Callable[[str], None]) -> Job:
    """The job; mistakes that can be seen before any file is opened are told now."""
    from spine_plugins.dicom.job import Job, parse_dedupe
    from stylegan2ada.data.splits import parse_split

    return Job(
        sources=list(asked.source),
        dest=asked.dest or "dry-run.zip",
        dedupe=parse_dedupe(asked.dedupe),
        settings=settings_of(asked),
        annotations=asked.annotations,
        labels=asked.labels,
        split=parse_split(asked.split) if asked.split else (),
        stratify=asked.stratify,
        split_seed=asked.split_seed,
        forbid_groups=asked.forbid_groups,
        subset_list=asked.subset_list,
        checksums=asked.checksums,
        key_file=asked.key_file,
        executor=asked.executor,
        workers=asked.workers or os.cpu_count() or 1,
        resume=asked.resume,
        overwrite=asked.overwrite,
        max_images=asked.max_images,
        fail_over=asked.fail_over,
        report_paths=asked.report_paths,
        dry_run=asked.dry_run,
        log=say,
    )


def settings_of(asked: Convert) -> IngestSettings:
    """The preset, what was given by hand, and what follows from other options."""
    check_labels(asked.labels, asked.label_rule)
    preset = PRESETS[asked.preset]
    return dataclasses.replace(
        preset,
        resolution=asked.resolution,
        channels=int(asked.channels or preset.channels),
        crop=asked.crop or preset.crop,
        resize=asked.resize or preset.resize,
        window=asked.window or preset.window,
        percentiles=asked.percentiles,
        polarity=asked.polarity or preset.polarity,
        modality=asked.modality,
        body_part=asked.body_part,
        min_size=asked.min_size,
        frames=asked.frames,
        colour=asked.colour,
        allow_burned_in=asked.allow_burned_in,
        force_meta=asked.force_meta,
        label_rule=asked.label_rule,
        rare=asked.rare or rare_for(asked.labels),
        class_map=lists.class_map(asked.class_map) if asked.class_map is not None else (),
        hash_pixels="pixels" in asked.dedupe or bool(asked.forbid_groups),
        max_pixels=asked.max_pixels,
        max_file_bytes=asked.max_file_mb << 20,
        max_inflate_bytes=asked.max_inflate << 20,
        timeout_sec=asked.timeout,
        skip_missing_decoder=asked.on_missing_decoder == "skip",
        headers_only=asked.dry_run,
    ).checked()
