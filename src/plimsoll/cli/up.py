"""`plimsoll up`: serve a fleet on this machine until Ctrl-C."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
import uvloop

from plimsoll.cli.files import read_fleet
from plimsoll.cli.folders import state_folder
from plimsoll.cli.gateway_keys import access_of, not_kept
from plimsoll.cli.prepare import Prepared, open_cache, prepare
from plimsoll.cli.progress import fetch_progress
from plimsoll.cli.running import running_file
from plimsoll.cli.serve import Address, LocalRun
from plimsoll.cli.view import LiveView, PlainView, View
from plimsoll.errors import InputError
from plimsoll.fleet import Fleet
from plimsoll.gateway.access import Access
from plimsoll.units import duration, parse_duration

DRAIN = "30s"


@click.command("up")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Port of the gateway, 0 picks one; by default the fleet's, which is 8080",
)
@click.option("--host", help="Address of the gateway; by default the fleet's, else 127.0.0.1")
@click.option(
    "--drain", default=DRAIN, show_default=True, help="How long streams may finish after Ctrl-C"
)
@click.option("--plain", is_flag=True, help="Plain lines instead of the live view")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for every change")
def up_command(
    files: tuple[str, ...],
    *,
    port: int | None,
    host: str | None,
    drain: str,
    plain: bool,
    as_json: bool,
) -> None:
    """Serve a fleet on this machine; without a file, the demo fleet.

    Each model runs as child processes of this command, behind one OpenAI-compatible address.
    Ctrl-C lets running streams finish, a second Ctrl-C cuts them; then everything is stopped.
    """
    seconds = parse_duration(drain)
    loaded = read_fleet(files)
    _one_process(loaded.fleet)
    listen = loaded.fleet.gateway.listen
    address = Address(
        host=host or listen.host or "127.0.0.1", port=listen.port if port is None else port
    )
    # The cache stays open: what a running fleet uses is not pruned under it.
    with open_cache() as cache:
        with fetch_progress() as progress:
            prepared = prepare(loaded, cache=cache, progress=progress)
        view = _view(plain=plain, as_json=as_json)
        access = _access(prepared.fleet)
        cut = uvloop.run(
            _serve(prepared, address=address, drain_seconds=seconds, view=view, access=access)
        )
    if cut:
        click.echo(f"{cut} unfinished streams were cut after {duration(seconds)}", err=True)


async def _serve(
    prepared: Prepared, *, address: Address, drain_seconds: float, view: View, access: Access
) -> int:
    with running_file(state_folder() / "run") as file, view:
        run = LocalRun(
            prepared,
            address=address,
            state=_state(prepared, address),
            drain_seconds=drain_seconds,
            show=view.show,
            file=file,
            access=access,
        )
        return await run.serve(lambda url: view.listening(url, prepared))


def _one_process(fleet: Fleet) -> None:
    """Raises InputError for a fleet whose gateway wants several processes."""
    if fleet.gateway.workers > 1:
        raise InputError(
            f"`up` serves from one process, and this fleet wants {fleet.gateway.workers}",
            where="spec.gateway.workers",
            hint="leave `workers` out here; in a cluster, `plimsoll gateway --workers` has them",
            code="up.workers",
        )


def _access(fleet: Fleet) -> Access:
    """Who may call; says what is not as the fleet wishes."""
    access, problems = access_of(fleet, environment=os.environ)
    for problem in (*problems, not_kept(fleet)):
        if problem:
            click.echo(f"{click.style('warning', fg='yellow')}: {problem}", err=True)
    return access


def _state(prepared: Prepared, address: Address) -> Path:
    """Logs and cold starts of a fleet stay where the next run of it finds them."""
    return state_folder() / "fleets" / f"{prepared.fleet.name}-{address.port}"


def _view(*, plain: bool, as_json: bool) -> View:
    if as_json:
        return PlainView(as_json=True)
    return PlainView() if plain or not sys.stderr.isatty() else LiveView()
