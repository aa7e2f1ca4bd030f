"""Words on the command line: valid commands with one or two of their values replaced by what cannot be."""

from __future__ import annotations

import functools
import random
from pathlib import Path

import click

from tests.hostile import materials
from tests.hostile.case import Case, case
from tests.hostile.formats import dicom
from tests.hostile.mutate import json_text

_VALUES = (
    "", " ", "-1", "0", "1", "2", "3", "-0", "+1", "1.5", "1e9", "1e308", "1e400", "4294967296",
    "100000000000000000000",
    "-9223372036854775809", "nan", "inf", "-inf", "NaN", "0x10", "１", "٣", "1_000", "none", "None", "null",
    "true", "x",
    "os.system", "this.s", "antigravity.fly", "tests.hostile.planted.KINDS", "stylegan2ada.errors.UserError",
    "a" * 20_000,
    "=1+1", "a=b", "a=", "=b", "a:1", "a:nan", "a:-1", ":", ",", ",,", "1,", ",1", "1,,2", "-1", "4294967296",
    "0-999999999999", "5-1", "3-", "-", "--", ".", "/proc/nope/x", "/dev/null/x", "nope/nope/x",
    "in", "d.zip",
    "n.pkl", "nowhere", "a\nb", "\udcff", "é", "\x1b[31m", "%s", "{}", "$(touch canary)",
    "`touch canary`", "~", "*",
    "file:///etc/passwd", "latest", "run/best:fid", "n.pkl/latest", "cpu:7", "cuda:99", "meta", "mkldnn",
    "xla", "privateuseone",
    "99999x99999", "0x0", "1x", "0.5/0.5", "1/0/0", "nan/1", "-1/2", "2/2/2", "0.1/0.1", "(", "[", "(a+)+$",
    "csv:", "csv:x",
    "fid50k_full", "is50k", "is50k,is50k", "nope", "inception=tiny", "inception=nowhere", "inception=",
    "dask:", "dask:nowhere",
)  # fmt: skip
# Valid calls; the values after `=`, and the flags of the command, are what changes.
_CALLS: tuple[tuple[str, ...], ...] = (
    ("generate", "--network=n.pkl", "--seeds=0", "--class=0", "--outdir=out", "--device=cpu", "--trunc=1",
     "--batch=2"),
    ("generate", "--network=n.pkl", "--per-class=1", "--outdir=out.zip", "--device=cpu"),
    ("mix", "--network=n.pkl", "--rows=0", "--cols=1", "--styles=0", "--class=0", "--outdir=out",
     "--device=cpu"),
    ("legacy", "--source=n.pkl", "--dest=m.pkl", "--force-fp16=0"),
    ("project", "--network=n.pkl", "--target=x.png", "--num-steps=1", "--detector=vgg16=tiny",
     "--outdir=out", "--class=0",
     "--save-video=0", "--device=cpu", "--seed=0"),
    ("metrics", "--fakes=d.zip", "--data=d.zip", "--metrics=is50k", "--detector=inception=tiny",
     "--device=cpu", "--batch=2",
     "--seed=0"),
    ("dataset", "--source=d.zip", "--dest=e.zip", "--width=8", "--height=8", "--max-images=2"),
    ("dataset", "--source=d.zip", "--dest=e", "--labels=folders", "--transform=center-crop", "--width=4",
     "--height=4"),
    ("train", "--data=d.zip", "--outdir=runs", "--cond=1", "--metrics=none", "--dry-run", "--device=cpu",
     "--gamma=1",
     "--kimg=1", "--batch=4", "--seed=0", "--aug=ada", "--target=0.6"),
    ("train", "--data=d.zip", "--outdir=runs", "--cond=1", "--metrics=none", "--dry-run", "--device=cpu",
     "--loss=spine",
     "--classifier=c.safetensors", "--cls-weight=0.01"),
    ("train", "--data=d.zip", "--outdir=runs", "--preset=radiograph", "--metrics=none", "--dry-run",
     "--device=cpu"),
    ("train", "--continue=new", "--dry-run", "--device=cpu"),
    ("classify", "predict", "--classifier=c.safetensors", "--data=d.zip", "--out=p.csv", "--device=cpu",
     "--batch=2"),
    ("classify", "eval", "--classifier=c.safetensors", "--data=d.zip", "--outdir=e", "--device=cpu",
     "--resamples=100",
     "--no-plots", "--seed=0"),
    ("classify", "train", "--data=d.zip", "--out=q.safetensors", "--arch=cnn13k", "--dry-run",
     "--device=cpu", "--epochs=1",
     "--size=64", "--val-share=0.5"),
    ("report", "run", "--out=r.html"),
    ("compare", "run", "new", "--out=r.html", "--csv=r.csv"),
    ("figures", "fig4", "--networks=n.pkl", "--data=d.zip", "--per-class=1", "--out=f.png", "--device=cpu"),
    ("doctor", "--data=d.zip", "--outdir=."),
    (*dicom.COMMAND, "--split=0.5/0.25/0.25", "--percentiles", "1", "99"),
    (*dicom.COMMAND, "--dry-run", "--body-part=SPINE"),
    ("phantom", "--zip=p.zip", "--n=1", "--resolution=32", "--workers=1", "--seed=0", "--difficulty=1"),
    ("detectors", "list"),
    ("completion", "bash"),
)  # fmt: skip
# What these do is asked for by the user: processes, downloads, work of minutes.
_NEVER = (
    "--help",
    "-h",
    "--version",
    "--demo",
    "--build",
    "--engine",
    "--list-decoders",
    "--save-video",
    "--codecs",
    "--with-bad",
    "--sheet",
    "--size",
)
_RISKY = ("--gpus", "--executor", "--workers", "--weights", "--n", "--dry-run", "-n", "--epochs", "--kimg",
          "--num-steps",
          "--resamples", "--split", "--per-class", "--resolution")  # fmt: skip


