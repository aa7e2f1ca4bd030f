"""What boards and guidelines ask, line by line, and where the card answers; NOT RUN where nothing was run.

The questions are ours, after the documents named; the documents are the authority.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from spine_plugins.runs.documents import Document, as_dict, as_list, finite

Status = Literal["NOT RUN", "UNDERPOWERED", "ANSWERED", "NEEDS A PERSON"]
NOT_RUN: Status = "NOT RUN"
ANSWERED: Status = "ANSWERED"
UNDERPOWERED: Status = "UNDERPOWERED"
BY_A_PERSON: Status = "NEEDS A PERSON"
Answer = tuple[Status, str]


@dataclass(frozen=True)
class Line:
    """One question of a document."""

    item: str
    question: str
    answer: Callable[[Document], Answer]


def of_card(card: Document) -> dict[str, list[dict[str, str]]]:
    """{document: [{item, question, status, answer}]} for a card's other parts."""
    found = {}
    for title, lines in ANNEXES.items():
        rows = []
        for line in lines:
            status, text = line.answer(card)
            rows.append({"item": line.item, "question": line.question, "status": status, "answer": text})
        found[title] = rows
    return found


# Where answers come from.


def _test(*names: str) -> Callable[[Document], Answer]:
    """What tests of the audit say."""

    def answer(card: Document) -> Answer:
        audit = as_dict(as_dict(card.get("privacy")).get("audit"))
        tests = as_dict(audit.get("tests"))
        said = []
        for name in names:
            found = as_dict(tests.get(name))
            if found:
                seen = finite(found.get("detects"))
                power = "" if seen is None else f", copies of {100 * seen:g} % would have been seen"
                said.append(f"{name.replace('_', ' ')}: {found.get('verdict')}{power}")
        if not said:
            return NOT_RUN, "No test of this audit was run."
        # A test that could not have seen anything answers nothing.
        verdicts = {as_dict(tests.get(name)).get("verdict") for name in names if name in tests}
        return UNDERPOWERED if verdicts == {UNDERPOWERED} else ANSWERED, "; ".join(said) + "."

    return answer


def _says(path: str, otherwise: str) -> Callable[[Document], Answer]:
    """A value of the card by its dotted path."""

    def answer(card: Document) -> Answer:
        value: object = card
        for key in path.split("."):
            value = as_dict(value).get(key)
        return (ANSWERED, _text(value)) if value not in (None, "", {}, []) else (NOT_RUN, otherwise)

    return answer


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{key.replace('_', ' ')}: {_text(inner)}" for key, inner in value.items()) + "."
    if isinstance(value, list):
        return "; ".join(map(_text, value))
    return str(value)


def _always(status: Status, text: str) -> Callable[[Document], Answer]:
    return lambda card: (status, text)


def _dp(card: Document) -> Answer:
    dp = as_dict(as_dict(card.get("privacy")).get("dp"))
    statement = dp.get("statement")
    return (ANSWERED, str(statement)) if statement else (NOT_RUN, "No differentially private training.")


def _dp_part(key: str) -> Callable[[Document], Answer]:
    def answer(card: Document) -> Answer:
        value = as_dict(as_dict(card.get("privacy")).get("dp")).get(key)
        return (ANSWERED, _text(value)) if value else (NOT_RUN, "No differentially private training.")

    return answer


def _labels_kept(card: Document) -> Answer:
    names = as_list(as_dict(card.get("images")).get("label_names"))
    if not names:
        return NOT_RUN, "The images have no named labels."
    return ANSWERED, f"Every image has one label of: {', '.join(map(str, names))}."


_PIXELS = (
    "The released files are pixels, class labels and running numbers; no field of this kind exists in them."
)
_BURNT_IN = _always(
    BY_A_PERSON, "Text burnt into training images may be imitated; look at a sample of the images."
)
_NO_FIELD = _always(ANSWERED, _PIXELS)
_UTILITY = _says("utility", "No utility was measured; give --utility=FILE.")
_DOCUMENTED = "This card, its checksums and the audit; the assessment of impact itself is yours."

