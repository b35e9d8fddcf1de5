"""What a workload is: requests as they arrive at the gateway, in the order of time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import msgspec

BLOCK_TOKENS = 512
"""Tokens that one id of `Arrival.blocks` stands for, as in Mooncake's traces (FAST'25)."""


class Arrival(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One request as it arrives.

    at             seconds since the workload began, from 0
    prompt_tokens  whole prompt, cached or not; at least 1
    output_tokens  tokens that will be answered; at least 1
    blocks         ids of the prompt's blocks of BLOCK_TOKENS, equal for equal beginnings, the last
                   perhaps of a part of a block; None where nothing is known of what repeats
    tenant         who asks
    model          of whom
    session        conversation that the request is a turn of; None where none is known
    """

    at: float
    prompt_tokens: int
    output_tokens: int
    blocks: tuple[int, ...] | None = None
    tenant: str = "default"
    model: str = "default"
    session: str | None = None


@runtime_checkable
class Workload(Protocol):
    """Arrivals that can be gone through again and again, each time the very same.

    Iterating holds no more than a bounded part of the workload in memory. Broken input raises
    InputError where it is met, which may be after many arrivals.
    """

    @property
    def seconds(self) -> float | None:
        """About how long it lasts, for a progress bar; None where that is not known beforehand."""
        ...

    def __iter__(self) -> Iterator[Arrival]:
        """The arrivals from the beginning, `at` never falling."""
        ...
