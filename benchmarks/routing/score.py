"""`python -m benchmarks.routing.score --trace FILE --replicas N [--load SHARE] [--json]`

Prefix routing on a trace of Mooncake's shape: our router, round robin, least loaded, and the rules
of three other routers, each with the best of its parameters, through the real state machine and
replicas in numbers. Exits 2 when the trace cannot be used.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.routing.fleet import Outcome, run
from benchmarks.routing.peers import RoundRobin, Variant, grids
from benchmarks.routing.replica import PEAK, QWEN3_32B
from benchmarks.routing.trace import (
    BLOCK,
    BadTraceError,
    Request,
    read,
    scaled,
    shared_lru,
    unique,
)
from plimsoll.policy.requests.types import Served
from plimsoll.policy.routing.load import LeastLoaded
from plimsoll.policy.routing.prefix import PrefixRouter

MOST = 50_000
"""Requests of one run: what takes minutes rather than hours."""

FASTER = 6.0
"""Time runs at most about so many times faster before more users are added instead."""

TUNED_AT = 8
"""Replicas for which every parameter is tried; for more, the best two of them are."""

OURS, ROUND, LEAST = "ours", "round robin", "least loaded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A trace made to keep so many replicas busy.

    requests  at their times
    copies    of the trace, each with users of its own
    speed     of time
    hits      share of blocks that one cache of the same total size would have found
    busy      share of the replicas' time that reading takes if they shared that cache, and
              writing the answers; the steps themselves come on top
    """

    requests: Sequence[Request]
    copies: int
    speed: float
    hits: float
    busy: float


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.routing.score", description=__doc__)
    parser.add_argument("--trace", type=Path, required=True, help="JSON lines, .gz or plain")
    parser.add_argument("--replicas", type=int, required=True)
    parser.add_argument(
        "--load", type=float, default=0.8,
        help="share of the replicas' time that the prompts would take to read, if all of them "
        "shared one cache (default 0.8)",
    )  # fmt: skip
    parser.add_argument(
        "--answers", action="store_true",
        help="count in the load what the answers take to write, too",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.replicas < 1:
        parser.error("--replicas must be at least 1")
    if not 0.0 < arguments.load < 10.0:
        parser.error("--load must be above 0 and below 10")
    try:
        trace = read(arguments.trace)
        found = score(trace, arguments.replicas, arguments.load, answers=arguments.answers)
    except (BadTraceError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if arguments.json:
        print(json.dumps(found, indent=2))
    else:
        _print(found)
    return 0


def score(
    trace: Sequence[Request], replicas: int, load: float, *, answers: bool = False
) -> dict[str, Any]:
    """Every rule on one trace; `answers`: see `loaded`. Raises BadTraceError where no load can be
    made of it.
    """
    if len(trace) > MOST:
        _say(f"the first {MOST:,} of {len(trace):,} requests")
        trace = trace[:MOST]
    full = loaded(trace, replicas, load, answers=answers)
    _say(
        f"{len(full.requests):,} requests over {full.requests[-1].at:,.0f} s: "
        f"{full.copies} times the trace, {full.speed:.2f} times as fast; with the answers, "
        f"a load of {full.busy:.2f}"
    )
    rows = [
        _row(OURS, {}, _run(OURS, full, replicas, ours), full),
        _row(ROUND, {}, _run(ROUND, full, replicas, lambda _: RoundRobin()), full),
        _row(LEAST, {}, _run(LEAST, full, replicas, _least), full),
    ]
    small = full if replicas <= TUNED_AT else loaded(trace, TUNED_AT, load, answers=answers)
    for name, variants in grids(PEAK).items():
        best, outcome = _tuned(name, variants, full, small, replicas)
        rows.append(_row(name, best.parameters, outcome, full))
    alone = loaded(unique(trace), replicas, load, answers=answers)
    rows_unique = [
        _row(OURS, {}, _run(f"{OURS}, nothing repeats", alone, replicas, ours), alone),
        _row(LEAST, {}, _run(f"{LEAST}, nothing repeats", alone, replicas, _least), alone),
    ]
    return {
        "replicas": replicas,
        "load": load,
        "load_with_answers": full.busy,
        "requests": len(full.requests),
        "copies": full.copies,
        "speed": full.speed,
        "seconds": full.requests[-1].at,
        "shared_lru_hit_rate": full.hits,
        "policies": rows,
        "nothing_repeats": rows_unique,
        "claims": _claims(rows, rows_unique),
    }


def ours(served: Served) -> PrefixRouter:
    """Our router on the blocks of a trace; nobody tells it the replicas' speed."""
    return PrefixRouter(
        served.name,
        ends=range(BLOCK, BLOCK * 4097, BLOCK),
        tokens=served.kv_tokens,
        entries=1 << 20,
    )


def _least(served: Served) -> LeastLoaded:
    return LeastLoaded(served.name)


def loaded(trace: Sequence[Request], replicas: int, load: float, *, answers: bool = False) -> Load:
    """More users, and time that runs faster, until the replicas have that much to read, or to
    read and to write.

    Raises BadTraceError where the trace has no length in time.
    """
    length = trace[-1].at
    if length <= 0.0:
        raise BadTraceError("every `timestamp` of the trace is the same, so it has no load")
    _, reads, writes = _shares(trace, replicas)
    wanted = load / (reads + writes if answers else reads)
    copies = max(1, min(round(wanted / FASTER), MOST // len(trace)))
    requests = scaled(trace, copies=copies, speed=1.0)
    hits, reads, writes = _shares(requests, replicas)
    speed = load / (reads + writes if answers else reads)
    requests = [replace(each, at=each.at / speed) for each in requests]
    return Load(
        requests=requests,
        copies=copies,
        speed=speed,
        hits=hits,
        busy=(reads + writes) * speed,
    )


def _shares(requests: Sequence[Request], replicas: int) -> tuple[float, float, float]:
    """Hit rate of one shared cache, and the shares of all replicas' time to read the rest and to
    write the answers.
    """
    hits, uncached = shared_lru(requests, replicas * QWEN3_32B.blocks)
    reads = sum(
        QWEN3_32B.read(tokens, each.prompt - tokens)
        for tokens, each in zip(uncached, requests, strict=True)
    )
    writes = sum(QWEN3_32B.write(each.answer, each.prompt) for each in requests)
    time = replicas * requests[-1].at
    return hits, reads / time, writes / time


def _tuned(
    name: str, variants: Sequence[Variant], full: Load, small: Load, replicas: int
) -> tuple[Variant, Outcome]:
    """The parameters with the shortest p99 of the time to the first token."""
    if full is not small:
        found = [
            (quantile(_run(name, small, TUNED_AT, each.router).first, 0.99), number)
            for number, each in enumerate(variants)
        ]
        variants = [variants[number] for _, number in sorted(found)[:2]]
    outcomes = [_run(name, full, replicas, each.router) for each in variants]
    best = min(range(len(variants)), key=lambda number: quantile(outcomes[number].first, 0.99))
    return variants[best], outcomes[best]


def _run(name: str, load: Load, replicas: int, router: Callable[[Served], Any]) -> Outcome:
    _say(name)
    return run(load.requests, replicas=replicas, speed=QWEN3_32B, router=router)


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which so large a share of sorted values lies; 0.0 of none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def _row(name: str, parameters: Any, found: Outcome, load: Load) -> dict[str, Any]:
    return {
        "policy": name,
        "parameters": dict(parameters),
        "hit_rate": found.hits,
        "hit_rate_over_shared_lru": found.hits / load.hits if load.hits else 1.0,
        "imbalance": found.imbalance,
        "ttft_p50_s": quantile(found.first, 0.5),
        "ttft_p99_s": quantile(found.first, 0.99),
        "decision_p50_us": quantile(found.decision, 0.5),
        "decision_p99_us": quantile(found.decision, 0.99),
    }


def _claims(
    rows: Sequence[dict[str, Any]], alone: Sequence[dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    mine = rows[0]
    p99 = {row["policy"]: row["ttft_p99_s"] for row in rows}
    found = {
        "hit rate over that of one shared cache": (mine["hit_rate_over_shared_lru"], 0.9, True),
        "imbalance": (mine["imbalance"], 1.10, False),
        "p99 to the first token, round robin over ours": (p99[ROUND] / p99[OURS], 5.0, True),
    }
    for row in rows[3:]:
        name = row["policy"]
        found[f"p99 to the first token, {name} over ours"] = (p99[name] / p99[OURS], 1.5, True)
    worse = alone[0]["ttft_p99_s"] / alone[1]["ttft_p99_s"]
    found["p99 where nothing repeats, ours over least loaded"] = (worse, 1.02, False)
    return {
        name: {"value": value, "wanted": wanted, "holds": (value >= wanted) is more}
        for name, (value, wanted, more) in found.items()
    }


def _print(found: dict[str, Any]) -> None:
    print(
        f"{found['replicas']} replicas, load {found['load']:g} "
        f"({found['load_with_answers']:.2f} with the answers), {found['requests']:,} requests; "
        f"one shared cache would find {found['shared_lru_hit_rate']:.1%} of blocks\n"
    )
    print("| rule | hit rate | of shared | imbalance | TTFT p50, p99 s | decision p50, p99 us |")
    print("|---|---|---|---|---|---|")
    for row in [*found["policies"], *found["nothing_repeats"]]:
        name = row["policy"]
        if row["parameters"]:
            name += " (" + ", ".join(f"{k} {v:g}" for k, v in row["parameters"].items()) + ")"
        if any(row is each for each in found["nothing_repeats"]):
            name += ", nothing repeats"
        print(
            f"| {name} | {row['hit_rate']:.1%} | {row['hit_rate_over_shared_lru']:.1%} "
            f"| {row['imbalance']:.3f} | {row['ttft_p50_s']:.2f}, {row['ttft_p99_s']:.2f} "
            f"| {row['decision_p50_us']:.0f}, {row['decision_p99_us']:.0f} |"
        )
    print("\n| claim | wanted | found |\n|---|---|---|")
    for name, each in found["claims"].items():
        mark = "" if each["holds"] else " (not held)"
        print(f"| {name} | {each['wanted']:g} | {each['value']:.3f}{mark} |")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
