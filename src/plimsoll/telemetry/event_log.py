"""What a process says of itself: one JSON object a line, or text for a terminal."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec

_encode = msgspec.json.Encoder(enc_hook=str).encode


class JsonLines(logging.Formatter):
    """One JSON object: `time` (UTC), `level`, `logger`, `message`, and what `fields` holds.

    A caller gives fields as `extra={"fields": {...}}`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record, without its end."""
        when = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": when.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _encode(line).decode()


def log_events(stream: TextIO, *, level: str, as_json: bool) -> None:
    """Write what Plimsoll's own code logs to a stream, from `level` (`info`, ...) on.

    Called again, it replaces what the call before it set.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        JsonLines() if as_json else logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    )
    logger = logging.getLogger("plimsoll")
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
