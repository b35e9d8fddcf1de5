"""Networks of models that the catalogue does not have: from a disk, or from their source."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from plimsoll.cli.prepare import open_cache
from plimsoll.facts.network import Network
from plimsoll.fleet import Model
from plimsoll.worlds.local.sources import Patience, local_network, locate, remote_network

PATIENCE = Patience(tries=3)  # a plan is waited for; fetching weights is not


def network_on_disk(model: Model, base: Path) -> Network:
    """The network of a `file:` model; a relative path is relative to `base`.

    A folder with nothing but `config.json` is enough to plan with. Raises SourceError where there
    is none, FormatError where it cannot be read.
    """
    folder = base / model.source.path
    if (folder / "config.json").is_file():
        return local_network(folder)
    artifact = locate(str(model.source), cache=open_cache(), base=base, sha256=model.sha256)
    return local_network(artifact.path)


def network_at_source(model: Model) -> Network:
    """The network of a model by its headers, read from its source.

    Raises SourceError for what cannot be reached, InputError for a kind of source without headers.
    """
    shown = sys.stderr.isatty()
    if shown:
        click.echo(f"\r\033[Kreading what {model.source} is", err=True, nl=False)
    try:
        return remote_network(str(model.source), patience=PATIENCE)
    finally:
        if shown:
            click.echo("\r\033[K", err=True, nl=False)
