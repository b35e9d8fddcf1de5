"""The pod of a replica: its engine's command, hardened, with its weights, probes and ending."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from plimsoll.engines.protocol import Command, Container, Setting
from plimsoll.fleet.credentials import Variable
from plimsoll.units import MIB
from plimsoll.worlds.cluster.objects import drain, probes
from plimsoll.worlds.cluster.objects.accelerators import CLAIM, Handout, handout
from plimsoll.worlds.cluster.objects.artifacts import TEMPORARY, in_cluster, literal
from plimsoll.worlds.cluster.objects.names import PREFIX, object_name
from plimsoll.worlds.cluster.objects.resources import (
    WHY_NO_CPU_LIMIT,
    Needs,
    container_resources,
    needs,
    quantity,
    shared_volume,
)
from plimsoll.worlds.cluster.objects.scheduling import scheduling
from plimsoll.worlds.cluster.objects.security import (
    container_of,
    container_security,
    host_ipc,
    pod_security,
    root_reason,
)
from plimsoll.worlds.cluster.objects.site import Manifest, Site, Workload, metadata
from plimsoll.worlds.cluster.objects.storage import Stored, stored

ENGINE = "engine"  # name of the container
PORT = probes.PORT
# Variables that the cluster itself gives to containers, and that commands may name.
_GIVEN = ("LWS_LEADER_ADDRESS", "LWS_WORKER_INDEX", "LWS_GROUP_SIZE", "POD_IP")
# The program that Plimsoll's own image has for an engine's.
_EMBEDDED: Mapping[str, tuple[str, ...]] = {
    "llama-server": ("python", "-m", "plimsoll.worlds.local.llama_server"),
}
_DO_NOT_DISRUPT = {"karpenter.sh/do-not-disrupt": "true"}  # weights are expensive to load again


@dataclass(frozen=True, kw_only=True)
class Node:
    """One node of a replica.

    leader  address of the first node; empty for a replica on one node
    rank    its number, or a variable that holds it
    """

    leader: str = ""
    rank: str = "0"

    @property
    def first(self) -> bool:
        """Whether requests go to it."""
        return self.rank == "0"


ALONE = Node()


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """What one model's pods are made from.

    site       the fleet
    workload   the model
    weights    what its weights ask for
    command    what runs
    container  what the engine needs of its container
    ending     the times of its shutdown
    need       processor, memory, disk
    given      how it gets its accelerators
    """

    site: Site
    workload: Workload
    weights: Stored
    command: Command
    container: Container
    ending: drain.Ending
    need: Needs
    given: Handout


def rendered(site: Site, workload: Workload, node: Node = ALONE) -> Rendered:
    """Everything that the pods of a model are made from. Raises InputError."""
    weights = stored(site, workload)
    command = workload.engine.command(workload.place, setting(site, workload, weights, node))
    return Rendered(
        site=site,
        workload=workload,
        weights=weights,
        command=command,
        container=container_of(workload),
        ending=drain.ending(site, workload, command.drain),
        need=needs(workload, weights_on_disk=weights.disk),
        given=handout(site, workload),
    )


def setting(site: Site, workload: Workload, weights: Stored, node: Node = ALONE) -> Setting:
    """Where a replica runs: what its engine's adapter is told."""
    adapters = {
        role.removeprefix("adapter "): path
        for role, path in weights.paths.items()
        if role.startswith("adapter ")
    }
    return Setting(
        weights=weights.paths["weights"],
        host="0.0.0.0",  # noqa: S104 -- of the pod; a NetworkPolicy says who may connect
        port=workload.port,
        adapters=adapters,
        draft=weights.paths.get("draft", ""),
        max_stream=site.fleet.gateway.max_stream,
        leader=node.leader,
        rank=node.rank,
    )


def pod_template(site: Site, workload: Workload, node: Node = ALONE) -> dict[str, Any]:
    """The pod template of a replica, or of one node of a replica over several.

    Raises InputError for what a cluster cannot do.
    """
    return template_of(rendered(site, workload, node), node)


def template_of(parts: Rendered, node: Node = ALONE) -> dict[str, Any]:
    """The pod template around the engine's container."""
    return {
        "metadata": {
            "labels": dict(sorted(parts.workload.labels.items())),
            "annotations": pod_notes(parts),
        },
        "spec": pod_spec(parts, [engine_container(parts, node)]),
    }


def pod_spec(parts: Rendered, containers: list[dict[str, Any]]) -> dict[str, Any]:
    """The pod's spec around its containers."""
    weights, workload = parts.weights, parts.workload
    where = scheduling(parts.site, workload)
    affinity = {**where.pop("affinity", {}), **weights.affinity}
    claim = parts.given.claim
    claims = [{"name": CLAIM, "resourceClaimTemplateName": claim}] if claim else []
    secrets = [{"name": name} for name in weights.pull_secrets]
    spec = {
        "affinity": affinity,
        **where,
        "serviceAccountName": workload.name,  # rights.py makes it; it has no rights
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": pod_security(group=weights.group),
        "terminationGracePeriodSeconds": parts.ending.grace,
        "imagePullSecrets": secrets,
        "resourceClaims": claims,
        "initContainers": weights.init,
        "containers": containers,
        "volumes": _volumes(parts),
    }
    if host_ipc(parts.site, workload):
        spec["hostIPC"] = True  # the only way to GKE's MPS daemon
    return {key: value for key, value in spec.items() if value not in ({}, [])}


