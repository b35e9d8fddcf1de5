"""What `decide` is asked in a cluster, and the numbers that follow."""

from __future__ import annotations

from plimsoll.policy.snapshot import Memory, ModelMemory
from plimsoll.worlds.cluster.objects.site import Workload
from plimsoll.worlds.cluster.operator.demand import Look, Wanted
from plimsoll.worlds.cluster.operator.outlook import outlook
from tests.worlds.cluster.sites import fleet_text, site_of

SITE = site_of(
    fleet_text(
        """
models:
  - name: a
    source: builtin:demo
    engine: llamacpp
    scaling: {min: 0, max: 9, target: 2}
  - name: b
    source: builtin:demo
    engine: llamacpp
    scaling: {min: 0, max: 9, target: 2, whenBlind: 4}
  - name: c
    source: builtin:demo
    engine: llamacpp
    scaling: {min: 0, max: 9, driver: keda}
"""
    ),
    operator=True,
)
OWN = {workload.model.name: workload for workload in SITE.workloads}
HEARD = Look(
    models={"a": Wanted(queued=3), "b": Wanted(queued=5), "c": Wanted(queued=9)}, heard=True
)


def wanted(
    look: Look = HEARD, memory: Memory | None = None, servers: dict[str, Workload] | None = None
) -> dict[str, int]:
    found = outlook(SITE.fleet, servers or OWN, {}, look, memory or Memory(), now=100.0)
    return {name: model.wanted for name, model in found.memory.models.items()}


def test_models_that_others_scale_are_not_decided_on() -> None:
    assert wanted() == {"a": 2, "b": 3}


def test_a_server_of_several_models_has_the_demand_of_all() -> None:
    assert wanted(servers={"a": OWN["a"], "b": OWN["a"]}) == {"a": 4}


def test_blind_means_not_fewer_than_before_or_what_the_fleet_says() -> None:
    before = Memory(models={"a": ModelMemory(wanted=7), "b": ModelMemory(wanted=7)})
    assert wanted(Look(), before) == {"a": 7, "b": 4}


def test_demand_that_one_gateway_pod_tells_counts_while_another_is_silent() -> None:
    look = Look(models={"a": Wanted(queued=8)}, silent=("gateway-1",), heard=True)
    assert wanted(look)["a"] == 4


def test_a_wait_that_ends_is_looked_at_then() -> None:
    memory = Memory(models={"a": ModelMemory(retry_at=130.0)})
    found = outlook(SITE.fleet, {"a": OWN["a"]}, {}, Look(heard=True), memory, now=100.0)
    assert found.after == 30.0
    calm = outlook(SITE.fleet, {"a": OWN["a"]}, {}, Look(heard=True), Memory(), now=100.0)
    assert calm.after is None
