"""`spinegan dp`: what a private training costs, and whether a claim holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from spine_plugins.privacy import accountant, figure1, ledger, report, verification
from spine_plugins.privacy.risk import Risk, in_words, risk_of_queries
from stylegan2ada import options, processes
from stylegan2ada.errors import MissingError, UserError
from stylegan2ada.options import Voice, group, json_option, opt


@click.group()
def dp() -> None:
    """Differential privacy: account, calibrate, verify or audit a run, and the paper's Figure 1."""


_NUMBERS = (
    opt("--n", type=float, metavar="INT", help="Units (images, studies, patients) in the data"),
    opt("--batch", type=float, metavar="FLOAT", help="Expected units per step"),
    opt("--steps", type=int, metavar="INT", help="Noisy steps on real data, R1 steps counted"),
    opt("--delta", type=float, metavar="FLOAT", help="[default: the smaller of 1e-5 and 1/(10 n)]"),
    opt("--adjacency", type=click.Choice(accountant.ADJACENCIES), default="add-remove",
        help="Neighbours: one unit more or less, or one other (n is then public) [default: add-remove]"),
)  # fmt: skip


@dataclass(frozen=True)
class Numbers:
    """A training in numbers; None where nothing was given."""

    n: float | None
    batch: float | None
    steps: int | None
    delta: float | None
    adjacency: accountant.Adjacency
    json_file: str | None

    def needed(self, *names: str) -> None:
        """Refuse what cannot be counted."""
        for name in names:
            if getattr(self, name) is None:
                raise UserError(f"--{name.replace('_', '-')} is missing; epsilon depends on it")

    def chosen_delta(self) -> float:
        assert self.n is not None
        return default_delta(self.n) if self.delta is None else self.delta


@dataclass(frozen=True)
class AskedAccount(Numbers):
    """What `dp account` was asked."""

    noise_multiplier: float | None
    ledger: str | None


def default_delta(n: float) -> float:
    """At most a tenth of 1/n: with delta = 1/n, publishing one whole record at random would be allowed."""
    return min(1e-5, 1 / (10 * n)) if n > 0 else 1e-5


@options.command("account", parent=dp, record=AskedAccount)
@group(
    "Training",
    *_NUMBERS,
    opt("--noise-multiplier", type=float, metavar="FLOAT", help="Noise divided by the clip norm"),
    opt("--ledger", metavar="FILE", help="Count the lines of this ledger.jsonl instead of the numbers"),
)
@json_option
def account_(asked: AskedAccount) -> None:
    """Epsilon of a training by DP-SGD, and what it means for one unit.

    \b
    spinegan dp account --n=100000 --batch=1024 --steps=20000 \\
        --noise-multiplier=1.07
    """
    if asked.ledger is not None:
        _account_of_ledger(asked)
        return
    asked.needed("n", "batch", "steps", "noise_multiplier")
    assert asked.n and asked.batch and asked.steps is not None and asked.noise_multiplier is not None
    accountant.check(asked.n, asked.batch, asked.steps, asked.noise_multiplier, asked.chosen_delta())
    queries = [accountant.Query(asked.batch / asked.n, asked.noise_multiplier, asked.steps)]
    _tell(asked, queries)


def _account_of_ledger(asked: AskedAccount) -> None:
    assert asked.ledger is not None
    given = [name for name in ("n", "batch", "steps", "noise_multiplier") if getattr(asked, name) is not None]
    if given:
        raise UserError(f"--{given[0].replace('_', '-')} stands in --ledger already; leave it out")
    if not Path(asked.ledger).is_file():
        raise MissingError(f"--ledger={asked.ledger} is not there; it lies in RUN_DIR/privacy/ledger.jsonl")
    lines, head = ledger.read(Path(asked.ledger))
    if not lines:
        raise UserError(f"--ledger={asked.ledger} is empty: nothing was released")
    first = lines[0]
    if asked.delta is None and first.n_public is None:
        raise UserError("--delta is missing; this ledger does not say n, from which it could be chosen")
    delta = default_delta(float(first.n_public or 1)) if asked.delta is None else asked.delta
    queries = [line.query for line in lines]
    voice = Voice(asked.json_file)
    found = accountant.account_queries(queries, delta, adjacency=first.adjacency)
    risks = risk_of_queries(queries, adjacency=first.adjacency)
    voice.say(f"{len(lines)} lines about one {first.unit}, the chain of hashes is whole")
    say_account(voice, found, risks)
    voice.numbers({**found, "risk": risks, "unit": first.unit, "n_public": first.n_public, "head": head})


@dataclass(frozen=True)
class AskedCalibrate(Numbers):
    """What `dp calibrate` was asked."""

    target_epsilon: float


@options.command("calibrate", parent=dp, record=AskedCalibrate)
@group(
    "Training",
    *_NUMBERS,
    opt("--target-epsilon", type=float, required=True, metavar="FLOAT", help="Epsilon to stay at or below"),
)
@json_option
def calibrate_(asked: AskedCalibrate) -> None:
    """The noise multiplier that keeps a training at an epsilon.

    \b
    spinegan dp calibrate --n=100000 --batch=1024 --steps=20000 \\
        --target-epsilon=10
    """
    asked.needed("n", "batch", "steps")
    assert asked.n and asked.batch and asked.steps
    delta = asked.chosen_delta()
    found = accountant.calibrate(
        asked.n, asked.batch, asked.steps, asked.target_epsilon, delta, adjacency=asked.adjacency
    )
    Voice(asked.json_file).say(f"noise multiplier {found:.6g}")
    queries = [accountant.Query(asked.batch / asked.n, found, asked.steps)]
    _tell(asked, queries, noise_multiplier=found)


