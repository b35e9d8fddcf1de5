"""What a caller may get, whatever an engine does: a sound answer, or a well-formed error."""

from __future__ import annotations

import json

from plimsoll.gateway.errors import TABLE
from tests.gateway.stub import Reply

SOUND = "sound"
BROKEN = "broken"  # a stream that began well and ended with an error event


def verdict(reply: Reply) -> str:
    """SOUND, BROKEN, or the code of the error; fails for an answer that is none of these."""
    kind = reply.headers["content-type"]
    if kind == "text/event-stream":
        assert reply.status == 200
        return _of_stream(reply.body)
    assert kind == "application/json"
    body = json.loads(reply.body.decode("utf-8"))
    assert isinstance(body, dict)
    if reply.status == 200:
        assert body.get("error") is None, body
        return SOUND
    error = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    row = TABLE[error["code"]]
    assert reply.status == row.status or error["code"] == "engine_refused"
    assert ("retry-after" in reply.headers) == row.retry
    return str(error["code"])


def _of_stream(body: bytes) -> str:
    text = body.decode("utf-8").replace("\r\n", "\n")
    assert text.endswith("\n\n")
    assert "\0" not in text
    *events, last = text.removesuffix("\n\n").split("\n\n")
    for event in events:
        said = _payload(event)
        assert said is None or said.get("error") is None, event
    if last == "data: [DONE]":
        return SOUND
    said = _payload(last)
    assert said is not None
    assert said["error"]["code"] in TABLE
    return BROKEN


def _payload(event: str) -> dict | None:
    """The object in an event; None for a comment."""
    rows = [row for row in event.split("\n") if not row.startswith(":")]
    data = [row.removeprefix("data:").strip() for row in rows if row.startswith("data:")]
    if not data:
        assert not rows, event
        return None
    said = json.loads("\n".join(data))
    assert isinstance(said, dict), event
    return said
