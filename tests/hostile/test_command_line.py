"""Values that nobody can mean, one by one: each is refused in one sentence, before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from spine_plugins.__main__ import main
from tests.hostile import materials
from tests.hostile.formats import command_line

GENERATE = ("generate", "--network=n.pkl", "--class=0", "--device=cpu", "--outdir=out")
MIX = ("mix", "--network=n.pkl", "--class=0", "--device=cpu", "--outdir=out", "--rows=0", "--cols=1",
       "--styles=0")  # fmt: skip
PROJECT = ("project", "--network=n.pkl", "--target=x.png", "--num-steps=1", "--detector=vgg16=tiny",
           "--outdir=out", "--class=0", "--device=cpu")  # fmt: skip
TRAIN = ("train", "--data=d.zip", "--outdir=runs", "--dry-run", "--metrics=none", "--device=cpu")
SPINE = (*TRAIN, "--cond=1", "--loss=spine", "--classifier=c.safetensors", "--accept-classifier=1")
METRICS = (
    "metrics",
    "--fakes=d.zip",
    "--data=d.zip",
    "--metrics=is50k",
    "--detector=inception=tiny",
    "--device=cpu",
)
DATASET = ("dataset", "--source=d.zip", "--dest=e.zip")
PREDICT = ("classify", "predict", "--classifier=c.safetensors", "--data=d.zip", "--out=p.csv", "--device=cpu")
LEARN = (
    "classify",
    "train",
    "--data=d.zip",
    "--out=q.safetensors",
    "--arch=cnn13k",
    "--dry-run",
    "--device=cpu",
)
CONVERT = ("convert", "--source=in", "--dest=x.zip", "--executor=serial")
PHANTOM = ("phantom", "--n=1", "--workers=1")  # fmt: skip
FIGURE = ("figures", "fig4", "--networks=n.pkl", "--data=d.zip", "--device=cpu")
_BIG = "100000000000000000000"

WRONG = [
    *[(*GENERATE, f"--seeds={text}") for text in ("-1", "4294967296", "0-999999999999", "5-1", "", "0,-3")],
    *[(*GENERATE, "--seeds=0", f"--trunc={text}") for text in ("nan", "inf", "-inf", "1e999", "1e308")],
    *[(*GENERATE, "--seeds=0", word) for word in ("--batch=0", "--batch=-1", "--device=meta", "--device=xla",
                                                  "--label=nan,1", "--label=inf,1", "--outdir=", "--json=")],
    (*GENERATE[:-1], "--outdir=o.zip", "--per-class=999999999999"),
    (*GENERATE[:-1], "--outdir=o.zip", "--per-class=2", "--seeds=4294967295"),
    (*GENERATE[:-1], "--outdir=o.zip", "--per-class=2", "--label=1e9"),
    *[(*MIX, word) for word in ("--rows=-1", "--cols=0-999999999999", "--styles=0-99999999999",

                                "--trunc=nan")],
    *[(*PROJECT, word) for word in (f"--seed={_BIG}", "--seed=-1", "--num-steps=99999999999999", "--outdir=",
                                    "--target=")],
    *[(*TRAIN, word) for word in (
        f"--seed={_BIG}", "--seed=-1", "--loss=os.system", "--sampler=os.system", "--sampler=this.s",
            "--gamma=inf",
        "--gamma=nan", "--tick=inf", "--tick=nan", "--state-minutes=nan", "--p=nan", "--target=nan",
        "--data=",
        "--outdir=", f"--kimg={_BIG}", f"--batch={_BIG}", "--cbase=99999999999999", "--workers=999999999",
        "--term=os.system", "--continue=",
    )],
    (*SPINE, "--cls-weight=nan"),
    (*SPINE, "--cls-warmup=inf"),
    *[(*METRICS, word) for word in ("--batch=0", "--seed=-1", f"--seed={_BIG}", "--data=", "--fakes=",
        "--device=meta")],
    *[(*DATASET, word) for word in ("--width=100000000", "--height=99999999999", "--source=", "--dest=",
                                    "--dest=.", "--source=" + "a" * 5000,
                                    "--labels=" + "a" * 5000)],
    *[(*PREDICT, word) for word in ("--device=meta", "--out=", "--data=", "--classifier=")],
    *[(*LEARN, word) for word in ("--val-share=nan", "--lr=nan", "--lr=inf", "--dropout=nan",
        "--split-seed=-1",
                                  f"--seed={_BIG}", "--out=")],
    *[(*CONVERT, word) for word in ("--fail-over=nan", "--timeout=nan", "--timeout=inf", "--split-seed=-1",
        "--dest=/",
        "--dest=",
                                    "--source=", "--key-file=", f"--max-pixels={_BIG}")],
    (*CONVERT, "--percentiles", "nan", "nan"),
    *[(*PHANTOM, *words) for words in (
        ("--zip=",), ("--out=",), ("--sheet=/nope/x",), ("--sheet=nope/x.png",), ("--zip=p.zip",
         "--difficulty=nan"),
        ("--zip=p.zip", "--confound=inf"), ("--zip=p.zip", f"--seed={_BIG}"), ("--sheet=s.png",
         "--size=99999x99999"),
        ("--sheet=s.png", "--size=0x0"),
    )],
    ("report", "run", "--out="),
    ("report", ""),
    ("report", "run", "--synthetic=."),
    *[(*verb, f"--json={text}") for verb in (("report", "run"), ("doctor",)) for text in (".", "d.zip")],
    ("report", "run", "--out=" + "a" * 5000),
    ("doctor", "--data="),
    ("doctor", "--outdir="),
    *[(*FIGURE, word) for word in ("--trunc=nan", "--seed=-1", f"--seed={_BIG}", "--networks=",
        "--networks=,",
                                   "--out=x.nope")],
    ("legacy", "--source=n.pkl", "--dest="),
]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where each of the calls would do its work, were it not for the wrong value."""
    folder = tmp_path_factory.mktemp("place")
    materials.lay(folder, command_line._files())
    return folder


@pytest.mark.parametrize("words", WRONG, ids=lambda words: " ".join((words[0], *words[-2:]))[:70])
def test_a_value_that_nobody_can_mean_is_refused(
    words: tuple[str, ...], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    before = sorted(path.name for path in place.iterdir())
    result = CliRunner().invoke(main, [*words])
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in ({1, 2, 3} if words[0] == "dataset" else {2, 3}), result.output
    errors = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert sorted(path.name for path in place.iterdir()) == before  # nothing was begun


def test_an_empty_pattern_is_no_empty_path(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    words = [*CONVERT, "--body-part=", "--dry-run", "--min-size=8"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
