"""Breaks the private training in each known way, in a copy, and shows which fast test notices.

    python benchmarks/privacy_mutations.py [--only NAME] [--json FILE]

A mutation that changes no line, or that no test notices, ends the script with an error.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOM = "spine_plugins/privacy"
TESTS = "tests/spine_plugins/privacy"
_NOISE = "add_noise([flat], self.settings.noise_multiplier * self.settings.clip, self.chance)"
_DEVIATION = "self.settings.clip,"
_FACTORS = "(clip / norms.clamp(min=_TINY)).clamp(max=1)"
_CHARGE = "        processes.on_rank0(lambda: self._charge(self.settings.kind, self.settings.query))"
_SECURE = "SystemChance() if settings.insecure_seed is None"
_LATE_CLIP = "\n            flat *= (self.settings.clip / flat.norm()).clamp(max=1)"
_DRAW = "chosen = tosses(self.chance, self.q, self.count)"


@dataclass(frozen=True)
class Mutation:
    """Texts that are replaced, and the files of tests that are run, the likeliest first."""

    name: str
    changes: tuple[tuple[str, str, str], ...]  # file in the room, before, after
    tests: tuple[str, ...]


MUTATIONS = (
    Mutation(
        "noise divided twice",
        (("private_step.py", _NOISE, _NOISE.replace(_DEVIATION, _DEVIATION[:-1] + "/ 64,")),),
        ("test_private_step.py",),
    ),
    Mutation(
        "noise halved",
        (("private_step.py", _NOISE, _NOISE.replace(_DEVIATION, "self.settings.clip / 2,")),),
        ("test_private_step.py",),
    ),
    Mutation("noise dropped", (("private_step.py", _NOISE, "pass"),), ("test_private_step.py",)),
    Mutation(
        "clip dropped",
        (("clipping.py", _FACTORS, "torch.ones_like(norms)"),),
        ("test_clipping.py",),
    ),
    Mutation(
        "clip after noise",
        (
            ("clipping.py", _FACTORS, "torch.ones_like(norms)"),
            ("private_step.py", _NOISE, _NOISE + _LATE_CLIP),
        ),
        ("test_clipping.py",),
    ),
    Mutation(
        "shuffled sampler",
        (("sampling.py", _DRAW, "chosen = np.random.permutation(self.count) < round(self.q * self.count)"),),
        ("test_sampling.py",),
    ),
    Mutation(
        "realised divisor",
        (("private_step.py", "flat /= self.settings.batch", "flat /= max(len(reals.images), 1)"),),
        ("test_private_step.py",),
    ),
    Mutation(
        "data-derived n",
        (("private_run.py", "round(self.settings.n), names)", "self.door.num_units, names)"),),
        ("test_private_data.py",),
    ),
    Mutation(
        "minibatch-stddev on",
        (
            ("private_loss.py", '{"epilogue_kwargs": {"mbstd_num_channels": 0}}', "{}"),
            ("private_step.py", "        refuse_mixing(D)\n", ""),
        ),
        ("test_private_step.py", "test_refusals.py"),
    ),
    Mutation(
        "label histogram",
        (
            (
                "private_run.py",
                "self.prior.prior = read_prior(self.settings.prior, classes)",
                "self.prior.prior = self.door.histogram() / self.door.histogram().sum()",
            ),
        ),
        ("test_private_data.py",),
    ),
    Mutation(
        "Dreg not in the ledger",
        (
            (
                "private_run.py",
                _CHARGE,
                '        if self.settings.step.r1 != "real":\n    ' + _CHARGE,
            ),
        ),
        ("test_private_run.py",),
    ),
    Mutation(
        "the run's seed used for noise",
        (("private_run.py", _SECURE, _SECURE.replace("SystemChance()", "SeededChance(0)")),),
        ("test_private_run.py",),
    ),
    Mutation(
        "per-rank noise",
        (("private_step.py", "        if processes.rank() == 0:", "        if True:"),),
        ("test_private_step.py",),
    ),
    Mutation(
        "a NaN spreads",
        (("clipping.py", "if bool(is_finite.all()):", "if True:"),),
        ("test_clipping.py",),
    ),
    Mutation(
        "the ledger after the look",
        (
            (
                "private_run.py",
                _CHARGE + "\n        assert self.door is not None\n        return self.door.draw()",
                "        assert self.door is not None\n        drawn = self.door.draw()\n"
                + _CHARGE
                + "\n        return drawn",
            ),
        ),
        ("test_private_run.py",),
    ),
    Mutation(
        "a unit counts once per image",
        (("private_step.py", "units=None if is_alone else units", "units=None"),),
        ("test_clipping.py",),
    ),
)  # fmt: skip


def copy_of_the_source(folder: Path) -> None:
    for name in ("spine_plugins", "stylegan2ada", "tests"):
        ignored = shutil.ignore_patterns("__pycache__", "golden")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("pyproject.toml", "train_spine.py"):
        shutil.copy(ROOT / name, folder / name)


def mutate(folder: Path, mutation: Mutation) -> None:
    for name, before, after in mutation.changes:
        path = folder / ROOM / name
        text = path.read_text()
        if text.count(before) != 1:
            raise SystemExit(
                f"{mutation.name}: {name} has {text.count(before)} places like {before!r}, not one"
            )
        path.write_text(text.replace(before, after))


def noticed_by(folder: Path, mutation: Mutation) -> str | None:
    """The first fast test that fails on the mutated copy; None: nobody noticed."""
    files = [f"{TESTS}/{name}" for name in mutation.tests]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *files],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = re.search(rf"^(?:FAILED|ERROR) {TESTS}/(\S+)", done.stdout, re.MULTILINE)
    if done.returncode not in (0, 1):
        raise SystemExit(
            f"{mutation.name}: the tests did not run\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return found[1] if found else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="name of one mutation")
    parser.add_argument("--json", type=Path, help="also write {mutation: test}")
    given = parser.parse_args()
    found: dict[str, str | None] = {}
    for mutation in MUTATIONS:
        if given.only not in (None, mutation.name):
            continue
        with tempfile.TemporaryDirectory() as place:
            copy_of_the_source(Path(place))
            mutate(Path(place), mutation)
            found[mutation.name] = noticed_by(Path(place), mutation)
        print(f"| {mutation.name} | `{found[mutation.name] or 'NOT NOTICED'}` |", flush=True)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    if missed := [name for name, test in found.items() if test is None]:
        raise SystemExit(f"not noticed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
