"""What the files of a run say, as plain data; anything may be missing, half written or damaged."""

from __future__ import annotations

import json
import math
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from stylegan2ada.errors import NothingToDoError, UserError

OPTIONS_FILE = "training_options.json"
_MOST_BYTES = 256 << 20  # of one text file; more is no file of ours
_SPLIT = re.compile(r"-(train|val|test)$")
_FAKES = re.compile(r"fakes(\d+|_init)\.png")
_CLASS = re.compile(r"(fakes(?:\d+|_init))-class(\d+)(?:-(.*))?\.png")


@dataclass(frozen=True)
class Snapshot:
    """The pictures of one moment."""

    kimg: int | None  # None: before training
    fakes: Path | None
    classes: dict[int, Path] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return "before training" if self.kimg is None else f"{self.kimg} kimg"


@dataclass(frozen=True)
class Measured:
    """One line of a metric's file."""

    kimg: float | None
    results: dict[str, float]
    record: dict[str, Any]


@dataclass
class Run:
    """One run folder, read."""

    folder: Path
    options: dict[str, Any]
    stats: list[dict[str, Any]]
    metrics: dict[str, list[Measured]]
    judge: list[dict[str, Any]]
    log: list[str]
    snapshots: list[Snapshot]
    class_names: dict[int, str]
    damaged: dict[str, int]  # file name: lines that could not be read
    dataset: Dataset
    classifier: dict[str, Any] | None
    synthetic: list[tuple[str, dict[str, Any]]]  # (name of the card's file, card)

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def ours(self) -> dict[str, Any]:
        return as_dict(self.options.get("spinegan"))

    @property
    def reals(self) -> Path | None:
        path = self.folder / "reals.png"
        return path if path.is_file() else None

    @property
    def resolution(self) -> int | None:
        return number(as_dict(self.options.get("training_set_kwargs")).get("resolution"), int)

    @property
    def total_kimg(self) -> float | None:
        return number(self.options.get("total_kimg"))

    @cached_property
    def kimg(self) -> float | None:
        """How far it has come."""
        return next((x for x, _ in reversed(self.series("Progress/kimg"))), None)

    @property
    def state(self) -> str:
        if (self.folder / "REQUEUE").exists():
            return "stopped on request, can go on"
        if any(line.strip() == "Finished" for line in self.log[-20:]):
            return "finished"
        return "in progress or interrupted" if self.stats else "no tick finished yet"

    def series(self, name: str) -> list[tuple[float, float]]:
        """(kimg, mean) of every tick that has this statistic; the mean may be NaN."""
        found = []
        for row in self.stats:
            x, entry = _mean(row.get("Progress/kimg")), as_dict(row.get(name))
            if x is not None and math.isfinite(x) and entry.get("num") != 0:
                y = _mean(entry)
                if y is not None:
                    found.append((x, y))
        return found

    def statistics(self) -> list[str]:
        """Names of everything that was ever reported, in order."""
        return list(dict.fromkeys(name for row in self.stats for name in row))


@dataclass(frozen=True)
class Dataset:
    """The training images, as far as files beside them tell."""

    name: str | None  # of the zip or folder, never its place
    is_there: bool = False
    summary: dict[str, Any] = field(default_factory=dict)
    contact: Path | None = None
    histogram: Path | None = None
    has_groups: bool | None = None  # None: unknown
    recipe: dict[str, Any] = field(default_factory=dict)
    label_names: tuple[str, ...] = ()


def read_run(folder: str | Path, synthetic: tuple[str, ...] = ()) -> Run:
    """The run in a folder; UserError if it is none, NothingToDoError if it is empty."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give the folder of a run, like runs/00000-NAME")
    folder = folder.resolve()
    damaged: dict[str, int] = {}
    options = _options(folder, damaged)
    stats = list(_json_lines(folder / "stats.jsonl", damaged))
    if not options and not stats:
        _refuse(folder)
    snapshots, class_names = _snapshots(folder)
    data = as_dict(options.get("training_set_kwargs")).get("path")
    classifier = as_dict(options.get("loss_kwargs")).get("classifier")
    return Run(
        folder=folder,
        options=options,
        stats=stats,
        metrics=_metrics(folder, damaged),
        judge=list(_json_lines(folder / "judge.jsonl", damaged)),
        log=_text(folder / "log.txt").splitlines(),
        snapshots=snapshots,
        class_names=class_names,
        damaged=damaged,
        dataset=_dataset(data, folder) if isinstance(data, str) else Dataset(None),
        classifier=_beside(classifier, folder, ".json") if isinstance(classifier, str) else None,
        synthetic=_cards(folder, synthetic),
    )


def as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def number(value: Any, kind: type = float) -> Any:
    """The value as a number, or None if it is none that can be computed with."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, int) and abs(value) > 1e300:  # JSON allows integers that no float holds
        return None
    return kind(value) if kind is float or math.isfinite(value) else None


def _refuse(folder: Path) -> None:
    inside = sorted(p.parent.name for p in folder.glob(f"*/{OPTIONS_FILE}"))
    hint = (
        f"it holds runs, give one of them: {', '.join(inside[:5])}" if inside else "give the folder of a run"
    )
    raise NothingToDoError(f"{folder} has neither {OPTIONS_FILE} nor stats.jsonl, so it is no run; {hint}")


def _options(folder: Path, damaged: dict[str, int]) -> dict[str, Any]:
    text = _text(folder / OPTIONS_FILE)
    try:
        return as_dict(json.loads(text)) if text else {}
    except ValueError:
        damaged[OPTIONS_FILE] = 1
        return {}


