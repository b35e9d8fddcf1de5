"""One JSON line per request for a model and per refusal: id and figures, never its text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TextIO

import msgspec


class AccessLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one request did.

    time        UTC, ISO 8601, when it ended
    request_id  as answered in `x-request-id`
    tenant      who called, empty without a key
    key         what the fleet calls its key
    surface     where it came, such as `chat`; `none` for a refusal of any other path
    model       the fleet's name of it, empty when none was known
    replica     who answered, empty when nobody did
    status      HTTP status; 499 when the caller left first
    code        error code of a refusal or of a broken stream, empty when all went well
    streamed    whether the answer was streamed
    seconds     from the whole request to the end of the answer
    queued      seconds of that in the queue
    first_byte  seconds until the first byte of the answer, or None
    tries       tries that reached a replica
    continued   times that the answer went on at another replica
    """

    time: str
    request_id: str
    tenant: str = ""
    key: str = ""
    surface: str
    model: str = ""
    replica: str = ""
    status: int
    code: str = ""
    streamed: bool = False
    seconds: float
    queued: float = 0.0
    first_byte: float | None = None
    tries: int = 0
    continued: int = 0


class AccessLog:
    """Writes access lines to a text stream such as standard error."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._encode = msgspec.json.Encoder().encode

    def write(self, line: AccessLine) -> None:
        """Write one line."""
        self._stream.write(self._encode(line).decode() + "\n")


def utc_now() -> str:
    """The time of day for an access line: UTC, ISO 8601, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
