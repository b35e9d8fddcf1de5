"""Triton: one server for every model that names it, each still found by its own Service."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from plimsoll.engines.protocol import Container
from plimsoll.engines.triton import REPOSITORY, Triton, weights_in_repository
from plimsoll.errors import InputError
from plimsoll.worlds.cluster.objects import drain
from plimsoll.worlds.cluster.objects.accelerators import Handout, handout
from plimsoll.worlds.cluster.objects.pods import (
    Rendered,
    file_objects,
    setting,
    template_of,
)
from plimsoll.worlds.cluster.objects.resources import Needs, needs
from plimsoll.worlds.cluster.objects.rollout import HISTORY, MIN_READY, deadline, replicas, rollout
from plimsoll.worlds.cluster.objects.security import container_of
from plimsoll.worlds.cluster.objects.services import disruption_budgets, service, why_no_budget
from plimsoll.worlds.cluster.objects.site import Manifest, Site, Workload, metadata
from plimsoll.worlds.cluster.objects.storage import Stored, claim_objects, stored


def members_of(site: Site, workload: Workload) -> tuple[Workload, ...]:
    """The models of one server, the one that it is named after first."""
    server = workload.place.options.server
    if server is None:
        return (workload,)
    return tuple(
        other
        for other in site.workloads
        if other.place.engine == workload.place.engine
        and other.place.options.server == server
        and other.namespace == workload.namespace
    )


def server_of(site: Site, workload: Workload) -> Workload:
    """The model whose Deployment runs this one: itself, unless it shares a server."""
    return members_of(site, workload)[0]


def triton_objects(site: Site, workload: Workload) -> Iterator[Manifest]:
    """The server with the first of its models; for every model its Service.

    Raises InputError for models that cannot live in one server.
    """
    members = members_of(site, workload)
    if workload is not members[0]:
        yield service(workload, selector=members[0].selector, port=members[0].port)
        return
    for member in members:
        yield from claim_objects(member)
    parts = _rendered(site, members)
    yield from file_objects(parts)
    yield _deployment(site, parts)
    yield service(workload)
    yield from disruption_budgets(workload)


def _deployment(site: Site, parts: Rendered) -> Manifest:
    workload = parts.workload
    planned = rollout(site, workload)
    notes = {**planned.annotations, **why_no_budget(workload)}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(workload.name, workload.namespace, workload.labels, notes),
        "spec": {
            **replicas(workload),
            "selector": {"matchLabels": dict(sorted(workload.selector.items()))},
            "template": template_of(parts),
            "strategy": {"type": "RollingUpdate", "rollingUpdate": planned.bounds},
            "minReadySeconds": MIN_READY,
            "progressDeadlineSeconds": deadline(workload, parts.ending.grace, surge=planned.surge),
            "revisionHistoryLimit": HISTORY,
        },
    }


def _rendered(site: Site, members: tuple[Workload, ...]) -> Rendered:
    first, *others = members
    _alike(members)
    engine = first.engine
    assert isinstance(engine, Triton)
    weights = stored(site, first, tuple(others))
    settings = [
        (member.place, setting(site, member, _own(weights, member, first))) for member in members
    ]
    command = engine.server(settings)
    return Rendered(
        site=site,
        workload=first,
        weights=replace(weights, mounts=[*weights.mounts, *_in_repository(weights, members)]),
        command=command,
        container=_container(members),
        ending=drain.ending(site, first, command.drain),
        need=_needs(members, weights.disk),
        given=_given(site, members),
    )


def _own(weights: Stored, member: Workload, first: Workload) -> Stored:
    """The weights as one model of the server sees them."""
    if member is first:
        return weights
    prefix = f"{member.model.name} "
    paths = {
        role.removeprefix(prefix): path
        for role, path in weights.paths.items()
        if role.startswith(prefix)
    }
    return replace(weights, paths=paths)


def _in_repository(weights: Stored, members: tuple[Workload, ...]) -> list[dict[str, Any]]:
    """Mounts of weights that a backend wants inside the model repository."""
    found = []
    for member in members:
        folder = weights_in_repository(member.place)
        if folder:
            path = _own(weights, member, members[0]).paths["weights"]
            found.append(_mount(weights.mounts, path, f"{REPOSITORY}/{folder}"))
    return found


def _mount(mounts: list[dict[str, Any]], path: str, target: str) -> dict[str, Any]:
    """The part of a mounted volume that lies at `path`, at another place."""
    base = next(one for one in mounts if f"{path}/".startswith(f"{one['mountPath']}/"))
    rest = path[len(base["mountPath"]) :].strip("/")
    inside = "/".join(part for part in (base.get("subPath", ""), rest) if part)
    found = {"name": base["name"], "mountPath": target, "readOnly": True}
    return {**found, "subPath": inside} if inside else found


def _container(members: tuple[Workload, ...]) -> Container:
    """What the language model's backend needs, if there is one: its image has the others too."""
    language = [member for member in members if not weights_in_repository(member.place)]
    chosen = (language or members)[0]
    return container_of(chosen)


def _needs(members: tuple[Workload, ...], disk: int) -> Needs:
    each = [needs(member, weights_on_disk=0) for member in members]
    return Needs(
        cpu=sum(need.cpu for need in each),
        memory=sum(need.memory for need in each),
        disk=max(need.disk for need in each) + disk,
        shared_memory=sum(need.shared_memory for need in each),
    )


def _given(site: Site, members: tuple[Workload, ...]) -> Handout:
    """The accelerators of all models together; turns on one accelerator are one turn."""
    total: dict[str, int] = {}
    for member in members:
        devices = member.place.devices
        for name, count in handout(site, member).resources.items():
            whole = devices is not None and devices.sharing in ("none", "mig")
            total[name] = total.get(name, 0) + int(count) if whole else max(1, total.get(name, 0))
    return Handout(resources={name: str(count) for name, count in sorted(total.items())})


def _alike(members: tuple[Workload, ...]) -> None:
    """Raises InputError where models of one server ask for different pods."""
    first = members[0]
    for member in members:
        devices = member.place.devices
        problem = ""
        if devices is not None and devices.sharing == "dra":
            problem = "claims are not made for a server of several models"
        elif devices is not None and devices.nodes > 1:
            problem = "a server of several models runs on one node"
        elif member.pools != first.pools:
            problem = f"`{first.model.name}` of the same server is placed on other pools"
        elif member.model.storage != first.model.storage:
            problem = f"`{first.model.name}` of the same server is stored otherwise"
        if problem and len(members) > 1:
            raise InputError(
                problem,
                where=f"model {member.model.name}",
                hint="give it its own `engineOptions.server`, or leave that out",
                code="cluster.server",
            )
