"""Images on nodes before replicas need them: a DaemonSet per pool that does nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from plimsoll.facts.kubernetes import kubernetes_features
from plimsoll.units import MIB
from plimsoll.worlds.cluster.objects.accelerators import fitting_pools, taint_keys
from plimsoll.worlds.cluster.objects.artifacts import artifacts
from plimsoll.worlds.cluster.objects.names import COMPONENT, PREFIX, label_value, object_name
from plimsoll.worlds.cluster.objects.pods import image, rendered
from plimsoll.worlds.cluster.objects.resources import small_resources
from plimsoll.worlds.cluster.objects.scheduling import node_terms, tolerated, tolerations_of
from plimsoll.worlds.cluster.objects.security import OUR_USER, container_security, pod_security
from plimsoll.worlds.cluster.objects.site import Manifest, Site, Workload, metadata
from plimsoll.worlds.cluster.objects.storage import stored

PULL_COMPONENT = "images"
_NOTHING = 16 * MIB  # bytes of a process that ends at once, or sleeps


def pre_pulls(site: Site) -> Iterator[Manifest]:
    """A DaemonSet for the nodes and the namespace of each set of models with `prePull`."""
    groups: dict[tuple[str, ...], list[Workload]] = {}
    for workload in site.workloads:
        if workload.model.storage.pre_pull and workload.model.name not in site.owners:
            pools = tuple(pool.name for pool in fitting_pools(workload))
            where = pools or (workload.place.devices.name if workload.place.devices else "",)
            groups.setdefault((workload.namespace, *where), []).append(workload)
    for key, workloads in groups.items():
        yield _daemon_set(site, key, workloads)


def _daemon_set(site: Site, key: tuple[str, ...], workloads: list[Workload]) -> Manifest:
    name = object_name(site.fleet.name, "images", *key[1:])
    selector = {COMPONENT: PULL_COMPONENT, f"{PREFIX}/daemon": label_value(name)}
    labels = {**site.labels, **selector}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": metadata(name, workloads[0].namespace, labels),
        "spec": {
            "selector": {"matchLabels": selector},
            "template": {
                "metadata": {"labels": dict(sorted(labels.items()))},
                "spec": _pod(site, workloads),
            },
            "updateStrategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": "100%"},
            },
            "revisionHistoryLimit": 2,
        },
    }


def _pod(site: Site, workloads: list[Workload]) -> dict[str, Any]:
    """Each image in a container that ends at once, then one that sleeps and holds the pod.

    The kubelet deletes images that no pod uses when a disk fills; those of a pod that is there it
    keeps. Init containers have ended, yet their images count as in use.
    """
    images = dict.fromkeys(image(rendered(site, workload)) for workload in workloads)
    models = _model_images(site, workloads)
    pools = {pool.name: pool for workload in workloads for pool in fitting_pools(workload)}
    keys = dict.fromkeys(key for workload in workloads for key in taint_keys(workload))
    secrets = {name for workload in workloads for name in stored(site, workload).pull_secrets}
    terms = node_terms(site, workloads[0])
    needed = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    holding = _container("hold", site.image, ["sleep", "infinity"])
    if models:
        holding["volumeMounts"] = [
            {"name": volume["name"], "mountPath": f"/mnt/{volume['name']}"} for volume in models
        ]
    spec: dict[str, Any] = {
        "affinity": {"nodeAffinity": needed} if terms else {},
        "tolerations": [*map(tolerated, keys), *tolerations_of(tuple(pools.values()))],
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": pod_security(),
        "terminationGracePeriodSeconds": 1,
        "imagePullSecrets": [{"name": name} for name in sorted(secrets)],
        "initContainers": [
            _container(f"pull-{index}", reference, ["true"])
            for index, reference in enumerate(images)
            if reference != site.image
        ],
        "containers": [holding],
        "volumes": models,
    }
    return {key: value for key, value in spec.items() if value not in ({}, [])}


def _container(name: str, reference: str, command: list[str]) -> dict[str, Any]:
    return {
        "name": name,
        "image": reference,
        "command": command,
        "resources": small_resources(memory=_NOTHING, disk=_NOTHING, cpu=0.01),
        "securityContext": container_security(OUR_USER),
    }


def _model_images(site: Site, workloads: list[Workload]) -> list[dict[str, Any]]:
    """Images with weights, as volumes of the pod: they need no program inside."""
    if site.info.minor < kubernetes_features()["imageVolume"].minor:
        return []
    references = dict.fromkeys(
        volume["image"]["reference"]
        for workload in workloads
        if any(one.source.scheme == "oci" for one in artifacts(workload.model))
        for volume in stored(site, workload).volumes
        if "image" in volume
    )
    return [
        {"name": f"model-{index}", "image": {"reference": reference, "pullPolicy": "IfNotPresent"}}
        for index, reference in enumerate(references)
    ]
