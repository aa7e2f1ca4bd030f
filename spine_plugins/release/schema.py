"""The JSON schema of card.json, published with every release as card.schema.json."""

from __future__ import annotations

from stylegan2ada.protocols import JsonObject

_TEXT, _COUNT = {"type": "string"}, {"type": "integer", "minimum": 0}
_SHA = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_VERDICT = {"enum": ["FAIL", "NO EVIDENCE", "UNDERPOWERED"]}
_NUMBER = {"type": ["number", "null"]}


def _object(required: JsonObject, optional: JsonObject | None = None, *, is_open: bool = False) -> JsonObject:
    return {
        "type": "object",
        "required": list(required),
        "properties": required | (optional or {}),
        "additionalProperties": is_open,
    }


_SET = _object({"fingerprint": _SHA, "images": _COUNT, "units": _COUNT, "unit": _TEXT, "geometry": _TEXT})
_COUNTS = {"type": "object", "additionalProperties": _COUNT}
_TEST = _object(
    {"verdict": _VERDICT, "means": _TEXT},
    dict.fromkeys(("p_holm", "estimate", "low", "high", "detects", "copy_share_at_most"), _NUMBER),
)
_AUDIT = _object(
    {
        "verdict": _VERDICT,
        "statement": _TEXT,
        "detects": _NUMBER,
        "unit": {"enum": ["patient", "study", "image"]},
        "features": _object({"name": _TEXT, "note": _TEXT}),
        "tests": {"type": "object", "additionalProperties": _TEST},
        "not_run": {"type": "object", "additionalProperties": _TEXT},
        "audits_of_these_fakes": {"type": ["integer", "null"]},
    }
)
_LINE = _object(
    {
        "item": _TEXT,
        "question": _TEXT,
        "status": {"enum": ["ANSWERED", "UNDERPOWERED", "NOT RUN", "NEEDS A PERSON"]},
        "answer": _TEXT,
    }
)
_AUC = _object({"value": _NUMBER}, {"low": _NUMBER, "high": _NUMBER, "method": _TEXT})

SCHEMA: JsonObject = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Card of a synthetic data set released with SpineGAN",
    **_object(
        {
            "format": {"const": "spinegan-release"},
            "format_version": {"const": 1},
            "written": _TEXT,
            "program": _object({"version": _TEXT, "source_sha256": _SHA}),
            "first_line": {"type": ["string", "null"]},
            "context": _TEXT,
            "intended_use": _TEXT,
            "images": _object(
                {"images": _COUNT, "fingerprint": _SHA, "sha256": _SHA, "geometry": _TEXT},
                {"label_names": {"type": "array", "items": _TEXT}, "recipe": {"type": "object"}},
            ),
            "data": _object(
                {"train": _SET, "holdout": _SET},
                dict.fromkeys(("conversion", "by_label", "by_split", "by_reason"), _COUNTS),
            ),
            "generator": _object({"weights_released": {"type": "boolean"}}, is_open=True),
            "utility": {"type": "array", "items": _object({"row": _TEXT, "auc": _AUC})},
            "quality": {"type": "object", "additionalProperties": {"type": "number"}},
            "privacy": _object({"audit": _AUDIT, "dp": {"type": "object"}}),
            "limits": {"type": "array", "items": _TEXT},
            "files": {"type": "object", "additionalProperties": _SHA},
            "annexes": {"type": "object", "additionalProperties": {"type": "array", "items": _LINE}},
        }
    ),
}
