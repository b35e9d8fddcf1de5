"""Demand as gateways tell it: summed over pods, and never less than it was while one is silent."""

from __future__ import annotations

from plimsoll.errors import Failed
from plimsoll.telemetry.metrics import Depth, GatewayMetrics
from plimsoll.worlds.cluster.operator.demand import Demand, GatewayPod, gateway_pods, loads_of
from plimsoll.worlds.cluster.operator.reading import FleetKey
from tests.worlds.cluster.operator.stage import played

DOOR = FleetKey("platform", "base")
PODS = [GatewayPod(uid=name, name=name, address=f"http://{name}:8080") for name in ("a", "b")]


def told(**queued: int) -> str:
    """What a real gateway says with so many requests that wait."""
    metrics = GatewayMetrics()
    for name in queued:
        metrics.model(name).answered("chat", 200)
    metrics.watch(
        lambda: [
            Depth(model=name, queued=count, in_flight=1, replicas=0)
            for name, count in queued.items()
        ]
    )
    return metrics.text().decode()


class Gateways:
    def __init__(self) -> None:
        self.says: dict[str, str | None] = {}

    async def __call__(self, address: str) -> str:
        text = self.says[address.split("/")[2].split(":", maxsplit=1)[0]]
        if text is None:
            raise Failed("silent")
        return text


def test_the_text_of_a_real_gateway_is_read() -> None:
    found = loads_of(told(**{'odd"name\\': 3, "plain": 0}))
    assert found['odd"name\\'].queued == 3
    assert (found["plain"].in_flight, found["plain"].answered) == (1, 1)


def test_what_is_no_number_is_passed_over() -> None:
    assert loads_of('plimsoll_gateway_queued{model="x"} NaN\nplimsoll_gateway_queued 7\n') == {}


@played
async def test_pods_add_up() -> None:
    gateways = Gateways()
    gateways.says = {"a": told(x=2), "b": told(x=3, y=1)}
    demand = Demand(gateways, lambda: 7.0)
    assert await demand.ask(DOOR, PODS) == {"x", "y"}
    look = demand.look(DOOR)
    assert (look.models["x"].queued, look.models["x"].in_flight) == (5, 2)
    assert look.models["x"].last_used == 7.0
    assert not look.blind


@played
async def test_a_silent_pods_last_word_counts() -> None:
    gateways = Gateways()
    gateways.says = {"a": told(x=2), "b": told(x=3)}
    demand = Demand(gateways, lambda: 7.0)
    await demand.ask(DOOR, PODS)
    gateways.says["b"] = None
    await demand.ask(DOOR, PODS)
    look = demand.look(DOOR)
    assert look.models["x"].queued == 5
    assert look.silent == ("b",)
    assert look.blind


@played
async def test_a_pod_that_is_gone_counts_no_more() -> None:
    gateways = Gateways()
    gateways.says = {"a": told(x=2), "b": told(x=3)}
    demand = Demand(gateways, lambda: 7.0)
    await demand.ask(DOOR, PODS)
    assert await demand.ask(DOOR, PODS[:1]) == {"x"}
    assert demand.look(DOOR).models["x"].queued == 2


def test_a_gateway_that_was_never_heard_is_not_idle() -> None:
    assert Demand(Gateways(), lambda: 0.0).look(DOOR).blind


@played
async def test_nothing_that_stays_the_same_wakes_anybody() -> None:
    gateways = Gateways()
    gateways.says = {"a": told(x=2), "b": told(x=3)}
    demand = Demand(gateways, lambda: 7.0)
    await demand.ask(DOOR, PODS)
    assert await demand.ask(DOOR, PODS) == frozenset()


def test_a_pod_is_asked_where_the_kubelet_asks_it() -> None:
    probe = {"httpGet": {"path": "/health", "port": "http", "scheme": "HTTPS"}}
    port = {"name": "http", "containerPort": 9443}
    pod = {
        "metadata": {"name": "a", "uid": "1"},
        "spec": {"containers": [{"name": "gateway", "ports": [port], "readinessProbe": probe}]},
        "status": {"phase": "Running", "podIP": "fd00::1"},
    }
    waiting = {**pod, "status": {"phase": "Pending"}}
    assert [one.address for one in gateway_pods([pod, waiting])] == ["https://[fd00::1]:9443"]
