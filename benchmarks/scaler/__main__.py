"""`python -m benchmarks.scaler [--models N] [--seconds N] [--json]`

A scaler in a process of its own decides for a thousand models on the metrics of three gateways. A
gRPC client calls it as KEDA does: over one connection, with a stream of StreamIsActive open for
every ScaledObject. Beside it the same calls to a bare server, which decides nothing.

    KEDA's pace   for each: GetMetrics every 15 s for HPA, IsActive and GetMetrics every 30 s
    five at once  GetMetrics after GetMetrics, five under way, as HPA's five workers may ask
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, ExitStack
from time import perf_counter
from typing import Any

import grpc.aio
import psutil

from benchmarks.scaler.served import key
from plimsoll.scaler import interface, metric

GATEWAYS = 3
_Call = Callable[[int], Coroutine[Any, Any, float]]
_TARGET_MS = 5.0
_BLOCKS = 5  # by turns, so that both servers meet the same machine


class Client:
    """KEDA's calls, for models by number."""

    def __init__(self, channel: Any) -> None:
        for name, (takes, answers, streams) in interface.CALLS.items():
            make = channel.unary_stream if streams else channel.unary_unary
            call = make(
                f"/{interface.SERVICE}/{name}",
                request_serializer=takes.SerializeToString,
                response_deserializer=answers.FromString,
            )
            setattr(self, name, call)
        self._refs: dict[int, Any] = {}

    IsActive: Any
    StreamIsActive: Any
    GetMetrics: Any

    def ref(self, number: int) -> Any:
        """The ScaledObject of a model."""
        if number not in self._refs:
            model = key(number)
            self._refs[number] = interface.ScaledObjectRef(
                name=model.model,
                namespace=model.namespace,
                scalerMetadata={"fleet": model.fleet, "model": model.model},
            )
        return self._refs[number]

    async def metrics(self, number: int) -> float:
        """Milliseconds of one GetMetrics."""
        request = interface.GetMetricsRequest(
            scaledObjectRef=self.ref(number), metricName=metric.NAME
        )
        began = perf_counter()
        await self.GetMetrics(request)
        return (perf_counter() - began) * 1000

    async def active(self, number: int) -> float:
        """Milliseconds of one IsActive."""
        began = perf_counter()
        await self.IsActive(self.ref(number))
        return (perf_counter() - began) * 1000


async def at_kedas_pace(client: Client, models: int, seconds: float) -> list[float]:
    """Milliseconds of each GetMetrics."""
    chance = random.Random(1)
    calls: list[tuple[float, _Call, int, bool]] = []
    for number in range(models):
        hpa, poll = chance.random() * 15, chance.random() * 30
        rows: tuple[tuple[float, float, _Call], ...] = (
            (hpa, 15, client.metrics),
            (poll, 30, client.metrics),
            (poll, 30, client.active),
        )
        for start, every, call in rows:
            at = start
            while at < seconds:
                calls.append((at, call, number, call == client.metrics))
                at += every
    calls.sort(key=lambda each: each[0])
    began = perf_counter()
    running: list[tuple[asyncio.Future[float], bool]] = []
    for at, call, number, counts in calls:
        await asyncio.sleep(max(0.0, at - (perf_counter() - began)))
        running.append((asyncio.ensure_future(call(number)), counts))
    await asyncio.sleep(max(0.0, seconds - (perf_counter() - began)))
    return [await task for task, counts in running if counts]


async def at_once(client: Client, models: int, workers: int, calls: int) -> list[float]:
    """Milliseconds of each GetMetrics, so many under way."""
    numbers = iter([n % models for n in range(calls)])

    async def work() -> list[float]:
        return [await client.metrics(number) for number in numbers]

    return [
        took for part in await asyncio.gather(*(work() for _ in range(workers))) for took in part
    ]