def _tell(asked: Numbers, queries: list[accountant.Query], **more: object) -> None:
    """The bounds for people and as JSON; risks beside epsilon, always."""
    voice, delta = Voice(asked.json_file), asked.chosen_delta()
    found = accountant.account_queries(queries, delta, adjacency=asked.adjacency)
    risks = risk_of_queries(queries, adjacency=asked.adjacency)
    say_account(voice, found, risks)
    assert asked.n is not None
    if delta >= 1 / asked.n:
        voice.say(
            f"Warning: delta {delta:.3g} is not below 1/n: it allows to publish a whole record at random"
        )
    voice.numbers({**found, "risk": risks, **more})


def say_account(voice: Voice, found: accountant.Account, risks: Risk) -> None:
    """Epsilon, its bounds and what it means."""
    voice.say(f"epsilon {found['epsilon']:.6g} at delta {found['delta']:.3g}, {found['adjacency']}, "
              f"{found['releases']} releases")  # fmt: skip
    for name, label in (("epsilon_rdp", "RDP"), ("epsilon_pld", "PLD"), ("epsilon_own", "our RDP")):
        value = found[name]  # type: ignore[literal-required]  # the three keys above
        shown = "no finite bound, or dp-accounting is missing" if value is None else f"{value:.6g}"
        voice.say(f"  {label + ':':<9}{shown}")
    if found["order_at_edge"]:
        voice.say("  the best RDP order is at the edge of those tried: that bound may be far too large")
    voice.say(f"In words: {in_words(risks)}.")


@dataclass(frozen=True)
class AskedVerify:
    """What `dp verify` was asked."""

    run_dir: str
    sign_key: str | None
    json_file: str | None


@options.command("verify", parent=dp, record=AskedVerify)
@click.argument("run_dir", cls=options.Argument, metavar="RUN_DIR")
@group("Signature", opt("--sign-key", metavar="FILE", help="Key that the report must be signed with"))
@json_option
def verify_(asked: AskedVerify) -> None:
    """Recompute a run's claim from its ledger; exit code 5 and one sentence if anything disagrees."""
    voice = Voice(asked.json_file)
    claimed = verification.verify(Path(asked.run_dir), asked.sign_key)
    voice.say(str(claimed["statement"]))
    if report.is_signed(claimed) and asked.sign_key is None:
        voice.say("The report is signed; the signature was not checked without --sign-key")
    voice.say("Ledger, report, snapshots and state agree.")
    voice.numbers(claimed)


@dataclass(frozen=True)
class AskedAudit:
    """What `dp audit` was asked."""

    run_dir: str
    device: str
    json_file: str | None


@options.command("audit", parent=dp, record=AskedAudit)
@click.argument("run_dir", cls=options.Argument, metavar="RUN_DIR")
@group("Device", options.DEVICE)
@json_option
def audit_(asked: AskedAudit) -> None:
    """Ask a run's discriminator about its canaries (train with --dp-canaries=M).

    Exit code 0: no evidence of a leak; 6: more than the claim allows; 7: too few canaries to see one.
    """
    from spine_plugins.privacy.audit import audit

    voice = Voice(asked.json_file)
    found = audit(Path(asked.run_dir), processes.pick_device(asked.device))
    voice.say(f"{found.right} of {found.guesses} guesses about {found.canaries} canaries are right: "
              f"epsilon is at least {found.epsilon_lower:.3f}; claimed {found.claimed:.3f}")  # fmt: skip
    voice.say(f"Code that leaks exactly what it claims gives {found.expected_median:.3f}, at most "
              f"{found.expected_most:.3f}; all guesses right would give {found.ceiling:.3f}")  # fmt: skip
    verdict = found.as_json()
    voice.say(f"{verdict['verdict']}. A pass proves nothing; it costs privacy to publish these numbers.")
    voice.numbers(verdict)
    code = 6 if found.leaks else 0 if found.sees else 7
    if code:
        click.get_current_context().exit(code)


@dataclass(frozen=True)
class AskedFigure1:
    """What `dp figure1` was asked."""

    out: str
    json_file: str | None


@options.command("figure1", parent=dp, record=AskedFigure1)
@group("Where to", opt("--out", required=True, metavar="DIR", help="Folder for figure1.csv and figure1.png"))
@json_option
def figure1_(asked: AskedFigure1) -> None:
    """The paper's Figure 1 from its formulas: 22 noise levels, two numbers of steps (minutes)."""
    voice, folder = Voice(asked.json_file), Path(asked.out)
    accountant.need_library()
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for noise_std in figure1.DEVIATIONS:
        found = figure1.row(noise_std)
        rows.append(found)
        voice.say(f"noise {noise_std:<4g} epsilon {found['tfp_release']:.10g} (2.4 million steps, classic), "
                  f"ln {found['ln_tfp_release']:.4f}")  # fmt: skip
    figure1.write_csv(rows, folder / "figure1.csv")
    figure1.draw(rows, folder / "figure1.png")
    voice.say(f"{folder}/figure1.csv and figure1.png; guarantee: none")
    voice.numbers({"rows": rows, "chosen": figure1.CHOSEN, "guarantee": "none"})
