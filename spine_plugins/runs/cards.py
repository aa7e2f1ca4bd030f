"""Cards that belong to a run: of the classifier in its loss, and of data sets made with its networks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from spine_plugins.runs.dataset import places
from spine_plugins.runs.documents import Document, read_json
from stylegan2ada import files
from stylegan2ada.errors import UserError

_ENDING = "_card.json"  # of a data set made by generate


def classifier_card(recorded: object, folder: Path) -> Document | None:
    """The card beside the classifier's weights; None if it is not where the run recorded it, nor near."""
    if not isinstance(recorded, str):
        return None
    # A damaged record may have no name, which with_suffix refuses.
    paths = (path.with_suffix(".json") for path in places(recorded, folder) if path.name)
    return next(filter(None, map(read_json, paths)), None)


def synthetic_cards(
    folder: Path,
    given: Iterable[str],  # data sets made by generate, or their cards, elsewhere
) -> list[tuple[str, Document]]:
    """(name of the file, card) of each synthetic data set; UserError for a given one that is none."""
    paths = sorted(folder.glob(f"*{_ENDING}"))
    for text in given:
        path = Path(text)
        path = path if path.suffix == ".json" else files.beside(path, path.stem + _ENDING)
        if not read_json(path):
            raise UserError(f"--synthetic={text}: {path} is not a card; give a data set made by generate")
        paths.append(path)
    # What was given may lie in the folder, too.
    cards = ((path.name, read_json(path)) for path in dict.fromkeys(paths))
    return [(name, card) for name, card in cards if card.get("is_synthetic")]
