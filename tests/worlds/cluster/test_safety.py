"""What every rendered fleet keeps: the rules, each first shown to find what it is for."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.errors import PlimsollError
from plimsoll.fleet import Document, load_fleet
from plimsoll.worlds.cluster.objects.names import COMPONENT, FLEET, GATEWAY_COMPONENT, MODEL
from plimsoll.worlds.cluster.objects.render import render
from plimsoll.worlds.cluster.yaml_text import to_yaml
from tests.worlds.cluster import rules
from tests.worlds.cluster.fleets import EVERY, MONITORED
from tests.worlds.cluster.looking import Pods, pods
from tests.worlds.cluster.reach import Pod, reaches, selects
from tests.worlds.cluster.sites import planned, rendered, site_of

Manifests = list[dict[str, Any]]
FLEET_OF_TWO = "demo.yaml"
BROUGHT = {  # what fleets name and people bring
    "production.yaml": frozenset({("PersistentVolumeClaim", "models")}),
    "volume-there": frozenset({("PersistentVolumeClaim", "models")}),
}


def manifests(fleet: str) -> Manifests:
    return list(rendered(EVERY[fleet]).manifests)


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_every_fleet_keeps(rule: Callable[[Manifests], list[str]]) -> None:
    broken = {fleet: rule(manifests(fleet)) for fleet in EVERY}
    assert {fleet: found for fleet, found in broken.items() if found} == {}


@pytest.mark.parametrize("fleet", EVERY)
def test_every_reference_resolves(fleet: str) -> None:
    external = BROUGHT.get(fleet, frozenset())
    assert rules.every_reference_resolves(manifests(fleet), external) == []


@pytest.mark.parametrize("fleet", EVERY)
def test_somebody_sets_the_replicas(fleet: str) -> None:
    assert rules.somebody_sets_the_replicas(manifests(fleet), operator=False) == []


# ---- each rule finds what it is for


def pod_of(found: Manifests) -> dict[str, Any]:
    deployment = next(one for one in found if one["kind"] == "Deployment")
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


def first(found: Manifests, kind: str) -> dict[str, Any]:
    return next(one for one in found if one["kind"] == kind)


def engine_of(found: Manifests) -> dict[str, Any]:
    container: dict[str, Any] = pod_of(found)["containers"][0]
    return container


def set_replicas(found: Manifests) -> None:
    name = first(found, "ScaledObject")["spec"]["scaleTargetRef"]["name"]
    target = next(
        one for one in found if one["metadata"]["name"] == name and one["kind"] == "Deployment"
    )
    target["spec"]["replicas"] = 2


def widen_selector(found: Manifests) -> None:
    one, other = [one for one in found if one["kind"] == "Deployment"][:2]
    one["spec"]["selector"] = copy.deepcopy(other["spec"]["selector"])


BREAKERS: dict[Callable[[Manifests], list[str]], tuple[str, Callable[[Manifests], Any]]] = {
    rules.no_pod_runs_as_root_without_a_reason: (
        FLEET_OF_TWO,
        lambda found: engine_of(found)["securityContext"].update(runAsUser=0),
    ),
    rules.every_image_is_pinned: (
        FLEET_OF_TWO,
        lambda found: engine_of(found).update(image="registry.example.com:5000/engine"),
    ),
    rules.every_container_has_requests_and_a_memory_limit: (
        FLEET_OF_TWO,
        lambda found: engine_of(found)["resources"]["limits"].pop("memory"),
    ),
    rules.no_container_gains_rights: (
        FLEET_OF_TWO,
        lambda found: pod_of(found).update(hostNetwork=True),
    ),
    rules.the_node_s_disk_is_read_only_or_has_a_reason: (
        "on-nodes",
        lambda found: [
            mount.pop("readOnly", None)
            for mount in engine_of(found)["volumeMounts"]
            if mount["name"] == "models"
        ],
    ),
    rules.a_token_goes_only_to_who_has_rights: (
        FLEET_OF_TWO,
        lambda found: pod_of(found).update(automountServiceAccountToken=True),
    ),
    rules.secrets_are_only_named: (
        FLEET_OF_TWO,
        lambda found: (
            engine_of(found).setdefault("env", []).append({"name": "HF_TOKEN", "value": "x"})
        ),
    ),
    rules.selectors_do_not_overlap: (FLEET_OF_TWO, widen_selector),
    rules.every_service_finds_pods_that_listen: (
        FLEET_OF_TWO,
        lambda found: first(found, "Service")["spec"]["selector"].update(app="other"),
    ),
    rules.every_replica_has_an_account_of_its_own: (
        FLEET_OF_TWO,
        lambda found: pod_of(found).pop("serviceAccountName", None),
    ),
    rules.scalers_have_one_target_and_own_its_replicas: ("small-to-zero", set_replicas),
    rules.budgets_let_nodes_be_drained: (
        "small-fixed",
        lambda found: first(found, "PodDisruptionBudget")["spec"].update(maxUnavailable=0),
    ),
    rules.pods_end_in_the_time_that_they_have: (
        FLEET_OF_TWO,
        lambda found: pod_of(found).update(terminationGracePeriodSeconds=5),
    ),
    rules.no_probe_kills_what_loads: (
        FLEET_OF_TWO,
        lambda found: [
            engine_of(found).pop("startupProbe"),
            engine_of(found).update(livenessProbe={"periodSeconds": 1}),
        ],
    ),
    rules.every_object_is_one_and_has_its_place: (
        FLEET_OF_TWO,
        lambda found: found.append(found[0]),
    ),
}


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_the_rule_finds_what_it_is_for(rule: Callable[[Manifests], list[str]]) -> None:
    fleet, break_it = BREAKERS[rule]
    broken = copy.deepcopy(manifests(fleet))
    break_it(broken)
    assert rule(broken) != []


def test_a_reference_that_leads_nowhere_is_found() -> None:
    broken = [found for found in manifests(FLEET_OF_TWO) if found["kind"] != "ConfigMap"]
    broken = copy.deepcopy(broken)
    pod_of(broken)["volumes"].append({"name": "x", "configMap": {"name": "nowhere"}})
    assert any("nowhere" in problem for problem in rules.every_reference_resolves(broken))


# ---- only the gateway reaches the engines


def _pod(found: Pods) -> Pod:
    return Pod(namespace=found.namespace, labels=found.labels)


@pytest.mark.parametrize("fleet", EVERY)
def test_every_engine_is_reached_only_by_the_gateway(fleet: str) -> None:
    """Of all pods that a fleet makes, and of strangers; the nodes of one replica are one engine."""
    made = manifests(fleet)
    everybody = pods(made)
    strangers = [
        Pod(namespace=namespace, labels={})
        for namespace in {"default", "stranger", *(pod.namespace for pod in everybody)}
    ]
    engines = [pod for pod in everybody if pod.labels.get(COMPONENT) == "engine"]
    assert engines
    for engine in engines:
        ports = [
            port["containerPort"]
            for _, container in engine.containers
            for port in container.get("ports", ())
        ]
        for port in ports:
            for other in [*map(_pod, everybody), *strangers]:
                door = other.labels.get(COMPONENT) == GATEWAY_COMPONENT
                own = other.labels.get(MODEL) == engine.labels[MODEL] and FLEET in other.labels
                if not own:
                    assert reaches(made, other, _pod(engine), port) is (
                        door and port == _served(made, engine)
                    ), (other, engine.owner, port)


def _served(made: Manifests, engine: Pods) -> int:
    """The port of the engine's pods that its NetworkPolicy opens to the gateway."""
    policy = next(
        found
        for found in made
        if found["kind"] == "NetworkPolicy"
        and found["spec"]["podSelector"]["matchLabels"].get(MODEL) == engine.labels[MODEL]
        and found["metadata"]["namespace"] == engine.namespace
    )
    port: int = policy["spec"]["ingress"][0]["ports"][0]["port"]
    return port


