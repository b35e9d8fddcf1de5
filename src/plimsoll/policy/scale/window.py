"""What was counted over the last seconds: a bounded row of spans, oldest first."""

from __future__ import annotations

import msgspec

MOST_SPANS = 64
"""Spans kept; shorter ones are joined, so that memory is bounded however often one looks."""


class Span(msgspec.Struct, frozen=True, array_like=True):
    """A sum over a stretch of time.

    end      when it ended, seconds
    seconds  that it lasted
    total    of what was counted
    """

    end: float
    seconds: float
    total: float


class Peak(msgspec.Struct, frozen=True, array_like=True):
    """A number that stood at a time.

    at     seconds
    value  such as a recommendation
    """

    at: float
    value: float


def added(
    spans: tuple[Span, ...], now: float, seconds: float, total: float, over: float
) -> tuple[Span, ...]:
    """The spans of the last `over` seconds with one more."""
    if seconds <= 0.0:
        return spans
    shortest = over / MOST_SPANS
    if spans and spans[-1].seconds + seconds <= shortest:
        last = spans[-1]
        joined = Span(now, last.seconds + seconds, last.total + total)
        return _within((*spans[:-1], joined), now, over)
    return _within((*spans, Span(now, seconds, total)), now, over)


def mean(spans: tuple[Span, ...], now: float, over: float) -> float:
    """Counted per second over the spans that ended within the last `over` seconds; else 0."""
    kept = _within(spans, now, over)
    seconds = sum(span.seconds for span in kept)
    return sum(span.total for span in kept) / seconds if seconds else 0.0


def highest(peaks: tuple[Peak, ...], now: float, value: float, over: float) -> tuple[Peak, ...]:
    """Those of the last `over` seconds that no later one reaches, falling, with one more.

    The first is the highest of the window.
    """
    kept = [peak for peak in peaks if now - peak.at < over and peak.value > value]
    return (*kept, Peak(now, value))


def _within(spans: tuple[Span, ...], now: float, over: float) -> tuple[Span, ...]:
    first = 0
    while first < len(spans) - 1 and spans[first].end <= now - over:
        first += 1
    return spans[first:][-MOST_SPANS:]
