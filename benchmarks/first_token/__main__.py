"""`python -m benchmarks.first_token`: seconds from `plimsoll up` to the first token, by phase."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx

from tests.e2e.running import up

LIMIT = 5.0
BODY = {
    "model": "demo",
    "stream": True,
    "messages": [{"role": "user", "content": "What is a KV cache?"}],
}


def once() -> tuple[float, float, dict[str, float]]:
    """Seconds to the gateway's address, to the first token, and the engine's own phases."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, up(Path(folder)) as running:
        url = running.url
        listening = time.perf_counter() - began
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=BODY, timeout=60) as answer:
            next(line for line in answer.iter_lines() if '"content":"' in line)
            token = time.perf_counter() - began
        running.event("ready")
        starts = running.status()["coldStarts"]
        phases = next(s["phases"] for s in starts if s["replica"].startswith("demo-"))
    return listening, token, phases


def main() -> None:
    """Run several times; the claim is about the slowest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    runs = [once() for _ in range(arguments.runs)]
    tokens = [token for _, token, _ in runs]
    result = {
        "listening_median_s": round(statistics.median(run[0] for run in runs), 2),
        "first_token_median_s": round(statistics.median(tokens), 2),
        "first_token_worst_s": round(max(tokens), 2),
        "engine_phases_of_the_last_run_s": runs[-1][2],
        "limit_s": LIMIT,
        "holds": max(tokens) < LIMIT,
    }
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        for name, value in result.items():
            print(f"{name:34} {value}")
    sys.exit(0 if result["holds"] else 1)


if __name__ == "__main__":
    main()
