"""Requests without end through the gateway's own classes, without sockets: does memory grow?"""

from __future__ import annotations

import gc
import json
import random
import sys
from pathlib import Path

from benchmarks.fuzz.conversations import one
from benchmarks.fuzz.corpus import ANSWERS, EVENTS, request
from benchmarks.fuzz.wires import Clock, Player, Wire, World

_WHOLE = json.dumps(ANSWERS[0]).encode()
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
_EVENTS = (EVENTS[0], EVENTS[1], EVENTS[6], EVENTS[9], EVENTS[-1])
_STREAM = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    + b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in _EVENTS)
    + b"0\r\n\r\n"
)
_PER_CONNECTION = 50
_WILD = 100  # plain requests between two conversations of the fuzzer's kind


def resident() -> int:
    """Bytes of memory that this process holds."""
    rows = Path("/proc/self/status").read_text().splitlines()
    return int(next(row for row in rows if row.startswith("VmRSS")).split()[1]) * 1024


class Row:
    """Memory after so many requests.

    requests  so far
    blocks    that Python holds
    resident  bytes of the process
    """

    def __init__(self, requests: int) -> None:
        gc.collect()
        self.requests = requests
        self.blocks = sys.getallocatedblocks()
        self.resident = resident()


class Load:
    """One gateway under load; see `run`."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._clock = Clock()
        self._world = World(self._clock)
        self._number = 0

    def run(self, requests: int, *, rows: int = 10) -> list[Row]:
        """Serve so many; memory at so many moments, the first after a tenth of them."""
        seen = []
        with self._clock.rules():
            for _ in range(rows):
                until = self._number + requests // rows
                while self._number < until:
                    self._connection()
                self._world.check_empty()
                seen.append(Row(self._number))
        return seen

    def _connection(self) -> None:
        player = Player(self._world.service)
        wire = Wire(player)
        for _ in range(_PER_CONNECTION):
            self._ask(wire)
        wire.lose()
        self._world.board.tick(self._clock.now)
        if self._number % (_PER_CONNECTION * _WILD) == 0:
            one(self._world, self._rng)

    def _ask(self, wire: Wire) -> None:
        rng, pool = self._rng, self._world.pool
        self._number += 1
        self._clock.now += 0.004
        stream = self._number % 2 == 0
        words = " ".join(str(rng.randrange(1000)) for _ in range(20))
        messages = [{"role": "user", "content": f"{self._number % 5000} {words}"}]
        body = {"model": "chat", "messages": messages, "stream": stream, "user": f"u{self._number}"}
        wire.receive(
            request(
                b"/v1/chat/completions",
                json.dumps(body).encode(),
                b"X-Request-Id: r-%d" % self._number,
            )
        )
        while pool.opening:
            pool.accept(0)
        for engine in pool.wires:
            if engine.written and not engine.closing:
                engine.written = b""
                engine.answered = 0
                engine.receive(_STREAM if stream else _HEAD % len(_WHOLE) + _WHOLE)
        assert wire.written.startswith(b"HTTP/1.1 200 OK"), wire.written[:300]
        wire.written = b""
        pool.wires = [engine for engine in pool.wires if not engine.closing]


def growth(rows: list[Row]) -> tuple[float, float]:
    """Blocks and bytes per request between the third row and the last, when caches are full."""
    first, last = rows[2], rows[-1]
    count = last.requests - first.requests
    return (last.blocks - first.blocks) / count, (last.resident - first.resident) / count
