"""Made-up conversations: turns that repeat all that was said, after a prompt that many share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from heapq import heappop, heappush, heapreplace
from math import ceil, log
from random import Random

from plimsoll.errors import InputError
from plimsoll.worlds.virtual.workloads.chance import weighted
from plimsoll.worlds.virtual.workloads.lengths import LogNormal
from plimsoll.worlds.virtual.workloads.synthetic import EVEN, Week, check_rate, moments
from plimsoll.worlds.virtual.workloads.types import BLOCK_TOKENS, Arrival

_QUESTION = LogNormal(mean=150)
_ANSWER = LogNormal(mean=300)
_IDS = 1 << 24  # blocks that one conversation, or one shared prompt, may number
_WARM = 4.0  # mean lengths of a conversation for which they have begun before the workload does


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedPrompt:
    """What conversations of one kind begin with, such as a system prompt with tools.

    tokens  length
    weight  share of the conversations
    """

    tokens: int
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions:
    """Conversations of several turns.

    rate      mean requests/s, before the weekdays' factors and where none ends as too long
    seconds   how long
    turns     mean turns of a conversation; their number is geometric
    question  tokens that a turn adds
    answer    tokens of an answer
    pause     mean seconds between the end of an answer and the next turn, exponential
    pace      seconds per token of an answer, as callers were answered
    prompts   what conversations begin with
    longest   tokens of a prompt, beyond which a conversation ends
    seed      of all that is drawn
    week      how the rate of new conversations goes up and down
    model     that is asked
    """

    rate: float
    seconds: float
    turns: float = 5.0
    question: LogNormal = _QUESTION
    answer: LogNormal = _ANSWER
    pause: float = 45.0
    pace: float = 0.03
    prompts: tuple[SharedPrompt, ...] = (SharedPrompt(tokens=1500),)
    longest: int = 1 << 17
    seed: int = 0
    week: Week = EVEN
    model: str = "default"

    def __post_init__(self) -> None:
        check_rate(self.rate, self.seconds)
        if not (self.turns >= 1 and self.pause >= 0 and self.pace >= 0):
            raise InputError(
                f"no conversation has {self.turns:g} turns, {self.pause:g} s between them and "
                f"{self.pace:g} s per token",
                hint="at least 1 turn, and times from 0",
                code="workload.sessions",
            )
        if not any(each.weight > 0 for each in self.prompts) or any(
            each.tokens < 0 or each.tokens >= self.longest or each.weight < 0
            for each in self.prompts
        ):
            raise InputError(
                "shared prompts need tokens from 0 to the longest prompt, and weights",
                hint="leave conversations without one a prompt of 0 tokens",
                code="workload.sessions",
            )

    def at_rate(self, factor: float) -> Sessions:
        """As many times as many conversations."""
        return replace(self, rate=self.rate * factor)

    def __iter__(self) -> Iterator[Arrival]:
        """See Workload."""
        warm = _WARM * self.turns * (self.pause + self.pace * self.answer.mean)
        begins = moments(
            rate=self.rate / self.turns,
            burst=1.0,
            week=self.week,
            chance=Random(f"{self.seed} conversations"),
            origin=-warm,
        )
        # A conversation that begins is put among those that go on; the earliest turn is next.
        going: list[tuple[float, int, Arrival | None, Iterator[Arrival]]] = []
        for number, begin in enumerate(begins):
            while going and going[0][0] <= begin:
                at, of, turn, rest = going[0]
                if at >= self.seconds:
                    return
                if at >= 0 and turn is not None:
                    yield turn
                following = next(rest, None)
                if following is None:
                    heappop(going)
                else:
                    heapreplace(going, (following.at, of, following, rest))
            if begin >= self.seconds and not going:
                return
            turns = self._conversation(number, begin)
            first = next(turns, None)
            if first is not None:
                heappush(going, (first.at, number, first, turns))

    def _conversation(self, number: int, begin: float) -> Iterator[Arrival]:
        """The turns of one conversation; those before the workload begins have times below 0."""
        chance = Random(f"{self.seed} conversation {number}")
        shares = {str(index): each.weight for index, each in enumerate(self.prompts)}
        shared = int(weighted(shares)(chance.random()))
        tokens = self.prompts[shared].tokens
        blocks = [-1 - shared * _IDS - index for index in range(tokens // BLOCK_TOKENS)]
        ids = iter(range(number * _IDS, (number + 1) * _IDS))
        at = begin
        for _ in range(self._turns(chance)):
            tokens += self.question.draw(chance)
            if tokens > self.longest:
                return
            blocks.extend(next(ids) for _ in range(tokens // BLOCK_TOKENS - len(blocks)))
            answer = self.answer.draw(chance)
            part = (next(ids),) if tokens % BLOCK_TOKENS else ()
            yield Arrival(
                at=at,
                prompt_tokens=tokens,
                output_tokens=answer,
                blocks=(*blocks, *part),
                model=self.model,
                session=str(number),
            )
            tokens += answer
            at += answer * self.pace
            if self.pause:
                at += chance.expovariate(1 / self.pause)

    def _turns(self, chance: Random) -> int:
        if self.turns == 1:
            return 1
        return max(1, ceil(log(1 - chance.random()) / log(1 - 1 / self.turns)))
