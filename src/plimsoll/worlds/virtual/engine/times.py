"""Step times looked up by how much is in the batch."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from functools import lru_cache

from plimsoll.worlds.virtual.engine.types import EngineLimits, StepTimes


class StepTable:
    """What a step costs by the number of its tokens alone.

    write  seconds of a step that writes so many answers and reads no prompt
    read   seconds of a step with prompts, by all its tokens, answers' included
    """

    __slots__ = ("read", "write")

    def __init__(self, times: StepTimes, limits: EngineLimits) -> None:
        dense = [dense_seconds(times, n) for n in range(limits.max_num_batched_tokens + 1)]
        self.write = [
            times.fixed + dense[n] + times.answer * padded(times, n)
            for n in range(limits.max_num_seqs + 1)
        ]
        self.read = [times.fixed + times.mixed + seconds for seconds in dense]


@lru_cache(maxsize=64)
def table_of(times: StepTimes, limits: EngineLimits) -> StepTable:
    """The table of an engine, one for all replicas."""
    return StepTable(times, limits)


def padded(times: StepTimes, count: int) -> int:
    """The size to which a batch is rounded up."""
    at = bisect_left(times.padding, count)
    return times.padding[at] if at < len(times.padding) else count


def dense_seconds(times: StepTimes, tokens: int) -> float:
    """`StepTimes.dense` at a number of tokens, once rounded up."""
    knots = times.dense
    if not knots:
        return 0.0
    count = padded(times, tokens)
    if count <= knots[0][0] or len(knots) == 1:
        return knots[0][1]
    at = min(bisect_right(knots, (count, float("inf"))), len(knots) - 1)
    (left, low), (right, high) = knots[at - 1], knots[at]
    return low + (high - low) * (count - left) / (right - left)
