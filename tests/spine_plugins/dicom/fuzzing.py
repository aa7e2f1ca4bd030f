"""Seeded damage to DICOM files, and a run of the tool over it that also tells how much memory its workers took."""
# ruff: noqa: E501 - tables

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.spine_plugins.dicom import making

SYNTAXES = (making.EXPLICIT, making.IMPLICIT, making.DEFLATED, making.BIG_ENDIAN, making.RLE, making.BASELINE,
            making.EXTENDED, making.JPEG_LOSSLESS_SV1, making.JPEG_LS, making.J2K, making.HTJ2K)  # fmt: skip

_RUN = """
import json, resource, sys
from spine_plugins.dicom.command import main
if __name__ == "__main__":
    try:
        main(sys.argv[1:], prog_name="tool")
    except SystemExit as stop:
        print(json.dumps({"exit": stop.code, "rss_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024}))
"""


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """One of five kinds of damage; the first 132 bytes stay, or it would be no DICOM file at all."""
    changed = bytearray(data)
    start = 132 if rng.random() < 0.5 else len(data) // 3  # header and pixels alike
    kind = rng.integers(5)
    if kind == 0:  # a few bytes
        for position in rng.integers(start, len(data), rng.integers(1, 9)):
            changed[position] = rng.integers(256)
    elif kind == 1:  # a block of noise
        position = int(rng.integers(start, len(data)))
        length = min(64, len(data) - position)
        changed[position : position + length] = rng.bytes(length)
    elif kind == 2:  # cut
        del changed[int(rng.integers(start, len(data))) :]
    elif kind == 3:  # a part missing
        position = int(rng.integers(start, len(data)))
        del changed[position : position + int(rng.integers(1, 200))]
    else:  # single bits
        for position in rng.integers(start, len(data), 4):
            changed[position] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def write_mutations(folder: Path, per_syntax: int, seed: int) -> int:
    """Damaged files of every syntax; returns how many."""
    folder.mkdir(parents=True)
    for number, syntax in enumerate(SYNTAXES):
        bits = 8 if syntax == making.BASELINE else 12
        pixels = making.radiograph(140, 150, bits=bits, seed=number).astype(
            np.uint8 if bits == 8 else np.uint16
        )
        data = making.to_bytes(making.dataset(pixels, syntax, bits=bits))
        rng = np.random.default_rng([seed, number])
        for i in range(per_syntax):
            (folder / f"{number:02d}_{i:04d}.dcm").write_bytes(mutated(data, rng))
    return per_syntax * len(SYNTAXES)


def run_tool_apart(*arguments, timeout: float = 600) -> dict:
    """The tool with worker processes in a process of its own: exit code, its last output, largest worker in MB."""
    done = subprocess.run(
        [sys.executable, "-c", _RUN, *(str(word) for word in arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    lines = done.stdout.strip().splitlines()
    return json.loads(lines[-1]) | {"stdout": "\n".join(lines[:-1]), "stderr": done.stderr}
