"""The gateway's own objects and routes."""

from __future__ import annotations

import re
from typing import Any, get_args

import pytest

from plimsoll.engines import ENGINES
from plimsoll.errors import InputError
from plimsoll.facts.kubernetes import figure
from plimsoll.fleet.engines import EngineName
from plimsoll.gateway import GatewaySettings
from plimsoll.worlds.cluster.info import ASSUMED, INFERENCE_POOL, ClusterInfo
from plimsoll.worlds.cluster.objects.gateway import BODIES, PORT_NAME, gateway_objects
from plimsoll.worlds.cluster.objects.gateway_secrets import environment_secret
from plimsoll.worlds.cluster.objects.routes import (
    gateway_duration,
    inference_pool_objects,
    route_objects,
)
from plimsoll.worlds.cluster.objects.site import Manifest, Site
from plimsoll.worlds.cluster.served import KEY, decode, gateway_configuration
from tests.worlds.cluster import sites
from tests.worlds.cluster.schemas import VERSIONS, problems
from tests.worlds.cluster.sites import EXAMPLES, fleet_text

MODEL = """
models:
  - {name: demo, source: "builtin:demo", engine: llamacpp, namespace: shop%s}
gateway: {%s}
"""
ROUTED = ClusterInfo(apis=(*ASSUMED.apis, INFERENCE_POOL))
# No object of the gateway depends on how an engine is run.
ANY_ENGINE = dict.fromkeys(get_args(EngineName), ENGINES["llamacpp"])


def site_of(fleet: str, **words: Any) -> Site:
    return sites.site_of(fleet, engines=ANY_ENGINE, **words)


def site(gateway: str = "", *, model: str = "", **words: Any) -> Site:
    return site_of(fleet_text(MODEL % (model, gateway)), **words)


def objects(made: Site, kind: str) -> list[Manifest]:
    every = [*gateway_objects(made), *route_objects(made)]
    return [one for one in every if one["kind"] == kind]


def only(made: Site, kind: str) -> Manifest:
    (found,) = objects(made, kind)
    return found


def pod(made: Site) -> dict[str, Any]:
    spec: dict[str, Any] = only(made, "Deployment")["spec"]["template"]["spec"]
    return spec


def container(made: Site) -> dict[str, Any]:
    (found,) = pod(made)["containers"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("kubernetes", VERSIONS)
@pytest.mark.parametrize("example", EXAMPLES)
def test_every_object_of_every_example_is_accepted(example: str, kubernetes: str) -> None:
    made = site_of(example, info=ClusterInfo(kubernetes=kubernetes, apis=ROUTED.apis))
    every = [*gateway_objects(made), *route_objects(made), *inference_pool_objects(made)]
    assert [line for one in every for line in problems(one, kubernetes=kubernetes)] == []


@pytest.mark.parametrize(
    "gateway",
    [
        "replicas: 3",
        "workers: 4",
        "listen: {port: 0, host: '::', tls: {secret: own-tls}}",
        "ingress: {hosts: [a.example.com], class: alb, tlsSecret: t}",
        "ingress: {hosts: [a.example.com, b.example.com], kind: HTTPRoute, class: public}",
    ],
)
def test_every_wish_for_the_gateway_is_accepted(gateway: str) -> None:
    made = site(gateway)
    every = [*gateway_objects(made), *route_objects(made)]
    assert [line for one in every for line in problems(one)] == []


def test_the_gateway_reads_from_its_config_map_what_the_site_says() -> None:
    made = site_of("examples/production.yaml")
    text = only(made, "ConfigMap")["data"][KEY]
    assert decode(text, where="x") == gateway_configuration(made)
    name = only(made, "ConfigMap")["metadata"]["name"]
    assert f"--config-map {name}" in " ".join(container(made)["args"])


def test_the_sum_of_a_key_is_in_the_config_map_and_nowhere_else() -> None:
    made = site_of("examples/production.yaml")
    keys = [key.sha256 for tenant in made.fleet.tenants for key in tenant.keys if key.sha256]
    assert keys
    for one in gateway_objects(made):
        assert any(key in str(one) for key in keys) == (one["kind"] == "ConfigMap")


def test_the_gateway_may_see_endpoints_and_its_own_config_map_and_nothing_else() -> None:
    made = site()
    seen = {role["metadata"]["namespace"]: role["rules"] for role in objects(made, "Role")}
    slices = {
        "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"],
        "verbs": ["list", "watch"],
    }  # fmt: skip
    own = {
        "apiGroups": [""], "resources": ["configmaps"],
        "resourceNames": [only(made, "ConfigMap")["metadata"]["name"]],
        "verbs": ["get", "watch"],
    }  # fmt: skip
    assert seen == {"inference": [slices, own], "shop": [slices]}
    assert not objects(made, "ClusterRole")


