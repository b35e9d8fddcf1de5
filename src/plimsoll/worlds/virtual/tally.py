"""What became of the requests of a model and what its replicas cost, in memory that does not grow:
sums and quantiles since the beginning, and one row a minute.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from plimsoll.worlds.virtual.measures import Quantiles
from plimsoll.worlds.virtual.setup import Objectives


class Spent(msgspec.Struct, kw_only=True):
    """What replicas cost by cause, in GPU seconds.

    busy     an engine's step ran
    idle     ready, and nothing to do; and room on nodes that stood empty
    loading  from being asked for to being ready
    lost     loading that came to nothing, as its node was taken or nobody wanted it any more
    dollars  of all of them
    """

    busy: float = 0.0
    idle: float = 0.0
    loading: float = 0.0
    lost: float = 0.0
    dollars: float = 0.0

    def add(self, other: Spent) -> None:
        """As much more."""
        self.busy += other.busy
        self.idle += other.idle
        self.loading += other.loading
        self.lost += other.lost
        self.dollars += other.dollars


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Quantiles of what many requests took, seconds."""

    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float


class Minute(msgspec.Struct, frozen=True, kw_only=True):
    """One minute of one model, for plots.

    at         its beginning, seconds
    model      whose
    arrived, ended, refused, broken  requests: that came, whose answer was whole, that were turned
               away, and whose answer broke off
    attained   of those that ended, held both objectives
    ttft_p50, ttft_p95, tpot_p95  seconds, of those that ended
    queued, in_flight  requests at its end, at the gateway and at replicas
    ready, loading, draining, wanted  replicas at its end
    prompt, cached, output  tokens of those that ended
    spent      in this minute
    """

    at: float
    model: str
    arrived: int
    ended: int
    refused: int
    broken: int
    attained: int
    ttft_p50: float
    ttft_p95: float
    tpot_p95: float
    queued: int
    in_flight: int
    ready: int
    loading: int
    draining: int
    wanted: int
    prompt: int
    cached: int
    output: int
    spent: Spent


def figures(quantiles: Quantiles) -> Figures:
    """The usual ones."""
    return Figures(
        mean=quantiles.mean,
        p50=quantiles.at(0.5),
        p90=quantiles.at(0.9),
        p95=quantiles.at(0.95),
        p99=quantiles.at(0.99),
        max=quantiles.largest,
    )


class Tally:
    """See the module's docstring. `ttft` and the like are of all minutes that are over.

    refused   by reason
    starts    replicas that became ready
    lost      replicas that were taken
    turns     changes of direction of the number of replicas
    """

    __slots__ = (
        "_arrived", "_attained", "_broken", "_cached", "_e2e", "_ended", "_objectives", "_output",
        "_prompt", "_refused", "_spent", "_tpot", "_ttft", "arrived", "attained", "broken",
        "cached", "e2e", "ended", "held_tpot", "held_ttft", "lost", "output", "phases", "prompt",
        "refused", "spent", "starts", "tpot", "ttft", "turns",
    )  # fmt: skip

    def __init__(self, objectives: Objectives) -> None:
        self._objectives = objectives
        self.arrived = self.ended = self.broken = self.attained = 0
        self.held_ttft = self.held_tpot = 0
        self.prompt = self.cached = self.output = 0
        self.refused: Counter[str] = Counter()
        self.starts = self.lost = self.turns = 0
        self.spent = Spent()
        self.ttft, self.tpot, self.e2e = Quantiles(), Quantiles(), Quantiles()
        self.phases: dict[str, Quantiles] = {}
        self._begin()

    def _begin(self) -> None:
        self._arrived = self._ended = self._refused = self._broken = self._attained = 0
        self._prompt = self._cached = self._output = 0
        self._spent = Spent()
        self._ttft, self._tpot, self._e2e = Quantiles(), Quantiles(), Quantiles()

    def came(self) -> None:
        """A request arrived."""
        self._arrived += 1

    def turned_away(self, reason: str) -> None:
        """A request was refused."""
        self._refused += 1
        self.refused[reason] += 1

    def broke(self) -> None:
        """A request's answer broke off for good."""
        self._broken += 1

    def answered(self, ttft: float, e2e: float, *, prompt: int, cached: int, output: int) -> None:
        """A request's answer is whole; seconds and tokens."""
        self._ended += 1
        self._prompt += prompt
        self._cached += cached
        self._output += output
        self._ttft.add(ttft)
        self._e2e.add(e2e)
        objectives = self._objectives
        held = ttft <= objectives.ttft
        self.held_ttft += held
        if output > 1:
            tpot = (e2e - ttft) / (output - 1)
            self._tpot.add(tpot)
            if tpot > objectives.tpot:
                return
        self.held_tpot += 1
        self._attained += held

    def paid(self, spent: Spent) -> None:
        """Replicas cost so much."""
        self._spent.add(spent)

    def minute(
        self, at: float, model: str, *, queued: int, in_flight: int, replicas: tuple[int, ...]
    ) -> Minute:
        """A minute that began at this time is over.

        replicas  ready, loading, draining, wanted
        """
        ready, loading, draining, wanted = replicas
        row = Minute(
            at=at, model=model, arrived=self._arrived, ended=self._ended, refused=self._refused,
            broken=self._broken, attained=self._attained, ttft_p50=self._ttft.at(0.5),
            ttft_p95=self._ttft.at(0.95), tpot_p95=self._tpot.at(0.95), queued=queued,
            in_flight=in_flight, ready=ready, loading=loading, draining=draining, wanted=wanted,
            prompt=self._prompt, cached=self._cached, output=self._output, spent=self._spent,
        )  # fmt: skip
        self.arrived += self._arrived
        self.ended += self._ended
        self.broken += self._broken
        self.attained += self._attained
        self.prompt += self._prompt
        self.cached += self._cached
        self.output += self._output
        self.ttft.merge(self._ttft)
        self.tpot.merge(self._tpot)
        self.e2e.merge(self._e2e)
        self.spent.add(self._spent)
        self._begin()
        return row