@pytest.mark.parametrize("fleet", EVERY)
def test_the_gateway_reaches_every_service_of_an_engine(fleet: str) -> None:
    made = manifests(fleet)
    everybody = pods(made)
    (door,) = (_pod(pod) for pod in everybody if pod.labels.get(COMPONENT) == GATEWAY_COMPONENT)
    for service in (found for found in made if found["kind"] == "Service"):
        if service["metadata"]["labels"].get(COMPONENT) != "engine":
            continue
        port = service["spec"]["ports"][0]["port"]
        behind = [pod for pod in everybody if rules.behind(service, pod)]
        assert behind
        assert all(reaches(made, door, _pod(pod), port) for pod in behind)


@pytest.mark.parametrize("fleet", MONITORED)
def test_prometheus_reaches_what_it_is_to_scrape(fleet: str) -> None:
    made = manifests(fleet)
    scraper = Pod(namespace="monitoring", labels={})
    monitors = [found for found in made if found["kind"] == "PodMonitor"]
    assert len(monitors) >= 2
    for monitor in monitors:
        port = monitor["spec"]["podMetricsEndpoints"][0]["portNumber"]
        scraped = [
            pod
            for pod in pods(made)
            if pod.namespace == monitor["metadata"]["namespace"]
            and selects(monitor["spec"]["selector"], pod.labels)
        ]
        assert scraped
        assert all(reaches(made, scraper, _pod(pod), port) for pod in scraped)


