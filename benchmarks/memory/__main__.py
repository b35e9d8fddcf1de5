"""Prints predicted and measured memory of every case: `python -m benchmarks.memory [--json]`."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from benchmarks.memory.cases import CASES
from benchmarks.memory.measure import Measured, measure
from plimsoll.units import size

BOUND = 0.10


def main(arguments: list[str]) -> int:
    """Measure every case whose name holds the word given. Returns 1 when one is out of bound."""
    words = [argument for argument in arguments if not argument.startswith("--")]
    chosen = [case for case in CASES if all(word in case.name for word in words)]
    with tempfile.TemporaryDirectory(prefix="plimsoll-memory-") as folder:
        results = []
        for case in chosen:
            results.append(measure(case, Path(folder)))
            print(_line(results[-1]), flush=True)
    if "--json" in arguments:
        print(json.dumps([_row(result) for result in results], indent=2))
    return int(any(abs(result.ratio - 1) > BOUND for result in results))


def _line(result: Measured) -> str:
    asked = result.case.settings
    return (
        f"| {result.case.name} | {asked.context:,} x {asked.parallel} | "
        f"{size(result.predicted.total)} | {size(result.peak)} | {result.ratio:.3f} |"
    )


def _row(result: Measured) -> dict[str, object]:
    return {
        "case": result.case.name,
        "context": result.case.settings.context,
        "parallel": result.case.settings.parallel,
        "predicted": result.predicted.total,
        "measured": result.peak,
        "ratio": round(result.ratio, 4),
        "terms": {term.name: term.bytes for term in result.predicted.terms},
    }


if __name__ == "__main__":
    print("| case | context x slots | predicted | measured | ratio |\n|---|---|---|---|---|")
    sys.exit(main(sys.argv[1:]))
