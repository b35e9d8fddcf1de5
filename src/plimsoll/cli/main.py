"""`plimsoll`: the commands, and the one place where errors become text and exit codes."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Any

import click

from plimsoll import __version__
from plimsoll.cli.exits import FAILED, YOUR_INPUT, exit_code
from plimsoll.cli.folders import state_folder
from plimsoll.errors import FleetError, PlimsollError

# Each command's module is imported when it is run, so that `plimsoll --help` stays fast
# (docs/decisions/0003-commands-on-demand.md). The help text stands here for the same reason.
COMMANDS: dict[str, str] = {
    "up": "Serve a fleet on this machine",
    "check": "Check fleet files and name every problem",
    "plan": "Show what a fleet would run here, and why",
    "chat": "Talk to a model",
    "status": "Show the fleets that are up on this machine",
    "models": "List, fetch and prune the models kept on this machine",
    "schema": "Print the JSON Schema or the Kubernetes CRD of fleet files",
}


class Commands(click.Group):
    """The group of all commands; see COMMANDS."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order in which people meet them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(
            importlib.import_module(f"plimsoll.cli.{cmd_name}"), f"{cmd_name}_command"
        )
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "PLIMSOLL"},
    epilog="Start with `plimsoll up`: it serves a small model on this machine.",
)
@click.version_option(__version__, message="plimsoll %(version)s")
def cli() -> None:
    """Self-hosted LLM inference on Kubernetes, and on this machine, from one file."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its code; no traceback for any error of ours."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in given
    try:
        result: Any = cli.main(args=given, prog_name="plimsoll", standalone_mode=False)
        sys.exit(result if isinstance(result, int) else 0)
    except PlimsollError as error:
        report(error, as_json=as_json)
        sys.exit(exit_code(error))
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        if as_json:
            body = {"code": "usage", "message": error.format_message(), "where": None, "hint": None}
            click.echo(json.dumps({"error": body}, indent=2))
        else:
            error.show()
        sys.exit(YOUR_INPUT)
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output has gone (`plimsoll plan | head`): nothing is left to say.
        sys.stderr.close()
        sys.exit(FAILED)
    except Exception as error:  # noqa: BLE001 -- a fault of ours: said, kept whole in a file, exit 1
        report(_fault(error), as_json=as_json)
        sys.exit(FAILED)


def _fault(error: Exception) -> PlimsollError:
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
