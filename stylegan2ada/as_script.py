"""For commands that are started as programs: from here on an interrupt is quiet.

Run as a file of a bare clone, the clone's root replaces this folder on the path: otherwise our rooms (`data`,
`metrics`, ...) would shadow packages of the same names. `python -m` finds the path as it should be.
"""

import sys
from pathlib import Path

if __name__ == "as_script":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from stylegan2ada import interrupts

interrupts.listen()
