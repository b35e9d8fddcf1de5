"""Which exit code: the one table. 0 fine, 1 failed, 2 your input, 3 does not fit."""

from __future__ import annotations

from plimsoll.errors import DoesNotFit, InputError, PlimsollError

FINE = 0
FAILED = 1
YOUR_INPUT = 2
DOES_NOT_FIT = 3
INTERRUPTED = 130  # Ctrl-C, as shells say it


def exit_code(error: PlimsollError) -> int:
    """The exit code of an error of ours."""
    if isinstance(error, DoesNotFit):
        return DOES_NOT_FIT
    if isinstance(error, InputError):
        return YOUR_INPUT
    return FAILED
