"""What each server does with requests that cannot be trusted: the rows of our own test table."""

from __future__ import annotations

import re
import socket
from collections import Counter
from dataclasses import dataclass

from tests.gateway.http_cases import BODY, HEAD, PLAIN, REFUSED_AND_CLOSED

_FOLLOWING = b"GET /following HTTP/1.1\r\nHost: a\r\n\r\n"
_PATIENCE = 0.5  # seconds of silence after which a server has had its say
# Limits are every server's own; what is compared is what is read differently by two readers.
_LIMITS = ("long-", "many-", "body-", "chunks-too", "compressed", "charset", "chunk-extension")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How often each thing was done, and which rows were served.

    refused  answered with an error, then closed
    closed   closed without a word
    open     answered with an error, and the connection was read on
    served   answered as if nothing were wrong
    silent   waits for more
    """

    counts: Counter[str]
    served: tuple[str, ...]


def rows() -> dict[str, bytes]:
    """The ambiguous requests, by name."""
    return {
        name: data for name, (_, data) in REFUSED_AND_CLOSED.items() if not name.startswith(_LIMITS)
    }


def judge(port: int) -> Verdict:
    """Send every row on its own connection, followed by a second request."""
    counts: Counter[str] = Counter()
    served = []
    for name, data in rows().items():
        there = data.replace(b"/health", b"/v1/chat/completions")
        word = _word(_said(port, there + _FOLLOWING))
        counts[word] += 1
        if word == "served":
            served.append(name)
    return Verdict(counts=counts, served=tuple(served))


def works(port: int) -> bool:
    """Whether a right request is served, so that a refusal means something."""
    return _said(port, HEAD + PLAIN + b"\r\n" + BODY).startswith(b"HTTP/1.1 200")


def _said(port: int, data: bytes) -> bytes:
    said = b""
    with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE) as client:
        client.sendall(data)
        try:
            while piece := client.recv(65536):
                said += piece
        except TimeoutError:
            return said + b"<open>"
        except ConnectionResetError:
            pass
    return said


def _word(said: bytes) -> str:
    if said == b"<open>":
        return "silent"
    if not said:
        return "closed"
    status = int(said.split(b" ", 2)[1])
    if status < 300:
        return "served"
    answers = re.findall(rb"HTTP/1\.[01] \d{3} ", said)
    return "open" if said.endswith(b"<open>") or len(answers) > 1 else "refused"
