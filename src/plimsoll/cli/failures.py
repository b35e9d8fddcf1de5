"""What a person or a program is told when a command fails, and the exit code that goes with it."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback

import click

from plimsoll import __version__
from plimsoll.cli.exits import FAILED, INTERRUPTED, YOUR_INPUT, exit_code
from plimsoll.cli.folders import state_folder
from plimsoll.errors import FleetError, PlimsollError


def told(error: BaseException, *, as_json: bool) -> int:
    """Say what went wrong. Returns the exit code."""
    if isinstance(error, PlimsollError):
        report(error, as_json=as_json)
        return exit_code(error)
    if isinstance(error, click.Abort | KeyboardInterrupt):
        click.echo("stopped", err=True)
        return INTERRUPTED
    if isinstance(error, click.ClickException):
        _usage(error, as_json=as_json)
        return YOUR_INPUT
    if isinstance(error, BrokenPipeError):
        # The reader of our output has gone (`plimsoll plan | head`): nothing is left to say.
        sys.stderr.close()
        return FAILED
    report(_fault(error), as_json=as_json)
    return FAILED


def _usage(error: click.ClickException, *, as_json: bool) -> None:
    if not as_json:
        error.show()
        return
    body = {"code": "usage", "message": error.format_message(), "where": None, "hint": None}
    click.echo(json.dumps({"error": body}, indent=2))


def _fault(error: BaseException) -> PlimsollError:
    """What a person is told of a fault in Plimsoll itself; the traceback goes to a file."""
    kind = f"{type(error).__name__}: {error}"
    trace = "".join(traceback.format_exception(error))
    file = state_folder() / "faults" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"plimsoll {__version__}\n{trace}")
    except OSError as full:
        click.echo(trace, err=True)  # nowhere to keep it, so it must be shown
        return PlimsollError(f"a fault in Plimsoll: {kind}", hint=str(full), code="fault")
    return PlimsollError(
        f"a fault in Plimsoll: {kind}", hint=f"please report it with {file}", code="fault"
    )


def report(error: PlimsollError, *, as_json: bool) -> None:
    """Print an error: JSON on stdout for programs, else text on stderr."""
    if as_json:
        body = error.as_dict()
        if isinstance(error, FleetError):
            body["diagnostics"] = [
                {name: getattr(d, name) for name in d.__slots__} for d in error.diagnostics
            ]
        click.echo(json.dumps({"error": body}, indent=2))
        return
    label = click.style(f"error[{error.code}]", fg="red", bold=True)
    if isinstance(error, FleetError):
        click.echo(f"{label}: {error.message}", err=True)
        for diagnostic in error.diagnostics:
            click.echo(str(diagnostic), err=True)
        return
    place = f" {error.where}:" if error.where else ""
    click.echo(f"{label}:{place} {error.message}", err=True)
    if error.details:
        click.echo(f"\n{error.details}", err=True)
    if error.hint:
        click.echo(f"\n{click.style('hint', fg='cyan')}: {error.hint}", err=True)
