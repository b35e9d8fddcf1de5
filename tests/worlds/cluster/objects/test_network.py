from __future__ import annotations

from dataclasses import replace

import pytest

from plimsoll.errors import InputError
from plimsoll.worlds.cluster.objects.gateway import gateway_labels
from plimsoll.worlds.cluster.objects.names import COMPONENT, FLEET, MODEL
from plimsoll.worlds.cluster.objects.network import (
    fetches,
    network_notes,
    network_objects,
    prometheus_namespace,
)
from plimsoll.worlds.cluster.objects.node_models import MODELS_COMPONENT
from plimsoll.worlds.cluster.objects.render import render
from plimsoll.worlds.cluster.objects.site import Manifest, Site, Workload
from tests.worlds.cluster.fleets import FLEETS
from tests.worlds.cluster.looking import pods
from tests.worlds.cluster.reach import Pod, reaches
from tests.worlds.cluster.schemas import VERSIONS, problems
from tests.worlds.cluster.sites import EXAMPLES, fleet_text, site_of

HUB_FILE = "hf://Qwen/Qwen2.5-3B-Instruct-GGUF/qwen2.5-3b-instruct-q4_k_m.gguf"
ELSEWHERE = ("baseModel: Qwen/Qwen2.5-3B-Instruct", "engine: llamacpp", "quantization: q4_k_m")
HUB, METADATA, DNS = "104.18.0.1", "169.254.169.252", "169.254.20.10"
DNS_SERVICE = "172.20.0.10"  # where a cache on the node answers at the Service's own address


def small(*model: str, source: str = HUB_FILE, **sections: str) -> str:
    """A fleet of one small model in the embedded engine; further fields and sections."""
    fields = [f"source: {source}", "context: 2048", *model]
    lines = ["models:", "  - name: m", *(f"    {field}" for field in fields)]
    return fleet_text("\n".join([*lines, *(f"{k}: {v}" for k, v in sections.items())]))


def policies(site: Site) -> list[Manifest]:
    return list(network_objects(site))


def engine(workload: Workload) -> Pod:
    return Pod(namespace=workload.namespace, labels=workload.labels)


def gateway(site: Site) -> Pod:
    return Pod(namespace=site.namespace, labels=gateway_labels(site))


STRANGER = Pod(namespace="default", labels={"app": "stranger"})


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_engine_is_reached_by_the_gateway_and_by_no_stranger(example: str) -> None:
    site = site_of(example)
    found = policies(site)
    for workload in site.workloads:
        beside = Pod(namespace=workload.namespace, labels={"app": "beside"})
        assert reaches(found, gateway(site), engine(workload), workload.port)
        for other in (STRANGER, beside, HUB):
            assert not reaches(found, other, engine(workload), workload.port)


@pytest.mark.parametrize("example", EXAMPLES)
@pytest.mark.parametrize("version", VERSIONS)
def test_an_api_server_accepts_the_policies(example: str, version: str) -> None:
    for policy in policies(site_of(example)):
        assert problems(policy, kubernetes=version) == []


def test_engines_of_two_models_do_not_speak_to_each_other() -> None:
    site = site_of("examples/demo.yaml")
    first, second = site.workloads
    assert not reaches(policies(site), engine(first), engine(second), second.port)


def test_a_gateway_of_another_fleet_does_not_reach_the_engines() -> None:
    site = site_of(small())
    labels = {**gateway_labels(site), FLEET: "other"}
    other = Pod(namespace=site.namespace, labels=labels)
    assert not reaches(policies(site), other, engine(site.workloads[0]), 8000)


def test_the_gateway_s_labels_open_nothing_in_another_namespace() -> None:
    site = site_of(small())
    liar = Pod(namespace="default", labels=gateway_labels(site))
    assert not reaches(policies(site), liar, engine(site.workloads[0]), 8000)


def test_prometheus_reaches_the_metrics_from_its_namespace() -> None:
    monitoring = "{monitoring: {prometheus: 'http://prometheus-operated.monitoring:9090'}}"
    site = site_of(small(gateway=monitoring))
    scraper = Pod(namespace="monitoring", labels={"app": "any"})
    (workload,) = site.workloads
    assert reaches(policies(site), scraper, engine(workload), workload.port)
    assert not reaches(policies(site), scraper, engine(workload), 22)
    assert reaches(policies(site), scraper, gateway(site), 8080)


