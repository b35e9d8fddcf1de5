"""Prints CPU per request and per chunk of each server, and what it does with bad requests."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.http_layer.load import load
from benchmarks.http_layer.relays import installed
from benchmarks.http_layer.safety import judge, works

_TICKS = os.sysconf("SC_CLK_TCK")
_PACE = 0.01  # seconds between two chunks of a paced stream


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(core: int, *words: str) -> Iterator[int]:
    """A Python module in its own process on one core; its process id once it is ready."""
    with subprocess.Popen(
        [sys.executable, "-m", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, {core % (os.cpu_count() or 1)}),  # noqa: PLW1509 -- no threads here
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield process.pid
        finally:
            process.kill()


def cpu_seconds(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory_mib(pid: int) -> float:
    """Resident memory of a process."""
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(row for row in rows if row.startswith("VmRSS")).split()[1]) / 1024


def measure(port: int, pid: int, *, connections: int, stream: bool, seconds: float) -> Any:
    """One load: the CPU of the server for each answer or chunk, in microseconds."""
    warm = uvloop.run(load(port, connections=connections, stream=stream, seconds=seconds / 4))
    before = cpu_seconds(pid)
    counted = uvloop.run(load(port, connections=connections, stream=stream, seconds=seconds))
    used = cpu_seconds(pid) - before
    assert warm.errors == counted.errors == 0, (warm.errors, counted.errors)
    return {
        "cpu_us": round(used * 1e6 / (counted.chunks if stream else counted.answers), 1),
        "per_second": round((counted.chunks if stream else counted.answers) / seconds),
        "p50_ms": round(statistics.median(counted.delays) * 1e3, 2),
    }


def compare(name: str, seconds: float) -> dict[str, Any]:
    """Everything about one server."""
    result: dict[str, Any] = {"name": name}
    fast, paced, port = free_port(), free_port(), free_port()
    engine = "benchmarks.http_layer.upstream"
    relay = "benchmarks.http_layer.relays"
    with running(1, engine, str(fast), "0"), running(0, relay, name, str(port), str(fast)) as pid:
        for connections in (1, 16, 64):
            result[f"whole_{connections}"] = measure(
                port, pid, connections=connections, stream=False, seconds=seconds
            )
        result["stream_fast"] = measure(port, pid, connections=64, stream=True, seconds=seconds)
        result["memory_mib"] = round(memory_mib(pid), 1)
        assert works(port)
        verdict = judge(port)
        result["safety"] = dict(verdict.counts)
        result["served"] = verdict.served
    port = free_port()
    with (
        running(1, engine, str(paced), str(_PACE)),
        running(0, relay, name, str(port), str(paced)) as pid,
    ):
        result["stream_paced"] = measure(port, pid, connections=64, stream=True, seconds=seconds)
    return result


def _line(result: dict[str, Any]) -> str:
    whole = " | ".join(f"{result[f'whole_{each}']['cpu_us']:.1f}" for each in (1, 16, 64))
    safety = ", ".join(f"{count} {word}" for word, count in sorted(result["safety"].items()))
    return (
        f"| {result['name']} | {whole} | {result['whole_64']['per_second']:,} | "
        f"{result['stream_fast']['cpu_us']:.1f} | {result['stream_paced']['cpu_us']:.1f} | "
        f"{result['memory_mib']:.0f} | {safety} |"
    )


def main() -> None:
    """Compare what is installed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", default="")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    os.sched_setaffinity(0, {1 % (os.cpu_count() or 1)})
    print(
        "| server | CPU us/request, 1 connection | 16 | 64 | requests/s, 64 | "
        "CPU us/chunk, fast | paced | MiB | bad requests |\n|" + "---|" * 9
    )
    results = []
    for _ in range(options.rounds):
        for name in installed():
            if options.only in name:
                results.append(compare(name, options.seconds))
                print(_line(results[-1]), flush=True)
    if options.json:
        print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