def test_every_right_is_bound_to_the_account_that_the_pods_use() -> None:
    made = site()
    account = only(made, "ServiceAccount")["metadata"]
    assert pod(made)["serviceAccountName"] == account["name"]
    subject = {
        "kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"],
    }  # fmt: skip
    roles = {
        (role["metadata"]["namespace"], role["metadata"]["name"]) for role in objects(made, "Role")
    }
    bound = set()
    for binding in objects(made, "RoleBinding"):
        assert binding["subjects"] == [subject]
        bound.add((binding["metadata"]["namespace"], binding["roleRef"]["name"]))
    assert bound == roles


def test_rights_of_two_fleets_of_one_name_are_two_objects() -> None:
    """Both may have models in the same third namespace."""
    text = MODEL % ("", "")
    names = []
    for home in ("blue", "green"):
        made = site_of(fleet_text(text, namespace=home))
        names += [
            role["metadata"]["name"]
            for role in objects(made, "Role")
            if role["metadata"]["namespace"] == "shop"
        ]
    assert len(set(names)) == 2


def test_one_gateway_is_one_and_several_are_scaled_by_their_processor() -> None:
    alone, several = site(), site("replicas: 3")
    assert only(alone, "Deployment")["spec"]["replicas"] == 1
    assert not objects(alone, "HorizontalPodAutoscaler")
    assert "replicas" not in only(several, "Deployment")["spec"]
    scaler = only(several, "HorizontalPodAutoscaler")["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (3, 12)
    assert [metric["resource"]["name"] for metric in scaler["metrics"]] == ["cpu"]
    assert container(several)["resources"]["requests"]["cpu"] == "1"


def test_a_gateway_has_time_for_the_longest_wait_and_answer_after_its_removal() -> None:
    made = site("maxStream: 5m, queue: {wait: 30s}", model=", startup: {hold: 2m}")
    removal = container(made)["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert removal == figure("endpoint_removal")
    grace = pod(made)["terminationGracePeriodSeconds"]
    assert grace == removal + 300 + 120 + figure("shutdown_margin")


def test_a_rollout_and_a_disruption_never_take_more_than_they_must() -> None:
    made = site("replicas: 2")
    rolling = only(made, "Deployment")["spec"]["strategy"]["rollingUpdate"]
    assert rolling == {"maxUnavailable": 0, "maxSurge": 1}
    budget = only(made, "PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1
    labels = only(made, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert budget["selector"]["matchLabels"].items() <= labels.items()
    assert only(made, "Service")["spec"]["selector"].items() <= labels.items()


def test_the_pod_is_hardened() -> None:
    made = site()
    security = pod(made)["securityContext"]
    assert (security["runAsNonRoot"], security["runAsUser"]) == (True, 65532)
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(made)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_a_service_of_the_namespace_cannot_set_the_commands_options() -> None:
    """A Service `plimsoll-gateway` gives pods `PLIMSOLL_GATEWAY_PORT`, which `--port` reads."""
    assert pod(site())["enableServiceLinks"] is False


def test_memory_holds_every_body_and_slow_caller_that_is_allowed() -> None:
    assert GatewaySettings().max_bodies == BODIES
    made = site("limits: {connections: 1000}")
    resources = container(made)["resources"]
    limit = int(resources["limits"]["memory"].removesuffix("Mi")) * 2**20
    assert limit >= BODIES + 1000 * 64 * 2**10
    assert "cpu" not in resources["limits"]


def test_each_worker_has_a_core_and_memory_and_one_has_no_option() -> None:
    one, four = container(site()), container(site("workers: 4"))
    assert "--workers" not in one["args"]
    assert four["args"][-2:] == ["--workers", "4"]
    assert int(four["resources"]["requests"]["cpu"]) == 4 * int(one["resources"]["requests"]["cpu"])
    memory = [
        int(each["resources"]["requests"]["memory"].removesuffix("Mi")) for each in (one, four)
    ]
    assert memory[1] == 5 * memory[0]  # the parent counts, too
    assert four["ports"] == one["ports"]


def test_its_own_certificate_is_mounted_and_spoken_everywhere() -> None:
    made = site("listen: {tls: {secret: own-tls}}, ingress: {hosts: [a.example.com], class: nginx}")
    assert {"name": "tls", "secret": {"secretName": "own-tls"}} in pod(made)["volumes"]
    mount = next(one for one in container(made)["volumeMounts"] if one["name"] == "tls")
    arguments = container(made)["args"]
    assert f"{mount['mountPath']}/tls.crt" in arguments
    assert f"{mount['mountPath']}/tls.key" in arguments
    probes = ("startupProbe", "readinessProbe", "livenessProbe")
    assert {container(made)[probe]["httpGet"]["scheme"] for probe in probes} == {"HTTPS"}
    assert only(made, "Service")["spec"]["ports"][0]["port"] == 443
    annotations = only(made, "Ingress")["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/backend-protocol"] == "HTTPS"


def test_secrets_are_named_and_come_as_variables() -> None:
    made = site_of("examples/production.yaml")
    variables = {one["name"]: one for one in container(made)["env"]}
    store = variables["PLIMSOLL_STORE_PASSWORD"]["valueFrom"]["secretKeyRef"]
    assert store == {"name": "plimsoll-db", "key": "password"}
    key = variables["ANTHROPIC_API_KEY"]["valueFrom"]["secretKeyRef"]
    assert key["name"] == environment_secret(made)
    assert (key["key"], key["optional"]) == ("ANTHROPIC_API_KEY", True)
    names = [one["name"] for one in container(made)["env"]]
    assert names == sorted(set(names))


def test_keys_of_tenants_are_files_that_may_be_missing_and_sums_are_not() -> None:
    made = site_of(
        fleet_text(
            """
tenants:
  - name: acme
    keys:
      - {name: web, from: {secret: acme, key: web-token}}
      - {name: ci, from: {secret: acme, key: ci-token}}
      - {name: here, from: {env: ACME_KEY}}
      - {name: summed, sha256: %s}
"""
            % ("1a" * 32)
        )
    )
    volume = next(one for one in pod(made)["volumes"] if one["name"] == "keys")
    acme, here = (source["secret"] for source in volume["projected"]["sources"])
    assert acme == {
        "name": "acme",
        "items": [
            {"key": "web-token", "path": "acme/web"},
            {"key": "ci-token", "path": "acme/ci"},
        ],
        "optional": True,
    }
    assert here["name"] == environment_secret(made)
    assert here["items"] == [{"key": "ACME_KEY", "path": "acme/here"}]
    mount = next(one for one in container(made)["volumeMounts"] if one["name"] == "keys")
    arguments = container(made)["args"]
    assert arguments[arguments.index("--keys") + 1] == mount["mountPath"]
    (tenant,) = gateway_configuration(made).fleet.tenants
    assert [key.sha256 for key in tenant.keys] == [None, None, None, "1a" * 32]


def test_without_keys_in_secrets_no_folder_is_mounted() -> None:
    assert "keys" not in {one["name"] for one in pod(site())["volumes"]}
    assert "--keys" not in container(site())["args"]


def test_a_secret_that_no_pod_could_read_is_refused() -> None:
    text = fleet_text(
        """
providers:
  - {name: backup, namespace: elsewhere, protocol: openai, baseURL: "https://a.example/v1",
     apiKey: {secret: backup, key: token}}
"""
    )
    with pytest.raises(InputError, match="elsewhere"):
        list(gateway_objects(site_of(text)))


def test_streams_pass_an_ingress_and_health_and_metrics_do_not() -> None:
    made = site("maxStream: 10m, ingress: {hosts: [a.example.com], class: nginx, tlsSecret: t}")
    ingress = only(made, "Ingress")
    annotations = ingress["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/proxy-buffering"] == "off"
    assert annotations["nginx.ingress.kubernetes.io/proxy-read-timeout"] == "660"
    assert annotations["nginx.org/proxy-read-timeout"] == "660s"
    assert annotations["nginx.ingress.kubernetes.io/proxy-body-size"] == str(16 * 2**20)
    assert "nginx.ingress.kubernetes.io/backend-protocol" not in annotations
    assert not any("alb." in name for name in annotations)
    (rule,) = ingress["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert (rule["host"], path["path"]) == ("a.example.com", "/v1")
    assert path["backend"]["service"]["port"] == {"name": PORT_NAME}
    assert ingress["spec"]["tls"] == [{"hosts": ["a.example.com"], "secretName": "t"}]


def test_a_class_that_nobody_knows_gets_what_every_controller_reads() -> None:
    made = site("maxStream: 2h, ingress: {hosts: [a.example.com], class: internal}")
    annotations = only(made, "Ingress")["metadata"]["annotations"]
    assert annotations["nginx.org/proxy-buffering"] == "False"
    # An ALB takes no more than 4000 s.
    name = "alb.ingress.kubernetes.io/load-balancer-attributes"
    assert annotations[name] == "idle_timeout.timeout_seconds=4000"


def test_a_route_leads_from_its_gateway_to_ours_with_time_for_the_longest_answer() -> None:
    made = site("ingress: {hosts: [a.example.com], kind: HTTPRoute, class: public}")
    spec = only(made, "HTTPRoute")["spec"]
    assert spec["parentRefs"] == [{"name": "public"}]
    (rule,) = spec["rules"]
    assert rule["timeouts"] == {"request": "11m", "backendRequest": "11m"}
    assert rule["backendRefs"] == [{"name": made.gateway_name, "port": 80}]


@pytest.mark.parametrize(
    ("route", "apis", "words"),
    [
        ("kind: HTTPRoute", ASSUMED.apis, "needs a Gateway"),
        ("kind: HTTPRoute, class: p, tlsSecret: t", ASSUMED.apis, "no certificate"),
        ("kind: HTTPRoute, class: p", (), "no Gateway API"),
    ],
)
def test_a_route_that_leads_nobody_anywhere_is_refused(
    route: str, apis: tuple[str, ...], words: str
) -> None:
    made = site(f"ingress: {{hosts: [a.example.com], {route}}}", info=ClusterInfo(apis=apis))
    with pytest.raises(InputError, match=words):
        list(route_objects(made))


@pytest.mark.parametrize("seconds", [0, 1, 59, 60, 3600, 3661, 86_399, 172_800, 359_999])
def test_durations_are_written_as_the_gateway_api_reads_them(seconds: int) -> None:
    text = gateway_duration(seconds)
    assert re.fullmatch(r"([0-9]{1,5}(h|m|s|ms)){1,4}", text)
    units = {"h": 3600, "m": 60, "s": 1}
    parts = re.findall(r"([0-9]+)([hms])", text)
    assert sum(int(number) * units[unit] for number, unit in parts) == seconds


def test_a_pool_selects_the_replicas_of_its_model() -> None:
    made = site(info=ROUTED)
    (pool,) = inference_pool_objects(made, picker="demo-epp", picker_port=9002)
    (workload,) = made.workloads
    assert pool["spec"] == {
        "selector": {"matchLabels": dict(workload.selector)},
        "targetPorts": [{"number": workload.port}],
        "endpointPickerRef": {"name": "demo-epp", "port": {"number": 9002}},
    }
    assert problems(pool) == []


def test_a_pool_is_refused_where_the_cluster_has_none_or_the_picker_no_port() -> None:
    with pytest.raises(InputError, match="no InferencePool"):
        list(inference_pool_objects(site(info=ClusterInfo())))
    with pytest.raises(InputError, match="port"):
        list(inference_pool_objects(site(info=ROUTED), picker="demo-epp"))


def test_the_same_fleet_gives_the_same_objects() -> None:
    first, second = (list(gateway_objects(site_of("examples/production.yaml"))) for _ in "ab")
    assert first == second
