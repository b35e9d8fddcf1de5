"""Scaling ahead of demand: what will be needed when a replica started now is ready.

Demand is counted in tokens as they arrive at the gateway, in units of what one replica does at
the objectives. Known parts: quantile regression for the forecast; what is added to it follows what
is missed, as in adaptive conformal inference; on the way down the rule of ski rental, which keeps
what was bought until keeping has cost as much as buying again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, log, sqrt

import msgspec

from plimsoll.policy.scale.forecast import CELL, Trend, ahead, seen
from plimsoll.policy.scale.season import Season, change, noted
from plimsoll.policy.scale.turns import Turns, may_turn, turned
from plimsoll.policy.scale.types import Answer, Capacity, ColdStart, Limits, Signals

STALE = 60.0
"""Seconds after which figures count as none at all."""

_MOST_CELLS = 360  # that one look may stand for; a longer silence counts as an hour


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What the predictive policy remembers of one model; plain, and bounded.

    at        when figures were last seen; None before the first look
    seconds   of the cell that is being filled
    work      replica-seconds of demand in it
    ready     replica-seconds that were ready in it
    left      replica-seconds of demand that wait, by our own reckoning
    trend     of demand
    season    of demand
    bold      what is added to the forecast, in mean errors; falls while nothing is missed; None
              before the first look
    corrects  capacity observed, as a share of the plan's
    lows      what was needed at the last cells, for the way down
    waste     replica-seconds that were kept and not needed, since all were
    need      replicas last needed, not whole
    wanted    the last answer
    busy      when demand was last seen; None before any
    turns     of direction, rationed
    lost      spot replicas lost, and replica-hours at risk, both fading
    at_risk   replica-hours
    noticed   until when notices of spot losses were counted
    """

    at: float | None = None
    seconds: float = 0.0
    work: float = 0.0
    ready: float = 0.0
    left: float = 0.0
    trend: Trend = Trend()
    season: Season = Season()
    bold: float | None = None
    corrects: float = 1.0
    lows: tuple[float, ...] = ()
    waste: float = 0.0
    need: float = 0.0
    wanted: int = 0
    busy: float | None = None
    turns: Turns = Turns()
    lost: float = 0.0
    at_risk: float = 0.0
    noticed: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictive:
    """The policy that looks ahead.

    capacity    of one replica at the objectives, from the plan
    limits      what the fleet allows
    cold_start  seconds until a new replica answers
    miss        share of the demand that may be missed; what is learned aims at it
    cooldown    seconds without any demand before the last replica is stopped
    turns       changes of direction an hour, on average, that are never exceeded
    """

    capacity: Capacity
    limits: Limits
    cold_start: ColdStart
    miss: float = 0.0006
    cooldown: float = 600.0
    turns: float = 2.0
    memory_type: type[Memory] = field(default=Memory, init=False, repr=False)

    def decide(self, signals: Signals, memory: Memory) -> Answer[Memory]:
        """See Policy."""
        if signals.blind or signals.age > STALE:
            return self._blind(signals, memory)
        lead = max(CELL, self.cold_start.p90)
        memory = _corrected(signals, memory, self.capacity)
        memory = self._counted(signals, memory, lead)
        need, reasons = self._need(signals, memory, lead)
        return self._answer(signals, memory, need, reasons)

    def _counted(self, signals: Signals, memory: Memory, lead: float) -> Memory:
        """Arrivals added up to cells; each full cell is learned from."""
        arrived = signals.arrived
        # What came while nobody looked is not known; only the time that the counts cover counts.
        span = min(max(arrived.seconds, 0.0), _MOST_CELLS * CELL)
        came = self.capacity.replicas(arrived.prompt_tokens, arrived.output_tokens)
        work = memory.work + came / memory.corrects
        seconds = memory.seconds + span
        ready = memory.ready + signals.ready * span
        trend, season = memory.trend, memory.season
        bold = _first_bold(lead) if memory.bold is None else memory.bold
        lows, left, waste = memory.lows, memory.left, memory.waste
        cells = int(seconds // CELL)
        if cells:
            demand = work / seconds
            able = ready / seconds
            left += (demand - able) * cells * CELL
            over = max(0.0, left - able * self.capacity.slack)
            left = max(0.0, left - over)
            for number in range(cells):
                trend = seen(trend, demand, lead)
                season = noted(season, demand, signals.now - (cells - 1 - number) * CELL)
            capped = signals.live >= self.limits.max
            turned_away = arrived.missed / arrived.requests if arrived.requests > 0 else 0.0
            missed = max(over / (cells * CELL * demand) if demand > 0 else 0.0, turned_away)
            bold = bold if capped else _bolder(bold, missed / self.miss, trend.cells, cells)
            work -= demand * cells * CELL
            ready -= ready / seconds * cells * CELL
            seconds -= cells * CELL
            lows = (*lows, -1.0)[-_LOWS:]
            waste = max(0.0, waste + (signals.live - ceil(memory.need)) * cells * CELL)
        busy = memory.busy
        if came > 0 or signals.queued.requests > 0 or signals.in_flight > 0:
            busy = signals.now
        return msgspec.structs.replace(
            memory,
            at=signals.now,
            seconds=seconds,
            work=max(0.0, work),
            ready=max(0.0, ready),
            trend=trend,
            season=season,
            bold=bold,
            lows=lows,
            left=left,
            waste=waste,
            busy=busy,
        )

    def _need(self, signals: Signals, memory: Memory, lead: float) -> tuple[float, tuple[str, ...]]:
        """Replicas needed when one that is started now is ready, not whole."""
        trend = memory.trend
        forecast = ahead(trend)
        seasonal = change(memory.season, signals.now, lead)
        band = (memory.bold or 0.0) * trend.miss * forecast
        reasons = [f"demand in {lead:.0f} s at most {forecast:.1f} replicas"]
        if abs(seasonal - 1.0) > 0.02:
            reasons.append(f"{seasonal - 1.0:+.0%} as on the days before")
        if abs(band) > 0.05:
            reasons.append(f"{band:+.1f} for its errors of late")
        need = max(forecast, forecast * seasonal) + band
        waiting = signals.queued
        if waiting.requests > 0:
            work = self.capacity.replicas(waiting.prompt_tokens, waiting.output_tokens)
            drain = work / memory.corrects / max(lead, _DRAINS_IN)
            if drain > 0.05:
                need += drain
                reasons.append(f"{drain:+.1f} for {waiting.requests:.0f} that wait")
        risk = self._risk(signals, memory, lead)
        if risk > 0.05:
            need += risk
            reasons.append(f"{risk:+.1f} for spot replicas that may go")
        return max(0.0, need), tuple(reasons)

    def _risk(self, signals: Signals, memory: Memory, lead: float) -> float:
        """Spot replicas that may be lost before others are ready: their mean, and one deviation."""
        if not signals.spot:
            return 0.0
        rate = (memory.lost + _PRIOR_LOST) / (memory.at_risk + _PRIOR_HOURS)
        mean = rate * signals.spot * lead / 3600.0
        return mean + sqrt(mean)

    def _answer(
        self, signals: Signals, memory: Memory, need: float, reasons: tuple[str, ...]
    ) -> Answer[Memory]:
        live = signals.live
        lows = (*memory.lows[:-1], max(memory.lows[-1], need)) if memory.lows else (need,)
        least = self.limits.least_between(signals.now, signals.now + self.cold_start.p90)
        up = max(self._whole(signals, memory, need), least)
        down = max(self._whole(signals, memory, max(lows)), least)
        turns = memory.turns
        waste = memory.waste
        if up > live:
            wanted = up
            waste = 0.0
        elif down < live and len(lows) < _LOWS:
            wanted = live
            reasons = (*reasons, f"{down} would do; kept until more is known")
        elif down < live:
            dear = max(_WASTE * live, (live - down) * self.cold_start.p50)
            falling = turns.direction <= 0
            if falling or (memory.waste >= dear and may_turn(turns, signals.now, self.turns)):
                wanted = down
            else:
                wanted = live
                reasons = (
                    *reasons,
                    f"{down} would do; kept, as stopping and starting again is dearer",
                )
        else:
            wanted = live
        held = self.limits.hold(wanted, live=live, at=signals.now)
        if held != wanted:
            reasons = (*reasons, f"{wanted} held to {held} by the limits")
        memory = msgspec.structs.replace(
            memory,
            lows=lows,
            waste=waste if held == live else 0.0,
            need=need,
            wanted=held,
            turns=turned(turns, signals.now, held - live, self.turns),
        )
        return Answer(replicas=held, reasons=reasons, memory=memory)

    def _whole(self, signals: Signals, memory: Memory, need: float) -> int:
        """A whole number; the last replica goes only after the cooldown."""
        idle = memory.busy is None or signals.now - memory.busy >= max(
            self.cooldown, self.cold_start.p50
        )
        if idle:
            return 0
        return max(1, ceil(need - 1e-9))

    def _blind(self, signals: Signals, memory: Memory) -> Answer[Memory]:
        """Nothing is known: what was needed last stays needed, and nothing is stopped."""
        wanted = max(memory.wanted, signals.live)
        held = self.limits.hold(wanted, live=signals.live, at=signals.now)
        since = "" if memory.at is None else f" for {signals.now - memory.at:.0f} s"
        return Answer(
            replicas=held,
            reasons=(f"no figures{since}: {held} kept, none stopped",),
            memory=msgspec.structs.replace(memory, wanted=held),
        )


def _bolder(bold: float, missed: float, seen_before: int, cells: int) -> float:
    """More is added to the forecast after demand was missed, less while none is.

    missed  share of the demand of the last cells, in shares that may be missed
    """
    learns = _LEARNS * (1.0 + _HASTE / (1.0 + seen_before / _HASTE_ENDS))
    change_ = learns * cells * (min(missed, _WORST) - 1.0)
    return min(max(bold + change_, _LEAST_BOLD), _MOST_BOLD)


def _first_bold(lead: float) -> float:
    """Before anything was learned: at long leads what keeps replicas on the way down helps less."""
    return min(max(0.15 * log(lead / 90.0), -0.5), 0.5)


def _corrected(signals: Signals, memory: Memory, capacity: Capacity) -> Memory:
    """Capacity as observed in full replicas, weighed by how long it was, beside the plan's."""
    hours = (signals.spot * max(0.0, signals.now - (memory.at or signals.now))) / 3600.0
    fresh = [n for n in signals.notices if memory.noticed is None or n.at > memory.noticed]
    gone = sum(notice.count for notice in fresh)
    fade = 1.0 - min(1.0, hours / _RISK_HOURS)
    memory = msgspec.structs.replace(
        memory,
        lost=memory.lost * fade + gone,
        at_risk=memory.at_risk * fade + hours,
        noticed=max((notice.at for notice in fresh), default=memory.noticed),
    )
    observed = signals.observed
    if observed is None or observed.seconds <= 0.0:
        return memory
    # Work over the plan's, less what the last correction said of so long; a look that saw hardly
    # any time weighs as little.
    done = capacity.replicas(observed.prompt_tokens, observed.output_tokens)
    change = done - observed.seconds * memory.corrects
    corrects = memory.corrects + change / (observed.seconds + _OBSERVED_OVER)
    return msgspec.structs.replace(memory, corrects=min(max(corrects, 0.5), 2.0))


_LEARNS = 1e-5  # per cell: a day without a miss lowers `bold` by a tenth
_HASTE, _HASTE_ENDS = 6.0, 3000.0  # so many times as fast at first, until so many cells were seen
_WORST = 300.0  # times the share that may be missed, of one cell
_LEAST_BOLD, _MOST_BOLD = -1.0, 4.0
_LOWS = 30  # cells for which fewer must have been enough before the number goes down
_WASTE = 250.0  # seconds of the whole fleet
_DRAINS_IN = 60.0  # seconds
_OBSERVED_OVER = 3600.0  # replica-seconds
_PRIOR_LOST, _PRIOR_HOURS = 0.5, 10.0  # before any was seen: one in twenty replica-hours
_RISK_HOURS = 200.0  # replica-hours over which losses are remembered
