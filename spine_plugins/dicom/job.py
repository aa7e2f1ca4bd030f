"""One run of the DICOM tool: where from, where to, by whom; and what it finds out under way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from spine_plugins.dicom.journal import Journal
from spine_plugins.dicom.settings import IngestSettings
from stylegan2ada.data.splits import SPLITS
from stylegan2ada.errors import UserError

_MOST_WORKERS, _MOST_FILES = 1024, 10**12


@dataclasses.dataclass(frozen=True)
class Job:
    """What was asked for. What the pixels become is in `settings`."""

    sources: list[str]
    dest: str  # X.zip or a folder X
    settings: IngestSettings = IngestSettings()
    annotations: tuple[str, ...] = ()
    labels: str | None = None  # None: binary or csv:label if there are annotations, else none
    dedupe: tuple[str, ...] = ("sop", "pixels")
    split: tuple[float, ...] = ()  # shares of train, val, test
    stratify: bool = False  # every class in its share; splits then change when data is added
    split_seed: int = 0
    forbid_groups: tuple[str, ...] = ()
    subset_list: str | None = None
    checksums: str | None = None
    key_file: str | None = None
    executor: str = "process"
    workers: int = 1
    resume: bool = False
    overwrite: bool = False
    max_images: int | None = None
    fail_over: float = 0.2  # give up if more than this part of the images fails
    report_paths: str = "relative"  # relative | hash | none
    dry_run: bool = False
    log: Callable[[str], None] = print

    def checked(self) -> Job:
        """Itself; a value that cannot be is refused."""
        if not 0 <= self.fail_over <= 1:  # not a number is neither
            raise UserError(f"--fail-over={self.fail_over} is no share; give a number from 0 to 1")
        if self.stratify and not self.split:
            raise UserError("--stratify says how to split; add --split=0.8/0.1/0.1, or leave it out")
        if self.workers > _MOST_WORKERS:
            raise UserError(f"--workers={self.workers} is more than one computer runs; give what it has CPUs")
        if (self.max_images or 0) > _MOST_FILES:
            raise UserError(f"--max-images={self.max_images} is more than there can be; leave it out for all")
        return self

    @property
    def may_name(self) -> bool:
        """Whether names of input files and ids of the annotations may be told in files beside the output."""
        return self.report_paths == "relative"

    @property
    def stem(self) -> Path:
        """X of X.zip, beside which the side files lie."""
        dest = Path(self.dest)
        return dest.with_suffix("") if dest.suffix.lower() == ".zip" else dest

    def side_file(self, ending: str, split: str = "") -> Path:
        return self.stem.with_name(self.stem.name + (f"-{split}" if split else "") + ending)

    def targets(self) -> dict[str, Path]:
        """split ('' without splits) -> zip or folder."""
        suffix = ".zip" if Path(self.dest).suffix.lower() == ".zip" else ""
        if not self.split:
            return {"": Path(self.dest)}
        return {name: self.side_file(suffix, name) for name in SPLITS[: len(self.split)]}


@dataclasses.dataclass(frozen=True)
class Conversion:
    """A job under way, as its later steps need it."""

    job: Job
    journal: Journal
    settings: IngestSettings  # the job's, with the annotations that were found
    key: bytes  # of the patient and study hashes
    key_id: str
    config: str  # hash of all that decides what a file becomes


def parse_dedupe(text: str) -> tuple[str, ...]:
    """`sop,pixels` -> the keys by which copies are found; `none` -> ()."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if names == ("none",):
        return ()
    if not names or set(names) - {"sop", "pixels"}:
        raise UserError(f"--dedupe={text} is unknown; use sop, pixels, sop,pixels or none")
    return names
