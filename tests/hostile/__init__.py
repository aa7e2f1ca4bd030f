"""Hostile inputs for every format that a command reads, judged by one harness.

A further format is a function `(rng, folder) -> Case` and one line here.
"""

from __future__ import annotations

from tests.hostile.case import Format
from tests.hostile.formats import (
    card,
    command_line,
    dicom,
    images,
    network,
    run_options,
    sources,
    state,
    tables,
    zips,
)

FORMATS: dict[str, Format] = {
    "network": Format(network.make, share=17),
    "state": Format(state.make, share=5, trains=True),
    "options": Format(run_options.make, share=12, trains=True),
    "card": Format(card.make, share=12),
    "zip": Format(zips.make, share=12),
    "image": Format(images.make, share=14),
    "target": Format(images.make_target, share=2, trains=True),
    "table": Format(tables.make, share=9),
    "dicom": Format(dicom.make, share=8),
    "source": Format(sources.make, share=6),
    "command-line": Format(command_line.make, share=17),
}
