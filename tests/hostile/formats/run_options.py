"""training_options.json, and the other texts of a run folder: of a run that is continued, or reported."""

from __future__ import annotations

import json
import random
from pathlib import Path

from stylegan2ada.training import run_files
from tests.hostile import materials
from tests.hostile.case import Case, case
from tests.hostile.mutate import bad_json, damaged

_SHORT_KIMG = 0.1  # takes seconds


def make(rng: random.Random, folder: Path) -> Case:
    """A stranger's run folder."""
    (folder / "data.zip").write_bytes(materials.data_zip())
    return _continued(rng, folder) if rng.random() < 0.5 else _reported(rng, folder)


def _continued(rng: random.Random, folder: Path) -> Case:
    files = dict(materials.trained_run())
    record = json.loads(files[run_files.OPTIONS])
    keeps = ("run", "data.zip")
    kind = rng.random()
    if kind < 0.15:
        name, value = rng.choice((
            ("loss", "this.s"), ("loss", "os.system"), ("sampler", "this.s"), ("sampler",
             "antigravity.geohash"),
            ("loss", "tests.hostile.planted.KINDS"), ("desc", "../../x"), ("flags", {"loss": "this.s"}),
        ))  # fmt: skip
        ours = record[run_files.OURS]
        ours[name] = {**ours[name], **value} if isinstance(value, dict) else value
        files[run_files.OPTIONS], attack = json.dumps(record).encode(), f"{name} is {value!r}"
    else:
        files[run_files.OPTIONS], attack = bad_json(record, rng)
    if rng.random() < 0.15:
        gone = rng.choice(sorted(files))
        del files[gone]
        attack += f"; without {gone}"
    materials.lay(folder / "run", files)
    words = ["train", "--continue=run", "--workers=0", "--device=cpu"]
    words += rng.choice(
        ([], [], ["--dry-run"], ["--kimg=1", "--dry-run"], ["--data=data.zip"], ["--batch=4"])
    )
    return case(attack, *words, *_kept_short(files.get(run_files.OPTIONS, b"")), keeps=keeps)


def _kept_short(options: bytes) -> tuple[str, ...]:
    """Nothing is wrong with a long training or with several processes; but neither ends here."""
    try:
        record = json.loads(options)
        length, processes = record["total_kimg"], record["num_gpus"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ()
    is_long = isinstance(length, int | float) and length > _SHORT_KIMG
    return (("--dry-run",) if is_long else ()) + (("--gpus=1",) if processes != 1 else ())


def _reported(rng: random.Random, folder: Path) -> Case:
    files = dict(materials.reported_run())
    name = rng.choice([
        name for name in sorted(files) if name.endswith((".json", ".jsonl"))
    ])  # fmt: skip
    lines = files[name].splitlines()
    if name.endswith(".jsonl"):
        at = rng.randrange(len(lines))
        lines[at], attack = bad_json(json.loads(lines[at]), rng)
        files[name] = b"\n".join(lines) + b"\n"
    elif rng.random() < 0.2:
        files[name], attack = damaged(files[name], rng), "damaged"
    else:
        files[name], attack = bad_json(json.loads(files[name]), rng)
    materials.lay(folder / "run", files)
    kept = tuple(f"run/{name}" for name in files)
    attack = f"{name}: {attack}"
    if rng.random() < 0.3:
        materials.lay(folder / "other", materials.reported_run())
        return case(attack, "compare", "run", "other", "--csv=c.csv", keeps=kept)
    return case(attack, "report", "run", *rng.choice(((), ("--paths",), ("--json=-",))), keeps=kept)
