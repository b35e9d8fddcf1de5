"""Weights on the nodes' own disks: a DaemonSet fetches them, and pods come only where they are.

The gate needs no operator and no right over nodes. A DaemonSet's pod says with labels on itself
which weights lie on its node: `loading`, then `ready`; it may change pods of its own namespace,
nothing else. Replicas then ask for a node

- where such a pod says `ready` (pools whose nodes are always there), or
- where none says `loading` (pools that grow). An autoscaler thinks of a node that has no pod yet:
  asked for a `ready` one, it would never add a node.

Either way a replica's first container waits until the weights are there, so that a pod that slips
in between never starts an engine without them. A taint would do the same for the whole node, keep
the device plugin off it meanwhile, and need rights over nodes to be taken away.

What the right costs: RBAC cannot say `only oneself`, so who takes over such a container can give
another image to any pod of the fleet's own namespace. It can read no Secret, make no pod and reach
no other namespace; and the token is mounted in no pod but these, which take no requests. Whoever
wants less gives models with `nodeLocal` a Fleet in a namespace of its own. Readiness would need no
right, but schedulers see labels only; a namespace of its own for the DaemonSets would need copies
of the Secrets that sources ask for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from plimsoll.errors import InputError
from plimsoll.facts.kubernetes import figure
from plimsoll.fleet import Pool
from plimsoll.units import MIB
from plimsoll.worlds.cluster.objects.accelerators import fitting_pools, taint_keys
from plimsoll.worlds.cluster.objects.artifacts import (
    CACHE,
    FOLDER,
    TEMPORARY,
    VOLUME,
    Artifact,
    artifacts,
    fetch_arguments,
    fetch_environment,
    secret_mounts,
    secret_volumes,
)
from plimsoll.worlds.cluster.objects.names import COMPONENT, POOL, PREFIX, label_value, object_name
from plimsoll.worlds.cluster.objects.resources import small_resources
from plimsoll.worlds.cluster.objects.roles import account_subject, granted, service_account
from plimsoll.worlds.cluster.objects.scheduling import HOSTNAME, tolerated, tolerations_of
from plimsoll.worlds.cluster.objects.security import (
    OUR_USER,
    container_security,
    node_local,
    pod_security,
)
from plimsoll.worlds.cluster.objects.site import Manifest, Site, Workload, metadata
from plimsoll.worlds.cluster.objects.spot import grows

MODELS_COMPONENT = "models"
LOADING, READY = "loading", "ready"
_ROOT = 0
_WHY_ROOT = "the kubelet makes the folder on the node's disk for root, and nobody else may write"
Wanted = list[tuple[Workload, Artifact]]


def label_of(workload: Workload, artifact: Artifact) -> str:
    """The label by which a pod says that the artifact lies in the folder on its node."""
    text = f"{workload.model.storage.path}\n{artifact.key}"
    return f"{PREFIX}/weights-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def gate(site: Site, workload: Workload, wanted: list[Artifact]) -> dict[str, Any]:
    """Affinity that lets replicas come only where the weights are. Raises InputError."""
    pools = _pools(workload)
    labels = [label_of(workload, artifact) for artifact in wanted]
    if not any(grows(pool) for pool in pools):
        terms = [_term(site, dict.fromkeys(labels, READY))]
        return {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    terms = [_term(site, {label: LOADING}) for label in labels]
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


def waiting(site: Site, artifact: Artifact, index: int) -> dict[str, Any]:
    """The container of a replica that waits until an artifact is on the node."""
    return {
        "name": f"wait-{index}",
        "image": site.image,
        "command": ["plimsoll"],
        "args": ["fetch", *fetch_arguments(artifact), "--wait"],
        "env": [{"name": "PLIMSOLL_CACHE", "value": CACHE}],
        "resources": small_resources(memory=256 * MIB),
        "securityContext": container_security(OUR_USER),
        "volumeMounts": [
            {"name": VOLUME, "mountPath": FOLDER, "readOnly": True},
            {"name": "tmp", "mountPath": TEMPORARY},
        ],
    }


def node_models(site: Site) -> Iterator[Manifest]:
    """A DaemonSet for every pool and folder whose nodes keep weights, and its rights."""
    by_place: dict[tuple[str, str], Wanted] = {}
    pools = {pool.name: pool for pool in site.fleet.pools}
    own = [workload for workload in site.workloads if workload.model.name not in site.owners]
    for workload in own:
        for pool in _pools(workload) if node_local(workload) else ():
            place = (pool.name, workload.model.storage.path)
            by_place.setdefault(place, []).extend(_artifacts(workload))
    if by_place:
        yield from _rights(site)
    for (name, path), wanted in by_place.items():
        yield _daemon_set(site, pools[name], path, _distinct(wanted))


def _artifacts(workload: Workload) -> Wanted:
    return [(workload, one) for one in artifacts(workload.model) if one.fetched]


def _distinct(wanted: Wanted) -> Wanted:
    return list({artifact.key: (workload, artifact) for workload, artifact in wanted}.values())


def _pools(workload: Workload) -> tuple[Pool, ...]:
    pools = fitting_pools(workload)
    if not pools:
        raise InputError(
            "`storage.strategy: nodeLocal` keeps weights on the nodes of pools, and it names none",
            where=f"model {workload.model.name}",
            hint="set `placement.pools`, or use another strategy",
            code="cluster.storage",
        )
    return pools


def _term(site: Site, labels: dict[str, str]) -> dict[str, Any]:
    return {
        "labelSelector": {"matchLabels": {COMPONENT: MODELS_COMPONENT, **labels}},
        "namespaces": [site.namespace],
        "topologyKey": HOSTNAME,
    }


def _account(site: Site) -> str:
    return object_name(site.fleet.name, "models")


def _rights(site: Site) -> Iterator[Manifest]:
    """An account that may change pods of its own namespace, and nothing else."""
    head = metadata(_account(site), site.namespace, site.labels)
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["patch"]}
    yield service_account(head)
    yield from granted("Role", head, [rule], account_subject(_account(site), site.namespace))


def _daemon_set(site: Site, pool: Pool, path: str, wanted: Wanted) -> Manifest:
    name = object_name(site.fleet.name, "models", pool.name, path)
    selector = {**site.labels, COMPONENT: MODELS_COMPONENT, f"{PREFIX}/daemon": label_value(name)}
    selector.pop("app.kubernetes.io/managed-by")
    labels = {**site.labels, **selector, POOL: label_value(pool.name)}
    template = {
        "metadata": {
            "labels": dict(sorted({**labels, **_first_labels(pool, wanted)}.items())),
            "annotations": {f"{PREFIX}/why-root": _WHY_ROOT},
        },
        "spec": _pod(site, pool, path, wanted),
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": metadata(name, site.namespace, labels),
        "spec": {
            "selector": {"matchLabels": selector},
            "template": template,
            "updateStrategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": "100%"},  # nothing is served here
            },
            "revisionHistoryLimit": 2,
        },
    }


def _first_labels(pool: Pool, wanted: Wanted) -> dict[str, str]:
    """`loading` from the first moment, where no autoscaler reads it as lasting.

    The Cluster Autoscaler thinks a new node to have this DaemonSet's pod with its first labels;
    there the pod itself says `loading` when it runs.
    """
    if grows(pool) and pool.provisioner != "karpenter":
        return {}
    return {label_of(*one): LOADING for one in wanted}


def _pod(site: Site, pool: Pool, path: str, wanted: Wanted) -> dict[str, Any]:
    keys = dict.fromkeys(key for workload, _ in wanted for key in taint_keys(workload))
    secrets = [
        volume
        for index, (workload, artifact) in enumerate(wanted)
        for volume in secret_volumes(workload, artifact, index)
    ]
    spec = {
        "serviceAccountName": _account(site),
        "automountServiceAccountToken": True,  # it labels itself
        "enableServiceLinks": False,
        "nodeSelector": {POOL: label_value(pool.name)},
        "tolerations": [*map(tolerated, keys), *tolerations_of((pool,))],
        "securityContext": {**pod_security(), "runAsNonRoot": False},
        "terminationGracePeriodSeconds": 30,
        "containers": [
            _keeping(site, workload, artifact, index)
            for index, (workload, artifact) in enumerate(wanted)
        ],
        "volumes": [
            {"name": VOLUME, "hostPath": {"path": path, "type": "DirectoryOrCreate"}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
            *secrets,
        ],
    }
    return {key: value for key, value in spec.items() if value != []}


def _keeping(site: Site, workload: Workload, artifact: Artifact, index: int) -> dict[str, Any]:
    """The container that fetches one artifact, says so, and stays."""
    own = [
        {"name": name, "valueFrom": {"fieldRef": {"fieldPath": f"metadata.{field}"}}}
        for name, field in (("POD_NAME", "name"), ("POD_NAMESPACE", "namespace"))
    ]
    return {
        "name": f"fetch-{index}",
        "image": site.image,
        "command": ["plimsoll"],
        "args": [
            "fetch",
            *fetch_arguments(artifact),
            "--label",
            label_of(workload, artifact),
            "--stay",
        ],
        "env": [*fetch_environment(workload, artifact), *own],
        "resources": small_resources(memory=int(figure("keep_memory"))),
        "securityContext": container_security(_ROOT),
        "volumeMounts": [
            {"name": VOLUME, "mountPath": FOLDER},
            {"name": "tmp", "mountPath": TEMPORARY},
            *secret_mounts(artifact, index),
        ],
    }
