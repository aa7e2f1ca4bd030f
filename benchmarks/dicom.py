"""Speed and memory of the DICOM tool: CPU time per image (decoding, the rest), workers, many files.

    python benchmarks/dicom.py                      # per syntax on 3000x2500, then 2 workers against 1
    python benchmarks/dicom.py --repeats 1 --files 0            # quick
    python benchmarks/dicom.py --files 0 --scale 1000 --scale 20000 --syntax none      # memory of the parent

The clock is CPU time of the process, least of the repeats; only the comparison of workers uses the wall.
"""

from __future__ import annotations

import dataclasses
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np

sys.path[0] = str(Path(__file__).resolve().parent.parent)  # the clone, so that this folder shadows nothing

import torch  # noqa: E402

from benchmarks import timing  # noqa: E402
from spine_plugins.dicom import codecs, convert, read  # noqa: E402
from spine_plugins.dicom.executors import convert_all  # noqa: E402
from spine_plugins.dicom.record import Record  # noqa: E402
from spine_plugins.dicom.settings import IngestSettings  # noqa: E402
from spine_plugins.dicom.sources import Item  # noqa: E402
from stylegan2ada import provenance  # noqa: E402
from tests.spine_plugins.dicom import making  # noqa: E402

SYNTAXES = {
    "explicit": making.EXPLICIT, "implicit": making.IMPLICIT, "big-endian": making.BIG_ENDIAN,
    "deflated": making.DEFLATED, "rle": making.RLE, "baseline": making.BASELINE, "extended": making.EXTENDED,
    "jpeg-lossless": making.JPEG_LOSSLESS_SV1, "jpeg-ls": making.JPEG_LS, "j2k": making.J2K,
    "htj2k": making.HTJ2K,
}  # fmt: skip
_SIZE = (3000, 2500)
_REST_LIMIT_MS = 50


def write_radiograph(folder: Path, name: str, syntax: str, seed: int) -> Item:
    """A 12-in-16-bit radiograph of full size (8 bit for baseline JPEG)."""
    bits = 8 if syntax == making.BASELINE else 12
    pixels = making.radiograph(*_SIZE, bits=bits, seed=seed).astype(np.uint8 if bits == 8 else np.uint16)
    path = making.write(folder / f"{name}.dcm", pixels, syntax, bits=bits)
    return Item(path.name, str(path), size=path.stat().st_size)


def measure(item: Item, settings: IngestSettings, repeats: int) -> dict[str, Any]:
    """CPU milliseconds of one file: all, decoding, hashing, and what is left."""
    hashed = [0.0]
    plain_hash = read.pixel_hash

    def timed_hash(radiograph: read.Radiograph) -> str:
        start = time.process_time()
        try:
            return plain_hash(radiograph)
        finally:
            hashed[0] = 1000 * (time.process_time() - start)

    rows: list[tuple[float, float, float, float]] = []
    record = Record(item.name)
    read.pixel_hash = timed_hash
    try:
        for _ in range(repeats + 1):
            start = time.process_time()
            record = convert.convert_item(settings, b"key", item)
            total = 1000 * (time.process_time() - start)
            assert record.reason == "", record.detail
            decode = record.header.ms_decode
            rows.append((total - decode, total, decode, hashed[0]))
    finally:
        read.pixel_hash = plain_hash
    rest, total, decode, hash_ms = min(rows[1:])
    found = {
        "total_ms": total,
        "decode_ms": decode,
        "rest_ms": rest,
        "hash_ms": hash_ms,
        "rest_without_hash_ms": rest - hash_ms,
    }
    return {"plugin": record.header.plugin, "megabytes": item.size / 1e6} | {
        k: round(v, 1) for k, v in found.items()
    }


def wall_seconds(items: list[Item], settings: IngestSettings, workers: int) -> float:
    """Seconds for all files, without the start of the processes: their first batch is not counted."""
    results = convert_all(iter(items), settings, b"key", "process", workers)
    for _ in range(workers):
        next(results)
    start = time.perf_counter()
    for _ in results:
        pass
    return time.perf_counter() - start


_SCALE = """
import json, resource, sys
from spine_plugins.dicom.command import main
if __name__ == "__main__":
    try:
        main(sys.argv[1:], prog_name="tool")
    except SystemExit as stop:
        both = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
        own, workers = (resource.getrusage(who).ru_maxrss / 1024 for who in both)
        print(json.dumps({"exit": stop.code, "parent_mb": round(own, 1), "worker_mb": round(workers, 1)}))
"""


