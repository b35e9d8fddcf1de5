"""Mooncake's traces: one JSON object a line, a prompt's prefixes as ids of blocks.

Source of the shape: kvcache-ai/Mooncake (FAST'25), Apache-2.0.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from plimsoll.errors import InputError
from plimsoll.worlds.virtual.workloads.lines import KINDS, lines
from plimsoll.worlds.virtual.workloads.order import Order
from plimsoll.worlds.virtual.workloads.types import BLOCK_TOKENS, Arrival

_Time = Annotated[float, msgspec.Meta(ge=0, le=1e15)]
_Tokens = Annotated[int, msgspec.Meta(ge=0, lt=10**9)]


class _Line(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """One line as it stands; timestamp in milliseconds, lengths in tokens."""

    timestamp: _Time
    input_length: _Tokens
    output_length: _Tokens
    hash_ids: tuple[int, ...] | None = None


COLUMNS = frozenset(_Line.__struct_fields__)
_decode = msgspec.json.Decoder(_Line).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class MooncakeTrace:
    """The requests of one file, read as they are asked for.

    path        file of JSON lines, plain or compressed
    model       that they ask, as the trace does not say
    allow_gaps  whether long holes are taken as they are
    """

    path: Path
    model: str = "default"
    allow_gaps: bool = False

    @property
    def seconds(self) -> float | None:
        """Not known before the end."""
        return None

    def __iter__(self) -> Iterator[Arrival]:
        """See Workload. A length of 0 counts as 1."""
        with closing(lines(self.path)) as texts:
            yield from self._arrivals(texts)

    def _arrivals(self, texts: Iterator[str]) -> Iterator[Arrival]:
        path, model = self.path, self.model
        take = Order(path, allow_gaps=self.allow_gaps).take
        start: float | None = None
        for number, text in enumerate(texts, 1):
            try:
                line = _decode(text)
            except msgspec.MsgspecError as error:
                if not text.strip():
                    continue
                raise _broken(text, f"{path}:{number}", error) from error
            blocks = line.hash_ids
            if (
                blocks is not None
                and len(blocks) * BLOCK_TOKENS >= line.input_length + BLOCK_TOKENS
            ):
                raise InputError(
                    f"{len(blocks)} of `hash_ids` for {line.input_length} tokens",
                    where=f"{path}:{number}",
                    hint=f"an id stands for a block of {BLOCK_TOKENS} tokens",
                    code="trace.value",
                )
            if start is None:
                start = line.timestamp
            at = (line.timestamp - start) / 1000
            take(at, number)
            yield Arrival(
                at=at,
                prompt_tokens=line.input_length or 1,
                output_tokens=line.output_length or 1,
                blocks=blocks,
                model=model,
            )
        if start is None:
            raise InputError("no requests in it", where=f"{path}:1", hint=KINDS, code="trace.empty")


def _broken(text: str, where: str, error: msgspec.MsgspecError) -> InputError:
    """What is wrong with a line; a last one without its end was cut off."""
    if not isinstance(error, msgspec.ValidationError):
        if not text.endswith("\n"):
            return InputError(
                f"ends within the object: {error}",
                where=where,
                hint="the file is cut off: fetch it again, or take this line out",
                code="trace.truncated",
            )
        return InputError(f"not JSON: {error}", where=where, hint=KINDS, code="trace.row")
    message = str(error)
    unknown = "unknown field" in message or "missing required field" in message
    return InputError(
        message[:1].lower() + message[1:],
        where=where,
        hint=KINDS if unknown else "leave the line out, or mend it",
        code="trace.unknown-columns" if unknown else "trace.value",
    )
