"""The card of a classifier, X.json beside X.safetensors: what is in it, written and read without torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, cast

from spine_plugins.classifier import card_checks
from spine_plugins.classifier.answers import Task
from stylegan2ada import files, untrusted
from stylegan2ada.errors import MissingError, UserError

if TYPE_CHECKING:
    from spine_plugins.statistics import IntervalJson

FORMAT = "spinegan-classifier"
FORMAT_VERSION = 1
_MAX_CARD = 16 << 20  # bytes
TRAIN_FIRST = "train one with `spinegan classify train`"


class Input(TypedDict):
    """What the network takes."""

    size: int  # side, pixels
    channels: int
    range: str
    resize: str
    mean: list[float]  # per channel, in [0, 1]
    std: list[float]


class DataFacts(TypedDict):
    """Which images, without a path that could tell names."""

    fingerprint: str
    source_fingerprint: str  # of the file that these are a part of
    path_name: str
    n: int
    of: int  # images in the file
    groups_hashed: bool
    unit: str  # what a group is: "patient", "study", or "image"
    n_groups: int | None
    class_counts: dict[str, int] | None


# Of one class against the rest; written as a call because `class` is a word of Python.
ClassMetrics = TypedDict(
    "ClassMetrics",
    {
        "class": str,
        "n_positive": int,
        "auc": "IntervalJson",
        "auc_delong": "IntervalJson",
        "auprc": "IntervalJson",
        "sensitivity_at_90_specificity": "IntervalJson",
        "brier": float,
        "ece": float,
    },
)


class Metrics(TypedDict, total=False):
    """What `evaluation.evaluate` finds."""

    n: int
    task: Task
    unit: str
    n_groups: int | None
    auc: IntervalJson
    auc_delong: IntervalJson  # of two classes only
    sensitivity_at_90_specificity: IntervalJson  # likewise
    auprc: IntervalJson
    accuracy: float
    brier: float
    ece: float
    per_class: list[ClassMetrics]
    confusion: list[list[int]]  # of several classes, [true][said]


class Origin(TypedDict, total=False):
    """Where weights come from."""

    origin: str  # file, URL or "none"
    sha256: str
    licence: str | None
    classifier: Card  # of a warm start: what its card says of its own weights and data


class Provenance(TypedDict):
    """Who made a classifier, and from what."""

    made_by: str
    foreign: bool  # some weights were not trained here
    starts_from: list[Origin]
    seed: int
    split_seed: int


class Card(TypedDict, total=False):
    """A card from its beginning (`new_classifier`: up to `input`) to its end (`fitting.run`: everything)."""

    format: str
    format_version: int
    arch: str
    task: Task
    class_names: list[str]
    dropout: float
    input: Input
    epochs: int  # of the schedule; the chosen one stands below
    schedule: dict[str, object]
    selected_on: str
    split: str  # what no two parts of the data share
    split_note: str | None
    data: dict[str, DataFacts | None]  # by role: train, val, test
    licence: str
    provenance: Provenance
    weights: Origin
    versions: dict[str, str]
    chosen_epoch: int
    history: list[dict[str, float]]  # a row per epoch
    metrics: dict[str, Metrics | None]  # by role: val, test
    sha256: str  # of the weights file


def card_path(path: str | Path) -> Path:
    """The card lies beside the weights: X.safetensors, X.json."""
    return Path(path).with_suffix(".json")


def write_card(card: Card, path: str | Path) -> None:
    """(Re)write the card beside the weights."""
    files.write_json(card_path(path), card)


def read_card(path: str | Path, *, check_weights: bool = True) -> Card:
    """The card of these weights (a file or URL); MissingError unless it is one, and of this very file."""
    weights = files.local_copy(str(path)) if check_weights else None
    if weights is not None and not weights.is_file():
        raise MissingError(f"the classifier {path} does not exist; {TRAIN_FIRST}")
    card = _read(path)
    # The hash ties the two files together: a card must not vouch for weights that were exchanged.
    if weights is not None and card.get("sha256") != files.sha256_file(weights):
        raise MissingError(
            f"the card {card_path(path)} is of another file than {path} (their SHA-256 differ); "
            "copy both from where they were made"
        )
    return card


def _read(path: str | Path) -> Card:
    text = str(path)
    is_url = files.is_url(text)
    # An address is handled as text: a Path would fold its `//` into one.
    beside = files.local_copy(text.removesuffix(".safetensors") + ".json") if is_url else card_path(path)
    if not untrusted.is_regular(beside):
        raise MissingError(
            f"the classifier {path} has no card {beside}; copy it from where the classifier was trained"
        )
    content = untrusted.read_file(beside, _MAX_CARD, error=MissingError)
    try:
        card = untrusted.parse_json(content, str(beside))
    except UserError as error:
        raise MissingError(f"the card {beside} is not valid JSON; copy it again") from error
    is_ours = isinstance(card, dict) and card.get("format") == FORMAT
    if not is_ours or not card_checks.is_ours(card):
        raise MissingError(f"{beside} is not the card of a SpineClassifier; {TRAIN_FIRST}")
    if card.get("format_version") != FORMAT_VERSION:
        raise MissingError(f"{beside} was written by a newer version of this program; update it")
    problem = card_checks.problem_of(card)
    if problem is not None:
        raise MissingError(f"the card {beside} is damaged: its {problem} cannot be; copy it again")
    return cast(Card, card)