def _text(path: Path) -> str:
    """The file as text, or nothing; a wrong byte is no reason to lose the rest."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            return ""
        return path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""


def _json(path: Path) -> dict[str, Any]:
    try:
        return as_dict(json.loads(_text(path)))
    except (ValueError, RecursionError):
        return {}


def _json_lines(path: Path, damaged: dict[str, int]) -> Iterator[dict[str, Any]]:
    """Every complete object; the last line of a run in progress may be half written."""
    lines = _text(path).split("\n")
    for i, line in enumerate(lines):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            yield row
        elif i < len(lines) - 1:  # an unfinished last line is no damage
            damaged[path.name] = damaged.get(path.name, 0) + 1


def _mean(entry: Any) -> float | None:
    return number(as_dict(entry).get("mean"))


def _metrics(folder: Path, damaged: dict[str, int]) -> dict[str, list[Measured]]:
    """{metric: measurements by kimg}; measured twice on one network, the later one counts."""
    found: dict[str, list[Measured]] = {}
    for path in sorted(folder.glob("metric-*.jsonl")):
        by_kimg: dict[float | None, Measured] = {}
        for record in _json_lines(path, damaged):
            digits = re.search(r"(\d+)\.\w+$", str(record.get("snapshot_pkl") or ""))
            kimg = float(digits[1]) if digits else None
            results = {str(k): number(v) for k, v in as_dict(record.get("results")).items()}
            usable = {k: v for k, v in results.items() if v is not None}
            by_kimg[kimg] = Measured(kimg, usable, record)
        if by_kimg:
            ordered = sorted(by_kimg.values(), key=lambda m: -1 if m.kimg is None else m.kimg)
            found[path.name.removeprefix("metric-").removesuffix(".jsonl")] = ordered
    return found


def _snapshots(folder: Path) -> tuple[list[Snapshot], dict[int, str]]:
    fakes: dict[str, Path] = {}
    classes: dict[str, dict[int, Path]] = {}
    names: dict[int, str] = {}
    for path in sorted(folder.glob("fakes*.png")):
        if _FAKES.fullmatch(path.name):
            fakes[path.stem] = path
    for path in sorted((folder / "classes").glob("fakes*.png")):
        match = _CLASS.fullmatch(path.name)
        if match:
            classes.setdefault(match[1], {})[int(match[2])] = path
            names[int(match[2])] = (match[3] or f"class {match[2]}").replace("_", " ")
    moments = sorted(fakes.keys() | classes.keys(), key=lambda stem: (_kimg(stem) is not None, _kimg(stem)))
    shown = [Snapshot(_kimg(m), fakes.get(m), dict(sorted(classes.get(m, {}).items()))) for m in moments]
    return shown, dict(sorted(names.items()))


def _kimg(stem: str) -> int | None:
    digits = stem.removeprefix("fakes")
    return int(digits) if digits.isdigit() else None


def _places(recorded: str, folder: Path) -> list[Path]:
    """Where a recorded path may be today: there, or moved together with the run."""
    path = Path(recorded)
    return [path, *(place / path.name for place in (folder, *list(folder.parents)[:2]))]


def _beside(recorded: str, folder: Path, suffix: str) -> dict[str, Any] | None:
    for path in _places(recorded, folder):
        card = _json(path.with_suffix(suffix)) if path.name else {}
        if card:
            return card
    return None


def _dataset(recorded: str, folder: Path) -> Dataset:
    places = _places(recorded, folder)
    place = next((p for p in places if p.exists()), places[0])
    whole = _SPLIT.sub("", place.stem)
    stems = [place.stem, whole]  # X-train.zip belongs to X_summary.json
    meta = _dataset_json(place)
    names = meta.get("label_names")
    return Dataset(
        name=place.name,
        is_there=place.exists(),
        summary=next((s for s in (_json(place.with_name(f"{x}_summary.json")) for x in stems) if s), {}),
        contact=_existing(place, stems, "_contact.png"),
        histogram=_existing(place, stems, "_hist.png"),
        has_groups=bool(meta.get("groups")) if meta else None,
        recipe=as_dict(meta.get("recipe")),
        label_names=tuple(map(str, names)) if isinstance(names, list) else (),
    )


def _existing(place: Path, stems: list[str], ending: str) -> Path | None:
    paths = (place.with_name(stem + ending) for stem in stems)
    return next((path for path in paths if path.is_file()), None)


def _dataset_json(place: Path) -> dict[str, Any]:
    """The data set's own description; {} if it has none or cannot be read."""
    if place.is_dir():
        return _json(place / "dataset.json")
    try:
        with zipfile.ZipFile(place) as archive:
            info = archive.getinfo("dataset.json")
            if info.file_size > _MOST_BYTES:
                return {}
            return as_dict(json.loads(archive.read(info)))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile, NotImplementedError, RuntimeError):
        return {}


def _cards(folder: Path, given: tuple[str, ...]) -> list[tuple[str, dict[str, Any]]]:
    paths = sorted(folder.glob("*_card.json"))
    for text in given:
        path = Path(text)
        path = path if path.suffix == ".json" else path.with_name(path.stem + "_card.json")
        if not _json(path):
            raise UserError(f"--synthetic={text}: {path} is not a card; give a data set made by generate")
        paths.append(path)
    return [(path.name, card) for path in dict.fromkeys(paths) if (card := _json(path)).get("is_synthetic")]
