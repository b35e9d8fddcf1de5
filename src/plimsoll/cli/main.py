"""`plimsoll`: the commands; whatever ends one of them becomes an exit code here."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from plimsoll import __version__
from plimsoll.cli.demand import on_demand

# Each command's module is imported when it is run, so that `plimsoll --help` stays fast
# (docs/decisions/0003-commands-on-demand.md). The help text stands here for the same reason.
COMMANDS: dict[str, str] = {
    "up": "Serve a fleet on this machine",
    "check": "Check fleet files and name every problem",
    "plan": "Show what a fleet would run, where, and at what price",
    "simulate": "Show what a fleet would do under a trace of requests",
    "explain": "Show why a model gets what it gets, or where a request went",
    "chat": "Talk to a model",
    "render": "Write a fleet's Kubernetes objects",
    "nodepools": "Print the cloud's commands that make a fleet's node pools",
    "diff": "Show what `apply` would change in a cluster",
    "apply": "Send a fleet to a cluster",
    "delete": "Remove from a cluster what was applied",
    "status": "Show the fleets that are up on this machine, or one in a cluster",
    "doctor": "Say what a cluster lacks, and what that costs",
    "operate": "Keep a cluster at its Fleet objects (run by its Deployment)",
    "gateway": "Serve requests in a cluster (run by its Deployment)",
    "fetch": "Fetch a model's weights into a folder (run by pods)",
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
        command = getattr(on_demand(cmd_name), f"{cmd_name}_command")
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
    """Run a command and exit with its code; no traceback, whatever happens."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        result: Any = cli.main(args=given, prog_name="plimsoll", standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 -- `told` says and keeps it
        sys.exit(on_demand("failures").told(error, as_json="--json" in given))
    sys.exit(result if isinstance(result, int) else 0)
