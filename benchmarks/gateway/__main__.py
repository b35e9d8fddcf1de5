"""Compares every gateway that is found, in rounds that run forwards and backwards in turn."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.gateway import load
from benchmarks.gateway.peers import DIRECT, SERVERS, Place, Server
from benchmarks.gateway.process import (
    GATEWAY_CORE,
    LOAD_CORE,
    Tree,
    free_ports,
    listening,
    running,
)

CONNECTIONS = (1, 16, 64, 256)
_FEW = 8  # connections of the load whose latency is compared
_RATE = 50.0  # requests per second of the low rate
_FAST, _PACED = 64, 200  # streams at once
_PACE = 10  # milliseconds between the chunks of a paced stream
_PATIENCE = 60.0  # seconds until a server must serve, and until it is quiet again
_QUIET = 0.1  # share of a core below which a server has ended what callers left behind

Row = dict[str, float]


class WrongError(Exception):
    """A server answered wrongly under load: its figures mean nothing."""


class Bench:
    """One server under load.

    row  its figures: microseconds, milliseconds, MiB, shares of a core, counts per second
    """

    def __init__(self, port: int, tree: Tree | None, *, seconds: float, file: Path) -> None:
        self.row: Row = {}
        self._port = port
        self._tree = tree
        self._seconds = seconds
        self._file = file

    def run(self) -> None:
        """Everything, in the same order for every server. Raises WrongError."""
        self._idle()
        for connections in CONNECTIONS:
            self._whole(connections)
        self._few()
        self._streams("fast", _FAST, 0)
        self._streams("paced", _PACED, _PACE)
        if self._tree is not None:
            self.row["loaded_mib"] = self._tree.pss_mib()
        self._slow()

    def _spent(self, name: str, work: Callable[[], load.Counted]) -> tuple[load.Counted, float]:
        """What came back, and the seconds of CPU that the server spent on it."""
        self._settle(name)
        before = self._tree.cpu_seconds() if self._tree is not None else 0.0
        counted = work()
        after = self._tree.cpu_seconds() if self._tree is not None else 0.0
        if counted.errors or not counted.answers:
            raise WrongError(
                f"{counted.errors} wrong answers, {counted.answers} right ones ({name})"
            )
        return counted, after - before

    def _settle(self, name: str) -> None:
        """Wait until the requests whose callers left at the end of a load are done with.

        LiteLLM works on them for ten seconds, in which another load would get no answer.
        """
        deadline = time.monotonic() + _PATIENCE
        share = 1.0
        while self._tree is not None and share > _QUIET:
            if time.monotonic() > deadline:
                raise WrongError(f"still busy {_PATIENCE:.0f} s after the load before ({name})")
            before = self._tree.cpu_seconds()
            time.sleep(0.25)
            share = (self._tree.cpu_seconds() - before) / 0.25

    def _idle(self) -> None:
        if self._tree is not None:
            self.row["idle_mib"] = self._tree.pss_mib()
            before = self._tree.cpu_seconds()
            time.sleep(self._seconds)
            self.row["idle_share"] = (self._tree.cpu_seconds() - before) / self._seconds

    def _wrk(self, connections: int, seconds: float) -> load.Counted:
        return load.closed(self._port, connections=connections, seconds=seconds, file=self._file)

    def _whole(self, connections: int) -> None:
        self._wrk(connections, 1.0)
        counted, cpu = self._spent(
            f"{connections} connections", lambda: self._wrk(connections, self._seconds)
        )
        self.row[f"cpu_us_{connections}"] = cpu * 1e6 / counted.answers
        self.row[f"per_second_{connections}"] = counted.answers / counted.seconds

    def _few(self) -> None:
        counted, _ = self._spent(f"{_FEW} connections", lambda: self._wrk(_FEW, self._seconds))
        p50, p99 = counted.delays
        self.row["few_p50_ms"], self.row["few_p99_ms"] = p50 * 1e3, p99 * 1e3

    def _slow(self) -> None:
        counted, cpu = self._spent(
            f"{_RATE:.0f} per second",
            lambda: uvloop.run(
                load.fixed_rate(self._port, per_second=_RATE, seconds=2 * self._seconds)
            ),
        )
        self.row["slow_p50_ms"] = counted.quantile(0.5) * 1e3
        self.row["slow_p99_ms"] = counted.quantile(0.99) * 1e3
        self.row["slow_cpu_us"] = cpu * 1e6 / counted.answers

    def _streams(self, word: str, connections: int, milliseconds: int) -> None:
        def work() -> load.Counted:
            return uvloop.run(
                load.streams(
                    self._port, connections=connections, milliseconds=milliseconds,
                    seconds=0.0 if milliseconds else self._seconds,
                )
            )  # fmt: skip

        counted, cpu = self._spent(f"{word} streams", work)
        self.row[f"{word}_us"] = cpu * 1e6 / counted.chunks
        self.row[f"{word}_per_second"] = counted.chunks / counted.seconds
        self.row[f"{word}_first_p99_ms"] = counted.quantile(0.99) * 1e3


def compare(server: Server | None, program: str, seconds: float) -> Row:
    """Start an engine and a server, and load it. Raises RuntimeError and WrongError."""
    first, second, port, *spare = free_ports(5)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-")))
        file = folder / "body.json"
        file.write_bytes(load.body(stream=False))
        engine = [sys.executable, "-m", "benchmarks.gateway.upstream", str(first), str(second)]
        log = folder / "engine.log"
        listening(first, stack.enter_context(running(LOAD_CORE, engine, log=log)), log)
        if server is None:
            bench = Bench(first, None, seconds=seconds, file=file)
        else:
            log = folder / "log"
            place = Place(
                program=program, port=port, engines=(first, second), folder=folder,
                spare=(spare[0], spare[1]),
            )  # fmt: skip
            command = server.command(place)
            tree = stack.enter_context(
                running(GATEWAY_CORE, command, log=log, environment=server.variables)
            )
            listening(port, tree, log)
            bench = Bench(port, tree, seconds=seconds * server.patience, file=file)
            _serves(port)
        bench.run()
        return bench.row


def _serves(port: int) -> None:
    """Wait until it answers rightly, for some listen before they know their engines."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        counted = uvloop.run(load.fixed_rate(port, per_second=20.0, seconds=0.5))
        if not counted.errors:
            return
        if time.monotonic() > deadline:
            raise WrongError(f"{counted.errors} of 10 first answers are wrong")
        time.sleep(0.5)