@pytest.mark.parametrize(
    ("address", "namespace"),
    [
        ("http://prometheus-operated.monitoring:9090", "monitoring"),
        ("http://prometheus.monitoring.svc:9090", "monitoring"),
        ("http://prometheus.monitoring.svc.cluster.local:9090", "monitoring"),
        ("http://prometheus:9090", "inference"),
        ("https://prometheus.example.com/api", None),
        ("http://10.0.0.7:9090", None),
        ("http://[fd00::7]:9090", None),
        (None, None),
    ],
)
def test_the_namespace_of_prometheus_is_read_from_its_address(
    address: str | None, namespace: str | None
) -> None:
    gateway_text = f"{{monitoring: {{prometheus: '{address}'}}}}" if address else "{}"
    assert prometheus_namespace(site_of(small(gateway=gateway_text))) == namespace


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("http://prometheus-operated.monitoring:9090", False),
        ("https://prometheus.example.com/api", True),
        (None, False),
    ],
)
def test_a_prometheus_whose_pods_are_not_known_is_told_of(address: str | None, told: bool) -> None:
    gateway_text = f"{{monitoring: {{prometheus: '{address}'}}}}" if address else "{}"
    assert bool(network_notes(site_of(small(gateway=gateway_text)))) is told
    shut = gateway_text[:-1] + (", " if address else "") + "networkPolicies: false}"
    assert network_notes(site_of(small(gateway=shut))) == ()


def test_a_pod_that_downloads_gets_out_to_the_web_and_nowhere_else() -> None:
    site = site_of(small())
    (workload,) = site.workloads
    assert [found.role for found in fetches(site, workload)] == ["weights"]
    assert reaches(policies(site), engine(workload), HUB, 443)
    for port in (22, 80, 8000):
        assert not reaches(policies(site), engine(workload), HUB, port)


@pytest.mark.parametrize(
    ("example", "model"),
    [
        ("examples/demo.yaml", "demo"),  # in Plimsoll's own image
        ("examples/production.yaml", "embed"),  # in a volume
        ("examples/production.yaml", "clinic-notes"),  # in an image, which the node pulls
    ],
)
def test_a_pod_whose_weights_are_there_gets_out_nowhere(example: str, model: str) -> None:
    site = site_of(example)
    (workload,) = (found for found in site.workloads if found.model.name == model)
    assert fetches(site, workload) == ()
    for port in (80, 443):
        assert not reaches(policies(site), engine(workload), HUB, port)


def test_a_source_on_another_port_opens_that_port() -> None:
    text = small(*ELSEWHERE, source="https://models.example.com:8443/qwen.gguf")
    site = site_of(text)
    (workload,) = site.workloads
    assert reaches(policies(site), engine(workload), HUB, 8443)
    assert not reaches(policies(site), engine(workload), HUB, 443)


def test_a_bucket_without_a_token_is_read_with_the_pod_s_own_identity() -> None:
    bucket = "s3://acme-models/qwen.gguf"
    token = "credentials: {secret: aws, key: credentials}"
    named, keyed = (small(*ELSEWHERE, *more, source=bucket) for more in ((), (token,)))
    for text, opened in ((named, True), (keyed, False), (small(), False)):
        site = site_of(text)
        assert reaches(policies(site), engine(site.workloads[0]), METADATA, 80) is opened
        assert reaches(policies(site), engine(site.workloads[0]), "fd00:ec2::23", 80) is opened


def test_weights_on_nodes_are_fetched_by_others_and_the_replicas_get_out_nowhere() -> None:
    text = small(
        "storage: {strategy: nodeLocal}",
        "placement: {pools: [plain]}",
        pools="[{name: plain, accelerator: none, nodes: {min: 1}, node: {cpu: 8, memory: 64Gi}}]",
    )
    site = site_of(text)
    (workload,) = site.workloads
    keeper = Pod(
        namespace=site.namespace,
        labels={COMPONENT: MODELS_COMPONENT, FLEET: site.fleet.name},
    )
    assert not reaches(policies(site), engine(workload), HUB, 443)
    assert reaches(policies(site), keeper, HUB, 443)
    assert not reaches(policies(site), keeper, HUB, 80)
    assert not reaches(policies(site), STRANGER, keeper, 8000)


def test_the_nodes_of_one_replica_speak_to_each_other_on_every_port() -> None:
    site = site_of("examples/plans/405b-over-two-nodes.yaml")
    (workload,) = site.workloads
    assert workload.place.devices is not None
    assert workload.place.devices.nodes == 2
    pod = engine(workload)
    assert reaches(policies(site), pod, pod, 29500)
    other = Pod(namespace=pod.namespace, labels={**pod.labels, MODEL: "other"})
    assert not reaches(policies(site), other, pod, 29500)


def test_the_pods_of_a_ray_cluster_speak_to_each_other_and_to_its_operators() -> None:
    site = site_of(FLEETS["rayserve"])
    made = [
        Pod(namespace=found.namespace, labels=found.labels)
        for found in pods(list(render(site).manifests))
        if found.kind == "RayService"
    ]
    assert len({pod.labels[COMPONENT] for pod in made}) == 2
    kuberay = Pod(namespace="kuberay", labels={"app.kubernetes.io/component": "kuberay-operator"})
    for pod in made:
        assert all(reaches(policies(site), other, pod, 6379) for other in made)
        assert reaches(policies(site), kuberay, pod, 8265)
        assert reaches(policies(site), pod, "10.0.0.1", 6443)
        assert not reaches(policies(site), STRANGER, pod, 8265)


