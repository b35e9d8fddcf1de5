"""How near the simulator is to real vLLM.

`python -m benchmarks.simulator.fidelity --measured DIR | --under-load FILE [--share 0.5] [--json]`

DIR holds request logs as `traces/vllm_measured` has them. Step times are fitted to the first part
of each log, up to when `share` of its requests have ended, and judged on those that end after it.
FILE is shaped as `perf/vllm_under_load.csv`. Step times are the planner's with the factors in
`facts/data`, which for each experiment that they were fitted on come from a fit without it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.simulator.fidelity_logs import logs_report, logs_score
from benchmarks.simulator.fidelity_under_load import load_report, load_score
from plimsoll.errors import InputError


def main() -> int:
    """Judge what is asked for and print it; 2 where the input cannot be read."""
    parser = argparse.ArgumentParser(prog="benchmarks.simulator.fidelity")
    parser.add_argument("--measured", type=Path, metavar="DIR", help="request logs")
    parser.add_argument("--under-load", type=Path, metavar="FILE", help="stages of load")
    parser.add_argument("--share", type=float, default=0.5, help="of a log that is fitted")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if not asked.measured and not asked.under_load:
        parser.error("give --measured DIR, --under-load FILE, or both")
    if not 0.0 < asked.share < 1.0:
        parser.error("--share is between 0 and 1")
    result: dict[str, Any] = {}
    try:
        if asked.measured:
            result["measured"] = logs_score(asked.measured, share=asked.share)
        if asked.under_load:
            result["underLoad"] = load_score(asked.under_load)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2
    if asked.json:
        print(json.dumps(result, indent=2))
        return 0
    if asked.measured:
        print(logs_report(result["measured"]))
    if asked.under_load:
        print(load_report(result["underLoad"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
