"""What became of a simulation, for a reader."""

from __future__ import annotations

from plimsoll.cli.simulate_fleet import cold_start_words
from plimsoll.cli.simulate_run import Objective, Run, worst_queue
from plimsoll.cli.tables import table
from plimsoll.units import duration, money
from plimsoll.worlds.virtual.tally import Figures

_NAMES = {"ttft": "first token", "tpot": "per token", "endToEnd": "whole answer"}


def run_text(run: Run) -> str:
    """Attainment, percentiles, GPU hours, money, queue."""
    parts = [_head(run), _latencies(run), _hours(run), "\n".join(_lines(run))]
    notes = _notes(run)
    if notes:
        parts.append("\n".join(f"note: {note}" for note in notes))
    return "\n\n".join(parts)


def _head(run: Run) -> str:
    simulated, limits = run.simulated, run.simulated.limits
    scaled = simulated.scaled
    many = f", {limits.min} to {limits.max} replicas" if scaled.policy is not None else " replicas"
    return (
        f"{simulated.model.name} on {simulated.choice.chosen.ground.name}: {run.arrived:,} "
        f"requests in {duration(run.seconds)}, {scaled.words}{many}, cold start "
        f"{cold_start_words(simulated)}"
    )


def _latencies(run: Run) -> str:
    by_name = {each.name: each for each in run.objectives}
    rows = [
        (name, *_asked(by_name.get(key)), *_quantiles(figures))
        for key, name, figures in (
            ("ttft", _NAMES["ttft"], run.outcome.ttft),
            ("tpot", _NAMES["tpot"], run.outcome.tpot),
            ("endToEnd", _NAMES["endToEnd"], run.outcome.e2e),
        )
    ]
    head = ("TIME", "ASKED", "HELD", "MEAN", "P50", "P90", "P95", "P99", "MOST")
    return table(head, rows)


def _asked(objective: Objective | None) -> tuple[str, str]:
    if objective is None or objective.asked is None:
        return "-", "-"
    asked = f"{objective.share * 100:g}% <= {duration(objective.asked)}"
    if objective.attained is None:
        return asked, "yes" if objective.met else "no"
    return asked, f"{objective.attained:.2%}"


def _quantiles(figures: Figures) -> tuple[str, ...]:
    every = (figures.mean, figures.p50, figures.p90, figures.p95, figures.p99, figures.max)
    return tuple(short(seconds) for seconds in every)


def short(seconds: float) -> str:
    """Seconds in a cell: milliseconds to the tenth below 100 of them."""
    return f"{seconds * 1000:.1f} ms" if seconds < 0.1 else duration(seconds)


def _hours(run: Run) -> str:
    hours, dollars = run.gpu_hours, run.dollars
    total = sum(hours.values())
    rows = [
        (
            cause,
            f"{each:,.2f}",
            f"{each / total:.1%}" if total else "-",
            money(dollars * each / total) if dollars is not None and total else "-",
        )
        for cause, each in (*hours.items(), ("total", total))
    ]
    return table(("GPU", "HOURS", "SHARE", "COST"), rows)


def _lines(run: Run) -> list[str]:
    outcome = run.outcome
    refused = ", ".join(f"{count:,} {reason}" for reason, count in run.refused.items())
    broken = f", {outcome.broken:,} broke off" if outcome.broken else ""
    count = f"{sum(run.refused.values()):,} refused" + (f" ({refused})" if refused else "")
    read = f"{outcome.prompt:,} read, {outcome.hit_rate:.1%} of them from the prefix cache"
    lines = [
        f"requests: {outcome.ended:,} answered, {count}{broken}",
        f"tokens: {read}; {outcome.output:,} written",
        _replicas(run),
        _queue(run),
    ]
    if outcome.cold_start:
        phases = ", ".join(
            f"{name} {duration(took.mean)}" for name, took in outcome.cold_start.items() if took.max
        )
        lines.append(f"cold starts, mean: {phases}")
    return lines


def _replicas(run: Run) -> str:
    ready = [row.ready for row in run.minutes]
    outcome = run.outcome
    started = outcome.starts - run.simulated.one.ready
    lost = f", {outcome.lost} lost" if outcome.lost else ""
    least, most = min(ready), max(ready)
    mean = (
        f" to {most} ready, {sum(ready) / len(ready):.1f} on average" if most > least else " ready"
    )
    turns = "1 change" if outcome.turns == 1 else f"{outcome.turns} changes"
    return f"replicas: {least}{mean}; {started} started{lost}; {turns} of direction"


def _queue(run: Run) -> str:
    worst = worst_queue(run)
    if worst is None:
        return "queue: empty at the end of every minute"
    return f"queue: at most {worst.queued:,} waiting, after {duration(worst.at + 60)}"


def _notes(run: Run) -> list[str]:
    """What is assumed, and where the trace is unlike the traffic that was planned for."""
    demand = run.simulated.choice.found.demand
    notes = list(run.simulated.notes)
    for what, planned, found in (
        ("prompts", demand.prompt, run.prompt),
        ("answers", demand.output, run.output),
    ):
        if found and not 0.67 <= found / planned <= 1.5:
            notes.append(
                f"{what} have {found:,.0f} tokens on average, the plan reckons with "
                f"{planned:,.0f}: set `traffic` to match"
            )
    return notes