def test_a_gateway_of_another_fleet_that_serves_this_one_is_let_in() -> None:
    site = replace(site_of(small()), served_by=("platform", "door"))
    (workload,) = site.workloads
    door = Pod(namespace="platform", labels={COMPONENT: "gateway", FLEET: "door"})
    assert reaches(policies(site), door, engine(workload), 8000)
    assert not reaches(policies(site), gateway(site), engine(workload), 8000)
    assert site.gateway_name not in {found["metadata"]["name"] for found in policies(site)}


def test_a_gateway_gets_to_the_engines_of_other_fleets_that_it_serves() -> None:
    other = site_of(small())
    site = replace(other, owners={"m": "products"})
    (workload,) = site.workloads
    assert workload.fleet == "products"
    pod = Pod(namespace=workload.namespace, labels=workload.labels)
    assert reaches(policies(site), gateway(site), pod, workload.port)
    assert workload.name not in {found["metadata"]["name"] for found in policies(site)}


def test_replicas_on_one_node_do_not_speak_to_each_other() -> None:
    site = site_of(small())
    pod = engine(site.workloads[0])
    assert not reaches(policies(site), pod, pod, 29500)


def test_everybody_of_the_fleet_may_ask_for_names() -> None:
    site = site_of(small())
    names = Pod(namespace="kube-system", labels={"k8s-app": "kube-dns"})
    for pod in (gateway(site), engine(site.workloads[0])):
        for protocol in ("UDP", "TCP"):
            assert reaches(policies(site), pod, names, 53, protocol)
            assert reaches(policies(site), pod, DNS, 53, protocol)
            assert reaches(policies(site), pod, DNS_SERVICE, 53, protocol)
        assert not reaches(policies(site), pod, DNS_SERVICE, 8000)
        assert not reaches(policies(site), pod, HUB, 53, "UDP")


GATEWAY = (
    "{store: 'postgresql://plimsoll@db,db2:5433/plimsoll', counters: 'redis://10.1.2.3', "
    "cache: {address: 'valkey://cache:7000'}, tracing: {endpoint: 'http://otel.obs:4318'}}"
)


def test_the_gateway_gets_out_to_what_the_fleet_file_names() -> None:
    providers = "[{name: p, protocol: openai, baseURL: 'https://api.example.com:8444/v1'}]"
    site = site_of(small(gateway=GATEWAY, providers=providers))
    found, door = policies(site), gateway(site)
    for port in (443, 6443, 5432, 5433, 7000, 4318, 8444):
        assert reaches(found, door, HUB, port), port
    for port in (22, 80, 8080):
        assert not reaches(found, door, HUB, port), port
    assert reaches(found, door, "10.1.2.3", 6379)
    assert not reaches(found, door, HUB, 6379)  # counters are at an address, and only there


@pytest.mark.parametrize(
    ("field", "port"),
    [
        ("store: 'postgres://u@db/plimsoll'", 5432),
        ("counters: 'rediss://cache'", 6379),
        ("counters: 'valkey://cache'", 6379),
        ("counters: 'valkeys://cache'", 6379),
        ("tracing: {endpoint: 'http://collector'}", 80),
    ],
)
def test_an_address_without_a_port_has_the_usual_one_of_its_kind(field: str, port: int) -> None:
    site = site_of(small(gateway=f"{{{field}}}"))
    assert reaches(policies(site), gateway(site), HUB, port)
    assert not reaches(policies(site_of(small())), gateway(site), HUB, port)


@pytest.mark.parametrize("address", ["http://collector:99999", "http://[fd00", "http://a:b"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    site = site_of(small(gateway=f"{{tracing: {{endpoint: '{address}'}}}}"))
    with pytest.raises(InputError, match="is no address"):
        policies(site)


def test_a_fleet_may_do_without_policies() -> None:
    assert policies(site_of(small(gateway="{networkPolicies: false}"))) == []


def test_a_pod_of_the_fleet_that_nobody_thought_of_is_shut() -> None:
    site = site_of(small())
    forgotten = Pod(namespace=site.namespace, labels={FLEET: site.fleet.name})
    assert not reaches(policies(site), STRANGER, forgotten, 8000)
    assert not reaches(policies(site), forgotten, HUB, 443)


def test_no_part_of_a_policy_is_shared_with_another() -> None:
    """Shared parts would become anchors and aliases in YAML."""
    seen: set[int] = set()

    def visit(node: object) -> None:
        if isinstance(node, dict | list):
            assert id(node) not in seen
            seen.add(id(node))
            for inner in node.values() if isinstance(node, dict) else node:
                visit(inner)

    visit(policies(site_of("examples/production.yaml")))
