"""Our gateway in a process of its own, with everything on: keys, queue, routing, metrics."""

from __future__ import annotations

import asyncio
import sys
import time
from hashlib import sha256

import plimsoll.gateway.exchange
from benchmarks.gateway.load import KEY
from plimsoll.gateway import Board, Gateway, GatewaySettings, Served, Upstream, new_event_loop
from plimsoll.gateway.access import Caller, Grant, StaticAccess
from plimsoll.telemetry.metrics import GatewayMetrics


async def main(port: int, engines: list[int]) -> None:
    """Serve until killed."""
    board = Board([Served(name="m", task="chat", context=32_768)])
    caller = Caller(tenant="benchmark", key="only", scope=b"benchmark/")
    grant = Grant(digest=sha256(KEY.encode()).digest(), caller=caller)
    gateway = Gateway(
        board=board,
        settings=GatewaySettings(),
        metrics=GatewayMetrics(),
        access=StaticAccess([grant], clock=time.time),
    )
    await gateway.start("127.0.0.1", port)
    board.update(
        "m",
        tuple(
            Upstream(replica=f"m-{number}", host="127.0.0.1", port=engine, capacity=512)
            for number, engine in enumerate(engines)
        ),
    )
    await asyncio.Event().wait()


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[-1] == "--compiled":
        arguments.pop()
        if not plimsoll.gateway.exchange.__file__.endswith(".so"):
            sys.exit("this is the interpreted code: run `make compiled`")
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main(int(arguments[0]), [int(word) for word in arguments[1:]]))
