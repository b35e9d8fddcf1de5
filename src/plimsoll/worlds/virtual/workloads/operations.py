"""Workloads made of workloads: scaled, cut, merged, and given to tenants and models. All lazy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush, merge
from itertools import chain, count, islice
from math import floor, inf
from operator import attrgetter
from typing import Protocol, runtime_checkable

import msgspec

from plimsoll.errors import InputError
from plimsoll.worlds.virtual.workloads.chance import share_of, weighted
from plimsoll.worlds.virtual.workloads.types import Arrival, Workload

SPREAD_SECONDS = 60.0
"""The last copy of a trace comes so much later than the first."""
_JUDGED = 1000  # requests by which it is judged what most of them begin with
_BEGINNING = 64  # blocks of a prompt that are looked at for that


@runtime_checkable
class Adjustable(Protocol):
    """A workload that is drawn from rates, and so can be drawn at others, or in parts."""

    def at_rate(self, factor: float) -> Workload:
        """As many times as many requests in the same time."""
        ...

    def between(self, begin: float, end: float) -> Workload:
        """The part from `begin` to `end` seconds, which becomes seconds from 0."""
        ...


def scaled(workload: Workload, *, rate: float = 1.0, time: float = 1.0, seed: int = 0) -> Workload:
    """`rate` times the requests in the same time; then everything in `time` times the time.

    Halving the time alone doubles the rate of the same requests. What is drawn from rates is
    drawn anew at the other rate. A trace is thinned by chance, or copied: the copies come within
    SPREAD_SECONDS of each other, the last of them thinned, each with blocks of its own but for
    those that most requests begin with. Requests of one conversation stay or go together where
    the trace tells which they are. Raises InputError unless both factors are above 0.
    """
    for name, factor in (("rate", rate), ("time", time)):
        if not 0 < factor < inf:
            raise InputError(
                f"the factor of {name} must be above 0, not {factor:g}",
                hint="1 leaves it as it is, 2 doubles it",
                code="workload.factor",
            )
    if rate != 1:
        adjusted = isinstance(workload, Adjustable)
        workload = workload.at_rate(rate) if adjusted else _Copied(workload, rate, seed)  # type: ignore[attr-defined]
    return workload if time == 1 else _Stretched(workload, time)


def cut(workload: Workload, *, begin: float = 0.0, end: float = inf) -> Workload:
    """The requests from `begin` on and before `end`, seconds; `begin` becomes 0.

    Raises InputError unless 0 <= begin < end.
    """
    if not 0 <= begin < end:
        raise InputError(
            f"the part from {begin:g} s to {end:g} s is empty",
            hint="begin at 0 or later, and end after that",
            code="workload.cut",
        )
    if isinstance(workload, Adjustable):
        return workload.between(begin, end)
    return _Cut(workload, begin, end)


def merged(workloads: Sequence[Workload]) -> Workload:
    """Several at once, in the order of time; nothing of one repeats in another."""
    return workloads[0] if len(workloads) == 1 else _Merged(tuple(workloads))


def assigned(
    workload: Workload,
    *,
    tenants: Mapping[str, float] | None = None,
    models: Mapping[str, float] | None = None,
    seed: int = 0,
) -> Workload:
    """Requests given to tenants and to models by weight; None leaves them as they are.

    A conversation has one tenant and one model. Where the workload does not tell conversations,
    requests whose first two blocks are the same are taken for one; the others are drawn one by
    one. Raises InputError where the weights are not numbers from 0 with one above.
    """
    for what, weights in (("tenants", tenants), ("models", models)):
        if weights is not None:
            check_weights(what, weights)
    return _Assigned(workload, dict(tenants or {}), dict(models or {}), seed)


def check_weights(what: str, weights: Mapping[str, float]) -> None:
    """Raise InputError unless all weights are numbers from 0 and one is above."""
    wrong = [name for name, weight in weights.items() if not 0 <= weight < inf]
    if wrong or not any(weights.values()):
        raise InputError(
            f"the weight of `{wrong[0]}` must be a number from 0, not {weights[wrong[0]]:g}"
            if wrong
            else f"no {what} have a weight above 0",
            hint="weights are shares of requests, such as 3 and 1",
            code="workload.weights",
        )


@dataclass(frozen=True, slots=True)
class _Stretched:
    of: Workload
    factor: float

    @property
    def seconds(self) -> float | None:
        seconds = self.of.seconds
        return None if seconds is None else seconds * self.factor

    def at_rate(self, factor: float) -> Workload:
        return scaled(scaled(self.of, rate=factor), time=self.factor)

    def between(self, begin: float, end: float) -> Workload:
        part = cut(self.of, begin=begin / self.factor, end=end / self.factor)
        return _Stretched(part, self.factor)

    def __iter__(self) -> Iterator[Arrival]:
        factor = self.factor
        for each in self.of:
            yield _changed(each, at=each.at * factor)


@dataclass(frozen=True, slots=True)
class _Cut:
    of: Workload
    begin: float
    end: float

    @property
    def seconds(self) -> float | None:
        seconds = self.of.seconds
        if seconds is None:
            return None if self.end == inf else self.end - self.begin
        return max(0.0, min(self.end, seconds) - self.begin)

    def __iter__(self) -> Iterator[Arrival]:
        begin, end = self.begin, self.end
        for each in self.of:
            if each.at >= end:
                return
            if each.at >= begin:
                yield _changed(each, at=each.at - begin)


@dataclass(frozen=True, slots=True)
class _Merged:
    of: tuple[Workload, ...]

    @property
    def seconds(self) -> float | None:
        known = [each.seconds for each in self.of]
        return None if None in known else max((each or 0.0 for each in known), default=0.0)

    def __iter__(self) -> Iterator[Arrival]:
        sources = [self._named(each, number) for number, each in enumerate(self.of)]
        return merge(*sources, key=attrgetter("at"))

    def _named(self, workload: Workload, number: int) -> Iterator[Arrival]:
        total = len(self.of)
        for each in workload:
            blocks, session = each.blocks, each.session
            if blocks is None and session is None:
                yield each
                continue
            yield _changed(
                each,
                blocks=blocks and tuple([block * total + number for block in blocks]),
                session=session and f"{number}/{session}",
            )


@dataclass(frozen=True, slots=True)
class _Assigned:
    of: Workload
    tenants: dict[str, float]
    models: dict[str, float]
    seed: int

    @property
    def seconds(self) -> float | None:
        return self.of.seconds

    def __iter__(self) -> Iterator[Arrival]:
        tenants, models = weighted(self.tenants), weighted(self.models)
        for number, each in enumerate(self.of):
            key = conversation(each, number)
            tenant, model = each.tenant, each.model
            if self.tenants:
                tenant = tenants(share_of(self.seed, "tenant", key))
            if self.models:
                model = models(share_of(self.seed, "model", key))
            yield _changed(each, tenant=tenant, model=model)


@dataclass(frozen=True, slots=True)
class _Copied:
    """A trace at another rate: whole copies, and one that is thinned."""

    of: Workload
    factor: float
    seed: int

    @property
    def seconds(self) -> float | None:
        return self.of.seconds

    def __iter__(self) -> Iterator[Arrival]:
        whole = floor(self.factor)
        rest = self.factor - whole
        copies = whole + (rest > 0)
        source = iter(self.of)
        judged = list(islice(source, _JUDGED)) if copies > 1 else []
        common = _common(judged)
        waiting: list[tuple[float, int, int, Arrival]] = []
        numbers = count()
        for number, each in enumerate(chain(judged, source)):
            while waiting and waiting[0][0] <= each.at:
                yield _copy(heappop(waiting), copies, common)
            thin = rest > 0 and share_of(self.seed, "thin", conversation(each, number)) >= rest
            for copy in range(whole if thin else copies):
                at = each.at + SPREAD_SECONDS * copy / copies
                heappush(waiting, (at, next(numbers), copy, each))
        while waiting:
            yield _copy(heappop(waiting), copies, common)


def conversation(each: Arrival, number: int) -> str:
    """What requests of one conversation have in common, as far as the workload tells."""
    if each.session is not None:
        return each.session
    if each.blocks is not None and len(each.blocks) > 1:
        return f"{each.blocks[0]} {each.blocks[1]}"
    return f"#{number}"


def _common(judged: Sequence[Arrival]) -> frozenset[int]:
    counts = Counter(block for each in judged for block in (each.blocks or ())[:_BEGINNING])
    return frozenset(block for block, times in counts.items() if times > len(judged) // 2)


def _copy(waiting: tuple[float, int, int, Arrival], copies: int, common: frozenset[int]) -> Arrival:
    at, _, copy, each = waiting
    if copies == 1:
        return each
    blocks, session = each.blocks, each.session
    return _changed(
        each,
        at=at,
        blocks=blocks
        and tuple(
            [block * copies if block in common else block * copies + copy for block in blocks]
        ),
        session=session and f"{copy}/{session}",
    )


def _changed(each: Arrival, **fields: object) -> Arrival:
    return msgspec.structs.replace(each, **fields)
