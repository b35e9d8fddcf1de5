"""The clouds' own commands that make the nodes of a fleet's pools; text only, nothing is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import msgspec

from plimsoll.errors import InputError
from plimsoll.fleet import Pool
from plimsoll.fleet.pools import Cloud
from plimsoll.worlds.cluster.node_commands import aws, azure, gcp
from plimsoll.worlds.cluster.node_commands.groups import Group, groups
from plimsoll.worlds.cluster.node_commands.shell import HEAD, asks, comments
from plimsoll.worlds.cluster.objects.site import Site

__all__ = ["Group", "Part", "Script", "node_script"]

_COMMANDS: Mapping[str, Callable[[Pool, Site], str]] = MappingProxyType(
    {"aws": aws.commands, "gcp": gcp.commands, "azure": azure.commands}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The commands of one pool.

    pool      its name
    groups    what is made for it
    commands  shell text, which needs the head of the script
    """

    pool: str
    groups: tuple[Group, ...]
    commands: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """The commands for all pools of a cloud.

    cloud    `aws`, `gcp` or `azure`
    parts    one per pool, in the fleet's order
    skipped  pools without commands, each with the reason
    """

    cloud: str
    parts: tuple[Part, ...]
    skipped: Mapping[str, str]

    @property
    def text(self) -> str:
        """The whole script for bash; what it asks for, it asks before it makes anything."""
        whole = "\n".join(part.commands for part in self.parts)
        asked = asks(whole)
        rest = "\n".join(line for line in whole.split("\n") if line not in asked)
        left = comments(f"Not here: pool {name}: {why}." for name, why in self.skipped.items())
        blocks = [lines for lines in (left, asked) if lines]
        return "\n".join([HEAD, *("\n".join(lines) + "\n" for lines in blocks), rest])


def node_script(site: Site, cloud: str) -> Script:
    """The commands that make the nodes of a fleet's pools in one cloud.

    A pool that names no cloud is taken to be for this one, with the cheapest machine type that
    the catalogue knows for its accelerator.

    Raises InputError for a pool that the cloud cannot have, and where there is no pool for it.
    """
    parts: list[Part] = []
    skipped: dict[str, str] = {}
    for pool in site.own_pools:
        reason = _elsewhere(pool, cloud)
        if reason:
            skipped[pool.name] = reason
            continue
        placed = _in_cloud(pool, cloud)
        parts.append(
            Part(
                pool=pool.name,
                groups=groups(placed, cloud),
                commands=_COMMANDS[cloud](placed, site),
            )
        )
    if not parts:
        raise InputError(
            f"no pool of the fleet is made by {cloud}'s commands",
            hint="; ".join(f"{name}: {why}" for name, why in skipped.items())
            or "write a pool in `spec.pools`",
            code="nodes.none",
        )
    return Script(cloud=cloud, parts=tuple(parts), skipped=skipped)


def _elsewhere(pool: Pool, cloud: str) -> str:
    """Why there are no commands for a pool; empty where there are."""
    if pool.cloud is not None and pool.cloud.provider != cloud:
        return f"is in {pool.cloud.provider}"
    if pool.provisioner == "karpenter":
        return "Karpenter adds its nodes, see `plimsoll render`"
    if pool.provisioner == "none":
        return "its nodes are there already (`provisioner: none`)"
    return ""


def _in_cloud(pool: Pool, cloud: str) -> Pool:
    if pool.cloud is not None:
        return pool
    return msgspec.structs.replace(pool, cloud=Cloud(provider=cloud))  # type: ignore[arg-type]  # one of the three
