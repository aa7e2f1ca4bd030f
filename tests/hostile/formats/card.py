"""The card of a classifier, and its weights."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

from tests.hostile import materials
from tests.hostile.case import Case, case
from tests.hostile.mutate import bad_json, damaged

_IMPOSSIBLE: tuple[tuple[str, object], ...] = (
    ("input.size", 0), ("input.size", -5), ("input.size", 10**9), ("input.size", "x"), ("input.size", 1.5),
    ("input.channels", 0), ("input.channels", 10**9), ("input.mean", []), ("input.std", [0.0]), ("input.std",
     [0]),
    ("input.mean", [float("nan")]), ("input.std", [-1.0]), ("arch", []), ("arch", {}), ("task", []),
    ("class_names", []),
    ("class_names", 5), ("class_names", ["a"] * 100_000), ("class_names", [1, 2]), ("dropout", -3),
    ("dropout", "x"),
    ("dropout", float("nan")), ("format_version", []), ("sha256", 5),
)  # fmt: skip


def make(rng: random.Random, folder: Path) -> Case:
    """A classifier that is wrong, and a command that uses it."""
    card, weights = materials.classifier_files()
    kind, must_refuse = rng.random(), False
    if kind < 0.25:
        path, value = rng.choice(_IMPOSSIBLE)
        text, attack, must_refuse = (
            json.dumps(_with(card, path, value)).encode(),
            f"{path} is {value!r:.30}",
            True,
        )
    elif kind < 0.75:
        text, attack = bad_json(card, rng)
    else:
        weights, attack = damaged(weights, rng), "damaged weights"
        text = json.dumps({**card, "sha256": hashlib.sha256(weights).hexdigest()}).encode()
    (folder / "c.safetensors").write_bytes(weights)
    (folder / "c.json").write_bytes(text)
    (folder / "data.zip").write_bytes(materials.data_zip())
    words = rng.choice((
        ("classify", "predict", "--classifier=c.safetensors", "--data=data.zip", "--out=p.csv",
         "--device=cpu"),
        ("classify", "predict", "--classifier=c.safetensors", "--data=data.zip", "--out=p.csv",
         "--device=cpu"),
        ("classify", "eval", "--classifier=c.safetensors", "--data=data.zip", "--outdir=e", "--device=cpu",
         "--no-plots",
         "--resamples=100"),
        ("train", "--data=data.zip", "--outdir=runs", "--cond=1", "--metrics=none", "--dry-run",
         "--loss=spine",
         "--classifier=c.safetensors", "--device=cpu"),
    ))  # fmt: skip
    kept = ("c.safetensors", "c.json", "data.zip")
    return case(attack, *words, must_refuse=must_refuse and words[0] == "classify", keeps=kept)


def _with(card: dict, path: str, value: object) -> dict:
    first, _, rest = path.partition(".")
    return {**card, first: _with(card[first], rest, value) if rest else value}
