"""Server-sent events in bytes: whole events out of any pieces, and what ends a stream. Pure."""

from __future__ import annotations

import re
from typing import Final

from plimsoll.gateway.engine_json import decode_event
from plimsoll.providers.server_events import BOUNDARY, payloads

DONE: Final = b"data: [DONE]\n\n"
_DONE = re.compile(rb"^data: ?\[DONE\](?:\r\n\r\n|\n\n|\r\r)", re.MULTILINE)
_RETURN = 0x0D  # one byte is found much faster than bytes of length one
_BEGINNINGS = (b"data:", b"event:", b"id:", b"retry:", b":", b"error:")


class EngineEventError(ValueError):
    """An event that says the engine failed.

    error  what stands under `error`
    """

    def __init__(self, error: object) -> None:
        super().__init__("the engine reported an error in its stream")
        self.error = error


def _check(payload: bytes) -> None:
    error = decode_event(payload).error
    if error is not None:
        raise EngineEventError(error)


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


def sound(events: bytes) -> bool:
    """Whether every whole event is a JSON object in UTF-8 that tells no error, `[DONE]`, or has no
    data.
    """
    try:
        if not events.isascii():
            str(events, "utf-8")
        end = len(events) - 2
        if events.startswith(b"data: {") and events.find(b"\n") == end and _RETURN not in events:
            return (
                decode_event(events[6:]).error is None
            )  # one event of one line, as most reads bring
        _check_all(events)
    except (ValueError, RecursionError):
        return False
    return True


def _check_all(events: bytes) -> None:
    if not events.isascii():
        str(events, "utf-8")
    returns = b"\r" in events
    for event in events.split(b"\n\n"):
        if event.startswith(b"data: {") and b"\n" not in event and not returns:
            _check(event[6:])
        elif event:
            _check_other(event)


def _check_other(event: bytes) -> None:
    for payload in payloads(event):
        # llama.cpp writes `null` before some streams.
        if payload not in (b"[DONE]", b"null"):
            _check(payload)


def before_trouble(events: bytes) -> tuple[bytes, object]:
    """Whole events up to the first that is not sound, and the error that it tells; None when it
    is no event at all.
    """
    start = 0
    while start < len(events):
        found = BOUNDARY.search(events, start)
        end = found.end() if found else len(events)
        try:
            _check_all(events[start:end])
        except EngineEventError as told:
            return events[:start], told.error
        except (ValueError, RecursionError):
            break
        start = end
    return events[:start], None


def to_done(events: bytes) -> tuple[bytes, bool]:
    """Whole events up to the one that says `[DONE]`, with it, and whether there is one."""
    start = 0
    while start < len(events):
        found = BOUNDARY.search(events, start)
        end = found.end() if found else len(events)
        if b"[DONE]" in payloads(events[start:end]):
            return events[:end], True
        start = end
    return events, False


def without_progress(events: bytes) -> bytes:
    """Whole events without those that only tell the progress on a prompt."""
    if b'"prompt_progress"' not in events:
        return events
    kept = (event for event in events.split(b"\n\n") if b'"prompt_progress"' not in event)
    return b"\n\n".join(kept)
