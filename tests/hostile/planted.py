"""A command that sins as it is told, so that the harness can show that it sees it."""

from __future__ import annotations

import random
from pathlib import Path

import click

from stylegan2ada import options
from stylegan2ada.errors import UserError
from tests.hostile.case import Case, Format, case

KINDS = ("good", "refuses", "spawns", "forks", "writes outside", "creates natively outside", "hangs", "burns",
         "allocates", "traceback", "imports", "connects", "crashes", "bad code", "says nothing", "says much",
         "accepts", "loses", "unpickles", "deletes outside")  # fmt: skip


@click.group()
def main() -> None:
    """Stands where the real command stands."""


@options.command("sin", parent=main)
@click.argument("kind")
@click.argument("outside")
def sin(kind: str, outside: str) -> None:
    """One sin."""
    _SINS[kind](outside)
    click.echo("done")


def _refuses(_: str) -> None:
    raise UserError("this is wrong; give something else")


def _spawns(_: str) -> None:
    import subprocess

    subprocess.run(["true"], check=False)


def _forks(_: str) -> None:
    import os

    if os.fork() == 0:
        os._exit(0)


def _writes(outside: str) -> None:
    Path(outside, "left.txt").write_text("x")


def _natively(outside: str) -> None:
    import ctypes

    number = ctypes.CDLL(None).creat(str(Path(outside, "native.txt")).encode(), 0o600)  # no audit event
    assert number >= 0


def _hangs(_: str) -> None:
    import time

    time.sleep(60)


def _burns(_: str) -> None:
    while True:
        pass


def _allocates(_: str) -> None:
    kept = bytearray(1 << 28)
    kept[:: 1 << 12] = b"x" * (1 << 16)


def _raises(_: str) -> None:
    {}["no such key"]  # noqa: B018


def _imports(_: str) -> None:
    import zipapp  # noqa: F401


def _connects(_: str) -> None:
    import socket

    socket.create_connection(("127.0.0.1", 9), timeout=0.1)


def _crashes(_: str) -> None:
    import os
    import signal

    os.kill(os.getpid(), signal.SIGSEGV)


def _bad_code(_: str) -> None:
    click.echo("Error: no", err=True)
    raise SystemExit(1)


def _silent(_: str) -> None:
    raise SystemExit(2)


def _talks(_: str) -> None:
    raise click.UsageError("this is wrong\nand that\nis wrong, too")


def _loses(_: str) -> None:
    Path("precious.txt").write_text("")
    raise UserError("this is wrong; give something else")


def _unpickles(_: str) -> None:
    import pickle

    pickle.loads(b"cos\ngetcwd\n)R.")


def _deletes(outside: str) -> None:
    Path(outside, "there.txt").unlink()


_SINS = {
    "good": lambda _: None, "refuses": _refuses, "spawns": _spawns, "forks": _forks,
    "writes outside": _writes,
    "creates natively outside": _natively, "hangs": _hangs, "burns": _burns, "allocates": _allocates,
    "traceback": _raises, "imports": _imports, "connects": _connects, "crashes": _crashes,
    "bad code": _bad_code,
    "says nothing": _silent, "says much": _talks, "accepts": lambda _: None, "loses": _loses,
    "unpickles": _unpickles, "deletes outside": _deletes,
}  # fmt: skip


def make(rng: random.Random, folder: Path) -> Case:
    """Drawn like any other; the tests ask for the seed that gives the kind they want."""
    kind = rng.choice(KINDS)
    (folder / "precious.txt").write_text("precious")
    (folder.parent / "there.txt").write_text("not the command's")
    return case(kind, "sin", kind, folder.parent, must_refuse=kind == "accepts", keeps=("precious.txt",))


FORMATS = {"planted": Format(make)}


def seed_of(kind: str) -> int:
    """The first seed of this sin."""
    return next(seed for seed in range(1000) if random.Random(f"planted {seed}").choice(KINDS) == kind)
