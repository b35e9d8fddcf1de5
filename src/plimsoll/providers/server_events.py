"""Server-sent events as bytes: where they end, and what they say. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

BOUNDARY = re.compile(rb"\r\n\r\n|\n\n|\r\r")
"""What ends an event."""


def payloads(events: bytes) -> Iterator[bytes]:
    """The data of each whole event; comments and events without data are left out."""
    for event in BOUNDARY.split(events):
        if event.startswith(b"data: ") and b"\n" not in event and b"\r" not in event:
            yield event[6:]
            continue
        lines = [
            line.partition(b":")[2].removeprefix(b" ")
            for line in event.splitlines()
            if line.startswith((b"data:", b"error:"))
        ]
        if lines:
            yield b"\n".join(lines)
