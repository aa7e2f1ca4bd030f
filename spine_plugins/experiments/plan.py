"""What a plan asks for: data sets, classifiers, arms (sources of fakes), rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from spine_plugins.experiments.plan_file import PlanFile

REAL = "real"  # in rows: the images of the data set `train`
Sifted = Literal["relabelled", "filtered"]


@dataclass(frozen=True)
class DataSet:
    """Real images: a file of the user, or phantoms that are drawn."""

    name: str
    zip: str | None
    phantom: Mapping[str, str]  # flags of `spinegan phantom`
    classes: int | None  # None: the file says


@dataclass(frozen=True)
class Fit:
    """How a classifier is trained."""

    arch: str
    epochs: int
    steps: int | None  # equal for all arms; None: by epochs, as the paper prints them
    batch: int
    lr: float | None
    augment: str
    select_on: str
    weights: str | None
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Helper:
    """A classifier that is no row: in a loss, or a judge of what is drawn."""

    name: str
    role: str  # loss | judge
    data: str
    val: str | None
    images: int  # of a judge: so many fakes of each network are judged
    fit: Fit


@dataclass(frozen=True)
class Arm:
    """Where fakes come from."""

    name: str
    title: str
    maker: str  # stylegan | dcgan | images
    data: str
    seeds: tuple[int, ...]
    kimg: int  # of stylegan
    steps: int  # of dcgan
    flags: Mapping[str, str]
    preset: str | None
    private: str | None  # an arm of Figure 3
    classifier: str | None
    resume: str | None  # another arm, whose networks it starts from
    per_class: bool  # of dcgan: a network for each class
    images: str | None  # of images: a labelled zip, whoever drew it
    measured: bool
    tags: Mapping[str, str]  # for tables: what it varies


@dataclass(frozen=True)
class Source:
    """One word of a row: `real`, `real:500`, `spine:1600`, `spine:1600 filtered`, `oracle`."""

    name: str
    images: int | None
    sifted: Sifted | None

    @property
    def text(self) -> str:
        count = "" if self.images is None else f":{self.images}"
        return f"{self.name}{count}{f' {self.sifted}' if self.sifted else ''}"


@dataclass(frozen=True)
class Row:
    """One row of a table: what a classifier learns from, and how."""

    name: str
    title: str
    group: str
    paper: float | None
    against: str | None
    train: tuple[Source, ...]  # of nothing: a value that is only quoted
    pretrain: tuple[Source, ...]
    length: float  # times the steps or epochs of the others
    pretrain_length: float
    shuffled: bool
    full: bool  # every seed with every network and draw; else they go in step
    fit: Fit

    @property
    def sources(self) -> tuple[Source, ...]:
        return (*self.pretrain, *self.train)


@dataclass(frozen=True)
class Plan:
    """All of it."""

    file: PlanFile
    name: str
    title: str
    resolution: int
    device: str
    draws: int
    data: Mapping[str, DataSet]
    helpers: Mapping[str, Helper]
    arms: Mapping[str, Arm]
    rows: Mapping[str, Row]
    metrics: tuple[str, ...]
    detectors: Mapping[str, str]
    analysis: Mapping[str, object]
    tables: tuple[str, ...]
    figures: tuple[str, ...]
    speed: Mapping[str, float]  # measured by the user, instead of ours

    def set_of(self, name: str) -> str:
        """The data set that a row's word means."""
        return "train" if name == REAL else name

    @property
    def sifter(self) -> Helper | None:
        """The classifier that relabels and filters: the first one of a loss."""
        return next((one for one in self.helpers.values() if one.role == "loss"), None)
