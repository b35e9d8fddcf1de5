"""Streaming clients that cost little, so that engine and gateway keep the processor.

Each client holds one connection at a time, sends a streamed chat, checks every chunk of it
(order, completeness, one end), and asks again until told to stop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to send, and which model to ask."""

    host: str
    port: int
    model: str


@dataclass(slots=True, kw_only=True)
class Tally:
    """What the clients saw. `tokens` counts content chunks that arrived within the window."""

    tokens: int = 0
    streams: int = 0
    errors: list[str] = field(default_factory=list)


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    index: int
    delta: _Delta
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    completion_tokens: int


class _Chunk(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None


_DECODER = msgspec.json.Decoder(_Chunk)


async def drive(
    targets: Sequence[Target], *, clients: int, seconds: float, question: str, tokens: int
) -> Tally:
    """Stream from `targets`, client i from target i modulo their number, for `seconds`."""
    tally = Tally()
    stop = asyncio.Event()
    tasks = [
        asyncio.create_task(
            _client(targets[i % len(targets)], tally, stop, question=question, tokens=tokens)
        )
        for i in range(clients)
    ]
    await asyncio.sleep(seconds)
    stop.set()
    counted = tally.tokens
    await asyncio.gather(*tasks)
    tally.tokens = counted
    return tally


async def _client(
    target: Target, tally: Tally, stop: asyncio.Event, *, question: str, tokens: int
) -> None:
    body = msgspec.json.encode(
        {
            "model": target.model,
            "messages": [{"role": "user", "content": question}],
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": 0,
            "max_tokens": tokens,
            "ignore_eos": True,
        }
    )
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {target.host}:{target.port}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
        "connection: close\r\n\r\n"
    ).encode()
    while not stop.is_set():
        reader, writer = await asyncio.open_connection(target.host, target.port)
        try:
            writer.write(head + body)
            problem = await _read_stream(reader, tally)
        except (OSError, asyncio.IncompleteReadError) as error:
            problem = repr(error)
        finally:
            writer.close()
        tally.streams += 1
        if problem:
            tally.errors.append(problem)


async def _read_stream(reader: asyncio.StreamReader, tally: Tally) -> str | None:
    """Read one answer to its end. Returns what is wrong with it, or None."""
    status = await reader.readline()
    if b" 200 " not in status:
        return f"status {status!r}: {(await reader.read(400))!r}"
    seen, usage, finished, done = 0, None, 0, False
    async for line in reader:
        if not line.startswith(b"data: "):
            continue
        payload = line[6:].strip()
        if payload == b"[DONE]":
            done = True
            continue
        if done or payload.startswith(b'{"error"'):
            return f"after {seen} chunks: {payload[:200]!r}"
        chunk = _DECODER.decode(payload)
        usage = chunk.usage or usage
        for choice in chunk.choices:
            finished += choice.finish_reason is not None
            if choice.delta.content:
                seen += 1
                tally.tokens += 1
    if not done or finished != 1 or usage is None:
        return f"no proper end: done {done}, finished {finished}, usage {usage}"
    if seen != usage.completion_tokens:
        return f"{seen} chunks for {usage.completion_tokens} tokens"
    return None
