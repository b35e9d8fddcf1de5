"""Traces of requests in the shape of Mooncake's: one JSON object a line, prefixes as block ids."""

from __future__ import annotations

import gzip
import json
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

BLOCK = 512
"""Tokens that one id of a trace stands for."""


class BadTraceError(Exception):
    """A line that is no request; says which."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a trace.

    at      seconds since the trace began
    prompt  tokens
    answer  tokens
    blocks  ids of the prompt's blocks, equal for equal beginnings
    """

    at: float
    prompt: int
    answer: int
    blocks: tuple[int, ...]


def read(path: Path) -> list[Request]:
    """The requests of a file, plain or compressed, in the order of time.

    Raises BadTraceError with the line's number, OSError where the file cannot be read.
    """
    requests = []
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as lines:
        try:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    requests.append(_request(line, f"{path}:{number}"))
        except UnicodeDecodeError as error:
            raise BadTraceError(f"{path}: not UTF-8 text, {error}") from error
        except (gzip.BadGzipFile, EOFError) as error:
            raise BadTraceError(f"{path}: not a whole gzip file, {error}") from error
    if not requests:
        raise BadTraceError(f"{path}: no requests in it")
    requests.sort(key=lambda each: each.at)
    start = requests[0].at
    return [replace(each, at=each.at - start) for each in requests]


def _request(line: str, where: str) -> Request:
    try:
        fields = json.loads(line)
    except json.JSONDecodeError as error:
        raise BadTraceError(f"{where}:{error.colno}: not JSON, {error.msg}") from error
    if not isinstance(fields, dict):
        raise BadTraceError(f"{where}: a request is an object, not {type(fields).__name__}")
    ids = fields.get("hash_ids")
    if not isinstance(ids, list) or not all(type(each) is int for each in ids):
        raise BadTraceError(f"{where}: `hash_ids` must be a list of integers")
    return Request(
        at=_number(fields, "timestamp", where) / 1000,
        prompt=max(1, int(_number(fields, "input_length", where))),
        answer=max(1, int(_number(fields, "output_length", where))),
        blocks=tuple(ids),
    )


def _number(fields: dict[str, Any], name: str, where: str) -> float:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e15:
        raise BadTraceError(f"{where}: `{name}` must be a number from 0, not {value!r}")
    return float(value)


def unique(requests: Iterable[Request]) -> list[Request]:
    """The same requests, and nothing repeats."""
    ids = count(1)
    return [replace(each, blocks=tuple(next(ids) for _ in each.blocks)) for each in requests]


def scaled(requests: Sequence[Request], *, copies: int, speed: float) -> list[Request]:
    """More users of the same kind, and time that runs faster.

    Every further copy has blocks of its own, but for those that most requests of the trace begin
    with, and begins elsewhere in the trace, so that no two copies do the same at the same time.
    """
    length = requests[-1].at
    common = _common(requests)
    top = 1 + max((max(each.blocks, default=0) for each in requests), default=0)
    out = []
    for copy in range(copies):
        offset = length * copy / copies
        for each in requests:
            blocks = each.blocks
            if copy:
                blocks = tuple(block if block in common else block + top * copy for block in blocks)
            at = (each.at + offset) % length if copy and length else each.at
            out.append(replace(each, at=at / speed, blocks=blocks))
    out.sort(key=lambda each: each.at)
    return out


def _common(requests: Sequence[Request]) -> frozenset[int]:
    counts: dict[int, int] = {}
    for each in requests:
        for block in each.blocks[:64]:
            counts[block] = counts.get(block, 0) + 1
    return frozenset(block for block, times in counts.items() if times > len(requests) // 2)


def shared_lru(requests: Iterable[Request], size: int) -> tuple[float, list[int]]:
    """What one cache of `size` blocks for everybody would hold: share of blocks found, and
    prompt tokens that remain to be read, by request. Least recently used goes first, the end of
    a prompt before its beginning.
    """
    cache: OrderedDict[int, None] = OrderedDict()
    found = total = 0
    uncached = []
    for each in requests:
        hits = 0
        for block in each.blocks:
            if block not in cache:
                break
            hits += 1
        for block in reversed(each.blocks):
            cache[block] = None
            cache.move_to_end(block)
        while len(cache) > size:
            cache.popitem(last=False)
        found += hits
        total += len(each.blocks)
        uncached.append(max(1, each.prompt - hits * BLOCK))
    return found / max(1, total), uncached
