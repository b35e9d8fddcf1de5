"""Networks of models that the catalogue does not have: from a disk, or from their source."""

from __future__ import annotations

from pathlib import Path

from plimsoll.cli.prepare import open_cache
from plimsoll.facts.network import Network
from plimsoll.fleet import Model
from plimsoll.worlds.local.sources import local_network, locate, remote_network


def network_on_disk(model: Model, base: Path) -> Network:
    """The network of a `file:` model; a relative path is relative to `base`.

    Raises SourceError where there is none, FormatError where it cannot be read.
    """
    artifact = locate(str(model.source), cache=open_cache(), base=base, sha256=model.sha256)
    return local_network(artifact.path)


def network_at_source(model: Model) -> Network:
    """The network of a model by its headers, read from its source. Raises SourceError."""
    return remote_network(str(model.source))
