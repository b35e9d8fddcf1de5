"""Quantiles of any number of figures in fixed memory."""

from __future__ import annotations

from math import exp, log

_WIDTH = 0.01  # of a bin: figures in it differ by no more than one part in a hundred
_LEAST = 1e-6
_MOST = 1e7
_PER = 1.0 / log(1.0 + _WIDTH)
_LOW = int(log(_LEAST) * _PER) - 1
_BINS = int(log(_MOST) * _PER) + 1 - _LOW


class Quantiles:
    """Figures of 0 or more, by bins that grow with them: each is known to half a per cent.

    count    how many
    total    their sum
    largest  of them
    """

    __slots__ = ("_bins", "count", "largest", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.largest = 0.0
        self._bins = [0] * _BINS

    def add(self, figure: float) -> None:
        """One more."""
        self.count += 1
        self.total += figure
        if figure > self.largest:
            self.largest = min(figure, _MOST)
        if figure <= _LEAST:
            self._bins[0] += 1
        else:
            self._bins[min(int(log(figure) * _PER - _LOW), _BINS - 1)] += 1

    def merge(self, other: Quantiles) -> None:
        """All of another."""
        if not other.count:
            return
        self.count += other.count
        self.total += other.total
        self.largest = max(self.largest, other.largest)
        self._bins = [a + b for a, b in zip(self._bins, other._bins, strict=True)]

    @property
    def mean(self) -> float:
        """Their average; 0.0 of none."""
        return self.total / self.count if self.count else 0.0

    def at(self, share: float) -> float:
        """The figure that such a share of them does not exceed, 0..1; 0.0 of none."""
        left = share * self.count
        if not self.count:
            return 0.0
        for place, count in enumerate(self._bins):
            left -= count
            if count and left <= 0.0:
                if not place:
                    return 0.0
                return min(self.largest, exp((place + _LOW + 0.5) / _PER))
        return self.largest
