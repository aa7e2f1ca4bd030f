"""Mistakes that the user can fix: what was given, why it cannot work, what to do.

Commands print the sentence without a traceback and leave with the error's exit code.
"""

from __future__ import annotations


class UserError(Exception):
    """Wrong usage or unusable input; the message is one clear sentence for the user."""

    exit_code = 2


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
