"""Reads what a benchmark of one real engine recorded: its settings and every request's times.

A log is three files beside one another: `NAME_requests.jsonl.gz` (one request a line, plain or
compressed), `NAME_meta.json` and `NAME_timeseries.csv`, of which the last is not needed here.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from plimsoll.errors import InputError

_ENDINGS = ("_requests.jsonl.gz", "_requests.jsonl")
_HINT = (
    "each line is an object with input_toks, output_toks, arrival_time, queued_ts, first_token_ts"
    " and last_token_ts"
)


class _Line(msgspec.Struct, frozen=True):
    """One request as it is written; `arrival_time` by the wall clock, the rest by the engine's."""

    input_toks: int
    output_toks: int
    arrival_time: float
    queued_ts: float
    first_token_ts: float
    last_token_ts: float


class MeasuredRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request; seconds since the first one arrived.

    at      its arrival
    prompt  tokens
    output  tokens of its answer
    first   when its first token was made
    end     when its last one was
    """

    at: float
    prompt: int
    output: int
    first: float
    end: float

    @property
    def ttft(self) -> float:
        """Seconds to the first token."""
        return self.first - self.at

    @property
    def tpot(self) -> float:
        """Seconds per token after the first; 0 for an answer of one."""
        return (self.end - self.first) / max(1, self.output - 1)

    @property
    def end_to_end(self) -> float:
        """Seconds to the last token."""
        return self.end - self.at


class RequestLog(msgspec.Struct, frozen=True, kw_only=True):
    """One run.

    name      of its files
    meta      the run's settings as they are written
    requests  in the order of their arrival
    """

    name: str
    meta: dict[str, Any]
    requests: tuple[MeasuredRequest, ...]


def logs_of(folder: Path) -> list[RequestLog]:
    """Every log of a folder, by name. Raises InputError for what cannot be read, by its line."""
    if not folder.is_dir():
        raise InputError("is not a folder", where=str(folder), hint="give the folder of the logs")
    found: dict[str, Path] = {}
    for ending in _ENDINGS:
        for path in sorted(folder.glob(f"*{ending}")):
            found.setdefault(path.name.removesuffix(ending), path)
    if not found:
        raise InputError(
            "holds no request logs", where=str(folder), hint="they are NAME_requests.jsonl.gz"
        )
    return [_log(name, path) for name, path in sorted(found.items())]


def _log(name: str, path: Path) -> RequestLog:
    meta = path.with_name(f"{name}_meta.json")
    lines = list(_lines(path))
    if not lines:
        raise InputError("is empty", where=str(path), hint=_HINT)
    # The engine's clock starts anywhere. The request that waited least to be queued says where.
    shift = min(line.queued_ts - line.arrival_time for line in lines)
    begin = min(line.arrival_time for line in lines) + shift
    requests = [
        MeasuredRequest(
            at=line.arrival_time + shift - begin,
            prompt=line.input_toks,
            output=line.output_toks,
            first=line.first_token_ts - begin,
            end=line.last_token_ts - begin,
        )
        for line in lines
    ]
    requests.sort(key=lambda request: request.at)
    return RequestLog(name=name, meta=_meta(meta), requests=tuple(requests))


def _meta(path: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror or error}",
            where=str(path),
            hint="the settings of the run belong beside its requests",
        ) from error
    except msgspec.DecodeError as error:
        raise InputError(f"is not what settings look like: {error}", where=str(path)) from error


def _lines(path: Path) -> Iterator[_Line]:
    read = 0
    decoder = msgspec.json.Decoder(_Line)
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for text in file:
                read += 1
                if text.strip():
                    yield _checked(decoder.decode(text))
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot be read: {error}", where=f"{path}:{read + 1}") from error
    except (msgspec.DecodeError, ValueError) as error:
        raise InputError(str(error), where=f"{path}:{read}", hint=_HINT) from error


def _checked(line: _Line) -> _Line:
    """The line itself. Raises ValueError where no engine could have written it."""
    if line.input_toks < 1 or line.output_toks < 1:
        raise ValueError("a request has 1 token or more, and so has its answer")
    if not line.queued_ts <= line.first_token_ts <= line.last_token_ts:
        raise ValueError("queued_ts, first_token_ts and last_token_ts do not follow one another")
    return line