def make(rng: random.Random, folder: Path) -> Case:
    """A call that nobody could mean."""
    materials.lay(folder, _files())
    words = list(rng.choice(_CALLS))
    told = [_change(words, rng) for _ in range(rng.choice((1, 1, 2)))]
    return case("; ".join(told)[:200], *words, keeps=("n.pkl", "d.zip", "c.safetensors", "c.json", "in"))


def _change(words: list[str], rng: random.Random) -> str:
    kind = rng.random()
    valued = [i for i, word in enumerate(words) if word.startswith("--") and "=" in word and _may(word)]
    if kind < 0.6 and valued:
        at = rng.choice(valued)
        flag = words[at].partition("=")[0]
        words[at] = f"{flag}={rng.choice(_VALUES)}"
        return words[at][:60]
    known = _flags(words[0], words[1] if len(words) > 1 else "")
    if kind < 0.85 and known:
        flag, takes = rng.choice(known)
        words.append(f"{flag}={rng.choice(_VALUES)}" if takes else flag)
        return f"and {words[-1]:.60}"
    if kind < 0.92 and (loose := [i for i, word in enumerate(words) if i and _may(word)]):
        return f"without {words.pop(rng.choice(loose))}"
    extra = rng.choice(
        ("--nope", "-x", "--", "word", "", "--seeds", "--network", "-", "\udcff", "--SEEDS=1", "--seed_s=1")
    )
    words.insert(rng.randrange(len(words) + 1), extra)
    return f"and {extra!r}"


def _may(word: str) -> bool:
    return word.partition("=")[0] not in (*_RISKY, *_NEVER)


@functools.cache
def _flags(verb: str, second: str) -> list[tuple[str, bool]]:
    """(flag, whether it takes a value) of a command."""
    from spine_plugins.__main__ import main

    found = main.get_command(click.Context(main), verb)
    if isinstance(found, click.Group):
        found = found.get_command(click.Context(found), second)
    if found is None:  # what stood there was changed away
        return []
    options = [option for option in found.params if isinstance(option, click.Option)]
    names = [(option.opts[0], not option.is_flag) for option in options]
    return [(name, takes) for name, takes in names if name not in (*_NEVER, *_RISKY)]


@functools.cache
def _files() -> dict[str, bytes]:
    card, weights = materials.classifier_files()
    return {
        "n.pkl": materials.network_files()[0], "d.zip": materials.data_zip(), "x.png": materials.png(),
        "c.safetensors": weights, "c.json": json_text(card), "in/0.dcm": dicom.plain(0),
        "in/1.dcm": dicom.plain(1),
        "in/2.dcm": dicom.plain(2), "data.zip": materials.data_zip(),
        **{f"run/{name}": content for name, content in materials.reported_run().items()},
        **{f"new/{name}": content for name, content in materials.new_run().items()},
    }  # fmt: skip
