"""Fits step times to the first part of a log, so that the rest of it can be judged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from plimsoll.errors import InputError
from plimsoll.worlds.virtual.calibration.coefficients import (
    FACTORS,
    Coefficients,
    coefficients_of,
)
from plimsoll.worlds.virtual.calibration.least_squares import minimum
from plimsoll.worlds.virtual.calibration.replay import replay
from plimsoll.worlds.virtual.calibration.request_log import MeasuredRequest, RequestLog
from plimsoll.worlds.virtual.calibration.settings import Settings
from plimsoll.worlds.virtual.engine.replica import Replica
from plimsoll.worlds.virtual.engine.types import Job

# How far each coefficient is believed to lie from what physics says: standard deviations of the
# logarithm of its factor. Bandwidth of memory is known well; what exchanges over PCIe cost is not.
SPREADS = {
    "fixed": 0.3, "read": 0.1, "multiply": 0.4, "exchange": 0.8, "experts": 0.3, "answer": 1.0,
    "context": 0.3, "attention": 0.8, "mixed": 1.0,
}  # fmt: skip
_UNKNOWN = 1.5  # likewise of every coefficient, where model or accelerator are not known
# Where nothing is known: of the least time per token, what is fixed, read, paid by an answer, by a
# token of context and by prompts at all; of the time per prompt token, what attention costs.
_SHARES = {"fixed": 0.15, "read": 0.75, "answer": 1e-3, "context": 3e-6, "mixed": 0.1}
_ATTENTION = 3e-5
_STARTS = (1e-5, 4e-5, 1.6e-4, 6.4e-4)  # seconds per prompt token from which the search begins
_LONGER = 1.25  # than the part that is fitted: where what has not happened by then is put
# Standard deviations of one measured time: shares of it, and of the first token seconds besides.
_NOISE_FIRST, _NOISE_LIFE, _NOISE_SECONDS = 0.02, 0.01, 0.05
_SHORTEST = 1e-3  # seconds, of an answer's life
_ROUNDS = 30
_STEP = 0.02  # of a derivative: who is preempted changes by leaps, which wide steps even out
_FEWEST = 5  # requests that end in the part that is fitted
# Prompts that begin alike share blocks. Logs do not say which do, so that it is fitted how much
# more the KV cache holds, where the fit depends on its size.
_ROOMS = (1.01, 1.015, 1.02, 1.03, 1.05, 1.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Coefficients that fit the first part of a log.

    settings      of the server, with the KV cache as large as it fits best
    coefficients  of the engine's steps
    factors       by which what was known before was multiplied; empty where nothing was
    room          by which the KV cache is larger than is written
    until         seconds: nothing that happened later was looked at
    requests      that had ended by then
    """

    settings: Settings
    coefficients: Coefficients
    factors: dict[str, float]
    room: float
    until: float
    requests: int


def simulated(
    settings: Settings,
    coefficients: Coefficients,
    requests: Sequence[MeasuredRequest],
    *,
    until: float = math.inf,
) -> list[Job]:
    """The requests of a log, served by the simulated engine."""
    times = coefficients.times(padding=settings.padding)
    jobs = [Job(at=one.at, prompt=one.prompt, output=one.output) for one in requests]
    replay([Replica(times, settings.limits) for _ in range(settings.ranks)], jobs, until=until)
    return jobs


def fit(log: RequestLog, settings: Settings, *, share: float) -> Fit:
    """The coefficients that fit a log up to when `share` of its requests have ended.

    Raises InputError where so few have ended that nothing can be said.
    """
    ends = sorted(request.end for request in log.requests)
    count = math.ceil(share * len(ends))
    if count < _FEWEST:
        raise InputError(
            f"{count} requests are too few to fit an engine to",
            where=f"{log.name}_requests.jsonl",
            hint=f"a log of {math.ceil(_FEWEST / share)} requests or more",
        )
    part = _Part(log, ends[count - 1])
    base, factors, cost = part.fitted(settings)
    room = 1.0
    for larger in _ROOMS if part.short_of_room(settings, base.scaled(factors)) else ():
        enlarged = _enlarged(settings, larger)
        other, others, left = part.fitted(enlarged, base)
        if left < cost:
            base, factors, cost, room = other, others, left, larger
    return Fit(
        settings=_enlarged(settings, room),
        coefficients=base.scaled(factors),
        factors=factors if settings.deployment is not None else {},
        room=room,
        until=part.until,
        requests=count,
    )


