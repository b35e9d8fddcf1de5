"""`python -m benchmarks.packing [--json]`: several models on few accelerators.

Optimality over random instances, seconds for 10,000 MIG instances, joint choice among eight
accelerator types, arrivals and departures against the offline optimum, and the waste of one
accelerator per service. Exits 1 when a claim does not hold.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from benchmarks.packing.measure import (
    Joint,
    Online,
    Optimality,
    Speed,
    joint,
    online,
    optimality,
    quantile,
    speed,
    ten_at_15_percent,
)

SLOWEST_PACK = 0.1  # seconds for 10,000 instances
SLOWEST_JOINT = 10.0  # seconds, median


def main() -> int:
    """Measure, print, and return 1 when a claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=10_000, help="random MIG instances")
    parser.add_argument("--seeds", type=int, default=16, help="markets of the joint choice")
    parser.add_argument("--arrivals", type=int, default=3_000, help="of the stream")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    said = sys.stderr if arguments.json else sys.stdout
    print("| claim | result |\n|---|---|", file=said)

    packed = optimality(arguments.instances, every=20)
    print(f"| the fewest accelerators, proven | {_optimality(packed)} |", file=said, flush=True)
    fast = speed(10_000)
    print(f"| 10,000 instances in under 100 ms | {_speed(fast)} |", file=said, flush=True)
    saved = ten_at_15_percent()
    print(f"| ten services at 15 % of a GPU each | {saved} |", file=said, flush=True)
    chosen = joint(arguments.seeds, services=20, gpus=2_000)
    print(f"| 20 services, 8 types of 2,000 GPUs | {_joint(chosen)} |", file=said, flush=True)
    followed = _online(arguments.arrivals, said)
    holds = (
        packed.proven == packed.instances
        and packed.agreed == packed.brute
        and packed.same == packed.solver
        and max(fast.first, fast.again) < SLOWEST_PACK
        and max(chosen.gaps) <= 1e-6
        and quantile(chosen.seconds, 0.5) < SLOWEST_JOINT
        and (saved.naive.gpus, saved.packed.gpus) == (10, 2)
    )
    if not holds:
        print("\nnot every claim held", file=sys.stderr)
    if arguments.json:
        rows: dict[str, Any] = {
            "optimality": asdict(packed),
            "speed": asdict(fast),
            "joint": asdict(chosen),
            "waste": asdict(saved),
            "online": [asdict(row) for row in followed],
            "holds": holds,
        }
        print(json.dumps(rows, indent=2))
    return int(not holds)


def _optimality(found: Optimality) -> str:
    return (
        f"{found.proven:,} of {found.instances:,} proven, {found.certified:,} by weights alone; "
        f"{found.agreed:,} of {found.brute:,} small ones equal to brute force; "
        f"{found.same:,} of {found.solver:,} equal to HiGHS"
    )


def _speed(found: Speed) -> str:
    return (
        f"{found.again * 1000:.1f} ms ({found.first * 1000:.1f} ms in a new process) for "
        f"{found.gpus:,} GPUs with every placement; HiGHS {found.solver * 1000:.1f} ms without "
        f"placements, {found.solver / found.again:.1f}x"
    )


def _joint(found: Joint) -> str:
    return (
        f"median {quantile(found.seconds, 0.5):.1f} s, worst {max(found.seconds):.1f} s of "
        f"{len(found.seconds)}; {min(found.ways)} to {max(found.ways)} ways, "
        f"{min(found.gpus)} to {max(found.gpus):,} GPUs; largest gap {max(found.gaps):.0e}"
    )


def _online(arrivals: int, said: Any) -> list[Online]:
    print(
        "\n| instances are made | GPUs | rule | GPU-hours over optimum | re-partitions | moved | "
        "refused |\n|---|---|---|---|---|---|---|",
        file=said,
    )
    found = []
    for live in (False, True):
        for cards in (80, 30):
            for rule in ("bestFit", "firstFit"):
                row = online(rule, live=live, cards=cards, arrivals=arrivals, load=40.0)
                found.append(row)
                print(
                    f"| {'one by one' if live else 'with the whole layout'} | {cards} | {rule} | "
                    f"{row.hours / row.optimum:.3f} | {row.repartitions} | {row.moved} | "
                    f"{row.refused} |",
                    file=said,
                    flush=True,
                )
    return found


if __name__ == "__main__":
    sys.exit(main())
