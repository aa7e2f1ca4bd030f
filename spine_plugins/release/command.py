"""`spinegan release`: a synthetic data set with its card; `release verify`, `release demo`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from stylegan2ada import files, options
from stylegan2ada.errors import UserError
from stylegan2ada.protocols import JsonObject

_ROOT = Path(__file__).resolve().parents[2]
_CONTEXTS = ["public", "controlled", "internal"]


class _ReleaseGroup(click.Group):
    """`release --context=...` is `release make --context=...`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0].startswith("-") and args[0] not in ("-h", "--help"):
            args = ["make", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_ReleaseGroup, context_settings={"help_option_names": ["-h", "--help"]})
def release() -> None:
    """A synthetic data set with the card that a data-protection board asks for.

    `spinegan release --context=...` is short for `spinegan release make --context=...`.
    """


@dataclass(frozen=True)
class Make:
    """What `release make` was asked."""

    context: str
    out: str
    fakes: str | None
    run: str | None
    per_class: int | None
    audit: str | None
    train: str | None
    holdout: str | None
    intended_use: str
    accept_risk: str | None
    utility: str | None
    metrics: tuple[str, ...]
    summary: str | None
    dp: str | None
    weights: str | None
    json_file: str | None


@options.command("make", parent=release, record=Make)
@options.group(
    "What is released",
    options.opt("--context", required=True, type=click.Choice(_CONTEXTS), help="Who can reach it"),
    options.opt("--fakes", metavar="ZIP", help="The synthetic images, of any origin"),
    options.opt("--run", metavar="RUN_DIR", help="Or draw them from the newest network of this run"),
    options.opt("--per-class", type=click.IntRange(min=1), metavar="INT", help="With --run: of every class"),
    options.opt("--weights", metavar="FILE", help="Release this network, too [default: images only]"),
    options.opt("--intended-use", default="research and teaching; no use on patients", metavar="TEXT",
                help="[default: research and teaching; no use on patients]"),
    options.opt("--out", required=True, metavar="DIR", help="New folder for the release"),
)  # fmt: skip
@options.group(
    "Privacy",
    options.opt("--audit", metavar="DIR", help="Audit of exactly these images (by `spinegan audit`)"),
    options.opt("--train", metavar="ZIP", help="Or audit now: all training images"),
    options.opt("--holdout", metavar="ZIP", help="With --train: images that nothing has seen"),
    options.opt("--dp", metavar="FILE", help="privacy_report.json of a private training"),
    options.opt("--accept-risk", metavar="REASON",
                help="Release in spite of FAIL; who and why becomes the first line of the card"),
)  # fmt: skip
@options.group(
    "Further facts for the card",
    options.opt("--utility", metavar="FILE", help="table1.json of an experiment, or --json of an evaluation"),
    options.opt("--metrics", multiple=True, metavar="FILE", help="metric-*.jsonl (repeatable)"),
    options.opt("--summary", metavar="FILE", help="X_summary.json of the conversion: counts, exclusions"),
)  # fmt: skip
@options.json_option
def make(asked: Make) -> None:
    """Images, cards, the audit's public half and checksums into one folder.

    An audit that says FAIL stops it (exit code 6).

    \b
    spinegan release --context=public --fakes=synthetic.zip --audit=audit \\
        --out=release
    """
    from spine_plugins.release import package

    voice = options.Voice(asked.json_file)
    out = Path(asked.out)
    if bool(asked.fakes) == bool(asked.run):
        raise UserError("say what to release: --fakes=ZIP, or --run=RUN_DIR with --per-class=N")
    if bool(asked.audit) == bool(asked.train):
        raise UserError("say how private it is: --audit=DIR, or --train=ZIP with --holdout=ZIP to audit now")
    package.check_free(out)
    fakes = asked.fakes or _drawn(asked, out, voice)
    audit = package.read_audit(Path(asked.audit) if asked.audit else _audited(asked, fakes, out, voice))
    package.check_may_be_released(audit, asked.accept_risk)
    run = None if asked.run is None else Path(asked.run)
    package.check_holdout(audit, package.fitted_to(run))
    with _staged(out) as stage:
        card = _fill(asked, fakes, audit, stage, run)
    voice.say(
        f"{out}: {card['images']['images']} images, {audit['verdict']}; `spinegan release verify` checks it"
    )
    voice.numbers({"folder": out, "verdict": audit["verdict"], "files": card["files"]})


