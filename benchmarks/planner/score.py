"""Scores the planner's predictions against measured rows.

`python -m benchmarks.planner.score --silicon FILE [--json]`, and the same with `--throughput`,
`--under-load` or `--vram`; one of them or several. In `--json`, `mean`, `median` and `p90` are
absolute percentage errors in percent; `coverage` (rows predicted) and `intervals` (measured values
inside the 90 % interval) are shares from 0 to 1.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

KINDS = ("silicon", "throughput", "under_load", "vram")


ERRORS = ("mean", "median", "p90", "largest")
FRACTIONS = ("throughput", "under_load")  # kinds whose errors are parts of one, not percent


def _common(kind: str, result: dict[str, Any]) -> dict[str, Any]:
    """The result in the shape that is the same for all kinds."""
    if kind in FRACTIONS:
        result = _percent(result)
    if kind == "vram":
        inside = {"kv_blocks": result["kv_blocks"].get("coverage_of_90")}
        return {"coverage": result["share_predicted"], "intervals": inside} | result
    if "intervals" not in result:
        inside = {name: result.get(name, {}).get("intervals") for name in ("ttft", "tpot", "e2e")}
        return {"intervals": inside} | result
    return result


def _percent(value: Any) -> Any:
    """The same with errors times a hundred, wherever they stand."""
    if not isinstance(value, dict):
        return value
    return {
        name: 100 * part if name in ERRORS and isinstance(part, float) else _percent(part)
        for name, part in value.items()
    }


def main() -> None:
    """Prints one table, or with `--json` one object, per file that is named.

    With one file the object is its result; with several, each result is under its kind.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    for kind in KINDS:
        parser.add_argument(f"--{kind.replace('_', '-')}", type=Path, metavar="FILE", dest=kind)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    named = [(kind, getattr(asked, kind)) for kind in KINDS if getattr(asked, kind)]
    if not named:
        parser.error("name a file to score")
    results = {}
    for kind, path in named:
        # Each kind is imported when it is asked for: they need different parts of the planner.
        module = importlib.import_module(f"benchmarks.planner.{kind}")
        try:
            result = module.score(path)
        except OSError as error:
            sys.exit(f"{path}: {error.strerror or error}")
        if not asked.json:
            print(module.report(result))
        results[kind] = _common(kind, result)
    if asked.json:
        print(json.dumps(results[named[0][0]] if len(named) == 1 else results, indent=2))


if __name__ == "__main__":
    main()
