"""A world for the scaling policies: traffic in, replicas that take their time to load."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any

from plimsoll.policy.scale import (
    Answer,
    Arrived,
    Capacity,
    ColdStart,
    Keda,
    Knative,
    Limits,
    Mm1,
    Policy,
    Predictive,
    Queued,
    QueueDrain,
    Service,
    Signals,
)

PROMPT, OUTPUT = 1000.0, 200.0  # tokens of every request
RATE = 10.0  # requests/s of one replica
SEATS = 80.0  # requests at once of one replica
CAPACITY = Capacity(
    prompt_tokens=2 * RATE * PROMPT, output_tokens=2 * RATE * OUTPUT, concurrent=SEATS, slack=1.8
)
SERVICE = Service(
    step_base=0.015, step_each=0.0003, prompt_base=0.05, prompt_each=1e-6, batch=40, queue=60,
    ttft=2.0, tpot=0.05,
)  # fmt: skip

Make = Callable[[Limits], Policy[Any]]


def predictive(limits: Limits, cold_start: float = 120.0, **more: float) -> Predictive:
    return Predictive(
        capacity=CAPACITY,
        limits=limits,
        cold_start=ColdStart(p50=cold_start, p90=cold_start),
        **more,
    )


POLICIES: dict[str, Make] = {
    "predictive": predictive,
    "keda": lambda limits: Keda(threshold=40.0, limits=limits),
    "keda rate": lambda limits: Keda(threshold=8.0, limits=limits, metric="rate"),
    "knative": lambda limits: Knative(target=56.0, limits=limits),
    "queue drain": lambda limits: QueueDrain(capacity=CAPACITY, limits=limits),
    "mm1": lambda limits: Mm1(service=SERVICE, limits=limits),
}


class World:
    """Replicas that load for `cold_start` seconds, and a queue of what they cannot do."""

    def __init__(self, policy: Policy[Any], *, ready: int, cold_start: float = 120.0) -> None:
        self.policy = policy
        self.memory: Any = policy.memory_type()
        self.ready = ready
        self.loading: list[float] = []
        self.cold_start = cold_start
        self.queue = 0.0
        self.now = 0.0
        self.answer: Answer[Any] | None = None

    def look(self, rate: float, *, seconds: float = 10.0, **more: Any) -> Answer[Any]:
        """Seconds of traffic at a rate (requests/s), a look, and what was asked for."""
        self.now += seconds
        self.ready += sum(1 for at in self.loading if at <= self.now)
        self.loading = [at for at in self.loading if at > self.now]
        able = self.ready * RATE * seconds
        came = rate * seconds
        done = min(able, self.queue + came)
        self.queue += came - done
        busy = done / (RATE * seconds) * SEATS if seconds else 0.0
        signals = Signals(
            now=self.now,
            arrived=Arrived(
                seconds=seconds,
                requests=came,
                prompt_tokens=came * PROMPT,
                output_tokens=came * OUTPUT,
            ),
            queued=Queued(
                requests=self.queue,
                prompt_tokens=self.queue * PROMPT,
                output_tokens=self.queue * OUTPUT,
            ),
            in_flight=busy,
            ready=self.ready,
            loading=tuple(self.loading),
            **more,
        )
        answer = self.policy.decide(signals, self.memory)
        self.memory = answer.memory
        self.apply(answer.replicas)
        self.answer = answer
        return answer

    def apply(self, wanted: int) -> None:
        live = self.ready + len(self.loading)
        self.loading += [self.now + self.cold_start] * max(0, wanted - live)
        for _ in range(max(0, live - wanted)):
            if self.loading:
                self.loading.pop()
            else:
                self.ready -= 1

    def run(self, rates: Iterable[float], **more: Any) -> Iterator[int]:
        for rate in rates:
            yield self.look(rate, **more).replicas


def turns(numbers: list[int]) -> int:
    """Changes of direction."""
    steps = [b - a for a, b in pairwise(numbers) if a != b]
    return sum(1 for a, b in pairwise(steps) if (a > 0) != (b > 0))