COLUMNS = (
    *((f"CPU us/request, {count}", f"cpu_us_{count}", 1) for count in CONNECTIONS),
    *((f"requests/s, {count}", f"per_second_{count}", 0) for count in CONNECTIONS),
    ("added p50 ms, 8", "few_p50_ms", 2),
    ("added p99 ms, 8", "few_p99_ms", 2),
    (f"added p50 ms, {_RATE:.0f}/s", "slow_p50_ms", 2),
    (f"added p99 ms, {_RATE:.0f}/s", "slow_p99_ms", 2),
    (f"CPU us/request, {_RATE:.0f}/s", "slow_cpu_us", 0),
    ("CPU us/chunk, fast", "fast_us", 2),
    ("chunks/s, fast", "fast_per_second", 0),
    ("CPU us/chunk, paced", "paced_us", 1),
    ("chunks/s, paced", "paced_per_second", 0),
    ("MiB, idle", "idle_mib", 0),
    ("MiB, loaded", "loaded_mib", 0),
    ("idle CPU %", "idle_share", 2),
)


def table(rounds: list[dict[str, Row]]) -> str:
    """The median of every figure over the rounds, with its smallest and largest."""
    names = list(dict.fromkeys(name for each in rounds for name in each))
    lines = ["| server | " + " | ".join(title for title, _, _ in COLUMNS) + " |"]
    lines.append("|" + "---|" * (len(COLUMNS) + 1))
    for name in names:
        cells = [_cell(rounds, name, key, digits) for _, key, digits in COLUMNS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(rounds: list[dict[str, Row]], name: str, key: str, digits: int) -> str:
    values = []
    for each in rounds:
        value = each.get(name, {}).get(key)
        if value is not None:
            if key.endswith("_ms") and name != DIRECT:  # what it adds, within its own round
                value -= each.get(DIRECT, {}).get(key, 0.0)
            values.append(value * 100 if key == "idle_share" else value)
    if not values:
        return "-"
    shown = f"{statistics.median(values):,.{digits}f}"
    if len(values) > 1:
        shown += f" ({min(values):,.{digits}f} to {max(values):,.{digits}f})"
    return shown


def _chosen(only: str, peers: Path | None) -> list[tuple[Server | None, str]]:
    """The engine alone, then what is asked for and found; what is not found is said."""
    wanted = {word.strip() for word in only.split(",") if word.strip()}
    unknown = wanted - {server.name.partition(",")[0] for server in SERVERS}
    if unknown:
        known = ", ".join(dict.fromkeys(server.name.partition(",")[0] for server in SERVERS))
        sys.exit(f"there is no {', '.join(sorted(unknown))}; choose from {known}")
    found: list[tuple[Server | None, str]] = [(None, "")]
    for server in SERVERS:
        if not wanted or server.name.partition(",")[0] in wanted:
            program = server.program(peers)
            if program is None:
                print(f"{server.name}: not found", file=sys.stderr)
            else:
                found.append((server, program))
    return found


def main() -> int:
    """Print a table. Returns 1 when a server failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway")
    parser.add_argument("--peers", type=Path, help="folder with an environment for each peer")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each load")
    parser.add_argument("--only", default="", help="names, with commas between")
    parser.add_argument("--json", action="store_true", help="print every round as JSON instead")
    options = parser.parse_args()
    if load.wrk() is None:
        sys.exit("wrk is needed: `apt-get install wrk`")
    os.sched_setaffinity(0, {LOAD_CORE % (os.cpu_count() or 1)})
    chosen = _chosen(options.only, options.peers)
    rounds: list[dict[str, Row]] = []
    failed = 0
    for number in range(options.rounds):
        rounds.append({})
        for server, program in reversed(chosen) if number % 2 else chosen:
            name = server.name if server is not None else DIRECT
            print(f"round {number + 1} of {options.rounds}: {name}", file=sys.stderr, flush=True)
            try:
                rounds[-1][name] = compare(server, program, options.seconds)
            except (WrongError, RuntimeError, TimeoutError) as error:
                failed += 1
                print(f"{name}: left out of this round: {error}", file=sys.stderr, flush=True)
    order = [server.name if server is not None else DIRECT for server, _ in chosen]
    rounds = [{name: each[name] for name in order if name in each} for each in rounds]
    result: dict[str, Any] = {"rounds": rounds}
    print(json.dumps(result, indent=2) if options.json else table(rounds))
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
