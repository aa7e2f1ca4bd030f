"""`spinegan audit`: whether synthetic images are copies of training patients."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stylegan2ada import options
from stylegan2ada.errors import UserError
from stylegan2ada.flag_types import SEED, CommaList
from stylegan2ada.training import run_files

if TYPE_CHECKING:
    from spine_plugins.audit.auditing import Audit
    from spine_plugins.audit.inputs import Inputs
    from stylegan2ada.protocols import JsonObject

EXIT_CODES = {"NO EVIDENCE": 0, "FAIL": 6, "UNDERPOWERED": 7}


@dataclass(frozen=True)
class Audited:
    """What `audit` was asked."""

    train: str
    holdout: str
    fakes: str
    network: str | None
    out: str
    features: tuple[str, ...]
    only: tuple[str, ...] | None
    plant: bool
    seed: int
    device: str
    json_file: str | None


@options.command("audit", record=Audited)
@options.group(
    "Images",
    options.opt("--train", required=True, metavar="ZIP", help="All images that the network was trained on"),
    options.opt("--holdout", required=True, metavar="ZIP",
                help="Images of the same source that it has never seen, of other patients"),
    options.opt("--fakes", required=True, metavar="ZIP", help="The synthetic images, of any origin"),
    options.opt("--network", metavar="FILE|RUN|URL",
                help="Also attack this network: its discriminator's opinion, and searches for images in it"),
)  # fmt: skip
@options.group(
    "How",
    options.opt("--features", multiple=True, metavar="NAME|FILE",
                help="pixels, a classifier's .safetensors, a detector or its file; twice compares two "
                "[default: pixels]"),
    options.opt("--only", type=CommaList(),
                help="These tests: copies, linkage, inference, singling_out, membership, same_patient "
                "[default: all]"),
    options.opt("--plant/--no-plant", default=True,
                help="Plant doctored training images, to learn what would have been seen; without, the "
                "verdict can be no better than UNDERPOWERED [default: --plant]"),
    options.opt("--seed", type=SEED, default=0, help="Of all random numbers [default: 0]"),
    options.DEVICE,
)  # fmt: skip
@options.group(
    "Where to",
    options.opt("--out", required=True, metavar="DIR",
                help="Folder for audit.json, audit.html, and private/ with scores and pictures of pairs"),
)  # fmt: skip
@options.json_option
def audit(asked: Audited) -> None:
    """Are synthetic images copies of training patients, and could this test have seen it?

    Exit codes: 0 no evidence, 6 evidence of a leak, 7 a leak could not have been seen.

    \b
    spinegan audit --train=spine-train.zip --holdout=spine-test.zip \\
        --fakes=synthetic.zip --out=audit
    """
    from spine_plugins.audit import inputs, results
    from spine_plugins.audit.auditing import NAMES

    only = NAMES if asked.only is None else asked.only
    if not only or set(only) - set(NAMES):
        raise UserError(f"--only={','.join(only)}: give some of {', '.join(NAMES)}")
    out = Path(asked.out)
    if out.exists() and not out.is_dir():
        raise UserError(f"--out={out} is a file; give a folder")
    voice = options.Voice(asked.json_file)
    if asked.network is not None:  # a run stands for its newest network, as for other commands
        asked = dataclasses.replace(asked, network=run_files.network_in(asked.network))
    sets = inputs.open_inputs(asked.train, asked.holdout, asked.fakes)
    for warning in sets.warnings:
        click.echo(f"Warning: {warning}", err=True)
    found = _audit(asked, sets, only)
    count = inputs.count_audits(asked.fakes, sets.fakes.fingerprint, add=True)
    if count is None:
        click.echo("Warning: the number of audits could not be written beside the fakes", err=True)
    document = results.as_json(found, network=inputs.network_hash(asked.network), count=count)
    results.write(found, document, out)
    _say(document, out, voice)
    voice.numbers(document)
    click.get_current_context().exit(EXIT_CODES[found.verdict])


def _audit(asked: Audited, sets: Inputs, only: tuple[str, ...]) -> Audit:
    from spine_plugins.audit import attacks, auditing
    from spine_plugins.audit.evidence import pool
    from spine_plugins.audit.features import find_features
    from stylegan2ada.processes import pick_device

    device = pick_device(asked.device)
    spaces = [find_features(name, device) for name in dict.fromkeys(asked.features or ("pixels",))]
    scores = {}
    if asked.network is not None and "membership" in only:
        reals = pool(sets.train, sets.holdout)
        scores = attacks.of_network(asked.network, reals, asked.device, asked.seed)
    return auditing.run(sets, spaces, only=only, is_planted=asked.plant, attacks=scores, seed=asked.seed)


def _say(document: JsonObject, out: Path, voice: options.Voice) -> None:
    """The verdict, then a line per test."""
    voice.say(f"{document['verdict']}: {document['statement']}")
    for name, test in document["tests"].items():
        seen = "not even 10 %" if test["detects"] is None else f">= {100 * test['detects']:g} %"
        power = "" if test["verdict"] == "FAIL" else f", would have seen {seen}"
        p_values = f"p {test['p_value']:.3g}, adjusted {test['p_holm']:.3g}"
        voice.say(f"  {name:<13} {p_values}{power}: {test['verdict']}")
    for name, reason in document["not_run"].items():
        voice.say(f"  {name:<13} NOT RUN: {reason}")
    voice.say(f"{out / 'audit.html'} is the page to show; {out / 'private'} is for nobody else")
