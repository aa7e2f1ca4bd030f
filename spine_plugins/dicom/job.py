"""One run of the DICOM tool: where from, where to, by whom."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from spine_plugins.dicom.select import SPLITS
from spine_plugins.dicom.settings import IngestSettings


@dataclasses.dataclass(frozen=True)
class Job:
    """One run of the tool: where from, where to, by whom. What the pixels become is in `settings`."""

    sources: list[str]
    dest: str  # X.zip or a folder X
    settings: IngestSettings = IngestSettings()
    annotations: tuple[str, ...] = ()
    labels: str | None = None  # None: binary or csv:label if there are annotations, else none
    dedupe: tuple[str, ...] = ("sop", "pixels")
    split: tuple[float, ...] = ()
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
    fail_over: float = 0.2
    report_paths: str = "relative"
    dry_run: bool = False
    log: Callable[[str], None] = print

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
