"""The objects of one model: what runs its replicas, where they are found, what keeps them up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from plimsoll.errors import InputError
from plimsoll.worlds.cluster.info import LEADER_WORKER_SET
from plimsoll.worlds.cluster.objects.accelerators import claims
from plimsoll.worlds.cluster.objects.node_models import node_models
from plimsoll.worlds.cluster.objects.pods import Node, file_objects, pod_template, rendered
from plimsoll.worlds.cluster.objects.prepull import pre_pulls
from plimsoll.worlds.cluster.objects.ray import ray_objects
from plimsoll.worlds.cluster.objects.rollout import HISTORY, MIN_READY, deadline, replicas, rollout
from plimsoll.worlds.cluster.objects.scaling import scale_target
from plimsoll.worlds.cluster.objects.services import disruption_budgets, service, why_no_budget
from plimsoll.worlds.cluster.objects.site import Manifest, Site, Workload, metadata
from plimsoll.worlds.cluster.objects.storage import claim_objects, stored
from plimsoll.worlds.cluster.objects.triton import triton_objects

_LEADER = Node(leader="$(LWS_LEADER_ADDRESS)", rank="0")
_WORKER = Node(leader="$(LWS_LEADER_ADDRESS)", rank="$(LWS_WORKER_INDEX)")


def workload_objects(site: Site, workload: Workload) -> Iterator[Manifest]:
    """Everything that is made for one model beside scaling, monitoring and rights.

    Raises InputError for what a cluster, or this one, cannot do.
    """
    if workload.place.engine == "rayserve":
        yield from ray_objects(site, workload)
        return
    if workload.place.engine == "triton":
        yield from triton_objects(site, workload)
        return
    yield from claim_objects(workload)
    yield from claims(site, workload)
    yield from file_objects(rendered(site, workload))
    kind = scale_target(workload)[1]
    yield {
        "LeaderWorkerSet": leader_worker_set,
        "StatefulSet": stateful_set,
        "Deployment": deployment,
    }[kind](site, workload)
    yield service(workload)
    yield from disruption_budgets(workload)


def shared_objects(site: Site) -> Iterator[Manifest]:
    """What several models share: weights on nodes' disks, images pulled ahead of time."""
    yield from node_models(site)
    yield from pre_pulls(site)


def deployment(site: Site, workload: Workload) -> Manifest:
    """Replicas that are alike and may come and go in any order."""
    template = pod_template(site, workload)
    planned = rollout(site, workload)
    grace = template["spec"]["terminationGracePeriodSeconds"]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(workload, planned.annotations),
        "spec": {
            **replicas(workload),
            "selector": _selector(workload),
            "template": template,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": planned.bounds},
            "minReadySeconds": MIN_READY,
            "progressDeadlineSeconds": deadline(workload, grace, surge=planned.surge),
            "revisionHistoryLimit": HISTORY,
        },
    }


def stateful_set(site: Site, workload: Workload) -> Manifest:
    """Replicas with a volume of their own, which they find again after a restart."""
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": _metadata(workload, {}),
        "spec": {
            **replicas(workload),
            "selector": _selector(workload),
            "serviceName": workload.name,
            "template": pod_template(site, workload),
            **_templates(site, workload),
            # They do not need each other to start.
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "RollingUpdate"},
            # A volume outlives scaling down: its weights need not be fetched again. Deleting the
            # model deletes it.
            "persistentVolumeClaimRetentionPolicy": {
                "whenDeleted": "Delete", "whenScaled": "Retain",
            },
            "minReadySeconds": MIN_READY,
            "revisionHistoryLimit": HISTORY,
        },
    }  # fmt: skip


def leader_worker_set(site: Site, workload: Workload) -> Manifest:
    """Replicas over several nodes, each a group that starts and ends as one."""
    if not site.info.has(LEADER_WORKER_SET):
        raise InputError(
            "a replica over several nodes needs LeaderWorkerSet, which the cluster has not",
            where=f"model {workload.model.name}",
            hint="install it (lws.sigs.k8s.io), or choose a pool whose nodes hold a whole replica",
            code="cluster.lws",
        )
    devices = workload.place.devices
    assert devices is not None
    planned = rollout(site, workload)
    return {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": _metadata(workload, planned.annotations),
        "spec": {
            **replicas(workload),
            "leaderWorkerTemplate": {
                "size": devices.nodes,
                "leaderTemplate": pod_template(site, workload, _LEADER),
                "workerTemplate": pod_template(site, workload, _WORKER),
                # Ranks cannot join a group that runs: one that dies takes the others with it.
                "restartPolicy": "RecreateGroupOnPodRestart",
                **_templates(site, workload),
            },
            # Workers must be there for the leader to become ready.
            "startupPolicy": "LeaderCreated",
            "networkConfig": {"subdomainPolicy": "UniquePerReplica"},
            "rolloutStrategy": {
                "type": "RollingUpdate",
                "rollingUpdateConfiguration": planned.bounds,
            },
        },
    }


def _metadata(workload: Workload, annotations: dict[str, str]) -> dict[str, Any]:
    notes = {**annotations, **why_no_budget(workload)}
    return metadata(workload.name, workload.namespace, workload.labels, notes)


def _selector(workload: Workload) -> dict[str, Any]:
    return {"matchLabels": dict(sorted(workload.selector.items()))}


def _templates(site: Site, workload: Workload) -> dict[str, Any]:
    templates = stored(site, workload).templates
    return {"volumeClaimTemplates": templates} if templates else {}
