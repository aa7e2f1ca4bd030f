"""`spinegan demo`: phantom DICOM to a release through the real commands; interrupt it, run it again."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import click

from stylegan2ada import files, interrupts, options
from stylegan2ada.errors import Interrupted, StoppedOnRequest, UserError
from stylegan2ada.stats import format_time
from stylegan2ada.training import run_files

_HOME = Path(__file__).resolve().parent.parent  # of the packages: a clone, or where wheels are installed
_SPINEGAN = ("-m", "spine_plugins")
_STDERR = 2  # file descriptor
_STOPPED = "stopped; the same command goes on from here"


@dataclass(frozen=True)
class Step:
    """One real command; done when its stamp lies in the folder."""

    name: str
    what: str
    command: tuple[str, ...]  # after `python`; {out} stands for the demo's folder
    expected_sec: int  # on 2 cores
    fresh: tuple[str, ...] = ()  # what an interrupted try may have left, below {out}; removed before the next
    answers: Mapping[int, str] = field(default_factory=dict)  # exit codes that are results: what they mean

    @property
    def stamp(self) -> str:
        return f"{self.name}-{hashlib.sha256(repr(self.command).encode()).hexdigest()[:8]}"


_AUDITED = {
    0: "Meaning: no trace of copies was found, and copies of 1 % would have been seen.",
    6: "Meaning: these fakes tell who was in the training set, so nobody may have them; this is a result of "
    "the demo, not a failure.",
    7: "Meaning: this set is too small for a verdict, so the audit speaks neither for the fakes nor against "
    "them; this is a result of the demo, not a failure.",
}
_NO_RELEASE = "Meaning: the audit found a leak, so no release is made, and there is no card."


def steps(kimg: int, precision: str = "auto") -> list[Step]:
    """The whole way, from files of a hospital's kind to a release of synthetic images with its card."""
    train = (
        *_SPINEGAN, "train", "--outdir={out}/runs", "--continue=latest", "--data={out}/spine-train.zip",
        "--cond=1", "--loss=spine", "--classifier={out}/classifier.safetensors", "--cls-weight=0.002",
        "--cfg=cifar", "--aug=noaug", "--cbase=1024", "--cmax=64", "--batch=32", "--gamma=0.1",
        "--term=energy", f"--precision={precision}", f"--kimg={kimg}", "--tick=1", "--snap=4",
        "--metrics=none", "--state-minutes=0.5",
    )  # fmt: skip
    return [
        Step("phantoms", "draw synthetic spine radiographs, from the side, as DICOM files",
             # One view: so short a training does not cover two (docs/faq.md, "so much alike").
             (*_SPINEGAN, "phantom", "--out={out}/dicom", "--n=1000", "--size=160x144", "--seed=1",
              "--difficulty=0.6", "--views=lateral"),
             30, ("dicom",)),
        Step("dataset", "convert DICOM to a data set, split by patient, a reason for every file left out",
             (*_SPINEGAN, "convert", "--source={out}/dicom/train_images",
              "--source={out}/dicom/test_images",
              "--annotations={out}/dicom/annotations", "--dest={out}/spine.zip", "--resolution=32",
              "--split=0.55/0.1/0.35", "--overwrite"), 20),
        Step("classifier", "train a small classifier: normal or abnormal",
             # Nothing but the audit may use the test images.
             (*_SPINEGAN, "classify", "train", "--data={out}/spine-train.zip", "--val={out}/spine-val.zip",
              "--out={out}/classifier.safetensors", "--arch=cnn13k", "--epochs=8"),
             10, ("classifier.safetensors", "classifier.json")),
        Step("train", "train SpineGAN: StyleGAN2-ADA with the classifier in the loss", train,
             (13 if precision == "bf16" else 20) * kimg),
        Step("metrics", "measure the last network with the built-in detector (comparable with nothing else)",
             (*_SPINEGAN, "metrics", "--network={last}", "--metrics=fid1k_tiny,pr1k3_tiny"), 30),
        Step("generate", "draw a labelled synthetic data set",
             (*_SPINEGAN, "generate", "--network={last}", "--per-class=500",
              "--outdir={out}/synthetic.zip"), 15),
        Step("audit", "ask whether the synthetic images are copies of training images",
             (*_SPINEGAN, "audit", "--train={out}/spine-train.zip", "--holdout={out}/spine-test.zip",
              "--fakes={out}/synthetic.zip", "--out={run}/audit"), 20, answers=_AUDITED),
        Step("report", "write the page about it",
             (*_SPINEGAN, "report", "{run}", "--synthetic={out}/synthetic.zip",
              "--out={out}/report.html"), 5, ("report.html",)),
        Step("release", "make a release of it: images, card, checksums",
             (*_SPINEGAN, "release", "make", "--context=internal", "--fakes={out}/synthetic.zip",
              "--audit={run}/audit", "--summary={out}/spine_summary.json", "--out={out}/release"),
             5, ("release",), {6: _NO_RELEASE}),
    ]  # fmt: skip


