"""The operator and the gateway on an API server that refuses all but the rights they install."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import kmock

from plimsoll.telemetry.watch_metrics import WatchMetrics
from plimsoll.worlds.cluster.client import Kube
from plimsoll.worlds.cluster.configuration import from_config_map
from plimsoll.worlds.cluster.doctor import cluster_info
from plimsoll.worlds.cluster.following import Pace
from plimsoll.worlds.cluster.objects.rights import operator_rights
from plimsoll.worlds.cluster.replicas import Replicas
from tests.worlds.cluster.api import Object
from tests.worlds.cluster.apiserver.kinds import Kind
from tests.worlds.cluster.apiserver.server import ApiServer
from tests.worlds.cluster.apiserver.store import Refusal
from tests.worlds.cluster.operator.stage import (
    QUICK,
    SETTINGS,
    Cluster,
    cluster,
    fleet,
    model,
    operating,
    played,
)

HOME = "plimsoll"
Asked = tuple[str, str, str]  # group, resource with subresource, verb
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(kw_only=True)
class Authorizer:
    """As RBAC does: what no rule grants is refused.

    rules    by namespace; under None those for the whole cluster
    used     what was granted
    refused  what was not, with the namespace
    """

    rules: dict[str | None, list[Object]]
    used: set[Asked] = field(default_factory=set)
    refused: set[tuple[str, str, str, str]] = field(default_factory=set)

    def guard(self, server: ApiServer) -> None:
        """Have the server ask us."""

        def authorize(
            request: kmock.Request, kind: Kind, namespace: str | None, name: str, sub: str
        ) -> None:
            method = request._raw_request.method
            watching = request.params.get("watch") in ("true", "1")
            verb = _VERBS.get(method) or ("get" if name else "watch" if watching else "list")
            resource = f"{kind.plural}/{sub}" if sub else kind.plural
            selected = request.params.get("fieldSelector", "")
            name = name or selected.removeprefix("metadata.name=" if watching else " ")
            verbs = {verb}
            there = (kind.slot, namespace or "", name) in server.store.objects
            if verb == "patch" and not sub and not there:
                verbs.add("create")
            for each in verbs:
                self._ask(kind.group, resource, each, namespace, name)

        server._authorize = authorize  # type: ignore[method-assign]

    def _ask(self, group: str, resource: str, verb: str, namespace: str | None, name: str) -> None:
        for rule in (*self.rules.get(None, ()), *self.rules.get(namespace or "", ())):
            if (
                group in rule["apiGroups"]
                and resource in rule["resources"]
                and verb in rule["verbs"]
                and name in rule.get("resourceNames", (name,))
            ):
                self.used.add((group, resource, verb))
                return
        self.refused.add((group, resource, verb, namespace or ""))
        raise Refusal(403, "Forbidden", f"{resource} is forbidden: cannot {verb}", kind=resource)


def granted(manifests: Iterable[Object]) -> Authorizer:
    rules: dict[str | None, list[Object]] = {}
    for one in manifests:
        if one["kind"] in ("Role", "ClusterRole"):
            rules.setdefault(one["metadata"].get("namespace"), []).extend(one["rules"])
    return Authorizer(rules=rules)


def operator(*namespaces: str) -> Authorizer:
    return granted(operator_rights(account="operator", namespace=HOME, namespaces=namespaces))


ELECTED = replace(SETTINGS, elect=True, namespace=HOME, lease="plimsoll-operator")
RICH = fleet(
    "shop",
    model("chat", scaling={"min": 1, "max": 2, "cooldown": "0s", "stabilization": "0s"}),
    model("fixed", namespace="team-b"),
    gateway={"replicas": 2},
    tenants=[{"name": "clinic", "namespace": "clinic", "models": ["chat"]}],
)


async def lived(stage: Cluster, wish: Object) -> None:
    """A Fleet comes, is scaled and changed, and goes."""
    stage.api.create(wish)
    await stage.until(lambda: stage.is_true("Ready") and stage.is_true("Applied"))
    stage.callers.queued = {"chat": 9}
    await stage.until(lambda: stage.replicas("shop-chat") == 2)
    stage.api.change(wish, lambda one: one["spec"].update(models=one["spec"]["models"][:1]))
    await stage.until(lambda: (stage.status().get("models"), stage.is_true("Ready")) == (1, True))
    stage.api.delete(wish)
    await stage.until(lambda: not stage.api.objects("plimsoll.dev/v1alpha1", "Fleet"))


@played
async def test_over_the_whole_cluster_the_operator_asks_for_nothing_that_it_may_not() -> None:
    rights = operator()
    async with cluster(HOME, "team-a", "team-b") as stage:
        rights.guard(stage.api.server)
        async with await Kube.connect(url=stage.api.url, patience=QUICK) as kube:
            await cluster_info(kube)
        # What `cluster_info` cannot see it does without; the operator itself is refused nothing.
        info, rights.refused = rights.refused, set()
        async with operating(stage, ELECTED):
            await lived(stage, RICH)
        assert not rights.refused
    assert not info


@played
async def test_bound_to_namespaces_the_operator_asks_for_nothing_elsewhere() -> None:
    rights = operator("team-a", "team-b")
    settings = replace(ELECTED, namespaces=("team-a", "team-b"))
    wish = {**RICH, "spec": {k: v for k, v in RICH["spec"].items() if k != "tenants"}}
    async with cluster(HOME, "team-a", "team-b") as stage:
        rights.guard(stage.api.server)
        async with operating(stage, settings):
            await lived(stage, wish)
        assert {refused for refused in rights.refused if refused[1] != "namespaces"} == set()


@played
async def test_bound_to_namespaces_a_lost_inventory_is_found_there() -> None:
    rights = operator("team-a", "team-b")
    settings = replace(ELECTED, namespaces=("team-a", "team-b"))
    wish = {**RICH, "spec": {k: v for k, v in RICH["spec"].items() if k != "tenants"}}
    async with cluster(HOME, "team-a", "team-b") as stage:
        rights.guard(stage.api.server)
        before = stage.made()
        async with operating(stage, settings):
            stage.api.create(wish)
            await stage.until(lambda: stage.is_true("Ready"))
        stage.api.change(wish, lambda one: one.update(status={}), subresource="status")
        stage.api.delete(wish)
        async with operating(stage, settings):
            await stage.until(lambda: not stage.api.objects("plimsoll.dev/v1alpha1", "Fleet"))
        assert stage.made() == before


@played
async def test_bound_to_namespaces_it_finds_out_what_it_can_of_the_cluster() -> None:
    async with cluster(HOME, "team-a") as stage:
        operator("team-a").guard(stage.api.server)
        async with await Kube.connect(url=stage.api.url, patience=QUICK) as kube:
            info = await cluster_info(kube)
    assert info.kubernetes
    assert "keda.sh/v1alpha1/ScaledObject" in info.apis


@played
async def test_the_gateway_asks_for_nothing_beyond_its_roles() -> None:
    async with cluster(HOME, "team-a", "team-b") as stage, operating(stage):
        stage.api.create(RICH)
        await stage.until(lambda: stage.is_true("Ready"))
        made = stage.api.objects("rbac.authorization.k8s.io/v1", "Role")
        (settings,) = [
            one
            for one in stage.api.objects("v1", "ConfigMap", "team-a")
            if "gateway" in one["metadata"]["name"]
        ]
    rights = granted(one for one in made if "gateway" in one["metadata"]["name"])
    async with cluster("team-a", "team-b") as stage:
        meta = {"name": settings["metadata"]["name"], "namespace": "team-a"}
        stage.api.create({**settings, "metadata": meta})
        rights.guard(stage.api.server)
        metrics, pace = WatchMetrics(), Pace(jitter=lambda: 0.0, first=0.01)
        async with await Kube.connect(url=stage.api.url, patience=QUICK) as kube:
            told = from_config_map(kube, "team-a", meta["name"], pace=pace, metrics=metrics)
            configuration = await anext(told)
            changed = asyncio.Event()
            async with Replicas(kube, pace=pace, metrics=metrics, changed=changed.set) as found:
                found.follow({"team-a", *(one.namespace for one in configuration.models)})
                await stage.until(lambda: found.heard)
                await stage.until(lambda: ("", "configmaps", "watch") in rights.used)
                await stage.until(
                    lambda: ("discovery.k8s.io", "endpointslices", "watch") in rights.used
                )
            await told.aclose()
    assert not rights.refused
    assert len({one.namespace for one in configuration.models}) == 2
    every = {
        (group, resource, verb)
        for rule in (rule for rules in rights.rules.values() for rule in rules)
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert every == rights.used, "no right more than it uses"
