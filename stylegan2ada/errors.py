"""Mistakes that the user can fix: what was given, why it cannot work, what to do.

Commands print the sentence without a traceback and leave with the error's exit code.
"""

from __future__ import annotations


class UserError(Exception):
    """Wrong usage or unusable input; the message is one clear sentence for the user."""

    exit_code = 2


_LONGEST = 1000  # characters of a sentence on the screen


def one_line(text: str) -> str:
    """A sentence as a terminal may show it: it can quote names from strangers' files, of any length.

    Control characters, which move cursors and set titles, become escapes; of a long text the ends remain.
    """
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    half = _LONGEST // 2
    return shown if len(shown) <= _LONGEST else f"{shown[:half]} [...] {shown[-half:]}"


class MissingError(UserError):
    """Something that the task needs is not there: a decoder, a detector, a weights file, a package."""

    exit_code = 3


class NothingToDoError(UserError):
    """The input is readable, but nothing in it can be used."""

    exit_code = 4


class TooManyFailuresError(UserError):
    """More of the input failed than the user allowed."""

    exit_code = 5


class StoppedOnRequest(UserError):  # noqa: N818 - not an error: the state is saved, the same command continues
    """The run was asked to stop and saved its state; run the command again to go on."""

    exit_code = 75


class Interrupted(UserError):  # noqa: N818 - not an error: it was asked for
    """The command was interrupted before there was anything to go on from."""

    exit_code = 130
