"""What an interrupt does at each moment of a program's life; e2e/test_interrupts.py asks real commands."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stylegan2ada import interrupts

ROOT = Path(__file__).parents[2]
ALARM = "import os, signal; os.kill(os.getpid(), signal.SIGINT)\n"
PROGRAM = """
import sys
sys.path.insert(0, {root!r})
from stylegan2ada import interrupts
interrupts.listen()
{before}
import click
from stylegan2ada import options

@options.command("c")
def main():
    try:
        {inside}
    finally:
        print("put away", flush=True)

main()
"""


def ended(tmp_path: Path, *, before: str = "", inside: str = "pass") -> subprocess.CompletedProcess[str]:
    (tmp_path / "heavy.py").write_text(f"{ALARM}raise RuntimeError('half loaded')\n")
    script = tmp_path / "script.py"
    script.write_text(PROGRAM.format(root=str(ROOT), before=before, inside=inside))
    return subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize(
    ("before", "inside", "said"),
    [
        ("import heavy", "pass", ""),  # while modules are loaded
        (ALARM, "pass", ""),  # between them
        ("", "import os, signal; os.kill(os.getpid(), signal.SIGINT)", "put away\n"),  # at work
        ("", "import heavy", ""),  # a module that the work loads late
    ],
    ids=["importing", "starting", "working", "importing late"],
)
def test_it_is_a_quiet_130(tmp_path: Path, before: str, inside: str, said: str) -> None:
    done = ended(tmp_path, before=before, inside=inside)
    assert (done.returncode, done.stdout, done.stderr) == (130, said, "")


def test_without_an_interrupt_nothing_is_different(tmp_path: Path) -> None:
    assert ended(tmp_path).returncode == 0


def test_who_is_born_deaf_hears_from_the_first_line_that_listens(tmp_path: Path) -> None:
    with interrupts.born_deaf(by_multiprocessing=False):
        child = subprocess.Popen(
            [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.stdin.read(1)\n"
             "from stylegan2ada import interrupts; interrupts.listen(); import time; time.sleep(60)"],
            stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate("x", timeout=60)
    assert (child.returncode, errors) == (130, "")


def test_what_must_be_done_whole_is() -> None:
    done = []

    def work() -> None:
        with interrupts.deferred():
            os.kill(os.getpid(), signal.SIGINT)
            done.append("whole")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["whole"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
