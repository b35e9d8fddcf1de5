"""What one replica does while the objectives hold, from the plan."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from plimsoll.facts.accelerators import device
from plimsoll.facts.catalogue import network
from plimsoll.plan.deployment import Deployment, Split
from plimsoll.plan.speed.load import Objectives, capacity, under_load
from plimsoll.policy.scale.types import Capacity

TTFT = 2.0
"""Objective: seconds to the first token."""

TPOT = 0.05
"""Objective: seconds per output token after the first."""

LENGTHS = {
    "m-large": (1194.0, 172.0),
    "m-mid": (1915.0, 262.0),
    "m-small": (669.0, 70.0),
    "deepseek-r1": (1865.0, 1207.0),
    "mm-image": (714.0, 74.0),
}
"""Mean prompt and output tokens of ServeGen's models (alibaba/ServeGen, Apache-2.0; means over
clients and windows of its length quantiles, image tokens counted as prompt), read 2026-11-21."""

USUAL = "m-large"
"""Whose lengths a model has that is not known here."""

DEVICES = 2
"""GPUs of one replica."""

FULLEST = 0.9
"""Share of the highest rate that is planned for, as plimsoll.plan.search.sizing does: rates are
estimates, and near the highest one the least burst fills the queue."""

_SHARES = (0.0, 0.2, 0.4, 0.6, 0.75, 0.85, 0.92, 0.97, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """Qwen3-32B on two H100s in vLLM, at the objectives.

    rate      requests/s that it can serve
    prompt    tokens of a request
    output    tokens of a request
    slack     seconds that a request can wait and still hold the objective: what is left of it
              beside the 99th percentile of the time to the first token of a replica at `rate`
    first     seconds to the first token, at `rate`
    step_low  seconds per output token, at a quarter of `rate`
    step_full the same, at `rate`
    life      seconds from the first byte to the last token, at `rate`
    seats     requests in flight at `rate`
    in_flight requests in flight at the shares of `rate` in `shares`
    """

    rate: float
    prompt: float
    output: float
    slack: float
    first: float
    step_low: float
    step_full: float
    life: float
    seats: float
    shares: tuple[float, ...]
    in_flight: tuple[float, ...]

    def flying(self, share: float) -> float:
        """Requests in flight at a share of `rate`, between the points that the plan gave."""
        place = min(max(share, 0.0), 1.0)
        right = max(1, bisect_left(self.shares, place))
        left = right - 1
        part = (place - self.shares[left]) / (self.shares[right] - self.shares[left])
        return self.in_flight[left] + part * (self.in_flight[right] - self.in_flight[left])

    @property
    def capacity(self) -> Capacity:
        """As a policy is told: the two kinds of tokens share a replica's time in halves."""
        return Capacity(
            prompt_tokens=2 * self.rate * self.prompt,
            output_tokens=2 * self.rate * self.output,
            concurrent=self.seats,
            slack=self.slack,
        )


def replica(prompt: float, output: float) -> Replica:
    """The replica for requests of these mean lengths, reckoned by the plan."""
    deployment = Deployment(
        network=network("Qwen3-32B"),
        device=device("H100"),
        engine="vllm",
        split=Split(tensor=DEVICES),
        context=32_768,
        sequences=256,
        batch_tokens=8_192,
    )
    able = capacity(deployment, prompt, output, Objectives(ttft=TTFT, tpot=TPOT))
    rate = able.requests_per_second * FULLEST
    loads = [under_load(deployment, rate * share, prompt, output) for share in _SHARES[1:]]
    low = under_load(deployment, rate * 0.25, prompt, output)
    return Replica(
        rate=rate,
        prompt=prompt,
        output=output,
        slack=max(0.0, TTFT - loads[-1].ttft.p99.value),
        first=loads[-1].ttft.mean.value,
        step_low=low.tpot.value,
        step_full=loads[-1].tpot.value,
        life=loads[-1].end_to_end.mean.value,
        seats=loads[-1].concurrency,
        shares=_SHARES,
        in_flight=(0.0, *(load.concurrency for load in loads)),
    )