def engine_container(parts: Rendered, node: Node = ALONE) -> dict[str, Any]:
    """The container that runs the engine."""
    site, workload = parts.site, parts.workload
    resources = container_resources(parts.need, parts.given.resources)
    if parts.given.claim:
        resources["claims"] = [{"name": CLAIM}]
    found: dict[str, Any] = {
        "name": ENGINE,
        "image": image(parts),
        **_words(parts),
        "env": environment(parts),
        "resources": resources,
        "securityContext": container_security(parts.container.user),
        "volumeMounts": _mounts(parts),
        "lifecycle": drain.lifecycle(parts.ending, site.info),
    }
    if node.first:
        ports = {PORT: workload.port}
        if parts.command.metrics_port:
            ports["metrics"] = parts.command.metrics_port
        found["ports"] = [
            {"name": name, "containerPort": port, "protocol": "TCP"} for name, port in ports.items()
        ]
        found |= probes.probes(workload, parts.command)
    return {key: value for key, value in found.items() if value not in ([], {})}


def image(parts: Rendered) -> str:
    """The image of the engine's container."""
    return parts.workload.place.options.image or parts.container.image or parts.site.image


def environment(parts: Rendered) -> list[dict[str, Any]]:
    """The engine's environment; secrets by reference. Raises InputError for `{env: NAME}`."""
    options = parts.workload.place.options
    plain = {
        **parts.container.env,
        **parts.command.env,
        **drain.variables(parts.ending, parts.workload, parts.command),
        **{each.name: each.value for each in options.env if each.value is not None},
    }
    found: list[dict[str, Any]] = []
    text = json.dumps([list(parts.command.argv), plain])
    if "$(POD_IP)" in text:
        field = {"fieldRef": {"fieldPath": "status.podIP"}}
        found.append({"name": "POD_IP", "valueFrom": field})
    found += [{"name": name, "value": _expanded(value)} for name, value in sorted(plain.items())]
    where = f"model {parts.workload.model.name}"
    return [*found, *(_referenced(each, where) for each in options.env if each.value_from)]


def file_objects(parts: Rendered) -> list[Manifest]:
    """The ConfigMap with texts that the engine reads before it starts; else nothing."""
    if not parts.command.files:
        return []
    workload = parts.workload
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata(files_name(workload), workload.namespace, workload.labels),
            "data": {_key(path): text for path, text in sorted(parts.command.files.items())},
        }
    ]


def files_name(workload: Workload) -> str:
    """Of the ConfigMap with the engine's files."""
    return object_name(workload.name, "files")


def pod_notes(parts: Rendered) -> dict[str, str]:
    """Of the pod: what others must know of it, and why it is as it is."""
    found = {
        **_DO_NOT_DISRUPT,
        **WHY_NO_CPU_LIMIT,
        **drain.explained(parts.ending),
        **probes.explained(parts.workload),
        **root_reason(parts.container),
        **parts.weights.annotations,
    }
    if parts.command.files:
        # Files that changed are read only by a process that starts.
        text = json.dumps(dict(parts.command.files), sort_keys=True)
        found[f"{PREFIX}/files-checksum"] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return dict(sorted(found.items()))


def _words(parts: Rendered) -> dict[str, list[str]]:
    """`command` and `args`; a container of one's own keeps its image's entrypoint."""
    argv = [_expanded(word) for word in parts.command.argv]
    options = parts.workload.place.options
    if parts.workload.place.engine == "custom" and not options.command:
        return {"args": [word for word in argv if word]}
    if not argv:
        return {}
    program = [argv[0]]
    if drain.embedded(parts.workload):
        program = list(_EMBEDDED.get(argv[0], program))
    return {"command": program, "args": argv[1:]}


def _expanded(text: str) -> str:
    """The text as Kubernetes must be told it: only what the cluster gives is replaced."""
    whole = literal(text)
    return re.sub(rf"\$\$\(({'|'.join(_GIVEN)})\)", r"$(\1)", whole)


def _referenced(variable: Variable, where: str) -> dict[str, Any]:
    assert variable.value_from is not None
    reference = in_cluster(variable.value_from, where)
    return {"name": variable.name, "valueFrom": {"secretKeyRef": reference}}


def _writable(parts: Rendered) -> dict[str, str]:
    """Volumes of scratch by the folder that each is mounted at."""
    folders = dict.fromkeys([TEMPORARY, *parts.container.writable])
    names = {folder: f"scratch-{index}" for index, folder in enumerate(folders)}
    return {**names, TEMPORARY: "tmp"}


def _volumes(parts: Rendered) -> list[dict[str, Any]]:
    room = quantity(max(64 * MIB, parts.need.disk - parts.weights.disk))
    found: list[dict[str, Any]] = [
        {"name": name, "emptyDir": {"sizeLimit": room}} for name in _writable(parts).values()
    ]
    if parts.need.shared_memory:
        found.append(shared_volume(parts.need))
    if parts.command.files:
        name = files_name(parts.workload)
        found.append({"name": "files", "configMap": {"name": name}})
    return [*found, *parts.weights.volumes]


def _mounts(parts: Rendered) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "mountPath": folder} for folder, name in _writable(parts).items()
    ]
    if parts.need.shared_memory:
        found.append({"name": "shared-memory", "mountPath": "/dev/shm"})  # noqa: S108 -- of the container
    found += [
        {"name": "files", "mountPath": path, "subPath": _key(path), "readOnly": True}
        for path in sorted(parts.command.files)
    ]
    return [*found, *parts.weights.mounts]


def _key(path: str) -> str:
    """A key of a ConfigMap for a path: no `/`, and no two alike."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", path).strip("-.")[-200:]
    return f"{plain}-{hashlib.sha256(path.encode()).hexdigest()[:8]}"
