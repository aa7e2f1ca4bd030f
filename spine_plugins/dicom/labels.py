"""Labels: what the annotations say about an image -> a class number or a vector, or the reason why none."""

from __future__ import annotations

from dataclasses import dataclass

from spine_plugins.dicom.deidentify import Keyed
from spine_plugins.dicom.frame import Box
from spine_plugins.dicom.settings import IngestSettings
from spine_plugins.vindr import (
    BINARY,
    COMMON,
    LESIONS,
    NO_FINDING,
    OTHER_LESIONS,
    RARE,
    SPINE8,
    canonical,
    plain_name,
)


@dataclass(frozen=True)
class Annotation:
    """All rows of the annotations about one image."""

    kinds: tuple[
        str, ...
    ]  # the lesion column of every row: as written, or a mark for what nobody may be told
    boxes: tuple[tuple[str, Box], ...] = ()  # (kind likewise, box) of rows whose box has an area
    value: str = ""  # the column asked for by csv:COLUMN
    has_conflict: bool = False  # rows of one image that differ in that column
    study: Keyed | None = None
    patient: Keyed | None = None


@dataclass(frozen=True)
class Label:
    """The outcome: a label, or the reason why the image has none."""

    label: int | tuple[float, ...] | None
    kinds: tuple[str, ...] = ()  # canonical names, each once, in the order of LESIONS
    reason: str = ""
    is_abnormal: bool = False


def label_of(annotation: Annotation | None, settings: IngestSettings) -> Label:
    """The label of one image under the settings."""
    if settings.labels == "none":
        return Label(None, kinds=_known_kinds(annotation, settings))
    if annotation is None:
        return Label(None, reason="no_label")
    if settings.labels.startswith("csv:"):
        return _csv_label(annotation, settings)
    names = [canonical(name, settings.class_map) for name in annotation.kinds if name.strip()]
    # One name that we do not know spoils the image: it may be the one that decides.
    if None in names:
        return Label(None, reason="unknown_label")
    kinds = {name for name in names if name is not None}
    if not kinds:
        return Label(None, reason="no_label")
    if settings.labels == "binary":
        return _binary(kinds, len(annotation.kinds), settings)
    lesions = _with_rare(kinds - {NO_FINDING}, settings.rare)
    if settings.labels == "multi13":
        vector = tuple(float(name in lesions) for name in LESIONS)
        return Label(vector, _ordered(kinds), is_abnormal=bool(lesions))
    if kinds != {NO_FINDING} and not lesions:
        return Label(None, _ordered(kinds), reason="no_label")  # --rare=drop took all there was
    # Eight classes exclude each other; choosing one of two would invent an order among lesions.
    if len(lesions) > 1:
        return Label(None, _ordered(kinds), reason="multi_label")
    name = next(iter(lesions), NO_FINDING)
    return Label((label_names(settings) or []).index(name), _ordered(kinds), is_abnormal=bool(lesions))


def label_names(settings: IngestSettings) -> list[str] | None:
    """Names of the classes in the order of their numbers; None without labels."""
    if settings.labels == "none":
        return None
    if settings.labels == "binary":
        return list(BINARY)
    if settings.labels == "multi13":
        return list(LESIONS)
    if settings.labels == "spine8":
        return [*SPINE8, *RARE] if settings.rare == "keep" else list(SPINE8)
    if settings.class_map:
        return list(dict.fromkeys(target for _, target in settings.class_map))
    return list(settings.values)


def _binary(kinds: set[str], n_rows: int, settings: IngestSettings) -> Label:
    """Abnormal unless `No finding` is all that was found.

    paper-rows: the rule that the paper's published counts fit, abnormal if an image has two rows or more;
    it calls images with a single box normal, and is here to repeat that, not to be used.
    """
    is_abnormal = n_rows >= 2 if settings.label_rule == "paper-rows" else kinds != {NO_FINDING}
    return Label(int(is_abnormal), _ordered(kinds), is_abnormal=is_abnormal)


def _csv_label(annotation: Annotation, settings: IngestSettings) -> Label:
    if annotation.has_conflict:
        return Label(None, reason="multi_label")
    value = annotation.value.strip()
    if not value:
        return Label(None, reason="no_label")
    if settings.class_map:
        mapped = {plain_name(source): target for source, target in settings.class_map}
        value = mapped.get(plain_name(value), "")
    # Position in this list is the class number, so it must not depend on which files are there.
    names = label_names(settings) or []
    if value not in names:
        return Label(None, reason="unknown_label")
    return Label(names.index(value), _known_kinds(annotation, settings))


def _with_rare(lesions: set[str], rare: str) -> set[str]:
    if rare == "keep":
        return lesions
    common = lesions & set(COMMON)
    return common | ({OTHER_LESIONS} if rare == "other" and lesions - common else set())


def _known_kinds(annotation: Annotation | None, settings: IngestSettings) -> tuple[str, ...]:
    names = {canonical(name, settings.class_map) for name in annotation.kinds} if annotation else set()
    return _ordered({name for name in names if name is not None})


def _ordered(kinds: set[str]) -> tuple[str, ...]:
    return tuple(name for name in (NO_FINDING, *LESIONS) if name in kinds)
