"""What a command may do with a hostile input: one of the agreed exit codes, one sentence, nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tests.hostile.case import Case
from tests.hostile.watch import Sin

# CONTRACTS: 0 done, 2 wrong usage or input, 3 something is missing, 4 nothing to do, 5 too many failures,
# 6 and 7 audits, 75 stopped with the state saved, 130 interrupted. 1 is a bug of ours.
CODES = frozenset((0, 2, 3, 4, 5, 6, 7, 75, 130))
# dataset_tool leaves with 1 for a source that it cannot use, as scripts for the original expect.
CODES_OF = {"dataset": CODES | {1}}
MOST_MB = 1024
LONGEST = 1500  # characters of a sentence
_ERROR = "Error: "
_TRACEBACK = "Traceback (most recent call last)"
_NOISE = re.compile(
    r"^\S+\.py:\d+: \w*Warning|^(Fatal Python error|thread '.*' panicked|terminate called)", re.M
)


@dataclass(frozen=True)
class Heard:
    """What came of a case, as the worker saw it."""

    code: int
    out: str
    err: str
    sins: list[Sin] = field(default_factory=list)  # of the watch
    trace: str = ""  # of an exception that the command let through
    cause: str = ""  # where in our packages it came from
    grown_mb: float = 0.0
    lost: tuple[str, ...] = ()  # files that a refusal should have kept


@dataclass(frozen=True)
class Verdict:
    """A case and what was wrong with the command; no sins, no fault."""

    format: str
    seed: int
    attack: str
    argv: tuple[str, ...]
    code: int | None = None
    sins: tuple[Sin, ...] = ()
    cause: str = ""
    said: str = ""  # the end of what it printed
    sec: float = 0.0
    grown_mb: float = 0.0

    @property
    def group(self) -> str:
        """Failures of one cause have this in common."""
        kinds = ", ".join(sorted({kind for kind, _ in self.sins}))
        first = self.sins[0][1] if self.sins else ""
        place = self.cause or re.sub(r"[\d'\"].*", "", first)[:60]
        return f"{kinds} | {self.argv[0] if self.argv else '-'} | {place}"

    @property
    def replay(self) -> str:
        """What to type to see it again."""
        return f"python -m tests.hostile.replay {self.format} {self.seed}"


def sins_of(case: Case, heard: Heard) -> list[Sin]:
    """Everything that the rules do not allow."""
    found = list(heard.sins)
    verb = _verb_of(case)
    if heard.trace or _TRACEBACK in heard.err or _TRACEBACK in heard.out:
        found.append(("traceback", (heard.trace or heard.err).strip().splitlines()[-1]))
    elif heard.code not in CODES_OF.get(verb, CODES):
        found.append(("exit code", str(heard.code)))
    elif heard.code == 0 and case.must_refuse:
        found.append(("accepted", case.attack))
    elif heard.code not in (0, 75):
        found += _sentence(case, heard)
    if noise := _NOISE.search(heard.err):
        found.append(("noise", heard.err[noise.start() :].splitlines()[0]))
    if heard.grown_mb > MOST_MB:
        found.append(("memory", f"{heard.grown_mb:.0f} MB"))
    if heard.lost:
        found.append(("lost", ", ".join(heard.lost)))
    return found


def _verb_of(case: Case) -> str:
    """The first word that is no `--`, which a mutation may have put in front of it."""
    return next((word for word in case.argv if word != "--"), "")


def _sentence(case: Case, heard: Heard) -> list[Sin]:
    """Exactly one line that says what is wrong, and it is the last."""
    verb, err = _verb_of(case), heard.err
    for word in case.argv:
        # What was typed may be quoted as it was typed.
        value = word.partition("=")[2] if word.startswith("--") else word
        if len(value) > 200 or (value.strip() and not value.isprintable()):
            err = err.replace(value, "...")
    # What there is to choose from is listed by click, a line each.
    lines = [line for line in err.splitlines() if line.strip() and not line.startswith("\t")]
    errors = [i for i, line in enumerate(lines) if line.startswith(_ERROR)]
    if not errors:
        is_told_in_table = verb == "doctor" and "FAIL" in heard.out
        is_help = heard.err.startswith("Usage:") and "\nCommands:" in heard.err  # of a group without a verb
        return (
            []
            if is_told_in_table or is_help
            else [("no sentence", f"code {heard.code}: {heard.err[-200:]!r}")]
        )
    if len(errors) > 1 or errors[0] != len(lines) - 1:
        return [("several lines", " / ".join(lines[errors[0] :])[:300])]
    sentence = lines[-1].removeprefix(_ERROR)
    if not sentence.strip():
        return [("no sentence", "an empty one")]
    return [("long", f"{len(sentence)} characters: {sentence[:80]}")] if len(sentence) > LONGEST else []
