"""A fleet that does not serve a trace: when it fails first, and how many replicas would do."""

from __future__ import annotations

from collections.abc import Callable

from plimsoll.cli.simulate_fleet import room_for, whole_nodes
from plimsoll.cli.simulate_run import Objective, Run, first_failing
from plimsoll.errors import DoesNotFit
from plimsoll.units import duration

MOST_TIMES = 32
"""So many times the replicas are tried at most."""

Serves = Callable[[int, int], bool]


def refusal(run: Run, serves: Serves) -> DoesNotFit:
    """The error for a run that does not hold what was asked.

    serves  whether the same does with other numbers of replicas, at least and at most
    """
    missed = "; ".join(_missed(each) for each in run.objectives if not each.met)
    return DoesNotFit(
        f"the fleet does not serve this trace: {missed}{_first(run)}",
        where=f"model {run.simulated.model.name}",
        hint=_would_do(run, serves),
        code="does-not-fit.trace",
    )


def _missed(objective: Objective) -> str:
    if objective.attained is None:
        return f"{objective.name} of {duration(objective.asked or 0.0)} is exceeded"
    what = "are answered"
    if objective.asked is not None:
        what = f"have a {objective.name} of at most {duration(objective.asked)}"
    return f"{objective.attained:.1%} of requests {what}, {objective.share * 100:g}% is asked"


def _first(run: Run) -> str:
    """The first minute at which it fails."""
    row, long = first_failing(run), run.first_too_long
    if long is not None and (row is None or long < row.at):
        return f"; first fails in minute {int(long // 60) + 1}, with a request that is too long"
    if row is None:
        return ""
    over = row.ended + row.refused + row.broken
    return (
        f"; first fails in minute {int(row.at // 60) + 1}: {row.attained:,} of {over:,} requests "
        f"in time, {row.queued:,} waiting, {row.ready} replicas ready, {row.loading} loading"
    )


def _would_do(run: Run, serves: Serves) -> str:
    limits, share = run.simulated.limits, run.objectives[0].share
    if run.too_long > (1 - share) * run.arrived:
        return (
            f"{run.too_long:,} requests are longer than the context of "
            f"{run.simulated.one.served.context:,} tokens: raise `context`"
        )
    adaptive = run.simulated.scaled.policy is not None
    if adaptive and any(row.wanted >= limits.max for row in run.minutes):
        # One look at far more tells whether `max` is what lacks, or time to start.
        enough = serves(limits.min, limits.max * MOST_TIMES)
        most = _fewest(limits.max, lambda count: serves(limits.min, count)) if enough else None
        if most is not None:
            return f"`scaling.max: {most}` would do{_nodes(run, most)}"
    first = max(1, limits.min)
    least = _fewest(first, lambda count: serves(count, max(count, limits.max)))
    if least is not None:
        return f"`scaling.min: {least}` would do{_nodes(run, least)}"
    return (
        f"no number of replicas up to {first * MOST_TIMES} would do: take a faster accelerator, or "
        "ask for less in `objectives`"
    )


def _fewest(failing: int, does: Callable[[int], bool]) -> int | None:
    """The fewest replicas that do, where so many do not; None where MOST_TIMES as many do not."""
    low, high = failing, failing * 2
    while not does(high):
        if high >= failing * MOST_TIMES:
            return None
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        if does(middle):
            high = middle
        else:
            low = middle
    return high


def _nodes(run: Run, replicas: int) -> str:
    ground = run.simulated.choice.chosen.ground
    if replicas <= room_for(run.simulated.choice.chosen):
        return ""
    return f", with `nodes.max: {whole_nodes(run.simulated, replicas)}` for {ground.name}"
