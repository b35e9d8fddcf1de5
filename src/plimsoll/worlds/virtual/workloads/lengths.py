"""How long made-up requests are."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, log, sqrt
from random import Random
from typing import Protocol

from plimsoll.errors import InputError


class Lengths(Protocol):
    """A distribution of prompt and output tokens."""

    def draw(self, chance: Random) -> tuple[int, int]:
        """Prompt and output tokens of one request, at least 1 each."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LogNormal:
    """A length whose logarithm is normal.

    mean     tokens
    spread   standard deviation over mean; 0 makes all the same
    longest  tokens at which it is cut off
    """

    mean: float
    spread: float = 1.0
    longest: int = 1 << 17

    def __post_init__(self) -> None:
        if not (1 <= self.mean <= self.longest and 0 <= self.spread < inf):
            raise InputError(
                f"no length has a mean of {self.mean:g} tokens, a spread of {self.spread:g} and "
                f"at most {self.longest} tokens",
                hint="the mean is from 1 to the longest, the spread from 0",
                code="workload.lengths",
            )

    def draw(self, chance: Random) -> int:
        """Tokens, at least 1."""
        if not self.spread:
            return round(self.mean)
        width = sqrt(log(1 + self.spread**2))
        tokens = exp(chance.normalvariate(log(self.mean) - width**2 / 2, width))
        return min(self.longest, max(1, round(tokens)))


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptAndAnswer:
    """Prompt and answer, drawn apart from each other."""

    prompt: LogNormal
    answer: LogNormal

    def draw(self, chance: Random) -> tuple[int, int]:
        """See Lengths."""
        return self.prompt.draw(chance), self.answer.draw(chance)
