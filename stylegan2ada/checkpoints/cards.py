"""Where a network comes from: a plain dict that travels with it, so that licences are not lost."""

from __future__ import annotations

from typing import Any

_SEEN_FROM_OUTSIDE = frozenset(
    {"format", "origin", "sha256", "foreign"}
)  # of one file, not of the networks in it

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
    inner: dict[str, Any],  # the card found inside the file, or {}
) -> dict[str, Any]:
    """The card of a loaded file: what it says about itself, and what we see of it."""
    card = {**inner, "format": file_format, "origin": origin, "sha256": sha256, "foreign": is_foreign}
    card["starts_from"] = list(inner.get("starts_from") or [])
    card["licence"] = FOREIGN_LICENCE if is_foreign else inner.get("licence")
    return card


def derive_card(*parents: dict[str, Any] | None, **facts: Any) -> dict[str, Any]:
    """The card of networks made from others; foreign weights stay named, however far back."""
    roots: list[dict[str, Any]] = []
    for parent in parents:
        if parent is None:
            continue
        own = (
            [{key: parent.get(key) for key in ("origin", "sha256", "licence")}]
            if parent.get("foreign")
            else []
        )
        roots.extend(root for root in [*(parent.get("starts_from") or []), *own] if root not in roots)
    licences = [root["licence"] for root in roots if root.get("licence")]
    licence = licences[0] if licences else None
    return {"foreign": False, "starts_from": roots, "licence": licence, **facts}


def card_to_store(card: dict[str, Any] | None) -> dict[str, Any] | None:
    """What goes into a file when networks with this card are saved; None if there is nothing to tell."""
    if not card:
        return None
    facts = {
        key: value
        for key, value in card.items()
        if key not in _SEEN_FROM_OUTSIDE | {"starts_from", "licence"}
    }
    stored = derive_card(card, **facts)
    del stored["foreign"]
    return stored if facts or stored["starts_from"] else None
