"""Hostile inputs for every format that a command reads, judged by one harness.

A further format is a function `(rng, folder) -> Case` and one line here.
"""

from __future__ import annotations

from tests.hostile.case import Format
from tests.hostile.formats import network

FORMATS: dict[str, Format] = {
    "network": Format(network.make, share=20),
}
