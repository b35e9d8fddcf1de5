"""`python -m benchmarks.scaling.made KIND [--days N] [--seed N] > FILE`

Made rates in ServeGen's shape for `score`: what policies meet that were not fitted to them.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from collections.abc import Callable
from random import Random

WINDOW = 600
CLIENTS = 20
KINDS: dict[str, Callable[[float, Random], float]] = {
    "diurnal": lambda day, _: (
        (1.0 + 0.6 * math.sin(2 * math.pi * day)) * (0.6 if day % 7 > 5 else 1.0)
    ),
    "bursts": lambda _, chance: 3.0 if chance.random() < 0.05 else 1.0,
    "steps": lambda day, _: 2.0 if 9 / 24 <= day % 1 < 18 / 24 else 0.5,
    "flat": lambda *_: 1.0,
    "dying": lambda day, _: math.exp(-day / 2),
    "wandering": lambda *_: 1.0,
}
"""Rate at a day, as a share of the mean."""


def main() -> int:
    """Write the rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling.made", description=__doc__)
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance = Random(arguments.seed)
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(("model", "client", "t_s", "rate_rps", "cv", "iat_dist", "p1", "p2"))
    wander = 0.0
    rates = []
    for window in range(arguments.days * 86_400 // WINDOW):
        share = KINDS[arguments.kind](window * WINDOW / 86_400, chance)
        if arguments.kind == "wandering":
            wander = 0.98 * wander + chance.gauss(0, 0.1)
            share = math.exp(wander)
        rates.append(200.0 * share * max(0.5, chance.gauss(1.0, 0.03)))
    for client in range(CLIENTS):
        shape = chance.uniform(0.05, 1.0)
        for window, rate in enumerate(rates):
            row = (rate / CLIENTS, 1 / math.sqrt(shape), "Gamma", shape, CLIENTS / rate / shape)
            rows.writerow((arguments.kind, client, window * WINDOW, *row))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
