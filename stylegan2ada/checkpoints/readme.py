"""Cards for people: a README.md of a network or of a synthetic set, as the Hugging Face hub reads it.

Only what is named here is told: no paths, no hashes of patients, nothing a card merely happens to hold.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from stylegan2ada.protocols import Card

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_LIMITS = """\
## Limits

- Fakes are no radiographs of anybody, and they are not anonymous for that reason alone: a network can repeat
  an image that it was trained on. Look for near copies before you give either away.
- What the training images lack or overstate, the fakes lack or overstate. They are for research on methods;
  no clinical decision may rest on them.
"""


def model_readme(
    card: Card,
    *,
    name: str,
    shape: Mapping[str, object],  # what the network draws: resolution, channels, parameters
    metrics: Mapping[str, float],  # as the run measured them, of this very network
) -> str:
    """The page of a network."""
    rows = [
        *((key.capitalize(), value) for key, value in shape.items()),
        ("Trained on", card.get("dataset")),
        ("Length", f"{card['kimg']:g} thousand images" if card.get("kimg") is not None else None),
        ("Classes", _names(card.get("label_names"))),
        ("Weights from", _roots(card)),
        ("Licence", card.get("licence") or "not stated by who trained it"),
        ("File", f"SHA-256 {card['sha256']}" if card.get("sha256") else None),
    ]
    measured = [(metric, f"{value:.4g}") for metric, value in sorted(metrics.items())]
    head = {
        "library_name": "spinegan",
        "pipeline_tag": "unconditional-image-generation",
        "tags": ["stylegan2-ada", "gan", "image-generation", "radiography"],
        **_licence(card),
    }
    table = _table(("metric", "value"), measured) if measured else "None were measured on this file."
    return f"""{_front_matter(head)}
# {_plain(name)}

A StyleGAN2-ADA generator, made with SpineGAN.

{_table(("", ""), rows)}

## Use

```python
import stylegan2ada as sg

G = sg.load_network("{_plain(name)}")["G_ema"]
images = sg.generate_images(G, seeds=range(4))
```

## Measured

{table}

FID and its kin depend on the detector and on the number of images, which their names say; `tiny` numbers
compare with nothing but themselves.

{_LIMITS}"""


def dataset_readme(card: Card, *, name: str, images: int, resolution: int) -> str:
    """The page of a synthetic data set; `card` as `generate` writes it."""
    made_by = card.get("provenance") or {}
    classes = card.get("classes") or []
    rows = [
        ("Images", f"{images} of {resolution}x{resolution}, all of them drawn"),
        ("Of each class", card.get("images_per_class") if len(classes) > 1 else None),
        ("Classes", _names(card.get("label_names"))),
        ("Network trained on", made_by.get("dataset")),
        ("Network", f"SHA-256 {card['network_sha256']}" if card.get("network_sha256") else None),
        ("Truncation psi", card.get("truncation_psi")),
        ("First seed", card.get("first_seed")),
        ("Weights from", _roots(made_by)),
        ("Licence", made_by.get("licence") or "not stated by who trained the network"),
        ("File", f"SHA-256 {card['sha256']}" if card.get("sha256") else None),
    ]
    head = {
        "pretty_name": name,
        "task_categories": ["image-classification"],
        "tags": ["synthetic", "gan", "stylegan2-ada", "radiography"],
        "size_categories": [next((label for most, label in _SIZES if images < most), "n>1M")],
        **_licence(made_by),
    }
    return f"""{_front_matter(head)}
# {_plain(name)}

A synthetic data set: every image was drawn by a network, none is a photograph or radiograph of anybody.
The labels are what the network was asked for, not what a reader saw.

{_table(("", ""), rows)}

## Read it

`dataset.json` holds the labels: {{"labels": [[file, class], ...]}}. With SpineGAN:

```python
import stylegan2ada as sg

images = sg.ImageFolderDataset("{_plain(name)}", use_labels=True)
```

{_LIMITS}"""


def _licence(card: Card) -> dict[str, object]:
    stated = card.get("licence")
    return {"license": "other", "license_name": "see-below"} if stated else {"license": "unknown"}


def _front_matter(values: Mapping[str, object]) -> str:
    # JSON is YAML, and quotes what would mean something in it.
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
    return "\n".join(("---", *lines, "---", ""))


def _table(head: tuple[str, str], rows: Sequence[tuple[str, object]]) -> str:
    known = [(key, value) for key, value in rows if value not in (None, "")]
    lines = [f"| {head[0]} | {head[1]} |", "| --- | --- |"]
    return "\n".join((*lines, *(f"| {_plain(key)} | {_plain(value)} |" for key, value in known)))


def _names(names: object) -> str | None:
    return ", ".join(map(str, names)) if isinstance(names, list | tuple) and names else None


def _roots(card: Card) -> str:
    """Foreign weights, by name and licence; folders name people and places."""
    roots = card.get("starts_from") or []
    names = (str(root.get("origin")).replace("\\", "/") for root in roots)
    return "; ".join(name if "://" in name else name.rsplit("/", 1)[-1] for name in names)


def _plain(value: object) -> str:
    """On one line, and nothing that Markdown or HTML would read."""
    text = " ".join(str(value).split())
    return text.translate(str.maketrans('|<>`"', "/()''"))
