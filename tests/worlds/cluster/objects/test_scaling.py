"""ScaledObjects, HPAs and VPAs: what they say, what they refuse, what is told of the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.errors import InputError
from plimsoll.facts.brokers import brokers
from plimsoll.worlds.cluster.info import KEDA, POD_MONITOR
from plimsoll.worlds.cluster.objects.promql import triggers
from plimsoll.worlds.cluster.objects.scaling import (
    external_metric,
    notes,
    scale_target,
    scaling_objects,
)
from plimsoll.worlds.cluster.objects.site import Manifest, Site
from tests.worlds.cluster.objects.signals import (
    EVERYTHING,
    PROMETHEUS,
    doubled,
    info,
    signal_site,
    workload,
)
from tests.worlds.cluster.schemas import problems

ADAPTER = info(POD_MONITOR, external_metrics=True)


def rendered(site: Site) -> dict[str, Manifest]:
    """By kind; there is one of each."""
    found = list(scaling_objects(site, workload(site)))
    by_kind = {each["kind"]: each for each in found}
    assert len(by_kind) == len(found)
    return by_kind


def scaled(**words: Any) -> dict[str, Any]:
    """The spec of the ScaledObject."""
    spec: dict[str, Any] = rendered(signal_site(**words))["ScaledObject"]["spec"]
    return spec


def behavior(**words: Any) -> dict[str, Any]:
    config = scaled(**words)["advanced"]["horizontalPodAutoscalerConfig"]
    found: dict[str, Any] = config["behavior"]
    return found


OFFICE = {"name": "office", "start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "min": 2}
VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"scaling": {"min": 0, "policy": "queueDepth", "target": 2.5, "warm": 1}},
    {"scaling": {"whenBlind": 3, "schedules": [OFFICE]}, "cold": 200, "most": 3},
    {"nodes": 2},
    {"model": {"storage": {"strategy": "volume"}, "resources": {"recommend": True}}},
    {"scaler": "scaler.plimsoll:9443", "scaler_secret": "scaler-tls"},
    {"name": "Qwen2.5:7B_Instruct." + "x" * 90 + "1"},
    {"scaling": {"driver": "hpa"}},
    *(
        {"model": {"batch": {"queue": {"type": kind, "queue": "work", **place}}}}
        for kind, place in {
            "kafka": {"address": "kafka:9092", "credentials": {"secret": "s", "key": "p"}},
            "sqs": {"address": "https://sqs.eu-west-1.amazonaws.com/123456789012"},
        }.items()
    ),
)


@pytest.mark.parametrize("kubernetes", ["1.33", "1.34", "1.37"])
@pytest.mark.parametrize("words", VARIANTS)
def test_the_api_server_takes_every_object(words: dict[str, Any], kubernetes: str) -> None:
    offered = info(*EVERYTHING.apis, kubernetes=kubernetes)
    site = signal_site(**words, offered=offered)
    found = list(scaling_objects(site, workload(site)))
    assert found
    for manifest in found:
        if manifest["kind"] != "VerticalPodAutoscaler":  # its CRD is not at hand
            assert problems(manifest, kubernetes=kubernetes) == []
        assert manifest["metadata"]["namespace"] == "inference"
    assert json.loads(json.dumps(found)) == found
    assert found == list(scaling_objects(site, workload(site)))


def test_lost_targets_are_not_an_idle_model() -> None:
    spec = scaled(scaling={"min": 0, "policy": "queueDepth"})
    assert {each["metadata"]["ignoreNullValues"] for each in spec["triggers"]} == {"false"}
    # With 0 replicas in the fallback, KEDA stops a blind model that may stand at zero.
    assert spec["fallback"] == {
        "failureThreshold": 3,
        "replicas": 1,
        "behavior": "currentReplicas",
    }


def test_when_blind_is_a_number_of_replicas() -> None:
    assert scaled(scaling={"whenBlind": 3})["fallback"] == {
        "failureThreshold": 3,
        "replicas": 3,
        "behavior": "static",
    }


def test_no_trigger_names_a_metric_and_every_value_is_a_string() -> None:
    for trigger in scaled(scaling={"policy": "queueDepth"})["triggers"]:
        assert trigger["type"] == "prometheus"
        assert trigger["metricType"] == "AverageValue"
        assert "metricName" not in trigger["metadata"]
        assert trigger["metadata"]["serverAddress"] == PROMETHEUS
        assert all(isinstance(value, str) for value in trigger["metadata"].values())


def test_cooldown_is_only_for_the_last_replica() -> None:
    spec = scaled(scaling={"min": 0, "cooldown": "10m", "stabilization": "90s"}, cold=120)
    assert spec["cooldownPeriod"] == 600
    assert spec["initialCooldownPeriod"] == 720
    assert spec["pollingInterval"] == 10
    spec = scaled(scaling={"min": 1, "cooldown": "10m", "stabilization": "90s"})
    assert "cooldownPeriod" not in spec
    assert "idleReplicaCount" not in spec
    down = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]
    assert down["stabilizationWindowSeconds"] == 90


def test_what_loads_is_not_asked_for_again_within_a_cold_start() -> None:
    traffic = {"requestsPerSecond": 1, "promptTokens": 10, "outputTokens": 10}
    up = behavior(cold=140.5, most=5, scaling={"max": 9}, model={"traffic": traffic})["scaleUp"]
    assert {policy["periodSeconds"] for policy in up["policies"]} == {141}
    assert {policy["type"]: policy["value"] for policy in up["policies"]} == {
        "Pods": 4,  # from one to the busiest minute that the plan knows
        "Percent": 100,
    }
    unknown = behavior(scaling={"max": 9})["scaleUp"]["policies"][0]
    assert unknown == {"type": "Pods", "value": 8, "periodSeconds": 15}
    assert behavior(cold=9999)["scaleUp"]["policies"][0]["periodSeconds"] == 1800


def test_counts_of_requests_have_no_tolerance_where_kubernetes_knows_it() -> None:
    assert behavior()["scaleUp"]["tolerance"] == "0"
    old = info(KEDA, kubernetes="1.33")
    assert "tolerance" not in behavior(offered=old)["scaleUp"]


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ({}, "Deployment"),
        ({"nodes": 2}, "LeaderWorkerSet"),
        ({"model": {"storage": {"strategy": "volume"}}}, "StatefulSet"),
        (
            {"model": {"storage": {"strategy": "volume", "accessMode": "ReadWriteMany"}}},
            "Deployment",
        ),
        ({"model": {"storage": {"strategy": "volume", "claim": "c"}}}, "Deployment"),
    ],
)
def test_the_real_kind_is_scaled(words: dict[str, Any], kind: str) -> None:
    site = signal_site(**words)
    api, found, name = scale_target(workload(site))
    assert found == kind
    assert scaled(**words)["scaleTargetRef"] == {"apiVersion": api, "kind": kind, "name": name}


def test_our_own_scaler_is_asked_where_there_is_one() -> None:
    found = rendered(signal_site(scaler="scaler:9443", scaler_secret="scaler-tls"))
    (trigger,) = found["ScaledObject"]["spec"]["triggers"]
    assert trigger["type"] == "external-push"
    assert trigger["metadata"] == {
        "scalerAddress": "scaler:9443",
        "fleet": "prod",
        "fleetNamespace": "inference",
        "model": "chat",
    }
    authentication = found["TriggerAuthentication"]
    assert trigger["authenticationRef"] == {"name": authentication["metadata"]["name"]}
    assert {each["parameter"] for each in authentication["spec"]["secretTargetRef"]} == {
        "caCert",
        "tlsClientCert",
        "tlsClientKey",
    }
    # It knows the predictive policy only, and without a Secret it speaks in the open.
    assert list(rendered(signal_site(scaler="scaler:9443"))) == ["ScaledObject"]
    other = scaled(scaler="scaler:9443", scaling={"policy": "concurrency"})
    assert other["triggers"][0]["type"] == "prometheus"


def test_a_schedule_is_a_minimum_for_its_hours() -> None:
    spec = scaled(scaling={"min": 0, "schedules": [{**OFFICE, "timezone": "Europe/Dublin"}]})
    assert spec["triggers"][-1] == {
        "type": "cron",
        "name": "schedule-office",
        "metadata": {
            "timezone": "Europe/Dublin",
            "start": "0 8 * * 1-5",
            "end": "0 18 * * 1-5",
            "desiredReplicas": "2",
        },
    }
    more = {**OFFICE, "min": 7, "max": 8}
    assert scaled(scaling={"schedules": [more]})["maxReplicaCount"] == 7


def test_a_schedule_of_nobody_is_left_out_and_told() -> None:
    site = signal_site(scaling={"schedules": [{**OFFICE, "min": 0}]})
    assert all(
        trigger["type"] != "cron" for trigger in rendered(site)["ScaledObject"]["spec"]["triggers"]
    )
    (note,) = notes(site)
    assert "cannot go below `min: 1`" in note


@pytest.mark.parametrize(
    "schedule",
    [{**OFFICE, "end": OFFICE["start"]}, {**OFFICE, "end": "0 18 * * 7"}],
)
def test_a_schedule_that_keda_refuses_is_refused(schedule: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        scaled(scaling={"schedules": [schedule]})
    assert caught.value.code == "cluster.schedule"


BROKERS = {
    "kafka": (
        {"address": "kafka.data:9092"},
        {
            "bootstrapServers": "kafka.data:9092",
            "consumerGroup": "prod-chat",
            "topic": "work",
            "lagThreshold": "50",
            "offsetResetPolicy": "earliest",
            "allowIdleConsumers": "true",
        },
    ),
    "rabbitmq": (
        {"address": "rabbit.data:5672"},
        {
            "host": "amqp://rabbit.data:5672/",
            "queueName": "work",
            "mode": "QueueLength",
            "value": "50",
        },
    ),
    "redis": (
        {"address": "rediss://valkey.data:6379/2"},
        {
            "address": "valkey.data:6379",
            "databaseIndex": "2",
            "enableTLS": "true",
            "listName": "work",
            "listLength": "50",
        },
    ),
    "nats": (
        {"address": "nats://nats.data:4222"},
        {
            "natsServerMonitoringEndpoint": "nats.data:8222",
            "account": "$G",
            "stream": "work",
            "consumer": "prod-chat",
            "lagThreshold": "50",
        },
    ),
    "sqs": (
        {"address": "https://sqs.eu-west-1.amazonaws.com/123456789012"},
        {
            "queueURL": "https://sqs.eu-west-1.amazonaws.com/123456789012/work",
            "awsRegion": "eu-west-1",
            "queueLength": "50",
        },
    ),
    "pubsub": (
        {"address": "acme-ml"},
        {
            "subscriptionName": "projects/acme-ml/subscriptions/work",
            "mode": "NumUndeliveredMessages",
            "value": "50",
        },
    ),
    "servicebus": (
        {"address": "acme.servicebus.windows.net"},
        {"namespace": "acme", "queueName": "work", "messageCount": "50"},
    ),
}


def batch(kind: str, **more: Any) -> dict[str, Any]:
    queue = {"type": kind, "queue": "work", **BROKERS[kind][0], **more}
    return {"model": {"batch": {"backlog": 50, "queue": queue}}}


def test_every_broker_of_the_fleet_file_is_known() -> None:
    assert set(BROKERS) == set(brokers())


@pytest.mark.parametrize("kind", BROKERS)
def test_a_backlog_is_read_where_it_is(kind: str) -> None:
    found = rendered(signal_site(**batch(kind)))
    trigger = found["ScaledObject"]["spec"]["triggers"][-1]
    assert trigger["type"] == brokers()[kind].trigger
    assert trigger["metadata"] == BROKERS[kind][1]
    identity = brokers()[kind].identity
    if identity:
        assert found["TriggerAuthentication"]["spec"] == {"podIdentity": {"provider": identity}}
        name = found["TriggerAuthentication"]["metadata"]["name"]
        assert trigger["authenticationRef"] == {"name": name}
    else:
        assert "authenticationRef" not in trigger


@pytest.mark.parametrize("kind", [kind for kind in BROKERS if brokers()[kind].secret])
def test_a_brokers_secret_is_named_and_never_read(kind: str) -> None:
    found = rendered(signal_site(**batch(kind, credentials={"secret": "broker", "key": "word"})))
    (first, *others) = found["TriggerAuthentication"]["spec"]["secretTargetRef"]
    assert first == {"parameter": brokers()[kind].secret, "name": "broker", "key": "word"}
    assert all(each["parameter"] == each["key"] for each in others)
    trigger = found["ScaledObject"]["spec"]["triggers"][-1]
    assert trigger["authenticationRef"] == {
        "name": found["TriggerAuthentication"]["metadata"]["name"]
    }
    assert "broker" not in json.dumps(found["ScaledObject"])


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (batch("kafka", credentials={"env": "PASSWORD"}), "cluster.credentials"),
        (batch("sqs", address="sqs.local:4566"), "cluster.broker"),
        (batch("pubsub", address="pubsub.googleapis.com:443"), "cluster.broker"),
        ({"prometheus": None, "scaling": {"driver": "keda"}}, "cluster.prometheus"),
        ({"engine": "rayserve", "scaling": {"driver": "keda"}}, "cluster.driver"),
        ({"engine": "rayserve", "scaling": {"driver": "hpa"}}, "cluster.driver"),
        ({"scaling": {"min": 0, "driver": "hpa"}}, "cluster.scale-to-zero"),
    ],
)
def test_what_a_scaler_cannot_do_is_refused(words: dict[str, Any], code: str) -> None:
    site = signal_site(**words)
    with pytest.raises(InputError) as caught:
        list(scaling_objects(site, workload(site)))
    assert caught.value.code == code
    assert "chat" in str(caught.value.where)
    assert caught.value.hint


def test_an_hpa_asks_for_the_same_signals() -> None:
    site = signal_site(offered=ADAPTER, scaling={"policy": "queueDepth"})
    spec = rendered(site)["HorizontalPodAutoscaler"]["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (1, 4)
    wanted = triggers(site, workload(site))
    assert [each["external"]["metric"]["name"] for each in spec["metrics"]] == [
        external_metric(workload(site), trigger) for trigger in wanted
    ]
    assert spec["metrics"][0]["external"]["target"] == {
        "type": "AverageValue",
        "averageValue": "8",
    }


def test_an_hpa_stops_the_last_replica_where_kubernetes_can() -> None:
    new = info(kubernetes="1.37", external_metrics=True)
    found = rendered(signal_site(offered=new, scaling={"min": 0}))
    assert found["HorizontalPodAutoscaler"]["spec"]["minReplicas"] == 0


def test_advice_never_acts() -> None:
    found = rendered(signal_site(model={"resources": {"recommend": True}}))
    spec = found["VerticalPodAutoscaler"]["spec"]
    assert spec["updatePolicy"] == {"updateMode": "Off"}
    assert spec["targetRef"] == found["ScaledObject"]["spec"]["scaleTargetRef"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"offered": info()}, "fixed number of replicas"),
        ({"prometheus": None}, "fixed number of replicas"),
        ({"offered": info(), "scaling": {"driver": "keda"}}, "KEDA is not installed"),
        ({"engine": "rayserve"}, "Ray Serve scales itself between 1 and 4"),
        (
            {"offered": info(KEDA), "model": {"resources": {"recommend": True}}},
            "nothing advises on its processor",
        ),
        ({"offered": ADAPTER, "scaling": {"schedules": [OFFICE]}}, "no schedules"),
        ({"offered": ADAPTER, "scaling": {"whenBlind": 2}}, "keeps the replicas"),
        ({"offered": ADAPTER, **batch("kafka")}, "backlog"),
        ({"scaling": {"schedules": [{**OFFICE, "max": 9}]}}, "one maximum"),
        (batch("pubsub"), "deprecates its Pub/Sub trigger"),
    ],
)
def test_what_is_left_out_is_told_with_what_it_costs(words: dict[str, Any], told: str) -> None:
    site = signal_site(**words)
    list(scaling_objects(site, workload(site)))
    (note,) = notes(site)
    assert told in note
    assert note.startswith("chat: ")


def test_nothing_is_told_where_nothing_is_left_out() -> None:
    assert notes(signal_site()) == ()
    assert notes(signal_site(scaling={"min": 2, "max": 2}, offered=info())) == ()


@pytest.mark.parametrize("words", [{"operator": True}, {"scaling": {"min": 2, "max": 2}}])
def test_who_has_another_driver_gets_no_scaler(words: dict[str, Any]) -> None:
    assert rendered(signal_site(**words)) == {}


def test_a_server_of_several_models_follows_them_all_and_is_scaled_once() -> None:
    options = {"engineOptions": {"server": "door"}, "scaling": {"max": 4, "policy": "queueDepth"}}
    site = doubled(signal_site(engine="triton", model=options), "second")
    first, second = site.workloads
    (manifest,) = scaling_objects(site, first)
    assert list(scaling_objects(site, second)) == []
    names = [trigger["name"] for trigger in manifest["spec"]["triggers"]]
    assert names == ["waiting", "carried", "waiting-second", "carried-second"]
    queries = [trigger["metadata"]["query"] for trigger in manifest["spec"]["triggers"]]
    # The pods are named after the first model; Triton's own label tells the two apart.
    for query, model in ((queries[0], "chat"), (queries[2], "second")):
        assert f'plimsoll_model="chat",model="{model}"}}' in query
        assert f'plimsoll_fleet="prod",model="{model}"}})' in query
    assert problems(manifest) == []
    (note,) = notes(site)
    assert note == "second: shares its server, whose replicas keep to `scaling` of chat"


def test_models_with_servers_of_their_own_are_scaled_each() -> None:
    site = doubled(signal_site(engine="triton"), "second")
    assert [len(list(scaling_objects(site, each))) for each in site.workloads] == [1, 1]


NAMES = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._:-]{0,126}[A-Za-z0-9])?", fullmatch=True)


@given(
    name=NAMES, low=st.integers(0, 5), high=st.integers(1, 9), blind=st.none() | st.integers(0, 9)
)
def test_names_and_bounds_are_ones_that_keda_takes(
    name: str, low: int, high: int, blind: int | None
) -> None:
    wished: dict[str, Any] = {"driver": "keda", "min": min(low, high), "max": high}
    if blind is not None:
        wished["whenBlind"] = min(blind, high)
    found = rendered(signal_site(name=name, scaling=wished))["ScaledObject"]
    assert len("keda-hpa-" + found["metadata"]["name"]) <= 63
    spec = found["spec"]
    assert 0 <= spec["minReplicaCount"] <= spec["maxReplicaCount"]
    assert spec["fallback"]["replicas"] > 0 or blind == 0
    for policy in spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleUp"][
        "policies"
    ]:
        assert policy["value"] > 0
