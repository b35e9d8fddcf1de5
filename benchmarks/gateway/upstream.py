"""Two engines in one process that cost nearly nothing: fixed answers, whole or streamed.

It reads and writes its sockets without an event loop library, for it must be faster than every
gateway before it. A stream has CHUNKS chunks. `seed` in the request is its pace in milliseconds;
without one, or with 0, chunks are sent as fast as the engine can, a few to a write.
"""

from __future__ import annotations

import heapq
import os
import re
import select
import socket
import sys
import time
from collections import deque

from benchmarks.http_layer.upstream import BODY, CHUNKS, END, FRAMED, HEAD, WHOLE

_AT_ONCE = 2  # chunks of a fast stream in one write
_BURST = FRAMED * _AT_ONCE
_READ = 256 * 1024
_PACE = re.compile(rb'"seed": ?(\d+)')
_METHODS = (b"POST ", b"GET ")
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"

ANSWER = BODY
"""What a whole answer says."""

assert CHUNKS % _AT_ONCE == 0


def _page(kind: bytes, body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n"
    return head % (kind, len(body)) + body


_PAGES = {
    b"/v1/models": _page(
        b"application/json",
        b'{"object":"list","data":[{"id":"m","object":"model","created":1,"owned_by":"vllm",'
        b'"root":"m","max_model_len":32768}]}',
    ),
    b"/health": _page(b"application/json", b"{}"),
    b"/version": _page(b"application/json", b'{"version":"0.11.0"}'),
    b"/metrics": _page(
        b"text/plain; version=0.0.4",
        b'vllm:num_requests_running{model_name="m"} 0.0\n'
        b'vllm:num_requests_waiting{model_name="m"} 0.0\n'
        b'vllm:kv_cache_usage_perc{model_name="m"} 0.0\n',
    ),
}


class Engines:
    """Answers every request at once; routers also ask who it is, and how it fares."""

    def __init__(self, ports: list[int]) -> None:
        self._poll = select.epoll()
        self._listening = {}
        for port in ports:
            listener = socket.create_server(("127.0.0.1", port), backlog=1024)
            listener.setblocking(False)
            self._listening[listener.fileno()] = listener
            self._poll.register(listener.fileno(), select.EPOLLIN)
        self._open: dict[int, socket.socket] = {}
        self._parts: dict[int, bytes] = {}  # of requests that are not whole yet
        self._unsent: dict[int, bytes] = {}
        self._pouring: deque[tuple[socket.socket, int]] = deque()
        self._paced: list[tuple[float, int, socket.socket, int, float]] = []
        self._number = 0

    def run(self) -> None:
        """Serve until killed."""
        while True:
            for number, event in self._poll.poll(self._wait()):
                if number in self._listening:
                    self._accept(self._listening[number])
                elif event & select.EPOLLOUT and number in self._unsent:  # it has room again
                    self._poll.modify(number, select.EPOLLIN)
                    self._send(self._open[number], b"")
                else:
                    self._read(number)
            for _ in range(len(self._pouring)):
                self._pour(*self._pouring.popleft())
            now = time.monotonic()
            while self._paced and self._paced[0][0] <= now:
                due, _, client, left, interval = heapq.heappop(self._paced)
                self._tell(due, client, left, interval)

    def _wait(self) -> float:
        if self._pouring:
            return 0.0
        return max(0.0, self._paced[0][0] - time.monotonic()) if self._paced else 1.0

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except BlockingIOError:
            return
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open[client.fileno()] = client
        self._poll.register(client.fileno(), select.EPOLLIN)

    def _read(self, number: int) -> None:
        client = self._open.get(number)
        if client is None:  # closed since the poll
            return
        try:
            data = os.read(number, _READ)
        except OSError:
            data = b""
        if not data or (not data.startswith(_METHODS) and number not in self._parts):
            self._close(client)  # gone, or another protocol that a router tries
            return
        data = self._parts.pop(number, b"") + data
        while data and number in self._open:
            stop = _end(data)
            if stop > len(data):
                self._parts[number] = data
                return
            self._answer(client, data[:stop])
            data = data[stop:]

    def _answer(self, client: socket.socket, data: bytes) -> None:
        if data.startswith(b"GET "):
            path = data.split(b" ", 2)[1].split(b"?")[0]
            self._send(client, _PAGES.get(path, _NOT_FOUND))
        elif b'"stream":true' not in data and b'"stream": true' not in data:
            self._send(client, WHOLE)
        else:
            pace = _PACE.search(data)
            self._send(client, HEAD)
            if pace is not None and int(pace[1]):
                self._tell(time.monotonic(), client, CHUNKS, int(pace[1]) / 1e3)
            else:
                self._pour(client, CHUNKS)

    def _pour(self, client: socket.socket, left: int) -> None:
        number = client.fileno()
        if number in self._unsent:  # the gateway is slower: wait until it has read
            self._pouring.append((client, left))
        elif number >= 0 and left:
            self._send(client, _BURST)
            self._pouring.append((client, left - _AT_ONCE))
        elif number >= 0:
            self._send(client, END)

    def _tell(self, due: float, client: socket.socket, left: int, interval: float) -> None:
        if client.fileno() < 0:
            return
        if not left:
            self._send(client, END)
            return
        self._send(client, FRAMED)
        self._number += 1
        later = (due + interval, self._number, client, left - 1, interval)
        heapq.heappush(self._paced, later)

    def _send(self, client: socket.socket, data: bytes) -> None:
        number = client.fileno()
        if self._unsent:
            data = self._unsent.pop(number, b"") + data
        try:
            sent = os.write(number, data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._close(client)
            return
        if sent < len(data):
            self._unsent[number] = data[sent:]
            self._poll.modify(number, select.EPOLLIN | select.EPOLLOUT)

    def _close(self, client: socket.socket) -> None:
        number = client.fileno()
        self._poll.unregister(number)
        for table in (self._open, self._parts, self._unsent):
            table.pop(number, None)
        client.close()


def _end(data: bytes) -> int:
    """Where the first request ends; beyond `data` when it is not whole yet."""
    start = data.find(b"\r\n\r\n") + 4
    if start < 4:
        return len(data) + 1
    head = data[:start].lower()
    at = head.find(b"\r\ncontent-length:")
    if at >= 0:
        return start + int(head[at + 17 : head.index(b"\r", at + 2)])
    if b"\r\ntransfer-encoding: chunked" not in head:
        return start
    end = data.find(b"\r\n0\r\n\r\n", start - 2)
    return end + 7 if end >= 0 else len(data) + 1


if __name__ == "__main__":
    Engines([int(word) for word in sys.argv[1:]]).run()
