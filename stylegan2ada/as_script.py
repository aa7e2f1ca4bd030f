"""For commands that are run as files of a bare clone: the clone's root replaces this folder on the path.

Otherwise our rooms (`data`, `metrics`, ...) would shadow packages of the same names.
"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)
