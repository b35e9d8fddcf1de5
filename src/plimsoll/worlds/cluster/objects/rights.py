"""Who may do what: accounts of engines (nothing), of tenants (look), of Plimsoll's operator.

Kubernetes lets nobody grant what he does not hold himself, unless he has `escalate` or `bind`,
which would make him all-powerful. So the operator holds every right that the Roles it makes grant;
a test compares them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from plimsoll.worlds.cluster.objects.names import label_value, object_name
from plimsoll.worlds.cluster.objects.promql import together
from plimsoll.worlds.cluster.objects.roles import (
    RBAC,
    Rule,
    account_subject,
    granted,
    service_account,
)
from plimsoll.worlds.cluster.objects.site import Manifest, Site, metadata

TENANT_GROUP = "plimsoll:tenant:"  # and the tenant's name: whom the cluster's login must put there
_LOOK = ("get", "list", "watch")
_KEEP = ("get", "list", "watch", "create", "patch", "delete")  # what server-side apply needs


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """What may be done with some kinds.

    group      API group; empty for the core
    resources  plural names, with subresources as `pods/log`
    verbs      what may be done
    """

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]


# What the operator keeps in the namespaces of fleets, one line per API group.
_KEPT = (
    Right(
        group="",
        resources=(
            "configmaps", "limitranges", "persistentvolumeclaims", "resourcequotas",
            "serviceaccounts", "services",
        ),
        verbs=_KEEP,
    ),
    Right(group="apps", resources=("daemonsets", "deployments", "statefulsets"), verbs=_KEEP),
    Right(group="batch", resources=("jobs",), verbs=_KEEP),
    Right(group="autoscaling", resources=("horizontalpodautoscalers",), verbs=_KEEP),
    Right(group="autoscaling.k8s.io", resources=("verticalpodautoscalers",), verbs=_KEEP),
    Right(
        group="gateway.networking.k8s.io",
        resources=("httproutes", "referencegrants"),
        verbs=_KEEP,
    ),
    Right(group="inference.networking.k8s.io", resources=("inferencepools",), verbs=_KEEP),
    Right(group="keda.sh", resources=("scaledobjects", "triggerauthentications"), verbs=_KEEP),
    Right(group="leaderworkerset.x-k8s.io", resources=("leaderworkersets",), verbs=_KEEP),
    Right(
        group="monitoring.coreos.com",
        resources=("podmonitors", "prometheusrules", "servicemonitors"),
        verbs=_KEEP,
    ),
    Right(group="networking.k8s.io", resources=("ingresses", "networkpolicies"), verbs=_KEEP),
    Right(group="policy", resources=("poddisruptionbudgets",), verbs=_KEEP),
    Right(group="ray.io", resources=("rayservices",), verbs=_KEEP),
    Right(group=RBAC, resources=("rolebindings", "roles"), verbs=_KEEP),
    Right(group="resource.k8s.io", resources=("resourceclaimtemplates",), verbs=_KEEP),
    # Replicas, where the operator itself is the one who sets them.
    Right(
        group="apps", resources=("deployments/scale", "statefulsets/scale"), verbs=("get", "patch")
    ),
    Right(
        group="leaderworkerset.x-k8s.io",
        resources=("leaderworkersets/scale",),
        verbs=("get", "patch"),
    ),
)  # fmt: skip
# What it reads and tells there. Tenants are given `pods/log`, and pods that keep weights on nodes
# change their own labels: so it must hold both, though it uses the first for `status` alone.
_READ = (
    Right(group="", resources=("pods",), verbs=(*_LOOK, "patch")),
    Right(group="", resources=("pods/log",), verbs=("get",)),
    Right(group="", resources=("events",), verbs=_LOOK),
    Right(group="events.k8s.io", resources=("events",), verbs=("create",)),
    Right(group="discovery.k8s.io", resources=("endpointslices",), verbs=_LOOK),
    # Its finalizer is a field of the Fleet; `fleets/finalizers` lets it own what it makes where
    # the API server checks owners (OwnerReferencesPermissionEnforcement).
    Right(group="plimsoll.dev", resources=("fleets",), verbs=(*_LOOK, "patch", "update")),
    Right(group="plimsoll.dev", resources=("fleets/finalizers",), verbs=("update",)),
    Right(group="plimsoll.dev", resources=("fleets/status",), verbs=("get", "patch")),
    Right(group="coordination.k8s.io", resources=("leases",), verbs=("get", "create", "update")),
)
# What is of the whole cluster. Namespaces are never deleted: others' objects may be in them.
_WIDE = (
    Right(group="", resources=("namespaces",), verbs=(*_LOOK, "create", "patch")),
    Right(group="", resources=("nodes",), verbs=("get", "list", "watch")),
    Right(group="apiextensions.k8s.io", resources=("customresourcedefinitions",), verbs=_LOOK),
    Right(group="storage.k8s.io", resources=("storageclasses",), verbs=_LOOK),
    Right(group="resource.k8s.io", resources=("deviceclasses", "resourceslices"), verbs=_LOOK),
    Right(group="karpenter.sh", resources=("nodeoverlays", "nodepools"), verbs=_KEEP),
    Right(group="karpenter.k8s.aws", resources=("ec2nodeclasses",), verbs=_KEEP),
    Right(group="nvidia.com", resources=("clusterpolicies",), verbs=_LOOK),
)
_TENANT = (
    Right(group="", resources=("events", "pods", "resourcequotas", "services"), verbs=_LOOK),
    Right(group="", resources=("pods/log",), verbs=("get",)),
    Right(group="apps", resources=("daemonsets", "deployments", "statefulsets"), verbs=_LOOK),
    Right(group="leaderworkerset.x-k8s.io", resources=("leaderworkersets",), verbs=_LOOK),
    Right(group="plimsoll.dev", resources=("fleets",), verbs=_LOOK),
)


def rights_objects(site: Site) -> Iterator[Manifest]:
    """An account for every model, and in tenants' namespaces what their people may look at.

    An engine's account has no rights and its pods no token: an engine never speaks to Kubernetes.
    """
    for workload in site.workloads:
        if together(site, workload)[0] is not workload:
            continue  # in another's pods
        yield service_account(metadata(workload.name, workload.namespace, workload.labels))
    for tenant in site.fleet.tenants:
        if tenant.namespace is None or tenant.namespace == site.namespace:
            continue  # the fleet's own namespace shows more than one tenant's things
        name = object_name(site.fleet.name, "tenant", tenant.name)
        group = {"apiGroup": RBAC, "kind": "Group", "name": f"{TENANT_GROUP}{tenant.name}"}
        head = metadata(name, tenant.namespace, site.labels)
        yield from granted("Role", head, _rules(_TENANT), group)


def operator_rights(
    *, account: str, namespace: str, namespaces: Sequence[str] = (), name: str = "plimsoll-operator"
) -> Iterator[Manifest]:
    """What Plimsoll's operator may do: no wildcard, no Secret, nothing that grants more.

    account     its ServiceAccount
    namespace   in which that account is
    namespaces  to which it is bound; empty: the whole cluster. Bound, it makes no namespace and
                no NodePool, and tells nothing of nodes
    """
    labels = {"app.kubernetes.io/name": label_value(name)}
    subject = account_subject(account, namespace)
    if not namespaces:
        rules = _rules((*_KEPT, *_READ, *_WIDE))
        yield from granted("ClusterRole", metadata(name, None, labels), rules, subject)
        return
    for each in sorted({namespace, *namespaces}):
        rules = _rules((*_KEPT, *_READ))
        yield from granted("Role", metadata(name, each, labels), rules, subject)


def _rules(rights: Sequence[Right]) -> list[Rule]:
    return [
        {
            "apiGroups": [right.group],
            "resources": list(right.resources),
            "verbs": list(right.verbs),
        }
        for right in rights
    ]
