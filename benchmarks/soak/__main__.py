"""Prints what was done, and memory as requests went by."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from time import process_time

from benchmarks.soak.disasters import Disasters
from benchmarks.soak.load import Load, growth
from plimsoll.gateway import new_event_loop

BLOCKS = 0.02
"""Blocks of memory per request that may be added when caches are full."""
BYTES = 4.0
"""Bytes per request, likewise."""


def main() -> int:
    """Returns 1 when memory grows; what is left behind raises."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    soak = Disasters(options.seed)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(soak.run(options.events))
    began = process_time()
    rows = Load(options.seed).run(options.requests)
    blocks, size = growth(rows)
    result = {
        "done": dict(soak.done),
        "memory": [
            {"requests": row.requests, "blocks": row.blocks, "mib": round(row.resident / 2**20, 2)}
            for row in rows
        ],
        "blocks_per_request": round(blocks, 4),
        "bytes_per_request": round(size, 2),
        "cpu_seconds": round(process_time() - began, 1),
    }
    if options.json:
        print(json.dumps(result))
    else:
        for name, count in sorted(soak.done.items()):
            print(f"| {name} | {count:,} |")
        for row in rows:
            print(f"| {row.requests:,} | {row.blocks:,} blocks | {row.resident / 2**20:.2f} MiB |")
        print(f"growth per request: {blocks:.4f} blocks, {size:.2f} bytes")
    return int(blocks > BLOCKS or size > BYTES)


if __name__ == "__main__":
    sys.exit(main())
