"""The node groups of a pool: one, or two where it is part spot, each with its bounds and name."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from plimsoll.facts.clouds import cloud_fact
from plimsoll.facts.instances import Instance
from plimsoll.fleet import Pool
from plimsoll.worlds.cluster.node_commands.shell import quoted, required, variable_name
from plimsoll.worlds.cluster.objects.names import object_name
from plimsoll.worlds.cluster.objects.pool_nodes import (
    has_accelerators,
    machines,
    per_node,
    spot_share,
    whole,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Nodes that a cloud adds and removes as one.

    name      in the cloud
    spot      whether they can be taken back
    fewest    nodes
    most      nodes
    machines  types that they may be, the one to take first; empty where that is not known
    """

    name: str
    spot: bool
    fewest: int
    most: int
    machines: tuple[Instance, ...]


def groups(pool: Pool, provider: str) -> tuple[Group, ...]:
    """The node groups of a pool.

    Of a part-spot pool the nodes that are always there are on demand, as many as may be.

    Raises InputError for a machine type that is not known or does not fit the pool.
    """
    spot, rest = spot_share(pool)
    rows = machines(pool, provider)
    steady = min(pool.nodes.min, rest)
    found = []
    if spot:
        found.append(
            Group(
                name=group_name(pool.name, "spot" if rest else "", provider),
                spot=True,
                fewest=min(pool.nodes.min - steady, spot),
                most=spot,
                machines=rows,
            )
        )
    if rest:
        found.append(
            Group(
                name=group_name(pool.name, "on-demand" if spot else "", provider),
                spot=False,
                fewest=steady,
                most=rest,
                machines=rows,
            )
        )
    return tuple(found)


def group_name(pool: str, kind: str, provider: str) -> str:
    """A name that the cloud takes, told apart by a checksum where it had to be changed."""
    longest = int(cloud_fact(provider, "pool.name.longest"))
    if provider != "azure":
        name = object_name(pool, kind, longest=longest - 1)
        return name if name[0].isalpha() else f"p{name}"
    whole_name = f"{pool}{kind[:1]}"
    if re.fullmatch(rf"[a-z][a-z0-9]{{0,{longest - 1}}}", whole_name):
        return whole_name
    digest = hashlib.sha256(f"{pool}\0{kind}".encode()).hexdigest()[:5]
    plain = re.sub(r"[^a-z0-9]", "", pool)
    head = plain if plain[:1].isalpha() else f"p{plain}"
    return head[: longest - 5] + digest


def machine_asked(pool: Pool) -> list[str]:
    """Asks for the machine type of a pool where neither the fleet nor the catalogue says one."""
    if machine_named(pool) or has_accelerators(pool):
        return []
    return [required(_variable(pool), f"the machine type of pool {pool.name}")]


def machine_named(pool: Pool) -> str | None:
    """The machine type that the pool names."""
    return pool.cloud.instance_type if pool.cloud is not None else None


def machine_words(pool: Pool, group: Group) -> tuple[str, ...]:
    """The machine types of a group as words of a shell, the one to take first."""
    if group.machines:
        return tuple(quoted(row.type) for row in group.machines)
    named = machine_named(pool)
    return (quoted(named) if named is not None else f'"${_variable(pool)}"',)


def _variable(pool: Pool) -> str:
    return variable_name("machine", pool.name)


def described(pool: Pool, group: Group) -> str:
    """One line about a node group, for the comment above its commands."""
    kind = "spot" if group.spot else pool.capacity if pool.capacity == "reserved" else "on-demand"
    if group.machines:
        row = group.machines[0]
        what = f"{row.type} with {whole(row)} x {row.accelerator}"
    elif named := machine_named(pool):
        what = named
    else:
        what = f"{per_node(pool)} accelerators" if per_node(pool) else "no accelerators"
    return f"Pool {pool.name}: {kind} nodes, {what}, {group.fewest} to {group.most} of them."


def cut_notes(cut: str | None) -> tuple[str, ...]:
    """What a changed cut of accelerators means for nodes that are there.

    cut  name of the MIG configuration that the nodes' label names; None where there is none
    """
    if cut is None:
        return ()
    return (
        "The label nvidia.com/mig.config cuts the accelerators. When it changes, drain the nodes",
        "first: the accelerators are reset, and what runs on them is lost.",
    )
