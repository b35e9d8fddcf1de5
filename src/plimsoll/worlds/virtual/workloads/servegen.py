"""ServeGen's clients as a workload: each asks at its own rate, as unevenly as it was seen to."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, repeat
from math import ceil, inf
from random import Random

from plimsoll.worlds.virtual.workloads.servegen_lengths import Lengths, peers
from plimsoll.worlds.virtual.workloads.servegen_rates import ClientWindow, Rates
from plimsoll.worlds.virtual.workloads.types import Arrival

_AT_ONCE = 10_000  # arrivals that are put in order at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeGen:
    """The clients of one model.

    In each window a client sends as many requests as its rate says, to the last one, with times
    between them as its distribution has them; where in the window they begin is drawn. A window
    depends on the seed, the model, the client and its own start, on nothing else: a part of a
    workload has the very requests that the whole has then.

    rates    of the clients
    lengths  of their requests
    seed     of all that is drawn
    factor   times as many requests from each client
    begin    seconds of the workload that are left out
    end      seconds after which it ends
    """

    rates: Rates
    lengths: Lengths
    seed: int = 0
    factor: float = 1.0
    begin: float = 0.0
    end: float = inf

    @property
    def seconds(self) -> float:
        """See Workload."""
        return max(0.0, min(self.end, self.rates.seconds) - self.begin)

    def at_rate(self, factor: float) -> ServeGen:
        """As many times as many requests from each client, as uneven as before."""
        return replace(self, factor=self.factor * factor)

    def between(self, begin: float, end: float) -> ServeGen:
        """The requests from `begin` to `end`, in seconds of this workload."""
        return replace(
            self, begin=self.begin + begin, end=min(self.end, self.begin + max(begin, end))
        )

    def __iter__(self) -> Iterator[Arrival]:
        """See Workload."""
        rates = self.rates
        names = rates.clients
        whose = peers(names, rates.requests(), self.lengths.clients)
        origin = rates.start + self.begin
        until = rates.start + min(self.end, rates.seconds)
        for start in rates.starts(origin, until):
            rows = list(rates.at(start))
            chances = [Random(self._seed(row)) for row in rows]
            draws: list[Callable[[Random], tuple[int, int]]] = [
                self.lengths.of(whose[row.client], start).draw for row in rows
            ]
            times = [
                moments(row, rates.window, self.factor, chance)
                for row, chance in zip(rows, chances, strict=True)
            ]
            for at, index in _in_order(times, rates.window):
                prompt_tokens, output_tokens = draws[index](chances[index])
                moment = start + at
                if origin <= moment < until:
                    yield Arrival(
                        at=moment - origin,
                        prompt_tokens=prompt_tokens,
                        output_tokens=output_tokens,
                        tenant=names[rows[index].client],
                        model=rates.model,
                    )

    def _seed(self, row: ClientWindow) -> str:
        return f"{self.seed} {self.rates.model} {self.rates.clients[row.client]} {row.start}"


def moments(row: ClientWindow, window: float, factor: float, chance: Random) -> list[float]:
    """When a client asks within one window, seconds from its start, in order.

    The gaps between the requests are drawn, stretched until they fill the window, laid on a
    circle of its length and turned at random: every moment of the window is as likely as another
    to have a request, their number is what the rate says (the part after the point by chance),
    and the gaps are as uneven as the distribution of that shape.
    """
    wished = row.rate * window * factor
    count = int(wished) + (chance.random() < wished % 1)
    if not count:
        return []
    turn = chance.random() * window
    if row.kind == 0:
        gaps = [chance.gammavariate(row.shape, 1.0) for _ in range(count)]
    else:
        gaps = [chance.weibullvariate(1.0, row.shape) for _ in range(count)]
    total = sum(gaps)
    stretch = window / total if 0 < total < inf else 0.0
    along = [turn + gap for gap in accumulate(gap * stretch for gap in gaps)]
    over = bisect_left(along, window)
    return [min(at - window, window) for at in along[over:]] + along[:over]


def _in_order(times: Sequence[list[float]], window: float) -> Iterator[tuple[float, int]]:
    """Every moment with the index of whose it is; equal moments by index."""
    slices = ceil(sum(map(len, times)) / _AT_ONCE) or 1
    taken = [0] * len(times)
    for number in range(1, slices + 1):
        until = window * number / slices if number < slices else inf
        together: list[tuple[float, int]] = []
        for index, moments_ in enumerate(times):
            begin = taken[index]
            taken[index] = end = bisect_left(moments_, until, begin)
            together.extend(zip(moments_[begin:end], repeat(index)))
        together.sort()
        yield from together
