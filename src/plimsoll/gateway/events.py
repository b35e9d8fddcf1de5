"""Server-sent events in bytes: whole events out of any pieces, and what ends a stream. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

DONE = b"data: [DONE]\n\n"
_BOUNDARY = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_BEGINNINGS = (b"data:", b"event:", b"id:", b"retry:", b":", b"error:")


class EventSplitter:
    """Holds back the piece of an event that has not ended yet.

    held  bytes held back
    """

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held = b""

    def whole(self, data: bytes) -> bytes:
        """The bytes up to the end of the last whole event; what is left waits for more."""
        if self.held:
            data = self.held + data
            self.held = b""
        if data.endswith(b"\n\n"):
            return data
        end = _last_end(data)
        self.held = data[end:]
        return data[:end]


def _last_end(data: bytes) -> int:
    """Where the last whole event ends, 0 when there is none."""
    ends = (data.rfind(b"\n\n") + 2, data.rfind(b"\r\n\r\n") + 4, data.rfind(b"\r\r") + 2)
    starts = (1, 3, 1)  # `rfind` answers -1
    return max((end for end, none in zip(ends, starts, strict=True) if end != none), default=0)


def begins(data: bytes) -> bool:
    """Whether bytes can be the beginning of a stream of events."""
    return data.lstrip(b"\r\n\xef\xbb\xbf").startswith(_BEGINNINGS)


def payloads(events: bytes) -> Iterator[bytes]:
    """The data of each whole event; events without data and comments are left out."""
    for event in _BOUNDARY.split(events):
        lines = [
            line.partition(b":")[2].removeprefix(b" ")
            for line in event.splitlines()
            if line.startswith((b"data:", b"error:"))
        ]
        if lines:
            yield b"\n".join(lines)


def without_progress(events: bytes) -> bytes:
    """Whole events without those that only tell the progress on a prompt."""
    if b'"prompt_progress"' not in events:
        return events
    kept = (event for event in events.split(b"\n\n") if b'"prompt_progress"' not in event)
    return b"\n\n".join(kept)
