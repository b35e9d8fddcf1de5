"""Joins the stream of another engine to one that broke off, so that they read as one. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from plimsoll.gateway.continuation import Resumption
from plimsoll.gateway.continuation_sent import HEAD, TEXTS, Fields, Sent
from plimsoll.gateway.events import DONE
from plimsoll.providers.server_events import payloads

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_SILENT: tuple[object, ...] = (None, "", [], {})


class DivergedError(ValueError):
    """What should have come again word for word did not."""


class Splice:
    """The events of the new stream as the caller of the old one gets them.

    sent        what the caller has of the old one
    resumption  how the new one goes on
    tokens      of the text that the new engine was given
    total_only  everything is sent but the usage, for which the new engine was asked; `tokens`
                are then those of the answer

    usage  of both streams, once the new one told its own
    """

    def __init__(
        self, sent: Sent, resumption: Resumption, tokens: int, *, total_only: bool = False
    ) -> None:
        self._sent = sent
        self._head = dict(sent.head)
        self._roles = set(sent.roles)
        self._drop = dict(resumption.drop)
        self._exact = resumption.exact
        self._keeps = resumption.keeps
        self._tokens = tokens
        self._total_only = total_only
        self.usage: Fields | None = None
        self._ended = False  # by a string that began before the seam
        self._held = ""
        self._where = next(iter(resumption.drop), "")
        self._rests = _rests(sent.texts.get(self._where, ""), resumption.stops)

    def feed(self, events: bytes) -> bytes:
        """Whole events of the new stream -> events for the caller.

        Raises DivergedError, and ValueError for events of no known shape.
        """
        out = []
        for payload in payloads(events):
            if payload == b"[DONE]":
                self._check_whole()
                out.append(DONE)
                continue
            event = _decode(payload)
            if event is None:  # llama.cpp writes it before some streams
                continue
            if not isinstance(event, dict):
                raise ValueError("an event that is not an object")  # noqa: TRY004 -- input
            if self._take(event):
                out.append(written(event))
        return b"".join(out)

    def _take(self, event: Fields) -> bool:
        """Change an event to what the caller gets; False when that is nothing."""
        if "prompt_progress" in event:
            return False
        event.update((key, self._head[key]) for key in HEAD if key in self._head)
        total = isinstance(event.get("usage"), dict)
        if total:
            event["usage"] = self.usage = self._sum(event["usage"])
        choices = event.get("choices") or []
        if not isinstance(choices, list):
            raise ValueError("choices that are no list")  # noqa: TRY004 -- input
        if choices:
            event["choices"] = kept = [each for each in choices if self._take_choice(each)]
            return bool(kept) or (total and self._total_only)
        return not self._total_only or total

    def _sum(self, usage: Fields) -> Fields:
        """The usage of both streams together: what was given is a part of the answer."""
        prompt, answer = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if not isinstance(prompt, int) or not isinstance(answer, int):
            return usage
        answer = self._tokens + (0 if self._total_only else answer)
        if not self._total_only:
            prompt = max(0, prompt - self._tokens)
        if self._sent.usage and isinstance(self._sent.usage.get("prompt_tokens"), int):
            prompt = self._sent.usage["prompt_tokens"]
        usage = {
            **usage,
            "prompt_tokens": prompt,
            "completion_tokens": answer,
            "total_tokens": prompt + answer,
        }
        details = usage.get("prompt_tokens_details")
        if isinstance(details, dict) and isinstance(details.get("cached_tokens"), int):
            cached = min(details["cached_tokens"], prompt)
            usage["prompt_tokens_details"] = {**details, "cached_tokens": cached}
        return usage

    def _take_choice(self, choice: Any) -> bool:
        """Change a choice to what the caller gets; False when that is nothing."""
        if not isinstance(choice, dict) or not isinstance(choice.get("delta") or {}, dict):
            raise ValueError("a choice of no known shape")  # noqa: TRY004 -- input
        if self._total_only or self._ended:
            return False
        index = choice.get("index", 0)
        if not isinstance(index, int):
            raise ValueError("a choice without a number")  # noqa: TRY004 -- input
        delta = choice.get("delta") or {}
        changed = self._take_role(index, delta)
        if index == 0:
            for holder in (delta, choice):
                changed |= self._take_texts(holder, choice)
        if choice.get("finish_reason"):
            self._check_whole()
            self._let_go(choice)
            return True
        return not changed or _says(choice)

    def _take_role(self, index: int, delta: Fields) -> bool:
        if not delta.get("role"):
            return False
        if index in self._roles:
            del delta["role"]
            return True
        self._roles.add(index)
        return False

    def _take_texts(self, holder: Fields, choice: Fields) -> bool:
        """Take what comes again off the texts of a delta or choice; whether anything changed."""
        changed = False
        for where in TEXTS:
            text = holder.get(where)
            if not isinstance(text, str) or not text:
                continue
            rest = self._without_drop(where, text)
            if rest and where == self._where and self._rests:
                rest = self._before_stop(rest, choice)
            if rest != text:
                holder[where] = rest
                changed = True
        return changed

    def _without_drop(self, where: str, text: str) -> str:
        drop = self._drop.get(where, "")
        same = _alike(drop, text)
        if same == min(len(drop), len(text)):
            self._drop[where] = drop[same:]
        elif self._exact:
            raise DivergedError("another text came than before")
        else:
            self._drop[where] = ""
        return text[same:]

    def _check_whole(self) -> None:
        if self._exact and any(self._drop.values()):
            raise DivergedError("it ended before it came to where it broke off")

    def _let_go(self, choice: Fields) -> None:
        """Add to the last event what was held back."""
        if self._held:
            holder = choice if self._where == "text" else choice.setdefault("delta", {})
            holder[self._where] = (holder.get(self._where) or "") + self._held
            self._held = ""

    def _before_stop(self, text: str, choice: Fields) -> str:
        """What of a text may go on, where a string that ends it may have begun before the seam."""
        text, self._held = self._held + text, ""
        hits = [rest for rest in self._rests if text.startswith(rest)]
        if hits:
            self._ended = True
            choice["finish_reason"] = "stop"
            return min(hits, key=len) if self._keeps else ""
        self._rests = [rest for rest in self._rests if rest.startswith(text)]
        if self._rests:
            self._held = text
            return ""
        return text


def _alike(one: str, other: str) -> int:
    """How many characters two texts have in common from their beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def _rests(text: str, stops: tuple[str, ...]) -> list[str]:
    """What would have to follow a text so that one of the strings stood across its end."""
    return [
        stop[cut:] for stop in stops for cut in range(1, len(stop)) if text.endswith(stop[:cut])
    ]


def _says(choice: Fields) -> bool:
    """Whether anything is left of a choice."""
    delta = choice.get("delta") or {}
    plain = ("index", "delta", "logprobs")
    return any(value not in _SILENT for value in delta.values()) or any(
        value not in _SILENT for key, value in choice.items() if key not in plain
    )


def finish(sent: Sent, reason: str, *, chat: bool) -> bytes:
    """The event that ends the first choice."""
    choice: Fields = {"index": 0, "finish_reason": reason}
    choice["delta" if chat else "text"] = {} if chat else ""
    return written({**sent.head, "choices": [choice]})


def written(event: Fields) -> bytes:
    """An event as bytes."""
    return b"data: " + _encode(event) + b"\n\n"