@dataclass(frozen=True)
class Demo:
    """What `demo` was asked."""

    out: str
    kimg: int
    json_file: str | None


@options.command("demo", record=Demo)
@options.group(
    "What to do",
    options.opt("--out", metavar="DIR", default="demo", help="Folder for everything [default: demo]"),
    options.opt("--kimg", type=int, default=12,
                help="Length of the training, thousands of images [default: 12]"),
)  # fmt: skip
@options.json_option
def demo(asked: Demo) -> None:
    """From phantom DICOM files to a report, an audit and a card of release.

    Through the same commands that real data take.

    Interrupt it at any point; the same command goes on where it stopped.
    """
    if asked.kimg < 1:
        raise UserError(f"--kimg={asked.kimg} trains nothing; give at least 1")
    voice, folder = options.Voice(asked.json_file), Path(asked.out)
    (folder / "done").mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    try:
        precision = precision_for(folder / "done" / "precision")
    except KeyboardInterrupt:  # loading torch takes seconds
        raise StoppedOnRequest(_STOPPED) from None
    done = run_steps(steps(asked.kimg, precision), folder, voice)
    seconds = time.monotonic() - started
    voice.say(f"\nDone in {format_time(seconds)}.")
    voice.say(summary(folder))
    voice.numbers({"steps": done, "seconds": seconds, "folder": folder})


def precision_for(record: Path) -> str:
    """What --precision of the training is: measured once per folder, for what is done depends on it."""
    if not record.exists():
        import torch  # the help needs none

        # A card knows best by itself.
        choice = "auto" if torch.cuda.is_available() else "bf16" if bf16_is_faster() else "fp32"
        with files.atomic_write(record) as file:
            file.write(choice.encode())
    return record.read_text()


def bf16_is_faster(repeats: int = 8) -> bool:
    """Whether this processor does the training's widest convolution faster in bfloat16, by a tenth."""
    import torch
    from torch.nn.functional import conv2d

    def seconds(dtype: torch.dtype) -> float:
        images = torch.zeros([16, 32, 32, 32], dtype=dtype, requires_grad=True)
        weight = torch.zeros([32, 32, 3, 3], dtype=dtype, requires_grad=True)
        started = time.perf_counter()
        conv2d(images, weight, padding=1).sum().backward()
        return time.perf_counter() - started

    # In turn, and the best of each: others may use the computer, too. The first of all only warms up.
    pairs = [(seconds(torch.bfloat16), seconds(torch.float32)) for _ in range(repeats)]
    half, full = (min(times) for times in zip(*pairs))
    return half < 0.9 * full


def run_steps(plan: list[Step], folder: Path, voice: options.Voice) -> list[dict[str, object]]:
    """Run what is not done yet; {name, seconds} of every step, without seconds if it was done before."""
    done: list[dict[str, object]] = []
    for number, step in enumerate(plan, start=1):
        title = f"[{number}/{len(plan)}] {step.what}"
        if _is_done(folder, step):
            voice.say(f"{title}: done before")
            done.append({"name": step.name, "seconds": None})
            continue
        left_sec = sum(s.expected_sec for s in plan[number - 1 :] if not _is_done(folder, s))
        voice.say(click.style(title, bold=True))
        voice.say(f"      about {format_time(step.expected_sec)}, {format_time(left_sec)} in all from here")
        started = time.monotonic()
        run_step(step, folder, voice)
        done.append({"name": step.name, "seconds": time.monotonic() - started})
    return done