ANNEXES: dict[str, tuple[Line, ...]] = {
    "EDPB Opinion 28/2024": (
        Line("46", "In what context is it released, and who can reach it?", _says("context", "Not stated.")),
        Line("55", "Membership inference", _test("membership")),
        Line("55", "Attribute inference", _test("inference")),
        Line("55", "Regurgitation: do outputs repeat training data?", _test("copies")),
        Line("55", "Reconstruction and model inversion", _test("linkage", "same_patient")),
        Line("55", "Exfiltration of the model itself",
             lambda card: (ANSWERED, "Weights are part of this release.")
             if as_dict(card.get("generator")).get("weights_released")
             else (ANSWERED, "Weights are not part of this release: only finished images can be attacked.")),
        Line("58", "Is an assessment of impact, and the advice of the data protection officer, on record?",
             _always(BY_A_PERSON, _DOCUMENTED)),
        Line("58", "Which measures reduce the chance of identification, at every stage?", _dp),
        Line("58", "Is the resistance to re-identification documented?",
             _test("copies", "linkage", "singling_out", "membership")),
    ),
    "WP29 Opinion 05/2014": (
        Line("Singling out", "Can a person be isolated?", _test("singling_out", "copies")),
        Line("Linkability", "Can records of a person be linked?", _test("linkage", "same_patient")),
        Line("Inference", "Can an attribute of a person be deduced?", _test("inference", "membership")),
    ),
    "NIST SP 800-226": (
        Line("Parameters", "Which epsilon and delta?", _dp),
        Line("Unit", "What is protected: an image, a study, a patient?", _dp_part("unit")),
        Line("Adjacency", "Neighbouring data sets differ by what?", _dp_part("adjacency")),
        Line("Attack rates", "What does that allow an attacker?", _dp_part("risk")),
        Line("Hazards", "What does the guarantee not cover?", _dp_part("excluded")),
        Line("Utility", "What is lost?", _UTILITY),
    ),
    "HIPAA 164.514(b)": (
        Line("(b)(1)", "Expert determination that the risk is very small", _always(
            BY_A_PERSON, "The audit is evidence for an expert; it is not a determination.")),
        *(Line(f"(b)(2)(i)({letter})", name, _NO_FIELD) for letter, name in (
            ("A", "Names"), ("B", "Places smaller than a state"), ("C", "Dates, and ages over 89"),
            ("D", "Telephone numbers"), ("E", "Fax numbers"), ("F", "E-mail addresses"),
            ("G", "Social security numbers"), ("H", "Medical record numbers"),
            ("I", "Health plan beneficiary numbers"), ("J", "Account numbers"),
            ("K", "Certificate and licence numbers"), ("L", "Vehicle identifiers"),
            ("M", "Device identifiers and serial numbers"), ("N", "Web addresses"), ("O", "IP addresses"),
        )),
        Line("(b)(2)(i)(P)", "Biometric identifiers", _test("same_patient", "copies")),
        Line("(b)(2)(i)(Q)", "Full-face photographs and comparable images", _test("copies", "same_patient")),
        Line("(b)(2)(i)(R)", "Any other unique number, characteristic or code", _BURNT_IN),
    ),
    "Seven-C scorecard": (
        Line("Congruence", "Are the images distributed as real ones?", _says(
            "quality", "No metric was given; give --metrics=FILE.")),
        Line("Coverage", "Is the variety of the real images reached?", _says(
            "quality", "No metric was given; give --metrics=FILE.")),
        Line("Constraint", "Do the images obey anatomy?", _always(
            BY_A_PERSON, "A radiologist has to look; no automatic check was run.")),
        Line("Completeness", "Are labels and counts there?", _labels_kept),
        Line("Compliance", "Privacy and licences", _test("copies", "membership")),
        Line("Comprehension", "Is it documented?", _always(ANSWERED, "By this card and card.json.")),
        Line("Consistency", "Does it serve as real images do?", _UTILITY),
    ),
}  # fmt: skip
