"""`python -m tests.hostile.replay FORMAT SEED [FOLDER]`: one case again, its files kept, what was said shown.

With a second number it is a range: `FORMAT FIRST LAST` runs them all and prints the failures by cause.
"""

from __future__ import annotations

import collections
import shlex
import sys
import tempfile
from pathlib import Path

from tests.hostile import FORMATS, planted, runner, warm
from tests.hostile.verdict import Verdict


def main(words: list[str]) -> int:
    """0 if nothing was wrong."""
    if len(words) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # attacks are no clean text
    name, first = words[0], int(words[1])
    is_planted = name == "planted"
    command, formats = (planted.main, planted.FORMATS) if is_planted else (warm.command(), FORMATS)
    if not is_planted:
        warm.everything([name])
    if len(words) == 3 and words[2].isdigit():
        seeds = range(first, int(words[2]) + 1)
        return show_groups(runner.run(command, formats, [(name, seed) for seed in seeds]))
    folder = Path(words[2] if len(words) == 3 else tempfile.mkdtemp(prefix="replay-")).absolute()
    (verdict,) = runner.run(command, formats, [(name, first)], workers=1, keep_in=folder)
    print(f"attack:  {verdict.attack}")
    print(f"command: (cd {folder / f'{name}-{first}' / 'case'} && spinegan {shlex.join(verdict.argv)})")
    print(f"left with {verdict.code} after {verdict.sec:.2f} s, {verdict.grown_mb:.0f} MB more memory")
    print(f"said:\n{verdict.said}")
    for kind, what in verdict.sins:
        print(f"WRONG: {kind}: {what}")
    return int(bool(verdict.sins))


def show_groups(verdicts: collections.abc.Iterable[Verdict]) -> int:
    """Failures by cause: how many, one to replay, what it said."""
    groups: dict[str, list[Verdict]] = {}
    total, sec = 0, 0.0
    for verdict in verdicts:
        total, sec = total + 1, sec + verdict.sec
        if verdict.sins:
            groups.setdefault(verdict.group, []).append(verdict)
    for group, found in sorted(groups.items(), key=lambda item: -len(item[1])):
        first = min(found, key=lambda verdict: verdict.seed)
        print(f"{len(found):5}  {group}\n       {first.replay}  ({first.attack[:100]})")
        print(f"       {'; '.join(f'{kind}: {what}' for kind, what in first.sins)[:300]}")
    print(
        f"{total} cases, {sum(map(len, groups.values()))} failures of {len(groups)} kinds, "
        f"{1000 * sec / max(total, 1):.0f} ms each"
    )
    return int(bool(groups))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