def _enlarged(settings: Settings, room: float) -> Settings:
    limits = settings.limits
    blocks = round(limits.kv_blocks * room)
    return msgspec.structs.replace(
        settings, limits=msgspec.structs.replace(limits, kv_blocks=blocks)
    )


class _Part:
    """The part of a log up to `until`."""

    def __init__(self, log: RequestLog, until: float) -> None:
        self.until = until
        self._late = _LONGER * until
        self._seen = [request for request in log.requests if request.at <= until]
        lengths = [request.prompt + request.output / 2.0 for request in log.requests]
        self._context = sum(lengths) / len(lengths)

    def fitted(
        self, settings: Settings, base: Coefficients | None = None
    ) -> tuple[Coefficients, dict[str, float], float]:
        """What the fit began with, the factors that fit best, and what is left over.

        base  to begin with; where there is none, what is known, or the best of several guesses
        """
        if settings.deployment is not None:
            known = base or coefficients_of(settings.deployment, context=self._context)
            known = known.scaled({"request": 0.0})  # the log's times are the engine's own
            return known, *self._factors(settings, known, SPREADS)
        wide = dict.fromkeys(SPREADS, _UNKNOWN)
        starts = [base] if base else [self._guess(seconds) for seconds in _STARTS]
        tries = [(start, *self._factors(settings, start, wide)) for start in starts]
        return min(tries, key=lambda one: one[2])

    def short_of_room(self, settings: Settings, coefficients: Coefficients) -> bool:
        """Whether anything hangs on the size of the KV cache."""
        ours, other = (
            simulated(each, coefficients, self._seen, until=self._late)
            for each in (settings, _enlarged(settings, _ROOMS[-1]))
        )
        return any(
            (one.first, one.end) != (two.first, two.end)
            for one, two in zip(ours, other, strict=True)
        )

    def _guess(self, multiply: float) -> Coefficients:
        """Where nothing is known: everything in proportion to the fastest answer."""
        token = min(one.tpot for one in self._seen if one.end <= self.until and one.output > 1)
        return Coefficients(
            fixed=token,
            read=token,
            multiply=multiply,
            answer=token,
            context=token,
            attention=multiply * _ATTENTION,
            mixed=token,
        ).scaled(_SHARES)

    def _factors(
        self, settings: Settings, base: Coefficients, spreads: dict[str, float]
    ) -> tuple[dict[str, float], float]:
        """The factors that fit best, and what is left over."""
        names = [name for name in FACTORS if name in spreads and getattr(base, name)]

        def factors(values: Sequence[float]) -> dict[str, float]:
            return {name: math.exp(value) for name, value in zip(names, values, strict=True)}

        def residuals(values: Sequence[float]) -> list[float]:
            scaled = base.scaled(factors(values))
            return self._residuals(simulated(settings, scaled, self._seen, until=self._late))

        spread = [spreads[name] for name in names]
        found = minimum(residuals, [0.0] * len(names), spread, rounds=_ROUNDS, step=_STEP)
        left = sum(min(value * value, 4.0 * abs(value)) for value in residuals(found))
        return factors(found), left

    def _residuals(self, jobs: Sequence[Job]) -> list[float]:
        """What is off, in standard deviations, of all that was measured until then."""
        found = []
        for one, job in zip(self._seen, jobs, strict=True):
            first, end = job.first or self._late, job.end or self._late
            if one.first <= self.until:
                found.append((first - one.first) / (_NOISE_FIRST * one.ttft + _NOISE_SECONDS))
            if one.end <= self.until and one.output > 1:
                life = one.end - one.first
                found.append((end - first - life) / (_NOISE_LIFE * max(life, _SHORTEST)))
        return found
