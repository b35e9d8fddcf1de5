"""`plimsoll gateway` with one and with several workers, under the same load in one run.

`python -m benchmarks.workers [--workers 1 2] [--seconds 3] [--rounds 3] [--prompt 900] [--json]`
needs wrk. The whole gateway runs: its configuration from a file, its replica from the tests' API
server, access lines to a file. Load, engine and gateway share all cores of the machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path

from benchmarks.gateway import load
from benchmarks.gateway.process import Tree, free_ports, listening, running
from plimsoll.fleet import Document, load_fleet
from plimsoll.worlds.cluster.served import GatewayConfiguration, ServedModel, encode
from tests.cli.gateway_process import endpoint_slice
from tests.worlds.cluster.api import Api, served

_FLEET = """
apiVersion: plimsoll.dev/v1alpha1
kind: Fleet
metadata: {name: shop}
spec: {models: [{name: m, source: "builtin:demo"}]}
"""
_CONNECTIONS = (8, 64, 256)
_PROBES = 200  # connections that ask who answers
_PATIENCE = 60.0  # seconds
_PROGRAM = (sys.executable, "-c", "from plimsoll.cli.main import main; main()")
Row = dict[str, float]


def main() -> int:
    """Compare, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompt", type=int, default=900, help="bytes of each request's prompt")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if load.wrk() is None:
        print("wrk is not installed: `apt-get install wrk`", file=sys.stderr)
        return 1
    rounds: dict[int, list[Row]] = {count: [] for count in asked.workers}
    with tempfile.TemporaryDirectory() as folder, served() as api:
        for number in range(asked.rounds):
            for count in asked.workers[:: -1 if number % 2 else 1]:
                row = _measured(Path(folder), api, count, asked.seconds, asked.prompt)
                rounds[count].append(row)
    medians = {
        count: {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        for count, rows in rounds.items()
    }
    if asked.json:
        print(json.dumps({str(count): row for count, row in medians.items()}, indent=1))
        return 0
    print("| workers | " + " | ".join(next(iter(medians.values()))) + " |")
    print("|---" * (len(next(iter(medians.values()))) + 1) + "|")
    for count, row in medians.items():
        print(f"| {count} | " + " | ".join(f"{value:,.1f}" for value in row.values()) + " |")
    return 0


def _measured(folder: Path, api: Api, workers: int, seconds: float, prompt: int) -> Row:
    """Start everything for some workers, and load it. Raises RuntimeError for wrong answers."""
    engine, port = free_ports(2)
    body, configuration = folder / "body.json", folder / "fleet.json"
    words = " ".join(str(number) for number in range(prompt))[:prompt]
    message = {"role": "user", "content": words}
    body.write_text(json.dumps({"model": "m", "messages": [message]}))
    configuration.write_text(encode(_configuration(engine)))
    made = endpoint_slice("m", "m-0", f"127.0.0.1:{engine}")
    api.create(made)
    upstream = [sys.executable, "-m", "benchmarks.gateway.upstream", str(engine)]
    gateway = [
        *_PROGRAM, "gateway", "--config", str(configuration), "--namespace", "default",
        "--api-server", api.url, "--host", "127.0.0.1", "--port", str(port),
        "--workers", str(workers),
    ]  # fmt: skip
    log = folder / "gateway.log"
    try:
        with (
            running(None, upstream, log=folder / "engine.log") as stub,
            running(None, gateway, log=log) as tree,
        ):
            listening(engine, stub, folder / "engine.log")
            listening(port, tree, log)
            _wait(lambda: _serving(port) == workers and _ready(port))
            return _loaded(port, tree, body, seconds)
    finally:
        api.delete(made)


def _loaded(port: int, tree: Tree, body: Path, seconds: float) -> Row:
    row: Row = {}
    for connections in _CONNECTIONS:
        load.closed(port, connections=connections, seconds=1.0, file=body)
        before = tree.cpu_seconds()
        counted = load.closed(port, connections=connections, seconds=seconds, file=body)
        if counted.errors or not counted.answers:
            raise RuntimeError(f"{counted.errors} wrong answers, {counted.answers} right ones")
        spent = tree.cpu_seconds() - before
        row[f"requests/s, {connections} connections"] = counted.answers / counted.seconds
        row[f"CPU us/request, {connections}"] = spent * 1e6 / counted.answers
    row["largest share of connections, %"] = 100 * _largest_share(port)
    row["MiB"] = tree.pss_mib()
    return row


def _configuration(port: int) -> GatewayConfiguration:
    fleet = load_fleet([Document(file="fleet.yaml", text=_FLEET.encode())])
    model = ServedModel(
        model="m", task="chat", engine="vllm", context=32_768, parallel=1024,
        namespace="default", service="m", port=port,
    )  # fmt: skip
    return GatewayConfiguration(fleet=fleet, models=(model,))


def _largest_share(port: int) -> float:
    """Of new connections, at the worker that gets most of them."""
    found: Counter[str] = Counter()
    for _ in range(_PROBES):
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/v1/models")
        found[str(connection.getresponse().headers["x-request-id"]).rpartition("-")[0]] += 1
        connection.close()
    return max(found.values()) / _PROBES


def _numbers(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        rows = (line.rpartition(" ") for line in answer.read().decode().splitlines())
        return {name: float(value) for name, _, value in rows if not name.startswith("#")}


def _serving(port: int) -> float:
    return _numbers(port).get("plimsoll_gateway_workers", 1)


def _ready(port: int) -> bool:
    return _numbers(port).get('plimsoll_gateway_replicas_ready{model="m"}') == 1


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("the workers do not all serve")
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
