"""Run as a script: the official train command, with parts of what it resolves changed before it trains.

    python start.py CHECKOUT CHANGES.json FLAGS...

CHANGES: {"desc": text for the folder's name, "kwargs": {part: {name: value}}}; a part is a path such as
"D_kwargs.epilogue_kwargs". The names of parts and of the function are the official program's.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any


def main(checkout: str, changes: str, *flags: str) -> None:
    """Import the checkout's train.py in this process, which is its own, and let it do the rest."""
    # Its rooms have common names (training, metrics): they come first; ours stay at hand behind them.
    sys.path[0] = checkout
    sys.path.append(str(Path(__file__).resolve().parent.parent.parent))
    asked = json.loads(Path(changes).read_text())
    train: Any = importlib.import_module("train")
    resolve = train.setup_training_loop_kwargs

    def changed(*args: Any, **given: Any) -> tuple[str, Any]:
        desc, options = resolve(*args, **given)
        for part, values in asked["kwargs"].items():
            place = options
            for name in part.split("."):
                place = place[name]
            place.update(values)
        return desc + asked["desc"], options

    train.setup_training_loop_kwargs = changed
    sys.argv = [str(Path(checkout, "train.py")), *flags]
    train.main()


# Guarded: processes that it spawns import this file again.
if __name__ == "__main__":
    main(*sys.argv[1:])
