"""decide on imagined worlds: what starts, what stops, what waits."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.fleet import Document, Fleet, load_fleet
from plimsoll.plan.types import Ledger, Placement, Plan, Term
from plimsoll.policy.decide import bounds_of, decide, retry_delay
from plimsoll.policy.snapshot import (
    Action,
    Memory,
    ModelSeen,
    ReplicaSeen,
    ReplicaState,
    Seen,
    StartReplica,
    StopReplica,
)


def fleet(**scaling: object) -> Fleet:
    lines = "".join(f"\n        {key}: {value}" for key, value in scaling.items())
    text = f"""
apiVersion: plimsoll.dev/v1alpha1
kind: Fleet
metadata:
  name: test
spec:
  models:
    - name: chat
      source: builtin:demo
      scaling:{lines or " {}"}
"""
    return load_fleet([Document(file="fleet.yaml", text=text)])


def plan(*, memory: int = 100, budget: int | None = None, model: str = "chat") -> Plan:
    place = Placement(
        model=model,
        engine="llamacpp",
        source="builtin:demo",
        task="chat",
        context=512,
        parallel=4,
        threads=1,
        batch=512,
        kv_type="f16",
        ledger=Ledger(terms=(Term(name="weights", bytes=memory),)),
    )
    return Plan(placements=(place,), budget=budget)


def replica(name: str, state: ReplicaState, since: float = 0.0, reason: str = "") -> ReplicaSeen:
    return ReplicaSeen(name=name, state=state, since=since, reason=reason)


def seen(*replicas: ReplicaSeen, now: float = 0.0, queued: int = 0, in_flight: int = 0) -> Seen:
    model = ModelSeen(name="chat", replicas=replicas, queued=queued, in_flight=in_flight)
    return Seen(now=now, models=(model,))


def starts(actions: tuple[Action, ...]) -> int:
    return sum(isinstance(action, StartReplica) for action in actions)


def stops(actions: tuple[Action, ...]) -> list[str]:
    return [action.replica for action in actions if isinstance(action, StopReplica)]


def test_an_empty_world_is_filled_to_the_minimum() -> None:
    actions, _ = decide(fleet(min=2, max=3), plan(), seen(), Memory())
    assert starts(actions) == 2


def test_a_world_at_its_plan_is_left_alone() -> None:
    world = seen(replica("chat-0", ReplicaState.READY))
    assert decide(fleet(min=1, max=3), plan(), world, Memory())[0] == ()


def test_a_failed_replica_is_cleared_and_started_again_after_the_back_off() -> None:
    dead = replica("chat-0", ReplicaState.FAILED, reason="killed by SIGKILL")
    actions, memory = decide(fleet(min=1), plan(), seen(dead, now=10), Memory())
    assert stops(actions) == ["chat-0"]
    assert starts(actions) == 0
    assert "killed by SIGKILL" in memory.models["chat"].last_error
    actions, memory = decide(fleet(min=1), plan(), seen(now=10.4), memory)
    assert starts(actions) == 0
    assert "killed by SIGKILL" in memory.models["chat"].reason
    actions, _ = decide(fleet(min=1), plan(), seen(now=10.5), memory)
    assert starts(actions) == 1


def test_a_failure_that_is_seen_twice_is_counted_once() -> None:
    dead = replica("chat-0", ReplicaState.FAILED)
    _, memory = decide(fleet(min=1), plan(), seen(dead, now=1), Memory())
    _, memory = decide(fleet(min=1), plan(), seen(dead, now=2), memory)
    assert memory.models["chat"].failures == 1


def test_the_back_off_doubles_and_has_a_ceiling() -> None:
    delays = [retry_delay(failures) for failures in range(1, 40)]
    assert delays == sorted(delays)
    assert (delays[0], delays[1], delays[-1]) == (0.5, 1.0, 60.0)


def test_a_replica_that_stays_ready_ends_the_row_of_failures() -> None:
    dead = replica("chat-0", ReplicaState.FAILED)
    _, memory = decide(fleet(min=1), plan(), seen(dead), Memory())
    ready = replica("chat-1", ReplicaState.READY, since=1)
    _, memory = decide(fleet(min=1), plan(), seen(ready, now=5), memory)
    assert memory.models["chat"].failures == 1
    _, memory = decide(fleet(min=1), plan(), seen(ready, now=11), memory)
    assert memory.models["chat"].failures == 0


def test_no_replica_starts_beyond_the_memory_of_the_machine() -> None:
    actions, memory = decide(fleet(min=3, max=3), plan(budget=250), seen(), Memory())
    assert starts(actions) == 2
    assert "no memory" in memory.models["chat"].reason


def test_a_draining_replica_still_holds_its_memory() -> None:
    world = seen(replica("chat-0", ReplicaState.DRAINING))
    assert starts(decide(fleet(min=1), plan(budget=150), world, Memory())[0]) == 0
    assert starts(decide(fleet(min=1), plan(budget=200), world, Memory())[0]) == 1


def test_scaling_down_stops_the_youngest() -> None:
    world = seen(
        replica("chat-0", ReplicaState.READY, since=0),
        replica("chat-1", ReplicaState.READY, since=50),
    )
    settled = fleet(min=1, max=2, stabilization="1s")
    _, memory = decide(settled, plan(), replace(world, now=100), Memory())
    actions, _ = decide(settled, plan(), replace(world, now=101), memory)
    assert stops(actions) == ["chat-1"]


def test_a_model_that_left_the_fleet_is_stopped() -> None:
    ghost = ModelSeen(name="old", replicas=(replica("old-0", ReplicaState.READY),))
    actions, _ = decide(fleet(min=0), plan(), Seen(now=0, models=(ghost,)), Memory())
    assert stops(actions) == ["old-0"]


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    low=st.integers(0, 3),
    more=st.integers(0, 3),
    queued=st.integers(0, 40),
)
def test_a_world_where_anything_fails_converges_and_never_exceeds_max(
    seed: int, low: int, more: int, queued: int
) -> None:
    chance = random.Random(seed)
    high = max(low + more, 1)
    limits = fleet(min=low, max=high)
    replicas: dict[str, ReplicaSeen] = {}
    memory, born = Memory(), 0
    for tick in range(400):
        now = tick * 0.5
        for name, r in list(replicas.items()):
            if r.state is ReplicaState.STARTING and now - r.since > 2:
                replicas[name] = replace(r, state=ReplicaState.READY, since=now)
            elif r.state is ReplicaState.DRAINING:
                del replicas[name]
            elif tick < 40 and chance.random() < 0.1:
                replicas[name] = replace(r, state=ReplicaState.FAILED, since=now, reason="died")
        look = seen(*replicas.values(), now=now, queued=queued)
        actions, memory = decide(limits, plan(), look, memory)
        for action in actions:
            if isinstance(action, StartReplica):
                replicas[f"chat-{born}"] = replica(f"chat-{born}", ReplicaState.STARTING, now)
                born += 1
            elif replicas[action.replica].state is ReplicaState.FAILED:
                del replicas[action.replica]
            else:
                replicas[action.replica] = replace(
                    replicas[action.replica], state=ReplicaState.DRAINING
                )
        live = [
            r for r in replicas.values() if r.state in (ReplicaState.STARTING, ReplicaState.READY)
        ]
        assert len(live) <= high
    expected = min(max(-(-queued // bounds_of(limits, plan().placements[0]).target), low), high)
    assert [r.state for r in replicas.values()] == [ReplicaState.READY] * expected
