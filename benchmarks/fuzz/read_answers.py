"""Reads what a caller got, strictly."""

from __future__ import annotations

import json
import re

from plimsoll.gateway.errors import TABLE

_HEAD = re.compile(rb"HTTP/1\.1 (\d{3}) [A-Za-z' -]+\r\n((?:[a-z-]+: [^\r\n\0]*\r\n)*)\r\n")
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def answers(data: bytes, *, at_most: int) -> list[int]:
    """The statuses of the answers to one caller; the last may be cut, because somebody left.
    Fails when anything else is there, or more answers than `at_most`.
    """
    statuses = []
    while data:
        if data.startswith(_CONTINUE):
            data = data[len(_CONTINUE) :]
            continue
        found = _HEAD.match(data)
        assert found is not None, data[:300]
        status = int(found[1])
        rows = found[2].split(b"\r\n")[:-1]
        fields = dict(row.split(b": ", 1) for row in rows)
        assert len(fields) == len(rows), "a header twice"
        assert b"x-request-id" in fields
        data = data[found.end() :]
        if b"content-length" in fields:
            size = int(fields[b"content-length"])
            body, data = data[:size], data[size:]
            assert len(body) == size, "half an answer"
            _whole(status, fields[b"content-type"], body)
        elif b"transfer-encoding" in fields:
            data = _stream(data)
        else:
            assert fields[b"connection"] == b"close"
            data = b""
        statuses.append(status)
        if fields.get(b"connection") == b"close":
            assert not data, "an answer behind the last"
    assert len(statuses) <= at_most, f"{len(statuses)} answers to {at_most} requests"
    return statuses


def _whole(status: int, kind: bytes, body: bytes) -> None:
    if kind != b"application/json" or not body:
        return
    said = json.loads(body.decode("utf-8"))
    assert isinstance(said, dict)
    if status != 200:
        return
    assert said.get("error") is None, said


def _stream(data: bytes) -> bytes:
    events = b""
    while data:
        line, found, rest = data.partition(b"\r\n")
        assert found, "half a chunk"
        size = int(line, 16)
        assert rest[size : size + 2] == b"\r\n", "a chunk of another size"
        events += rest[:size]
        data = rest[size + 2 :]
        if not size:
            break
    _events(events.decode("utf-8"))
    return data


def _events(text: str) -> None:
    text = re.sub(r"\r\n?", "\n", text)
    assert not text or text.endswith("\n\n"), "half an event"
    for event in filter(None, text.split("\n\n")):
        rows = [row[5:].strip() for row in event.split("\n") if row.startswith("data:")]
        if rows and rows != ["[DONE]"]:
            said = json.loads("\n".join(rows))
            assert said is None or isinstance(said, dict)
            if isinstance(said, dict) and isinstance(said.get("error"), dict):
                code = said["error"].get("code")
                assert code is None or code in TABLE, said
