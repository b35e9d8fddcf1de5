"""What a caller of one stream has so far, read from the events that it was sent. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from plimsoll.providers.server_events import payloads

Fields = dict[str, Any]
TEXTS = ("content", "text", "reasoning_content", "reasoning")
"""Where text stands in a delta or, for `text`, in a choice."""
HEAD = ("id", "object", "created", "model", "system_fingerprint")
"""Fields that every event of one stream has alike."""

_OTHERS = {
    "tool_calls": "a tool call",
    "function_call": "a function call",
    "logprobs": "log probabilities",
    "token_ids": "token ids",
}
_PLAIN = frozenset({"index", "delta", "finish_reason", "stop_reason", "matched_stop", "role"})
_decode = msgspec.json.Decoder().decode


@dataclass(slots=True, kw_only=True)
class Sent:
    """The part of a stream that has gone to its caller.

    head      `id`, `created` and the like, as the first event said them
    roles     choices whose role was sent
    pieces    the text of choice 0 by where it stood, a piece per event
    events    events that brought text, over all choices: no more than the tokens sent
    finished  choice -> its reason to finish
    usage     the last usage sent, or None
    total     whether that stood at the end, alone
    done      whether `[DONE]` was sent
    other     in words, what was sent beside the plain text of one choice; empty: nothing
    """

    head: Fields = field(default_factory=dict)
    roles: set[int] = field(default_factory=set)
    pieces: dict[str, list[str]] = field(default_factory=dict)
    events: int = 0
    finished: dict[int, str] = field(default_factory=dict)
    usage: Fields | None = None
    total: bool = False
    done: bool = False
    other: str = ""

    @property
    def texts(self) -> dict[str, str]:
        """The text of choice 0, by where it stood."""
        return {where: "".join(pieces) for where, pieces in self.pieces.items()}

    @property
    def nothing(self) -> bool:
        """Whether no part of an answer was sent, but at most roles."""
        return not (self.pieces or self.other or self.finished)

    def tokens(self, text: int) -> int:
        """Tokens of the answer when its text has so many: one more ended it, unseen."""
        return max(self.events, text) + sum(why == "stop" for why in self.finished.values())


def read_sent(events: bytes) -> Sent:
    """What whole events said. Raises ValueError for events of no known shape."""
    sent = Sent()
    for payload in payloads(events):
        if payload == b"[DONE]":
            sent.done = True
        else:
            _read_event(sent, _decode(payload))
    return sent


def _read_event(sent: Sent, event: object) -> None:
    if event is None:  # llama.cpp writes it before some streams
        return
    if not isinstance(event, dict):
        raise ValueError("an event that is not an object")  # noqa: TRY004 -- input, not a type
    if event.get("error") is not None:
        raise ValueError("an error was sent")
    if "prompt_progress" in event:
        return
    for key in HEAD:
        if event.get(key) is not None:
            sent.head.setdefault(key, event[key])
    choices = event.get("choices") or []
    if not isinstance(choices, list):
        raise ValueError("choices that are no list")  # noqa: TRY004 -- input, not a type
    for choice in choices:
        _read_choice(sent, choice)
    if isinstance(event.get("usage"), dict):
        sent.usage = event["usage"]
        sent.total = not choices or bool(sent.finished)


def _read_choice(sent: Sent, choice: object) -> None:
    if not isinstance(choice, dict) or not isinstance(choice.get("index", 0), int):
        raise ValueError("a choice of no known shape")  # noqa: TRY004 -- input, not a type
    index = choice.get("index", 0)
    delta = choice.get("delta") or {}
    if not isinstance(delta, dict):
        raise ValueError("a delta that is not an object")  # noqa: TRY004 -- input, not a type
    if delta.get("role"):
        sent.roles.add(index)
    said = [*delta.items(), *((key, choice[key]) for key in choice if key not in _PLAIN)]
    _read_said(sent, index, said)
    if choice.get("finish_reason"):
        sent.finished[index] = choice["finish_reason"]


def _read_said(sent: Sent, index: int, said: Iterable[tuple[str, object]]) -> None:
    anything = False
    for key, value in said:
        if key in _PLAIN or value in (None, "", [], {}):
            continue
        anything = True
        if index:
            sent.other = sent.other or "several choices"
        elif key in TEXTS and isinstance(value, str):
            sent.pieces.setdefault(key, []).append(value)
        else:
            sent.other = sent.other or _OTHERS.get(key, f"`{key}`")
    sent.events += anything
