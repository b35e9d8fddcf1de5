"""The trace of a simulation, as its options change it, and what of it no replica could hold."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from math import inf
from pathlib import Path

from plimsoll.errors import InputError
from plimsoll.units import parse_duration
from plimsoll.worlds.virtual.workloads.operations import assigned, cut, scaled
from plimsoll.worlds.virtual.workloads.reading import read_workload
from plimsoll.worlds.virtual.workloads.types import Arrival, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceOptions:
    """What the command line says of the trace.

    path        its file
    lengths     ServeGen's lengths of requests, for its rates
    rates_of    whose of ServeGen's rates; None: the only ones
    begin, end  the part that is taken, as durations of the trace's own time; None: all
    speed       so many times as fast: the same requests in less time
    rate        so many times the requests in the same time
    seed        of what is drawn
    allow_gaps  whether long holes are taken as they are
    """

    path: Path
    lengths: Path | None = None
    rates_of: str | None = None
    begin: str | None = None
    end: str | None = None
    speed: float = 1.0
    rate: float = 1.0
    seed: int = 0
    allow_gaps: bool = False


def workload_of(options: TraceOptions, model: str) -> Workload:
    """The trace as the options want it, all of it asking one model.

    Raises InputError, for much of what may be wrong with a file only while one iterates.
    """
    if options.lengths is None and options.rates_of is not None:
        raise InputError(
            "only ServeGen's rates know models",
            hint="give ServeGen's lengths with `--lengths`, or leave `--rates-of` out",
            code="simulate.trace",
        )
    read = read_workload(
        options.path,
        lengths=options.lengths,
        model=options.rates_of if options.lengths is not None else model,
        seed=options.seed,
        allow_gaps=options.allow_gaps,
    )
    if options.lengths is not None:
        read = assigned(read, models={model: 1.0})
    if options.begin is not None or options.end is not None:
        read = cut(
            read,
            begin=0.0 if options.begin is None else parse_duration(options.begin),
            end=inf if options.end is None else parse_duration(options.end),
        )
    return scaled(read, rate=options.rate, time=1 / options.speed, seed=options.seed)


class Fitting:
    """Arrivals that a model's context holds; what is longer the gateway refuses.

    too_long  requests that were left out, and
    first     when the first of them came, seconds; None where there are none
    prompt, output  tokens of those that were let through
    count     how many were
    """

    def __init__(self, workload: Workload, context: int) -> None:
        self._workload = workload
        self._context = context
        self.too_long = self.count = 0
        self.first: float | None = None
        self.prompt = self.output = 0

    def __iter__(self) -> Generator[Arrival, None, None]:
        """Once; the figures are whole when it is over. Raises InputError for an empty workload."""
        context = self._context
        for arrival in self._workload:
            prompt, output = arrival.prompt_tokens, arrival.output_tokens
            if prompt + output > context:
                self.too_long += 1
                if self.first is None:
                    self.first = arrival.at
                continue
            self.count += 1
            self.prompt += prompt
            self.output += output
            yield arrival
        if not self.count and not self.too_long:
            raise InputError(
                "no requests in this part of the trace",
                hint="check `--from` and `--until`",
                code="simulate.empty",
            )