def _fill(asked: Make, fakes: str, audit: JsonObject, stage: Path, run: Path | None) -> JsonObject:
    from spine_plugins.release import package
    from spine_plugins.release.card import Sources

    images = package.write_images(fakes, stage / package.IMAGES)
    others = []
    if asked.weights is not None:
        suffix = Path(asked.weights).suffix
        others = [f"network{suffix}"]
        shutil.copyfile(asked.weights, stage / others[0])
    paths = {
        name: Path(value) if (value := getattr(asked, name)) else None
        for name in ("summary", "utility", "dp")
    }
    sources = Sources(
        audit, images, asked.context, asked.intended_use,
        asked.accept_risk if audit["verdict"] == package.FAIL else None, run,
        metrics=tuple(map(Path, asked.metrics)), has_weights=bool(others), **paths,
    )  # fmt: skip
    return package.write_release(sources, stage, others)


@contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """A folder that gets the name `out` when it is complete, and else leaves nothing behind."""
    out.parent.mkdir(parents=True, exist_ok=True)
    stage = files.beside(out, f".{out.name}.partial.{os.getpid()}")
    stage.mkdir()
    try:
        yield stage
        if out.exists():
            out.rmdir()  # empty, as was checked
        os.replace(stage, out)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _drawn(asked: Make, out: Path, voice: options.Voice) -> str:
    """Images of the run's newest network, beside the release; the audit keeps its count there."""
    if asked.per_class is None:
        raise UserError("--run draws images, so say how many: --per-class=N")
    target = files.beside(out, f"{out.name}-drawn.zip")
    if not target.exists():
        voice.say(f"drawing {asked.per_class} images of every class into {target}")
        words = (f"--network={asked.run}", f"--per-class={asked.per_class}", f"--outdir={target}")
        _run("generate", *words)
    return str(target)


def _audited(asked: Make, fakes: str, out: Path, voice: options.Voice) -> Path:
    """An audit made now, beside the release: its private half must not lie inside."""
    if not asked.holdout:
        raise UserError("--train audits now, which needs --holdout=ZIP, too")
    target = files.beside(out, f"{out.name}-audit")
    voice.say(f"auditing into {target}")
    words = (f"--train={asked.train}", f"--holdout={asked.holdout}", f"--fakes={fakes}", f"--out={target}")
    _run("audit", *words, accepted=(0, 6, 7))
    return target


def _run(*words: str, accepted: tuple[int, ...] = (0,)) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")])}
    code = subprocess.run(
        [sys.executable, "-m", "spine_plugins", *words], env=environment, stdout=2
    ).returncode
    if code not in accepted:
        error = UserError(f"`spinegan {words[0]}` ended with exit code {code}; what it said stands above")
        error.exit_code = code if 0 < code < 126 else 1
        raise error


@dataclass(frozen=True)
class Verify:
    """What `release verify` was asked."""

    folder: str
    json_file: str | None


@options.command("verify", parent=release, record=Verify)
@click.argument("folder", cls=options.Argument, metavar="DIR")
@options.json_option
def verify(asked: Verify) -> None:
    """Recompute every hash, make the pages again, read the verdicts again; exit code 5 if anything differs.

    \b
    spinegan release verify release
    """
    from spine_plugins.release import package

    voice = options.Voice(asked.json_file)
    facts = package.verify(Path(asked.folder))
    verdict = facts.verdict
    voice.say(f"{asked.folder} is what its card says: {facts.n_images} images, {verdict}")
    voice.numbers({"is_verified": True, "verdict": verdict})


@dataclass(frozen=True)
class Demo:
    """What `release demo` was asked."""

    out: str
    json_file: str | None


@options.command("demo", parent=release, record=Demo)
@options.group(
    "Where to",
    options.opt("--out", default="release-demo", metavar="DIR", help="New folder [default: release-demo]"),
)
@options.json_option
def demo(asked: Demo) -> None:
    """Audit a generator that leaks, and one that does not; release the clean one. Trains nothing.

    The leaking generator gives out doctored training images, 5 in 100: its audit must say FAIL.
    """
    from spine_plugins.release import demo as demonstration

    voice, out, started = options.Voice(asked.json_file), Path(asked.out), time.monotonic()
    outcomes = demonstration.run(out, voice.say)
    for outcome in outcomes:
        voice.say(f"{outcome.name}: {demonstration.verdict_of(outcome)}, exit code {outcome.exit_code}")
    clean = next(outcome for outcome in outcomes if outcome.name == "clean")
    _run("release", "make", "--context=public", f"--fakes={clean.fakes}", f"--audit={clean.folder}",
         f"--out={out / 'release'}")  # fmt: skip
    seconds = time.monotonic() - started
    voice.say(f"{out / 'release' / 'card.html'} is the card of the clean one; {seconds:.0f} s in all")
    codes = {outcome.name: outcome.exit_code for outcome in outcomes}
    voice.numbers({"exit_codes": codes, "seconds": seconds, "folder": out})
    if codes["leaking"] != 6 or codes["clean"] == 6:
        raise UserError("the audit did not tell the two generators apart; please report this")
