"""What our own code costs a request and a streamed chunk: no sockets, no kernel, one process.

Opcodes hardly depend on what else a machine does, so they show what one change is worth; compare
them by function. Times are the best of many rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from types import CodeType, FrameType
from typing import Any

from benchmarks.gateway.load import KEY, body, request
from benchmarks.http_layer.upstream import END, FRAMED, HEAD, WHOLE
from plimsoll.gateway import Board, GatewaySettings, Served, Upstream
from plimsoll.gateway.access import Caller, Grant, StaticAccess
from plimsoll.gateway.connection import ClientConnection
from plimsoll.gateway.one_try import Means
from plimsoll.gateway.pages import Pages
from plimsoll.gateway.service import Service
from plimsoll.gateway.upstream import Pool, UpstreamConnection
from plimsoll.telemetry.metrics import GatewayMetrics

_CHUNKS = 100  # of a stream
_COUNTED = 50  # requests whose opcodes are counted
_TIMED = 200  # requests of a round
_ROUNDS = 60
_SHOWN = 40  # functions

Counts = Counter[CodeType]
Written = list[tuple[asyncio.Protocol, bytes]]


class _Wire(asyncio.Transport):
    """A connection to nobody: what is written to it is kept with the protocol that wrote it."""

    def __init__(self, protocol: asyncio.Protocol, written: Written) -> None:
        super().__init__()
        self._protocol = protocol
        self._written = written
        self._pair = socket.socketpair()  # the pool looks for bytes that nobody asked for

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._written.append((self._protocol, bytes(data)))

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._pair[0]

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False


class _Loop(asyncio.SelectorEventLoop):
    """Every connection that it opens is a wire.

    asked  what was written to them, and by whom
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked: Written = []

    async def create_connection(
        self, protocol_factory: Callable[[], Any], *_: Any, **options: Any
    ) -> tuple[Any, Any]:
        protocol = protocol_factory()
        wire = _Wire(protocol, self.asked)
        protocol.connection_made(wire)
        return wire, protocol


class _Rig:
    """A gateway with everything on, a caller and two engines, with nothing between them."""

    def __init__(self, asked: Written) -> None:
        board = Board([Served(name="m", task="chat", context=32_768)])
        caller = Caller(tenant="benchmark", key="only", scope=b"benchmark/")
        grant = Grant(digest=sha256(KEY.encode()).digest(), caller=caller)
        settings, metrics = GatewaySettings(keep_seconds=3600.0), GatewayMetrics()
        self._pool = Pool(settings.keep_seconds)
        service = Service(
            means=Means(board=board, pool=self._pool, settings=settings, metrics=metrics, log=None),
            pages=Pages(board, metrics.recent, created=0),
            access=StaticAccess([grant], clock=time.time),
        )
        self._engines = tuple(
            Upstream(replica=f"m-{number}", host="engine", port=number, capacity=512)
            for number in (1, 2)
        )
        board.update("m", self._engines)
        self._pool.keep_only(board.upstreams())
        self._asked = asked
        self._answered: Written = []
        self._client = ClientConnection(service)
        self._client.connection_made(_Wire(self._client, self._answered))
        self._whole = request(body(stream=False))
        self._streamed = request(body(stream=True))

    async def connect(self) -> None:
        """Open a connection to every engine, and check what comes of a request."""
        for engine in self._engines:
            self._pool.open(engine, self._opened)
        await asyncio.sleep(0)
        for _ in range(_COUNTED):
            self.ask()
        self._client.data_received(self._whole)
        self._engine().data_received(WHOLE)
        assert self._answered.pop()[1].startswith(b"HTTP/1.1 200 ")
        assert not self._answered

    def _opened(self, connection: UpstreamConnection | None, reason: str) -> None:
        assert connection is not None, reason
        self._pool.give(connection)

    def _engine(self) -> asyncio.Protocol:
        """Where the request went."""
        return self._asked.pop()[0]

    def ask(self) -> None:
        """One whole answer."""
        self._client.data_received(self._whole)
        self._engine().data_received(WHOLE)
        self._answered.clear()

    def stream(self, chunks: int) -> None:
        """One streamed answer, a chunk to a read."""
        self._client.data_received(self._streamed)
        engine = self._engine()
        engine.data_received(HEAD)
        for _ in range(chunks):
            engine.data_received(FRAMED)
        engine.data_received(END)
        assert self._answered[-1][1].endswith(b"0\r\n\r\n")
        self._answered.clear()


def _opcodes(call: Callable[[], None]) -> Counts:
    """Opcodes of our own functions in one call, the cheapest of many: what is done every few
    milliseconds is not among them.
    """
    counts: Counts = Counter()

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if not frame.f_globals["__name__"].startswith("plimsoll."):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            counts[frame.f_code] += 1
        return trace

    cheapest: Counts | None = None
    for _ in range(_COUNTED):
        counts.clear()
        sys.settrace(trace)
        try:
            call()
        finally:
            sys.settrace(None)
        if cheapest is None or counts.total() < cheapest.total():
            cheapest = counts.copy()
    assert cheapest is not None
    return cheapest


def _seconds(call: Callable[[], None], times: int) -> float:
    best = float("inf")
    for _ in range(_ROUNDS):
        began = time.thread_time()
        for _ in range(times):
            call()
        best = min(best, time.thread_time() - began)
    return best / times


def _show(counts: Counts, part: int) -> None:
    for code, count in counts.most_common(_SHOWN):
        name = code.co_filename.rpartition("plimsoll/")[2]
        print(f"{count / part:9.1f}  {name}:{code.co_firstlineno} {code.co_qualname}")


async def _main(asked: Written, *, functions: bool, repeat: int) -> None:
    rig = _Rig(asked)
    await rig.connect()
    if repeat:
        for _ in range(repeat):
            rig.ask()
        return
    whole = _opcodes(rig.ask)
    short, long = _opcodes(lambda: rig.stream(1)), _opcodes(lambda: rig.stream(1 + _CHUNKS))
    chunks = long - short
    ask = _seconds(rig.ask, _TIMED)
    few = _seconds(lambda: rig.stream(1), _TIMED // 10)
    many = _seconds(lambda: rig.stream(1 + _CHUNKS), _TIMED // 10)
    print(f"request: {whole.total():6} opcodes, {ask * 1e6:6.2f} us")
    each = (many - few) / _CHUNKS
    print(f"chunk:   {chunks.total() / _CHUNKS:6.0f} opcodes, {each * 1e6:6.2f} us")
    if functions:
        print("\nopcodes of a request")
        _show(whole, 1)
        print("\nopcodes of a chunk")
        _show(chunks, _CHUNKS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--functions", action="store_true", help="show what each function costs")
    parser.add_argument(
        "--repeat",
        type=int,
        default=0,
        metavar="N",
        help="only do so many requests, for a tool that counts instructions",
    )
    told = parser.parse_args()
    loop = _Loop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(_main(loop.asked, functions=told.functions, repeat=told.repeat))


if __name__ == "__main__":
    main()