def run_step(step: Step, folder: Path, voice: options.Voice) -> None:
    """Run one command to its end and stamp it; StoppedOnRequest if the user stopped it."""
    for name in step.fresh:
        place = folder / name
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)
    command = [sys.executable, *_filled(step.command, folder)]
    voice.say(f"      $ {_shown(command)}")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(_HOME), os.environ.get("PYTHONPATH", "")])}
    child = None
    try:
        # Between its start and its name here nobody could wait for it; nor could it catch an interrupt yet.
        with interrupts.deferred(), interrupts.born_deaf(by_multiprocessing=False):
            child = subprocess.Popen(
                command, env=environment, stdout=_STDERR if voice.is_for_programs else None
            )
        code = child.wait()
    except KeyboardInterrupt:  # Ctrl-C reached the child too; let it save and leave
        if child is not None:
            child.wait()
        raise StoppedOnRequest(_STOPPED) from None
    if code in (StoppedOnRequest.exit_code, Interrupted.exit_code, -2, -15):
        raise StoppedOnRequest(_STOPPED)
    if code in step.answers:
        voice.say(f"      {step.answers[code]}")
    elif code:
        failed = UserError(
            f"the step {step.name!r} ended with exit code {code}; what it said stands above. "
            f"To begin anew, remove {folder}"
        )
        failed.exit_code = code if 0 < code < 126 else 1
        raise failed
    (folder / "done" / step.stamp).touch()


def _is_done(folder: Path, step: Step) -> bool:
    return (folder / "done" / step.stamp).exists()


def _filled(command: tuple[str, ...], folder: Path) -> list[str]:
    """The command with its places put in."""
    runs = sorted((folder / "runs").glob("[0-9]*")) if (folder / "runs").is_dir() else []
    run = runs[-1] if runs else folder / "runs"
    snapshots = run_files.snapshots_in(run) if run.is_dir() else []
    places = {"out": str(folder), "run": str(run), "last": str(snapshots[-1]) if snapshots else ""}
    return [part.format(**places) for part in command]


def _shown(command: list[str]) -> str:
    """As a user would type it."""
    is_verb = tuple(command[1:3]) == _SPINEGAN
    return shlex.join(["spinegan", *command[3:]] if is_verb else ["python", *command[1:]])


def summary(folder: Path) -> str:
    """What was made, where, and how to do the same with real data."""
    return f"""
What was made, in {folder}/:
  report.html             open it in a browser: curves, images by training time, data, commands
  spine-train.zip, ...    data set, split by patient; spine_report.csv says what became of every file
  spine_contact.png       the images, for a human to check
  classifier.safetensors  the classifier of the loss, and its card (.json)
  runs/                   the training run: log, image grids, networks
  synthetic.zip           the synthetic data set, and its card (synthetic_card.json)
  runs/*/audit/audit.html whether they are copies, and whether that could have been seen
  release/card.html       what goes with the images, if they are given to somebody

The same with your own radiographs:
  spinegan convert --source=DICOM_FOLDER --dest=spine.zip --split=0.8/0.1/0.1
  spinegan classify train --data=spine-train.zip --val=spine-val.zip --out=s.safetensors --weights=imagenet
  spinegan train --outdir=runs --data=spine-train.zip --preset=paper-spine --classifier=s.safetensors
  spinegan generate --network=runs/00000-X --per-class=5000 --outdir=fakes.zip
  spinegan audit --train=spine-train.zip --holdout=spine-test.zip --fakes=fakes.zip --out=runs/00000-X/audit
  spinegan report runs/00000-X
  spinegan release make --context=controlled --fakes=fakes.zip --audit=runs/00000-X/audit --out=release
"""


if __name__ == "__main__":
    demo()
