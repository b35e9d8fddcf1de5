"""Which replicas get work, by EndpointSlices, and how that stays true."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.telemetry.watch_metrics import WatchMetrics
from plimsoll.worlds.cluster.client import Kube, Patience
from plimsoll.worlds.cluster.following import Pace
from plimsoll.worlds.cluster.replicas import Replica, Replicas, replicas_of
from tests.worlds.cluster.api import Api, Fault
from tests.worlds.local.harness import until

PACE = Pace(jitter=lambda: 0.0, first=0.05, longest=0.2)
FAST = Patience(timeout=5.0, attempts=1, idle=5.0)


def endpoint(pod: str | None, address: str, **conditions: bool | None) -> dict[str, Any]:
    made: dict[str, Any] = {"addresses": [address], "conditions": conditions}
    if pod is not None:
        made["targetRef"] = {"kind": "Pod", "name": pod}
    return made


def endpoint_slice(
    *endpoints: dict[str, Any],
    name: str = "chat-1",
    service: str = "chat",
    namespace: str = "default",
    family: str = "IPv4",
    ports: Any = ({"name": "http", "port": 8000, "protocol": "TCP"},),
) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name, "namespace": namespace,
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": family,
        "endpoints": list(endpoints),
        "ports": list(ports) if ports is not None else None,
    }  # fmt: skip


def names(*slices: dict[str, Any]) -> list[str]:
    return [replica.name for replica in replicas_of(slices, port=8000)]


@pytest.mark.parametrize(
    ("conditions", "gets_work"),
    [
        ({"ready": True, "serving": True, "terminating": False}, True),
        ({}, True),  # what is not said counts as ready
        ({"ready": None, "serving": None, "terminating": None}, True),
        ({"ready": False, "serving": False, "terminating": False}, False),
        ({"ready": False, "serving": True, "terminating": True}, False),
        # A Service that publishes addresses of pods that are not ready calls them all ready.
        ({"ready": True, "serving": False, "terminating": False}, False),
        ({"ready": True, "serving": True, "terminating": True}, False),
    ],
)
def test_a_pod_gets_work_when_it_is_ready_and_not_ending(
    conditions: dict[str, bool | None], gets_work: bool
) -> None:
    made = endpoint_slice(endpoint("a", "10.0.0.1", **conditions))
    assert names(made) == (["a"] if gets_work else [])


def test_a_pod_of_both_address_families_is_one_replica() -> None:
    one = endpoint_slice(endpoint("a", "fd00::1"), name="six", family="IPv6")
    other = endpoint_slice(endpoint("a", "10.0.0.1"), name="four")
    found = (Replica(name="a", host="10.0.0.1", port=8000),)
    assert replicas_of([one, other], port=8000) == found
    assert replicas_of([other, one], port=8000) == found
    assert replicas_of([one], port=8000) == (Replica(name="a", host="fd00::1", port=8000),)


def test_a_pod_that_moves_between_slices_is_one_and_ends_when_either_says_so() -> None:
    stale = endpoint_slice(endpoint("a", "10.0.0.1", ready=False), name="x")
    fresh = endpoint_slice(endpoint("a", "10.0.0.1", ready=True), name="y")
    ending = endpoint_slice(endpoint("a", "10.0.0.1", ready=False, terminating=True), name="z")
    assert names(stale, fresh) == names(fresh, stale) == ["a"]
    assert names(fresh, ending) == names(ending, fresh) == []


def test_an_endpoint_without_a_pod_is_named_by_its_address() -> None:
    made = endpoint_slice(endpoint(None, "10.0.0.9"))
    assert names(made) == ["10.0.0.9:8000"]


@pytest.mark.parametrize(
    ("ports", "chosen"),
    [
        ([{"port": 9000}, {"port": 8000}], 8000),
        ([{"name": "metrics", "port": 9000}, {"name": "http", "port": 7000}], 7000),
        ([{"name": "grpc", "port": 7000}], 7000),
        ([{"name": "a", "port": 7000}, {"name": "b", "port": 7001}], None),
        ([{"name": "http", "port": 8000, "protocol": "UDP"}], None),
        ([{"name": "http"}], None),
        ([], None),
        (None, None),
    ],
)
def test_the_port_is_the_models_own_else_http_else_the_only_one(
    ports: Any, chosen: int | None
) -> None:
    made = endpoint_slice(endpoint("a", "10.0.0.1"), ports=ports)
    assert [found.port for found in replicas_of([made], port=8000)] == (
        [] if chosen is None else [chosen]
    )


def test_a_slice_that_cannot_be_read_leaves_the_others() -> None:
    broken = endpoint_slice(endpoint("a", "10.0.0.1"), name="broken")
    broken["endpoints"] = "none"
    name = endpoint_slice(endpoint("b", "example.com"), name="dns", family="FQDN")
    assert names(broken, name, endpoint_slice(endpoint("c", "10.0.0.3"))) == ["c"]


PODS = st.sampled_from("abcdef")
ENDPOINTS = st.builds(
    lambda pod, ready, ending: endpoint(
        pod, f"10.0.0.{ord(pod)}", ready=ready, serving=ready, terminating=ending
    ),
    PODS,
    st.booleans(),
    st.booleans(),
)


@settings(max_examples=200, deadline=None)
@given(
    groups=st.lists(st.lists(ENDPOINTS, max_size=6), max_size=4),
    order=st.randoms(use_true_random=False),
)
def test_how_endpoints_are_divided_and_ordered_does_not_matter(
    groups: list[list[dict[str, Any]]], order: random.Random
) -> None:
    slices = [endpoint_slice(*group, name=f"s{n}") for n, group in enumerate(groups)]
    every = [one for group in groups for one in group]
    order.shuffle(every)
    again = [endpoint_slice(*every, name="whole"), *slices[:1]]
    found = replicas_of(slices, port=8000)
    assert found == replicas_of(again, port=8000)
    assert len({replica.name for replica in found}) == len(found)
    ending = {one["targetRef"]["name"] for one in every if one["conditions"]["terminating"]}
    assert not ending & {replica.name for replica in found}


class Told:
    """What was told, and how to wait for more."""

    def __init__(self) -> None:
        self.count = 0
        self.metrics = WatchMetrics()

    def __call__(self) -> None:
        self.count += 1


@asynccontextmanager
async def following(
    api: Api, *namespaces: str, told: Told | None = None
) -> AsyncIterator[Replicas]:
    seen = told or Told()
    async with (
        await Kube.connect(url=api.url, patience=FAST) as kube,
        Replicas(kube, pace=PACE, metrics=seen.metrics, changed=seen) as replicas,
    ):
        replicas.follow(namespaces)
        yield replicas


def pods(replicas: Replicas, service: str = "chat", namespace: str = "default") -> list[str]:
    return [found.name for found in replicas.of(namespace, service, port=8000)]


def test_changes_are_followed_and_services_are_told_apart(api: Api) -> None:
    async def scene() -> None:
        api.create(endpoint_slice(endpoint("a", "10.0.0.1")))
        api.create(endpoint_slice(endpoint("z", "10.0.0.9"), service="other", name="other-1"))
        async with following(api, "default") as replicas:
            await until(lambda: replicas.heard)
            assert pods(replicas) == ["a"]
            made = api.create(endpoint_slice(endpoint("b", "10.0.0.2"), name="chat-2"))
            await until(lambda: pods(replicas) == ["a", "b"])
            api.change(made, lambda it: it["endpoints"][0].update(conditions={"ready": False}))
            await until(lambda: pods(replicas) == ["a"])
            api.delete(made)
            api.delete(endpoint_slice())
            await until(lambda: pods(replicas) == [])
            assert pods(replicas, "other") == ["z"]

    asyncio.run(scene())


def test_replicas_stay_known_while_the_api_server_is_away(api: Api) -> None:
    async def scene() -> None:
        told = Told()
        api.create(endpoint_slice(endpoint("a", "10.0.0.1")))
        async with following(api, "default", told=told) as replicas:
            await until(lambda: replicas.heard)
            await asyncio.to_thread(api.down)
            await until(lambda: sum(told.metrics.failures.values()) >= 3)
            assert pods(replicas) == ["a"]
            assert replicas.heard
            api.delete(endpoint_slice())  # while nobody can tell
            await asyncio.to_thread(api.up)
            await until(lambda: pods(replicas) == [])

    asyncio.run(scene())


@pytest.mark.parametrize("trouble", ["expired", "dropped", "fault", "slow down", "forbidden"])
def test_nothing_is_missed_over_a_lost_watch(api: Api, trouble: str) -> None:
    async def scene() -> None:
        told = Told()
        api.create(endpoint_slice(endpoint("a", "10.0.0.1")))
        async with following(api, "default", told=told) as replicas:
            await until(lambda: pods(replicas) == ["a"])
            await until(lambda: any("watch=true" in line for line in api.requests))
            troubles = {
                "expired": lambda: api.faults.append(Fault(match="watch=true", status=410)),
                "dropped": lambda: None,
                "fault": lambda: api.faults.append(Fault(match="endpointslices", status=500)),
                "slow down": lambda: api.faults.append(
                    Fault(match="endpointslices", status=429, headers={"Retry-After": "1"})
                ),
                "forbidden": lambda: api.deny("list", "endpointslices"),
            }
            troubles[trouble]()
            api.drop_watches()
            api.delete(endpoint_slice())
            api.create(endpoint_slice(endpoint("b", "10.0.0.2"), name="chat-2"))
            if trouble == "forbidden":
                await until(lambda: told.metrics.failures)
                assert pods(replicas) == ["a"]
                api.server.denied.clear()
            await until(lambda: pods(replicas) == ["b"])
            assert told.metrics.relists["EndpointSlice/default"] >= 2

    asyncio.run(scene())


def test_a_namespace_without_rights_does_not_hide_the_others(api: Api) -> None:
    async def scene() -> None:
        api.namespace("closed")
        api.create(endpoint_slice(endpoint("a", "10.0.0.1")))
        api.faults.append(Fault(match="namespaces/closed/", status=403, times=None))
        async with following(api, "closed", "default") as replicas:
            await until(lambda: replicas.heard_any)
            await until(lambda: pods(replicas) == ["a"])
            assert not replicas.heard

    asyncio.run(scene())


def test_namespaces_come_and_go(api: Api) -> None:
    async def scene() -> None:
        api.namespace("other")
        api.create(endpoint_slice(endpoint("a", "10.0.0.1")))
        api.create(endpoint_slice(endpoint("b", "10.0.0.2"), namespace="other"))
        async with following(api, "default") as replicas:
            await until(lambda: pods(replicas) == ["a"])
            replicas.follow({"other"})
            assert pods(replicas) == []
            await until(lambda: pods(replicas, namespace="other") == ["b"])

    asyncio.run(scene())


def test_the_metrics_say_when_the_api_server_last_spoke(api: Api) -> None:
    async def scene() -> None:
        told = Told()
        before = time.time()
        async with following(api, "default", told=told) as replicas:
            await until(lambda: replicas.heard)
            first = told.metrics.contact["EndpointSlice/default"]
            assert before <= first <= time.time()
            api.create(endpoint_slice(endpoint("a", "10.0.0.1")))
            await until(lambda: told.metrics.contact["EndpointSlice/default"] > first)

    asyncio.run(scene())


@given(failures=st.integers(1, 10_000), jitter=st.floats(0, 1))
def test_pauses_grow_to_a_limit_and_are_never_nothing(failures: int, jitter: float) -> None:
    pace = Pace(jitter=lambda: jitter)
    assert pace.first / 2 <= pace.pause(failures) <= pace.longest
    assert pace.pause(failures + 1) >= pace.pause(failures)