# ---- no secret value in any rendered file

# Places where people put secrets, rightly by name or wrongly by value. `{}` is the value.
PLACES = {
    "source user": ("model", "source: 'https://u:{}@models.example.com/m.gguf'"),
    "source token": ("model", "source: 'hf://{}@org/name/m.gguf'"),
    "model credentials": ("model", "credentials: '{}'"),
    "model credentials value": ("model", "credentials: {{value: '{}'}}"),
    "environment": ("model", "engineOptions: {{env: [{{name: T, valueFrom: {{value: '{}'}}}}]}}"),
    "store": ("gateway", "store: 'postgresql://u:{}@db/plimsoll'"),
    "counters": ("gateway", "counters: 'redis://:{}@valkey:6379'"),
    "cache": ("gateway", "cache: {{address: 'redis://:{}@valkey:6379'}}"),
    "tracing": ("gateway", "tracing: {{endpoint: 'https://u:{}@otel:4318'}}"),
    "prometheus": ("gateway", "monitoring: {{prometheus: 'http://u:{}@prometheus:9090'}}"),
    "provider": ("provider", "baseURL: 'https://u:{}@api.example.com/v1'"),
    "provider key": ("provider", "apiKey: '{}'"),
    "tenant key": ("tenant", "keys: [{{name: k, key: '{}'}}]"),
    "tenant sum": ("tenant", "keys: [{{name: k, sha256: '{}'}}]"),
}
DEFAULTS = {
    "model": ["name: m", "source: builtin:demo"],
    "gateway": ["replicas: 1"],
    "provider": ["name: p", "protocol: openai", "baseURL: 'https://api.example.com/v1'"],
    "tenant": ["name: t"],
}
HEADS = {
    "model": "models:\n    -", "provider": "providers:\n    -", "tenant": "tenants:\n    -",
    "gateway": "gateway:\n     ",
}  # fmt: skip
CANARY = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=16, max_size=40).map(
    lambda text: f"canary-{text}"
)


def with_secret(place: str, canary: str) -> str:
    section, line = PLACES[place]
    field = line.partition(":")[0]
    parts = []
    for name, head in HEADS.items():
        lines = [one for one in DEFAULTS[name] if name != section or not one.startswith(field)]
        lines += [line.format(canary)] if name == section else []
        parts.append(f"  {head} " + "\n      ".join(lines))
    head = "apiVersion: plimsoll.dev/v1alpha1\nkind: Fleet\nmetadata: {name: f}\nspec:\n"
    return head + "\n".join(parts) + "\n"


@settings(deadline=None, max_examples=100)
@given(place=st.sampled_from(sorted(PLACES)), canary=CANARY)
def test_a_secret_written_where_it_does_not_belong_is_refused(place: str, canary: str) -> None:
    with pytest.raises(PlimsollError):
        load_fleet([Document(file="f.yaml", text=with_secret(place, canary))])


NAMED = "production.yaml"


@settings(deadline=None, max_examples=20)
@given(canary=CANARY)
def test_no_value_of_the_environment_gets_into_a_rendered_file(canary: str) -> None:
    """Credentials are named `{env: NAME}` too, and tools find tokens in variables of their own."""
    loaded, _ = planned(EVERY[NAMED])
    named = {
        provider.api_key.env
        for provider in loaded.fleet.providers
        if provider.api_key is not None and provider.api_key.env
    }
    assert named
    known = {"HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "KUBECONFIG", "PLIMSOLL_KEY"}
    with mock.patch.dict(os.environ, dict.fromkeys({*named, *known}, canary)):
        text = to_yaml(render(site_of(EVERY[NAMED])).manifests)
    assert canary not in text


def test_every_secret_that_is_used_is_one_that_the_fleet_names() -> None:
    wanted = {name for _, kind, _, name in rules.references(manifests(NAMED)) if kind == "Secret"}
    text = str(planned(EVERY[NAMED])[0].fleet)
    own = {name for name in wanted if f"'{name}'" not in text}
    assert own <= {"production-gateway-environment"}  # what `{env: NAME}` becomes in a cluster
