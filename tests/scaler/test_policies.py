"""Every policy gives at the door, restarts between, the very numbers that it gives alone."""

import asyncio
from random import Random

import pytest

from plimsoll.policy.scale.keda import Keda
from plimsoll.policy.scale.knative import Knative
from plimsoll.policy.scale.predictive import Predictive
from plimsoll.policy.scale.queue_drain import QueueDrain
from plimsoll.policy.scale.types import Arrived, Capacity, ColdStart, Limits, Queued, Signals
from plimsoll.scaler.decisions import Decisions
from plimsoll.scaler.memory import Folder, Keeper
from plimsoll.scaler.models import Scaled
from tests.scaler.conftest import CHAT

LIMITS = Limits(min=0, max=40)
CAPACITY = Capacity(prompt_tokens=20_000, output_tokens=4_000, concurrent=64)
POLICIES = {
    "keda": Keda(threshold=10, limits=LIMITS),
    "knative": Knative(target=10, limits=LIMITS),
    "predictive": Predictive(
        capacity=CAPACITY, limits=LIMITS, cold_start=ColdStart(p50=60.0, p90=90.0)
    ),
    "queueDrain": QueueDrain(capacity=CAPACITY, limits=LIMITS),
}
policies = pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)


def looks(count: int, seed: int = 1) -> list[Signals]:
    """A load that rises, falls to nothing, and comes back."""
    chance, found = Random(seed), []
    for number in range(count):
        rate = 0 if 0.5 < number / count < 0.7 else chance.expovariate(1 / 30)
        found.append(
            Signals(
                now=1e6 + 5.0 * number,
                arrived=Arrived(
                    seconds=5.0,
                    requests=5 * rate,
                    prompt_tokens=5 * rate * 900,
                    output_tokens=5 * rate * 200,
                ),
                queued=Queued(requests=float(chance.randrange(5) if rate else 0)),
                in_flight=rate * 4,
                ready=chance.randrange(12),
            )
        )
    return found


def started(policy, folder) -> tuple[Decisions, Keeper]:
    keeper = Keeper(Folder(folder))
    decisions = Decisions(keeper.changed)
    decisions.offer({CHAT: Scaled(policy=policy)})
    keeper.recall(decisions)
    return decisions, keeper


@policies
def test_replayed_signals_give_the_same_numbers_and_reasons_over_restarts(policy, tmp_path):
    memory = policy.memory_type()
    decisions, keeper = started(policy, tmp_path)
    for number, signals in enumerate(looks(400)):
        answer = policy.decide(signals, memory)
        memory = answer.memory
        decided = decisions.look(CHAT, signals)
        assert (decided.replicas, decided.reasons) == (answer.replicas, answer.reasons)
        if number % 50 == 49:
            asyncio.run(keeper.close(decisions))
            decisions, keeper = started(policy, tmp_path)


@policies
def test_the_loss_of_all_figures_never_scales_down(policy, tmp_path):
    decisions, _ = started(policy, tmp_path)
    for signals in looks(100):
        last = decisions.look(CHAT, signals)
    for number in range(1, 200):
        now = last.at + 60.0 * number
        lost = Signals(now=now, ready=last.replicas, age=60.0 * number, blind=True)
        assert decisions.look(CHAT, lost).replicas >= last.replicas


@pytest.mark.parametrize("name", ["knative", "predictive", "queueDrain"])
def test_a_request_for_a_model_without_a_replica_wakes_it_at_once(name, tmp_path):
    """Of KEDA's own rule it is the nature to look every half minute."""
    policy = POLICIES[name]
    decisions, _ = started(policy, tmp_path)
    for number in range(300):
        decided = decisions.look(
            CHAT, Signals(now=1e6 + 60.0 * number, arrived=Arrived(seconds=60))
        )
    assert decided.replicas == 0
    came = Signals(
        now=decided.at + 0.25,
        arrived=Arrived(seconds=0.25, requests=1, prompt_tokens=900, output_tokens=200),
        queued=Queued(requests=1, prompt_tokens=900, output_tokens=200),
    )
    assert decisions.look(CHAT, came).replicas >= 1
