"""The other side of the benchmark, in a process of its own: API server, controllers, gateways.

`python -m benchmarks.operator.cluster FLEETS` prints the addresses of the API server and of a
gateway's metrics, then a line whenever all models are ready. A line on stdin sets how many models
are busy.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from tests.worlds.cluster.operator.stage import Cluster, cluster, fleet, model

SCALING = {"min": 1, "max": 3, "target": 8}


class Traffic:
    """What the gateway says: `busy` models have requests, another number at every look."""

    def __init__(self, models: int) -> None:
        self.models = models
        self.busy = 0
        self._turn = itertools.count()

    def text(self) -> bytes:
        """The metrics, as Prometheus reads them."""
        registry = CollectorRegistry()
        turn = next(self._turn)
        for name, help_ in (("queued", "waiting"), ("in_flight", "at replicas")):
            gauge = Gauge(f"plimsoll_gateway_{name}", help_, ("model",), registry=registry)
            for number in range(self.models):
                some = turn % 4 + 1 if number < self.busy and name == "in_flight" else 0
                gauge.labels(f"m{number}").set(some)
        return generate_latest(registry)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer every request of one connection."""
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                body = self.text()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def main(fleets: int) -> None:
    names = [f"team-{number}" for number in range(fleets)]
    async with cluster("platform", *names) as stage:
        door = fleet(
            "base", namespace="platform", gateway={"replicas": 2, "counters": "redis://r:6379"}
        )
        door["spec"]["models"] = []
        stage.api.create(door)
        for number, namespace in enumerate(names):
            wish = fleet("shop", model(f"m{number}", scaling=SCALING), namespace=namespace)
            stage.api.create(wish)
        traffic = Traffic(fleets)
        server = await asyncio.start_server(traffic.answer, "127.0.0.1", 0)
        metrics = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        say(api=stage.api.url, metrics=metrics)
        commands = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(commands)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
        playing = asyncio.create_task(play(stage, fleets))
        while line := await commands.readline():
            traffic.busy = int(line)
        playing.cancel()


async def play(stage: Cluster, fleets: int) -> None:
    told = False
    while True:
        stage.play()
        every = stage.api.objects("plimsoll.dev/v1alpha1", "Fleet")
        ready = sum((one.get("status") or {}).get("ready") == 1 for one in every)
        if ready == fleets and not told:
            told = True
            say(ready=ready, writes=stage.api.writes)
        await asyncio.sleep(1.0)


def say(**words: object) -> None:
    print(json.dumps(words), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
