"""Where a network comes from: a plain dict that travels with it, so that licences are not lost."""

from __future__ import annotations

from typing import Any

from stylegan2ada.protocols import Card

# Facts of one file, not of the networks in it: they must not travel on when those are saved again.
_SEEN_FROM_OUTSIDE = frozenset({"format", "origin", "sha256", "foreign"})

FOREIGN_LICENCE = (
    "holds or starts from weights that this program did not make; the licence of its origin applies "
    "(NVIDIA's pretrained networks are for non-commercial use only)"
)


def card_of_file(
    *,
    origin: str,  # path or URL as the user gave it
    sha256: str,
    file_format: str,  # "official", "native" or "tensorflow"
    is_foreign: bool,
    inner: Card,  # the card found inside the file, or {}
) -> Card:
    """The card of a loaded file: what it says about itself, and what we see of it."""
    card = {**inner, "format": file_format, "origin": origin, "sha256": sha256, "foreign": is_foreign}
    card["starts_from"] = list(inner.get("starts_from") or [])
    card["licence"] = FOREIGN_LICENCE if is_foreign else inner.get("licence")
    return card


def derive_card(*parents: Card | None, **facts: Any) -> Card:
    """The card of networks made from others; foreign weights stay named, however far back."""
    roots: list[Card] = []
    for parent in parents:
        if parent is None:
            continue
        found = list(parent.get("starts_from") or [])
        if parent.get("foreign"):
            found.append({key: parent.get(key) for key in ("origin", "sha256", "licence")})
        roots.extend(root for root in found if root not in roots)
    licences = [root["licence"] for root in roots if root.get("licence")]
    licence = licences[0] if licences else None
    return {"foreign": False, "starts_from": roots, "licence": licence, **facts}


def card_to_store(card: Card | None) -> Card | None:
    """What goes into a file when networks with this card are saved; None if there is nothing to tell."""
    if not card:
        return None
    told_anew = _SEEN_FROM_OUTSIDE | {"starts_from", "licence"}
    facts = {key: value for key, value in card.items() if key not in told_anew}
    stored = derive_card(card, **facts)
    del stored["foreign"]
    return stored if facts or stored["starts_from"] else None