def write_many(folder: Path, n: int) -> None:
    """Small files that differ in identity, study and pixels; written by patching one, which is quick."""
    pixels = making.radiograph(32, 32, bits=12)
    marks = {
        "SOPInstanceUID": "1.2.3.1000000000",
        "StudyInstanceUID": "1.2.4.1000000000",
        "PatientID": "P1000000000",
    }
    data = making.to_bytes(making.dataset(pixels, bits=12, **marks))
    start = data.rindex(pixels.tobytes())
    for i in range(n):
        changed = bytearray(data)
        for mark, number in zip(marks.values(), (i, i // 2, i // 2)):
            new = (mark[:-9] + f"{number:09d}").encode()
            changed = changed.replace(mark.encode(), new)
        rng = np.random.default_rng(i)
        changed[start : start + 128] = rng.integers(0, 4096, 64).astype("<u2").tobytes()
        path = folder / f"{i // 1000:03d}" / f"{i:07d}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(changed)


def scale(n: int, workers: int) -> dict[str, Any]:
    """Memory and time of a whole run over n small files."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_many(folder / "in", n)
        start = time.perf_counter()
        words = [
            "--source",
            folder / "in",
            "--dest",
            folder / "x.zip",
            "--min-size",
            16,
            "--resolution",
            16,
            "--workers",
            workers,
        ]
        done = subprocess.run(
            [sys.executable, "-c", _SCALE, *map(str, words)], capture_output=True, text=True, cwd=sys.path[0]
        )
        found = json.loads(done.stdout.strip().splitlines()[-1])
        assert found["exit"] == 0, done.stdout + done.stderr
        kept = json.loads((folder / "x_summary.json").read_text())["kept"]
        return {"files": n, "kept": kept, "seconds": round(time.perf_counter() - start, 1), **found}


@click.command()
@click.option("--syntax", "names", multiple=True, help="Names to measure. [default: all]")
@click.option("--repeats", default=5, show_default=True)
@click.option("--files", default=48, show_default=True, help="For 2 workers against 1; 0 leaves that out.")
@click.option("--scale", "sizes", multiple=True, type=int, help="Numbers of small files to convert.")
@click.option("--out", type=Path, help="Folder of the JSON. [default: benchmarks/results]")
def main(names: tuple[str, ...], repeats: int, files: int, sizes: tuple[int, ...], out: Path | None) -> None:
    """Measure and write a dated JSON."""
    settings = IngestSettings(timeout_sec=0)
    record: dict[str, Any] = {
        "machine": timing.machine(torch.device("cpu")),
        "packages": provenance.versions(codecs.PACKAGES),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        record["per_image"] = {}
        for label, syntax in SYNTAXES.items():
            if names and label not in names:
                continue
            row = measure(write_radiograph(folder, label, syntax, 0), settings, repeats)
            record["per_image"][label] = row
            click.echo(f"{label:<14}" + "  ".join(f"{key} {value}" for key, value in row.items()))
        if record["per_image"]:
            worst = max(row["rest_ms"] for row in record["per_image"].values())
            record["rest_limit_ms"], record["worst_rest_ms"] = _REST_LIMIT_MS, worst
        if files:
            made = [write_radiograph(folder, f"w{i}", making.JPEG_LS, i) for i in range(4)]
            items = [dataclasses.replace(made[i % 4], name=f"{i:04d}.dcm") for i in range(files)]
            counted = {
                workers: (files - 8 * workers, wall_seconds(items, settings, workers)) for workers in (1, 2)
            }
            rates = {workers: n / seconds for workers, (n, seconds) in counted.items()}
            record["workers"] = {
                "images_per_s": {str(k): round(v, 2) for k, v in rates.items()},
                "speed_up": round(rates[2] / rates[1], 2),
            }
            click.echo(f"2 workers against 1: {record['workers']}")
    record["scale"] = []
    for n in sizes:
        record["scale"].append(scale(n, 2))
        click.echo(str(record["scale"][-1]))
    record["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    click.echo(f"wrote {timing.save('dicom', record, out)}")


if __name__ == "__main__":
    main()
