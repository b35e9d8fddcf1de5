"""`plimsoll check`: every problem of the fleet files at once."""

from __future__ import annotations

import json

import click

from plimsoll.cli.files import read_fleet


@click.command("check")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON")
def check_command(files: tuple[str, ...], *, as_json: bool) -> None:
    """Check fleet files and name every problem with file:line:column.

    Several files add up to one fleet; `-` reads standard input; without a file the demo
    fleet is checked. Exits 2 when there is a problem.
    """
    loaded = read_fleet(files)
    fleet = loaded.fleet
    counts = {
        "models": len(fleet.models),
        "pools": len(fleet.pools),
        "providers": len(fleet.providers),
        "tenants": len(fleet.tenants),
    }
    if as_json:
        click.echo(json.dumps({"ok": True, "fleet": fleet.name, **counts}, indent=2))
        return
    parts = [f"{n} {what if n != 1 else what[:-1]}" for what, n in counts.items() if n]
    click.echo(f"{loaded.title}: fine ({', '.join(parts) or 'empty'})")
