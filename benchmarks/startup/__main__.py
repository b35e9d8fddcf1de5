"""`python -m benchmarks.startup`: CPU and wall time of `plimsoll --help` over `python -c pass`."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

LIMIT = 8.0


def spent(command: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of one run of a command."""
    before = os.times()
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - start
    after = os.times()
    cpu = after.children_user + after.children_system
    return wall, cpu - before.children_user - before.children_system


def main() -> None:
    """Run both in turn, so that a drifting machine touches both alike."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    python = sys.executable
    ours = [str(Path(python).with_name("plimsoll")), "--help"]
    theirs = [python, "-c", "pass"]
    spent(ours), spent(theirs)
    pairs = [(spent(ours), spent(theirs)) for _ in range(arguments.runs)]
    # The minimum is what the program needs; what is above it is the machine's other work.
    walls = [min(pair[side][0] for pair in pairs) for side in (0, 1)]
    cpus = [min(pair[side][1] for pair in pairs) for side in (0, 1)]
    ratio = statistics.median(a[0] / b[0] for a, b in pairs)
    result = {
        "help_wall_ms": round(walls[0] * 1000, 1),
        "pass_wall_ms": round(walls[1] * 1000, 1),
        "wall_ratio_of_minima": round(walls[0] / walls[1], 2),
        "wall_ratio_median_of_pairs": round(ratio, 2),
        "cpu_ratio_of_minima": round(cpus[0] / max(cpus[1], 1e-9), 2),
        "limit": LIMIT,
        "holds": walls[0] / walls[1] <= LIMIT,
    }
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        for name, value in result.items():
            print(f"{name:28} {value}")
    sys.exit(0 if result["holds"] else 1)


if __name__ == "__main__":
    main()
