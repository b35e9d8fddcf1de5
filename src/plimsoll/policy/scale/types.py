"""What a scaling policy sees and answers: plain data, one look at a time, time as an argument.

Every policy is a pure function of a look and of its own memory, so that the local loop, the
external scaler and the simulator run the very same code.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Generic, Protocol, TypeVar

import msgspec

MemoryT = TypeVar("MemoryT", bound=msgspec.Struct)


class Arrived(msgspec.Struct, frozen=True, kw_only=True):
    """Arrivals at the gateway since the look before: what came, not what was served.

    seconds        that these counts cover; 0 on the very first look
    requests       that came, those turned away for want of room included
    missed         of them, or of those before: turned away, or late by the objective; a policy may
                   learn from it
    prompt_tokens  that no cache held
    output_tokens  expected of their answers
    """

    seconds: float = 0.0
    requests: float = 0.0
    missed: float = 0.0
    prompt_tokens: float = 0.0
    output_tokens: float = 0.0


class Queued(msgspec.Struct, frozen=True, kw_only=True):
    """What waits at the gateway for a replica.

    requests       that wait
    prompt_tokens  of theirs that no cache holds
    output_tokens  expected of their answers
    """

    requests: float = 0.0
    prompt_tokens: float = 0.0
    output_tokens: float = 0.0


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """Spot replicas that are about to be taken away.

    at     when they go, seconds on the world's clock
    count  replicas, still counted in `ready`
    """

    at: float
    count: int = 1


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """What full replicas really did since the look before; it corrects the plan's capacity.

    seconds        replica-seconds that were full: no request could have been added
    prompt_tokens  uncached, read in those seconds
    output_tokens  written in those seconds
    """

    seconds: float = 0.0
    prompt_tokens: float = 0.0
    output_tokens: float = 0.0


class Signals(msgspec.Struct, frozen=True, kw_only=True):
    """One look at one model.

    now        seconds on the world's clock; only differences and times of day matter
    arrived    since the look before
    queued     at the gateway
    in_flight  requests at replicas
    ready      replicas that answer
    loading    for each replica that loads, when it is expected to be ready
    spot       of `ready` and `loading`, how many may be taken away
    notices    of spot replicas that will go
    observed   what full replicas did, None where nobody measured
    age        seconds since these figures were true; `blind` where there are none at all
    blind      no figures could be had: the counts above are not zeros but unknown. `ready` and
               `loading` come from the world and are still true
    """

    now: float
    arrived: Arrived = Arrived()
    queued: Queued = Queued()
    in_flight: float = 0.0
    ready: int = 0
    loading: tuple[float, ...] = ()
    spot: int = 0
    notices: tuple[Notice, ...] = ()
    observed: Observed | None = None
    age: float = 0.0
    blind: bool = False

    @property
    def live(self) -> int:
        """Replicas that are ready or loading, without those that are about to be taken."""
        leaving = sum(notice.count for notice in self.notices)
        return max(0, self.ready + len(self.loading) - leaving)


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """What one replica can do while the objectives hold; from the plan.

    The shares that both kinds of tokens take of a replica's time add up, so that a replica is
    full when `prompt / prompt_tokens + output / output_tokens` is 1.

    prompt_tokens  uncached prompt tokens a second, if it wrote nothing
    output_tokens  output tokens a second, if it read nothing
    concurrent     requests at once, at which the time per output token still holds
    slack          seconds that a request may wait and still hold its objective
    """

    prompt_tokens: float
    output_tokens: float
    concurrent: float
    slack: float = 1.0

    def replicas(self, prompt_tokens: float, output_tokens: float) -> float:
        """Replicas (not whole ones) that tokens at these rates, per second, keep full."""
        return prompt_tokens / self.prompt_tokens + output_tokens / self.output_tokens


class ColdStart(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds from the decision to a replica that answers.

    p50, p90  quantiles of what was measured, or of what is known of such models
    """

    p50: float
    p90: float


class Floor(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule: replicas kept between two times, every period.

    start, end  seconds after the beginning of the period; end may be below start (over midnight)
    replicas    kept in between
    period      seconds: a day, or a week
    offset      seconds by which the period begins after a multiple of it on the world's clock
    """

    start: float
    end: float
    replicas: int
    period: float = 86_400.0
    offset: float = 0.0

    def holds(self, at: float) -> bool:
        """Whether the schedule applies at a time."""
        place = (at - self.offset) % self.period
        if self.start <= self.end:
            return self.start <= place < self.end
        return place >= self.start or place < self.end


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a fleet allows.

    min     replicas kept without any demand; 0 lets an idle model stop
    max     replicas never exceeded, by schedules neither
    floors  schedules that raise `min` for a while
    most_up, most_down  replicas added or removed by one answer; None is without limit
    """

    min: int
    max: int
    floors: tuple[Floor, ...] = ()
    most_up: int | None = None
    most_down: int | None = None

    def least(self, at: float) -> int:
        """Replicas kept at a time, schedules included; never above `max`."""
        kept = [floor.replicas for floor in self.floors if floor.holds(at)]
        return min(max([self.min, *kept]), self.max)

    def least_between(self, start: float, end: float) -> int:
        """The most that any schedule keeps at some time from `start` to `end`."""
        times = {start}
        for floor in self.floors:
            begun = start - (start - floor.offset) % floor.period
            edges = (begun + floor.start, begun + floor.period + floor.start)
            times.update(at for at in edges if start < at <= end)
        return max(self.least(at) for at in times)

    def hold(self, wanted: int, *, live: int, at: float) -> int:
        """A wish brought within these limits. `live`: replicas that are ready or loading."""
        held = wanted
        if self.most_up is not None:
            held = min(held, live + self.most_up)
        if self.most_down is not None:
            held = max(held, live - self.most_down)
        return min(max(held, self.least(at)), self.max)


class Answer(msgspec.Struct, Generic[MemoryT], frozen=True, kw_only=True):
    """How many replicas, and why.

    replicas  an absolute number that counts those still loading, so that two looks while one
              loads never ask for two; spot replicas with a notice are not counted: they are
              replaced before they go
    reasons   the deciding one first; each a phrase for people
    memory    to hand in at the next look; a struct that msgspec writes as JSON and reads back
    """

    replicas: int
    reasons: tuple[str, ...]
    memory: MemoryT


class Kind(StrEnum):
    """The policies by name."""

    QUEUE_DEPTH = "queueDepth"
    KEDA = "keda"
    KNATIVE = "knative"
    QUEUE_DRAIN = "queueDrain"
    MM1 = "mm1"
    PREDICTIVE = "predictive"


class Policy(Protocol[MemoryT]):
    """A scaling policy with its settings; it holds nothing else."""

    @property
    def memory_type(self) -> type[MemoryT]:
        """What its memory decodes to; its default value is the memory of a new model."""
        ...

    def decide(self, signals: Signals, memory: MemoryT) -> Answer[MemoryT]:
        """The replicas wanted now."""
        ...
