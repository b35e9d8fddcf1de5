"""`plimsoll models`: what is kept on this machine, fetched ahead, and thrown away."""

from __future__ import annotations

import dataclasses
import json
import time

import click

from plimsoll.cli.files import read_fleet
from plimsoll.cli.prepare import fetch_all, open_cache
from plimsoll.cli.progress import fetch_progress
from plimsoll.cli.tables import table
from plimsoll.units import duration, parse_duration, parse_size, size
from plimsoll.worlds.local.sources import CacheEntry


@click.group("models", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON")
@click.pass_context
def models_command(context: click.Context, *, as_json: bool) -> None:
    """List, fetch and prune the models kept on this machine."""
    if context.invoked_subcommand is None:
        context.invoke(list_command, as_json=as_json)


@models_command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON")
def list_command(*, as_json: bool) -> None:
    """List what is in the cache, the least recently used last."""
    cache = open_cache()
    entries = sorted(cache.entries(), key=lambda entry: -entry.last_used_at)
    if as_json:
        _print_json(entries)
        return
    if not entries:
        click.echo(f"nothing is kept in {cache.root}", err=True)
        return
    click.echo(_entries_table(entries))
    click.echo(f"{size(sum(entry.bytes for entry in entries))} in {cache.root}", err=True)


@models_command.command("pull")
@click.argument("files", nargs=-1, metavar="FILE...", required=True)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON")
def pull_command(files: tuple[str, ...], *, as_json: bool) -> None:
    """Fetch every model of a fleet file now, so that `plan` and `up` need no network."""
    loaded = read_fleet(files)
    with fetch_progress() as progress, open_cache() as cache:
        artifacts = fetch_all(loaded, cache=cache, progress=progress)
    found = sorted({(a.source, str(a.path), a.bytes) for a in artifacts.values()})
    if as_json:
        rows = [{"source": source, "path": path, "bytes": count} for source, path, count in found]
        click.echo(json.dumps({"models": rows}, indent=2))
        return
    click.echo(
        table(("SOURCE", "SIZE", "PATH"), [(s, size(count), path) for s, path, count in found])
    )


@models_command.command("prune")
@click.option(
    "--older-than", metavar="DURATION", help="Only what was not used for so long, as `7d`"
)
@click.option("--source", "sources", multiple=True, help="Only this source; may be repeated")
@click.option(
    "--max-size", metavar="SIZE", help="Least recently used first, until this much is left"
)
@click.option("--dry-run", is_flag=True, help="Show what would go")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON")
def prune_command(
    *,
    older_than: str | None,
    sources: tuple[str, ...],
    max_size: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Remove models from the cache; never one that a running process uses.

    Without a condition, everything that is not in use goes.
    """
    gone = open_cache().prune(
        older_than=parse_duration(older_than) if older_than else None,
        sources=frozenset(sources) if sources else None,
        max_bytes=parse_size(max_size) if max_size else None,
        dry_run=dry_run,
    )
    if as_json:
        _print_json(list(gone))
        return
    if gone:
        click.echo(_entries_table(list(gone)))
    verb = "would be freed" if dry_run else "freed"
    click.echo(f"{size(sum(entry.bytes for entry in gone))} {verb}", err=True)


def _entries_table(entries: list[CacheEntry]) -> str:
    now = time.time()
    rows = [
        (
            entry.source,
            size(entry.bytes),
            _state(entry),
            f"{duration(max(0.0, now - entry.last_used_at))} ago"
            if entry.last_used_at
            else "never",
            str(entry.path),
        )
        for entry in entries
    ]
    return table(("SOURCE", "SIZE", "STATE", "USED", "PATH"), rows)


def _state(entry: CacheEntry) -> str:
    if entry.in_use:
        return "in use"
    return "whole" if entry.complete else "partial"


def _print_json(entries: list[CacheEntry]) -> None:
    rows = [dataclasses.asdict(entry) | {"path": str(entry.path)} for entry in entries]
    click.echo(json.dumps({"models": rows}, indent=2))
