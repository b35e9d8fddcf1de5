"""`python -m benchmarks.throughput`: tokens per second through the gateway over direct.

Two models with two replicas each, 64 streamed clients, a minute through the gateway and a
minute straight at the engines, in turns so that a drifting machine touches both alike.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path

import psutil

from benchmarks.throughput.streams import Tally, Target, drive
from tests.e2e.running import Up, up

FLEET = """\
apiVersion: plimsoll.dev/v1alpha1
kind: Fleet
metadata:
  name: throughput
spec:
  models:
    - name: first
      source: builtin:demo
      engine: llamacpp
      context: 512
      concurrency: 16
      scaling: {min: 2, max: 2}
    - name: second
      source: builtin:demo
      engine: llamacpp
      context: 512
      concurrency: 16
      scaling: {min: 2, max: 2}
"""
LEAST = 0.97
QUESTION = "What is a KV cache?"


def targets(running: Up) -> tuple[list[Target], list[Target]]:
    """The gateway's address for each model, and the engines' own."""
    host, port = _split(running.url.removeprefix("http://"))
    gateway, direct = [], []
    for model in running.status()["models"]:
        for replica in model["replicas"]:
            gateway.append(Target(host=host, port=port, model=model["name"]))
            engine_host, engine_port = _split(replica["address"])
            direct.append(Target(host=engine_host, port=engine_port, model=model["name"]))
    return gateway, direct


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def main() -> None:
    """Run, print, and exit 1 when the claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60.0, help="through each of the two ways")
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--tokens", type=int, default=100, help="per stream")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    window = arguments.seconds / arguments.turns

    def turn(where: list[Target]) -> Tally:
        return asyncio.run(
            drive(
                where,
                clients=arguments.clients,
                seconds=window,
                question=QUESTION,
                tokens=arguments.tokens,
            )
        )

    with tempfile.TemporaryDirectory() as folder, up(Path(folder), fleet=FLEET) as running:
        running.event("ready")
        gateway, direct = targets(running)
        turn(direct), turn(gateway)  # warm both: caches, connections, processor clocks
        process = psutil.Process(running.process.pid)
        pairs, spent = [], 0.0
        for number in range(arguments.turns):
            if not arguments.json:
                print(f"turn {number + 1} of {arguments.turns}", file=sys.stderr)
            # The order alternates too: whoever goes second meets a warmer machine.
            first, second = (direct, gateway) if number % 2 else (gateway, direct)
            before = _seconds(process)
            one, two = turn(first), turn(second)
            spent += _seconds(process) - before
            pairs.append((two, one) if number % 2 else (one, two))
    result = _result(pairs, window, spent)
    if arguments.json:
        print(json.dumps(result, indent=2))
    else:
        for name, value in result.items():
            print(f"{name:28} {value}")
    sys.exit(0 if result["holds"] else 1)


def _seconds(process: psutil.Process) -> float:
    """Processor seconds of the gateway's process so far, without its engines."""
    times = process.cpu_times()
    return times.user + times.system


def _result(pairs: list[tuple[Tally, Tally]], window: float, spent: float) -> dict[str, object]:
    through = sum(gateway.tokens for gateway, _ in pairs)
    direct = sum(engine.tokens for _, engine in pairs)
    errors = [error for pair in pairs for tally in pair for error in tally.errors]
    seconds = window * len(pairs)
    return {
        "gateway_tokens_per_second": round(through / seconds),
        "direct_tokens_per_second": round(direct / seconds),
        "ratio": round(through / direct, 4),
        "ratio_by_turn": [round(g.tokens / d.tokens, 3) for g, d in pairs],
        # Of the whole process, in both ways: also its looks at the replicas.
        "gateway_cpu_us_per_token": round(spent / through * 1e6, 1),
        "gateway_streams": sum(gateway.streams for gateway, _ in pairs),
        "errors": len(errors),
        "first_errors": errors[:3],
        "least": LEAST,
        "holds": through / direct >= LEAST and not errors,
    }


if __name__ == "__main__":
    main()