def summary(took: Sequence[float], cpu: float, calls: int) -> dict[str, float]:
    """Quantiles of milliseconds, and the server's CPU."""
    ordered = sorted(took)
    return {
        "calls": calls,
        "p50Ms": round(ordered[len(ordered) // 2], 3),
        "p99Ms": round(ordered[int(len(ordered) * 0.99)], 3),
        "worstMs": round(ordered[-1], 3),
        "serverCpuUsPerCall": round(cpu / calls * 1e6, 1),
    }


class Server:
    """A server in a process of its own, and its CPU."""

    def __init__(self, models: int, gateways: int, folder: str) -> None:
        arguments = [str(models), str(gateways), folder]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.scaler.served", *arguments],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self._seen = psutil.Process(self._process.pid)

    def cpu(self) -> float:
        """Seconds of a processor so far."""
        times = self._seen.cpu_times()
        return float(times.user + times.system)

    def end(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.communicate()


async def measure(servers: dict[str, Server], models: int, seconds: float) -> dict[str, Any]:
    """All figures, of the servers by turns."""
    found: dict[str, Any] = {}
    async with AsyncExitStack() as stack:
        clients: dict[str, Client] = {}
        for name, server in servers.items():
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{server.port}")
            clients[name] = Client(await stack.enter_async_context(channel))
        streams = [
            client.StreamIsActive(client.ref(number))
            for client in clients.values()
            for number in range(models)
        ]
        for stream in streams:
            await stream.read()
        before = {name: server.cpu() for name, server in servers.items()}
        await asyncio.sleep(seconds / 2)
        idle = {
            name: (server.cpu() - before[name]) / (seconds / 2) for name, server in servers.items()
        }
        before = {name: server.cpu() for name, server in servers.items()}
        paced = await asyncio.gather(
            *(at_kedas_pace(client, models, seconds) for client in clients.values())
        )
        for (name, server), took_ms in zip(servers.items(), paced, strict=True):
            spent = server.cpu() - before[name]
            calls = len(took_ms) * 4 // 3  # IsActive is a third as frequent as GetMetrics
            found[name] = {
                "idleCpuShare": round(idle[name], 4),
                "paceCpuShare": round(spent / seconds, 4),
                "pace": summary(took_ms, max(0.0, spent - idle[name] * seconds), calls),
            }
        for phase, workers in (("alone", 1), ("fiveAtOnce", 5)):
            took: dict[str, list[float]] = {name: [] for name in servers}
            cpu = dict.fromkeys(servers, 0.0)
            for _ in range(_BLOCKS):
                for name, client in clients.items():
                    start, began = servers[name].cpu(), perf_counter()
                    took[name] += await at_once(client, models, workers, models)
                    cpu[name] += servers[name].cpu() - start
                    cpu[name] -= idle[name] * (perf_counter() - began)
            for name in servers:
                found[name][phase] = summary(took[name], max(0.0, cpu[name]), len(took[name]))
        for stream in streams:
            stream.cancel()
    return found


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaler", description=__doc__)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=30.0, help="at KEDA's pace")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    if arguments.models < 1 or not 1 <= arguments.seconds <= 3600:
        parser.error("at least one model, and 1 to 3600 seconds")
    sys.stderr.write(f"measuring for about {1.5 * arguments.seconds + 30:.0f} s\n")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        servers = {}
        for name, gateways in (("scaler", GATEWAYS), ("bare", 0)):
            servers[name] = Server(arguments.models, gateways, folder)
            stack.callback(servers[name].end)
        found = asyncio.run(measure(servers, arguments.models, arguments.seconds))
    held = all(found["scaler"][phase]["p99Ms"] < _TARGET_MS for phase in _PHASES)
    if arguments.json:
        print(json.dumps({**found, "held": held}))
    else:
        show(found, held=held)
    return 0 if held else 1


_PHASES = {"pace": "at KEDA's pace", "alone": "one after the other", "fiveAtOnce": "five at once"}


def show(found: dict[str, Any], *, held: bool) -> None:
    """Print the table."""
    for name, words in (("scaler", "deciding"), ("bare", "only answering")):
        row = found[name]
        print(
            f"CPU {words}: {row['idleCpuShare']:.1%} without calls, "
            f"{row['paceCpuShare']:.1%} at KEDA's pace"
        )
    print("| GetMetrics | server | calls | p50 ms | p99 ms | worst ms | server CPU us per call |")
    print("|---|---|---|---|---|---|---|")
    for phase, words in _PHASES.items():
        for name in ("scaler", "bare"):
            cells = " | ".join(f"{value:g}" for value in found[name][phase].values())
            print(f"| {words} | {name} | {cells} |")
    print(f"p99 under {_TARGET_MS:g} ms: {'held' if held else 'NOT held'}")


if __name__ == "__main__":
    sys.exit(main())
