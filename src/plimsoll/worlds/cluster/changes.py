"""What an apply would do to each object, asked of the API server before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from plimsoll.errors import Failed, InputError, PlimsollError
from plimsoll.worlds.cluster.compare import FieldChange
from plimsoll.worlds.cluster.errors import Conflict
from plimsoll.worlds.cluster.inventory import Inventory
from plimsoll.worlds.cluster.objects.site import Manifest
from plimsoll.worlds.cluster.ownership import OUR_MANAGERS
from plimsoll.worlds.cluster.reference import Key

Verdict = Literal["create", "update", "unchanged", "delete", "keep", "blocked"]
DATA_KINDS = frozenset({
    "PersistentVolumeClaim", "PersistentVolume", "Namespace", "CustomResourceDefinition",
})  # fmt: skip
# Objects that others need are applied first and deleted last.
_ORDER = (
    "Namespace", "CustomResourceDefinition", "PriorityClass", "StorageClass", "ResourceQuota",
    "LimitRange", "ServiceAccount", "ClusterRole", "Role", "ClusterRoleBinding", "RoleBinding",
    "NetworkPolicy", "ConfigMap", "Secret", "ExternalSecret", "PersistentVolume",
    "PersistentVolumeClaim", "DeviceClass", "ResourceClaimTemplate", "EC2NodeClass", "NodePool",
    "Service", "PodDisruptionBudget", "DaemonSet", "Deployment", "StatefulSet", "LeaderWorkerSet",
    "RayService",
)  # fmt: skip
_LAST = (
    "TriggerAuthentication", "ScaledObject", "HorizontalPodAutoscaler", "VerticalPodAutoscaler",
    "InferencePool", "HTTPRoute", "PodMonitor", "ServiceMonitor", "PrometheusRule", "Fleet",
)  # fmt: skip
_RANKS = {kind: rank for rank, kind in enumerate((*_ORDER, "", *_LAST))}


class NotOurs(InputError):
    """An object of that name is there, and somebody else made it."""

    default_code = "cluster.not-ours"


class Blocked(Failed):
    """Some objects cannot be applied, so none was.

    problems  every one of them
    """

    default_code = "cluster.blocked"

    def __init__(self, problems: Sequence[PlimsollError]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        self.details = "\n".join(str(problem) for problem in self.problems)
        first = self.problems[0]
        super().__init__(
            str(first) if count == 1 else f"{count} problems, the first: {first}",
            hint="nothing was applied; repair these and apply again",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What an apply is about and what it may do.

    fleet       name of the fleet
    namespace   the fleet's own; the inventory lies there
    replicas    for workloads whose scaler owns `replicas`: how many to start with
    adopt       take over objects that are there and nobody's of ours
    force       take over fields that others own
    prune       delete what is no longer wished
    prune_data  and claims with their data, namespaces and custom resource definitions too
    """

    fleet: str
    namespace: str
    replicas: Mapping[Key, int] = field(default_factory=dict)
    adopt: bool = False
    force: bool = False
    prune: bool = True
    prune_data: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What happens to one object.

    wished    its manifest; None where it goes
    live      as it is in the cluster now; None: it is not there
    result    as it would be afterwards, by the API server's word; None: it could not say
    fields    what differs
    problems  why it is blocked
    note      what a reader should know, such as why it is kept
    take      whether to take over fields that our other managers or a leaving scaler own
    """

    key: Key
    verdict: Verdict
    wished: Manifest | None = None
    live: Manifest | None = None
    result: Manifest | None = None
    fields: tuple[FieldChange, ...] = ()
    problems: tuple[PlimsollError, ...] = ()
    note: str = ""
    take: bool = False

    @property
    def untried(self) -> bool:
        """Whether the API server could not say what would become of it."""
        return self.wished is not None and self.result is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What an apply would do, in its order; deletions last.

    inventory  what was applied before
    problems   of the whole, such as an exceeded quota
    gone       listed in the inventory, but neither there nor wished
    """

    changes: tuple[Change, ...]
    inventory: Inventory = field(default_factory=Inventory)
    problems: tuple[PlimsollError, ...] = ()
    gone: tuple[Key, ...] = ()

    def of(self, *verdicts: Verdict) -> tuple[Change, ...]:
        """The changes with one of these verdicts."""
        return tuple(change for change in self.changes if change.verdict in verdicts)

    @property
    def all_problems(self) -> tuple[PlimsollError, ...]:
        """Everything that keeps this from being applied."""
        return (*self.problems, *(p for change in self.changes for p in change.problems))

    @property
    def empty(self) -> bool:
        """Whether nothing would change."""
        return not self.of("create", "update", "delete", "blocked") and not self.problems

    def allow(self) -> None:
        """Raises Blocked where something keeps this from being applied."""
        if self.all_problems:
            raise Blocked(self.all_problems)


def rank(kind: str) -> int:
    """Place of a kind in the order of an apply."""
    return _RANKS.get(kind, _RANKS[""])


def is_ours_to_take(conflict: Conflict, leaving: bool) -> bool:
    """Whether only our other managers own what is in dispute, or `replicas` of a leaving scaler."""
    return bool(conflict.fields) and all(
        owned.manager in OUR_MANAGERS or (leaving and owned.field == ".spec.replicas")
        for owned in conflict.fields
    )
