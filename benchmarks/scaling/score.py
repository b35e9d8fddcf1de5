"""`python -m benchmarks.scaling.score --rates FILE --model NAME --cold-start SECONDS [--json]`

Every scaling policy on days of traffic: the share of requests within the objectives and the GPU
hours paid, beside the fewest that would have done. `--trace FILE` takes a trace in Azure's shape
instead of rates. Exits 2 when the input cannot be used.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.scaling import clairvoyant
from benchmarks.scaling.demand import Demand, of_rates, of_trace
from benchmarks.scaling.fluid import WARM, Outcome, Setting
from benchmarks.scaling.policies import Run, best_keda, keda, others, ours, played
from benchmarks.scaling.rationed import rationed
from benchmarks.scaling.replica import DEVICES, LENGTHS, TPOT, TTFT, USUAL, Replica, replica
from benchmarks.scaling.spot import Spot, price
from plimsoll.errors import InputError
from plimsoll.policy.scale import Metric
from plimsoll.worlds.virtual.workloads.servegen_rates import read_rates

LEAST = 15.0
"""Replicas that the mean keeps busy at least: about what m-large does as it is."""

Row = dict[str, Any]


def main() -> int:
    """Measure and print."""
    arguments = _arguments()
    try:
        demand, unit, name = _traffic(arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    found = score(demand, unit, arguments.cold_start, quick=arguments.quick)
    found = {"model": name, **found}
    if arguments.json:
        print(json.dumps(found, indent=2))
    else:
        _print(found)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling.score", description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--rates", type=Path, help="rates of clients, CSV or .gz, ServeGen's shape")
    source.add_argument("--trace", type=Path, help="requests, CSV or .gz, Azure's shape")
    parser.add_argument("--model", help="whose rates; may be left out if there is one")
    parser.add_argument("--cold-start", type=float, required=True, metavar="SECONDS")
    parser.add_argument(
        "--least", type=float, default=LEAST, metavar="REPLICAS",
        help="traffic whose mean keeps fewer busy is multiplied until it keeps as many "
        f"(default {LEAST:g}; 0 takes it as it is)",
    )  # fmt: skip
    parser.add_argument(
        "--jumps", action="store_true",
        help="rates jump from window to window; by default they pass in straight lines, about "
        "as many requests in each window",
    )  # fmt: skip
    parser.add_argument("--prompt-tokens", type=float, help="mean of a request, for rates")
    parser.add_argument("--output-tokens", type=float, help="mean of a request, for rates")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn (default 0)")
    parser.add_argument("--quick", action="store_true", help="only ours and the clairvoyant")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if not 0.0 < arguments.cold_start < 86_400.0:
        parser.error("--cold-start must be above 0 and below a day, in seconds")
    if not 0.0 <= arguments.least <= 10_000.0:
        parser.error("--least must be from 0 to 10000")
    for name in ("prompt_tokens", "output_tokens"):
        value = getattr(arguments, name)
        if value is not None and not 1.0 <= value <= 30_000.0:
            parser.error(f"--{name.replace('_', '-')} must be from 1 to 30000")
    return arguments


def _traffic(arguments: argparse.Namespace) -> tuple[Demand, Replica, str]:
    if arguments.trace:
        demand, unit = of_trace(arguments.trace, least=arguments.least, seed=arguments.seed)
        return demand, unit, arguments.model or arguments.trace.name
    rates = read_rates(arguments.rates, arguments.model)
    prompt, output = LENGTHS.get(rates.model, LENGTHS[USUAL])
    unit = replica(arguments.prompt_tokens or prompt, arguments.output_tokens or output)
    _say(f"{rates.seconds / 86_400:.2f} days of {rates.model}, {len(rates.clients)} clients")
    demand = of_rates(
        rates, unit, least=arguments.least, ramps=not arguments.jumps, seed=arguments.seed
    )
    return demand, unit, rates.model


def score(demand: Demand, unit: Replica, cold_start: float, *, quick: bool = False) -> Row:
    """Every policy on one traffic."""
    first = max(1, round(float(demand.work[:600].mean()) * 1.3 + 1))
    setting = Setting(cold_start=cold_start, drain=unit.life, first=first)
    every = _bounds(demand, unit, setting)
    rows: dict[str, Row] = {}
    own = ours(unit, cold_start)
    mine = _played(own, demand, unit, setting)
    rows[own.name] = _row(mine, every)
    found: Row = {
        "coldStartSeconds": cold_start,
        "objectives": {"ttftSeconds": TTFT, "tpotSeconds": TPOT},
        "days": demand.seconds / 86_400,
        "trafficFactor": demand.factor,
        "meanReplicas": float(demand.work.mean()),
        "replicaRequestsPerSecond": unit.rate,
        "clairvoyant": {name: value for name, value in every.items() if name != "paid"},
        "policies": rows,
    }
    if quick:
        return found
    for metric in Metric:
        for share in (0.7, 0.85):
            which = keda(unit, share, metric)
            rows[which.name] = _row(_played(which, demand, unit, setting), every)
    for which in others(unit):
        rows[which.name] = _row(_played(which, demand, unit, setting), every)
    for metric in Metric:
        _say(f"keda on {metric}, thresholds tried in hindsight")
        which, outcome = best_keda(demand, unit, setting, mine.attainment, metric)
        label = f"keda {metric} best in hindsight"
        rows[label] = {**_row(outcome, every), "threshold": which.name}
        rows[label]["oursFewerGpuHours"] = 1.0 - mine.paid / outcome.paid
    found["spot"] = _spot(own, demand, unit, setting, mine)
    return found


def _bounds(demand: Demand, unit: Replica, setting: Setting) -> Row:
    _say("the clairvoyant")
    every = clairvoyant.bound(demand, unit.slack, setting, least=1)
    most = clairvoyant.bound(demand, unit.slack, setting, least=1, attainment=0.999)
    return {
        "paid": every.paid,
        "gpuHours": _hours(every.paid),
        "attainment": every.attainment,
        "gpuHoursAt999": _hours(most.paid),
        "gpuHoursWithTwoTurnsAnHour": _hours(rationed(every, setting, per_hour=2.0)),
        "gpuHoursOfWorkAlone": _hours(float(demand.work.sum())),
    }


def _spot(own: Run, demand: Demand, unit: Replica, setting: Setting, mine: Outcome) -> Row:
    spot = Spot()
    outcome = _played(own, demand, unit, replace(setting, spot=spot), "predictive, 70 % spot")
    share = price()
    bill = outcome.paid - outcome.spot_paid + share * outcome.spot_paid
    return {
        "attainment": outcome.attainment,
        "spotShareOfHours": outcome.spot_paid / outcome.paid,
        "spotPrice": share,
        "billOverOnDemand": bill / mine.paid,
        "replicasLost": outcome.lost,
        "directionChangesPerHour": outcome.turns_per_hour,
    }


def _row(outcome: Outcome, every: Row) -> Row:
    return {
        "attainment": outcome.attainment,
        "gpuHours": _hours(outcome.paid),
        "gpuHoursOverClairvoyant": outcome.paid / every["paid"],
        "directionChangesPerHour": outcome.turns_per_hour,
        "gpuHoursLoading": _hours(outcome.loading),
    }


def _hours(replica_seconds: float) -> float:
    return replica_seconds * DEVICES / 3600


def _played(
    which: Run, demand: Demand, unit: Replica, setting: Setting, name: str | None = None
) -> Outcome:
    return played(
        which,
        demand,
        unit,
        setting,
        _progress(name or which.name, demand.seconds + min(WARM, demand.seconds)),
    )


def _progress(name: str, seconds: int) -> Callable[[int], None]:
    """Says how far it is, every second of ours."""
    last = time.monotonic()
    shown = False

    def watch(done: int) -> None:
        nonlocal last, shown
        now = time.monotonic()
        if now - last >= 1.0 or (shown and done == seconds):
            last, shown = now, True
            print(f"\r{name}: {done / seconds:4.0%}", end="", file=sys.stderr, flush=True)
        if shown and done == seconds:
            print(file=sys.stderr)

    return watch


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _print(found: Row) -> None:
    best = found["clairvoyant"]
    print(
        f"{found['model']}: {found['days']:.2f} days, {found['meanReplicas']:.1f} replicas busy on "
        f"average (traffic x {found['trafficFactor']:.2f}), cold start "
        f"{found['coldStartSeconds']:g} s"
    )
    print(
        f"clairvoyant: {best['gpuHours']:,.0f} GPU hours for every request, "
        f"{best['gpuHoursAt999']:,.0f} for 99.9 %, "
        f"{best['gpuHoursWithTwoTurnsAnHour']:,.0f} with two turns an hour; the work alone is "
        f"{best['gpuHoursOfWorkAlone']:,.0f}"
    )
    print(f"{'policy':36} {'attained':>9} {'GPU hours':>10} {'over best':>9} {'turns/h':>8}")
    for name, row in found["policies"].items():
        label = f"{name} ({row['threshold'].split()[-1]})" if "threshold" in row else name
        print(
            f"{label:36} {row['attainment']:9.3%} {row['gpuHours']:10,.0f} "
            f"{row['gpuHoursOverClairvoyant']:9.3f} {row['directionChangesPerHour']:8.2f}"
        )
    if "spot" in found:
        spot = found["spot"]
        print(
            f"70 % spot: {spot['attainment']:.3%} attained, {spot['billOverOnDemand']:.1%} of the "
            f"bill on demand, {spot['replicasLost']} replicas lost"
        )


if __name__ == "__main__":
    raise SystemExit(main())
