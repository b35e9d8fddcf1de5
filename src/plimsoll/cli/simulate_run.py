"""One simulation from its beginning to its end, and whether the fleet serves the trace."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from math import inf

from plimsoll.cli.simulate_fleet import Simulated
from plimsoll.cli.simulate_progress import simulation_progress
from plimsoll.cli.simulate_trace import Fitting
from plimsoll.worlds.virtual.tally import Figures, Minute
from plimsoll.worlds.virtual.workloads.types import Workload
from plimsoll.worlds.virtual.world import ModelOutcome, simulate


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """One thing that was asked, and what became of it.

    name     `answered`, `ttft`, `tpot`, `endToEnd`
    asked    seconds; None for `answered`
    share    of all requests for which it is to hold, 0 to 1
    attained share of all requests for which it held; None for `endToEnd`, of which only quantiles
             are known
    met      whether it holds
    """

    name: str
    asked: float | None
    share: float
    attained: float | None
    met: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One simulation that is over.

    simulated   the fleet
    outcome     of the model that was asked
    seconds     that it lasted, in simulated time
    minutes     one by one
    too_long    requests that the gateway refused, as they do not fit the context
    first_too_long  when the first of them came, seconds
    prompt, output  mean tokens of the others
    objectives  what was asked, and whether it holds
    """

    simulated: Simulated
    outcome: ModelOutcome
    seconds: float
    minutes: tuple[Minute, ...]
    too_long: int
    first_too_long: float | None
    prompt: float
    output: float
    objectives: tuple[Objective, ...]

    @property
    def serves(self) -> bool:
        """Whether everything that was asked holds."""
        return all(each.met for each in self.objectives)

    @property
    def arrived(self) -> int:
        """Requests, those that are too long included."""
        return self.outcome.arrived + self.too_long

    @property
    def refused(self) -> dict[str, int]:
        """Requests that were refused, by reason."""
        refused = dict(self.outcome.refused)
        if self.too_long:
            refused["too-long"] = refused.get("too-long", 0) + self.too_long
        return dict(sorted(refused.items()))

    @property
    def gpu_hours(self) -> dict[str, float]:
        """Hours of whole accelerators, by cause."""
        spent, per = self.outcome.spent, self.simulated.portion / 3600.0
        return {
            "busy": spent.busy * per,
            "idle": spent.idle * per,
            "loading": spent.loading * per,
            "lost": spent.lost * per,
        }

    @property
    def dollars(self) -> float | None:
        """US dollars; None where there is no price."""
        return self.outcome.spent.dollars if self.simulated.priced else None


class _Hopeless(Exception):
    """What was asked can hold no more."""


def serves(
    simulated: Simulated, workload: Workload, *, seed: int, what: str, requests: int
) -> bool:
    """Whether a fleet holds what was asked; simulated no further than is needed to say no.

    requests  of the workload, as a run before has counted them
    """
    try:
        return run(simulated, workload, seed=seed, what=what, requests=requests).serves
    except _Hopeless:
        return False


def run(
    simulated: Simulated, workload: Workload, *, seed: int, what: str, requests: int | None = None
) -> Run:
    """Simulate, with progress. Raises InputError where the trace is broken.

    requests  see `serves`
    """
    arrivals = Fitting(workload, simulated.one.served.context)
    minutes: list[Minute] = []
    asked = simulated.model.objectives
    # Each objective may be missed by another part of the requests.
    kinds = 1 + (asked.ttft is not None) + (asked.tpot is not None)
    left = inf if requests is None else kinds * (1 - asked.percentile / 100) * requests
    with simulation_progress(what, workload.seconds) as told:

        def minute(row: Minute) -> None:
            nonlocal left
            minutes.append(row)
            told(row)
            left -= row.ended - row.attained + row.refused + row.broken
            if left < 0:
                raise _Hopeless

        with closing(iter(arrivals)) as feed:  # it holds the trace's file open
            outcome = simulate(simulated.setup, feed, seed=seed, minute=minute)
    (model,) = outcome.models
    count = max(1, arrivals.count)
    return Run(
        simulated=simulated,
        outcome=model,
        seconds=outcome.seconds,
        minutes=tuple(minutes),
        too_long=arrivals.too_long,
        first_too_long=arrivals.first,
        prompt=arrivals.prompt / count,
        output=arrivals.output / count,
        objectives=_objectives(simulated, model, arrivals.too_long),
    )


def _objectives(
    simulated: Simulated, outcome: ModelOutcome, too_long: int
) -> tuple[Objective, ...]:
    """What was asked, each with what became of it; a request without an answer held nothing."""
    asked = simulated.model.objectives
    share = asked.percentile / 100
    came = outcome.arrived + too_long
    part = outcome.arrived / came if came else 1.0
    rows = [
        ("answered", None, outcome.ended / came if came else 1.0),
        ("ttft", asked.ttft, outcome.ttft_attained * part),
        ("tpot", asked.tpot, outcome.tpot_attained * part),
    ]
    found = [
        Objective(name=name, asked=seconds, share=share, attained=held, met=held >= share)
        for name, seconds, held in rows
        if seconds is not None or name == "answered"
    ]
    if asked.end_to_end is not None:
        found.append(
            Objective(
                name="endToEnd", asked=asked.end_to_end, share=share, attained=None,
                met=quantile(outcome.e2e, share) <= asked.end_to_end,
            )
        )  # fmt: skip
    return tuple(found)


def quantile(figures: Figures, share: float) -> float:
    """The nearest quantile that is known at this share or above it."""
    known = ((0.5, figures.p50), (0.9, figures.p90), (0.95, figures.p95), (0.99, figures.p99))
    return next((seconds for at, seconds in known if at >= share - 1e-9), figures.max)


def first_failing(run: Run) -> Minute | None:
    """The first minute in which too few of the requests that were over were answered in time.

    None where there is no such minute.
    """
    share = run.objectives[0].share
    for row in run.minutes:
        over = row.ended + row.refused + row.broken
        if row.attained < share * over:
            return row
    return None


def worst_queue(run: Run) -> Minute | None:
    """The minute at whose end most requests waited; None where none ever did."""
    worst = max(run.minutes, key=lambda row: row.queued, default=None)
    return worst if worst is not None and worst.queued else None
