"""An engine whose answers depend on nothing but the text before: what it would have said after a
break is known. And how a caller reads a stream.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from hashlib import sha256
from types import MappingProxyType
from typing import Any

from plimsoll.gateway.continuation import wants_usage
from plimsoll.gateway.events import DONE
from plimsoll.providers.server_events import payloads

FLAGS = MappingProxyType({"continue_final_message": True, "add_generation_prompt": False})
_WORDS = (" a", " b", " a", " b", "c", "d", ",", "\n", "é", "日", "#", " ")
TOKEN = re.compile(r" [ab]|.", re.DOTALL)


@dataclass(frozen=True)
class Engine:
    """What it says depends on nothing but the text before, and `salt`.

    trims  whether its template takes the white space off both ends of a message
    """

    continues: bool = True
    continue_fields: Any = field(default_factory=lambda: FLAGS)
    completion_tokens: int = 16
    trims: bool = True
    salt: str = ""

    def events(self, body: bytes, widths: list[int]) -> list[bytes]:
        """The stream that answers a body; `widths` says how many tokens each event brings."""
        asked = json.loads(body)
        chat = "messages" in asked
        before, given = self._read(asked, chat)
        left = max(1, 150 - count(before + given))  # in its context
        most = asked.get("max_tokens") or (left if chat else self.completion_tokens)
        text, made, reason = self._generate(before + given, most, asked.get("stop") or [])
        head = {
            "id": sha256(body + self.salt.encode()).hexdigest()[:8],
            "object": "chat.completion.chunk" if chat else "text_completion",
            "created": len(body),
            "model": "m",
        }
        out = []
        if chat:
            out.append(event_of(head, {"delta": {"role": "assistant", "content": ""}}))
        tokens, number = TOKEN.findall(text), 0
        while tokens:
            width = widths[number % len(widths)]
            piece, tokens, number = "".join(tokens[:width]), tokens[width:], number + 1
            out.append(event_of(head, {"delta": {"content": piece}} if chat else {"text": piece}))
        end: dict[str, Any] = {"delta": {}} if chat else {"text": ""}
        out.append(event_of(head, {**end, "finish_reason": reason}))
        if wants_usage(body):
            prompt = len(TOKEN.findall(before + given))
            usage = {
                "prompt_tokens": prompt, "completion_tokens": made,
                "total_tokens": prompt + made,
            }  # fmt: skip
            out.append(b"data: " + json.dumps({**head, "choices": [], "usage": usage}).encode())
            out[-1] += b"\n\n"
        return [*out, DONE]

    def _read(self, asked: dict[str, Any], chat: bool) -> tuple[str, str]:
        if not chat:
            return asked["prompt"], ""
        messages = asked["messages"]
        continues = asked.get("continue_final_message") or not self.continue_fields
        if continues and messages[-1]["role"] == "assistant":
            said = messages[-1]["content"]
            return f"{messages[:-1]}>", said.strip() if self.trims else said
        return f"{messages}>", ""

    def _generate(self, before: str, most: int, stops: list[str]) -> tuple[str, int, str]:
        text = ""
        for made in range(1, most + 1):
            digest = sha256((self.salt + before + text).encode()).digest()
            if digest[1] < 5:
                return text, made, "stop"
            text += _WORDS[digest[0] % len(_WORDS)]
            for stop in stops:
                if stop in text:
                    return text[: text.index(stop)], made, "stop"
        return text, most, "length"


def event_of(head: dict[str, Any], choice: dict[str, Any]) -> bytes:
    choice = {"index": 0, "finish_reason": None, **choice}
    return b"data: " + json.dumps({**head, "choices": [choice]}).encode() + b"\n\n"


def count(text: str) -> int:
    return len(TOKEN.findall(text))


@dataclass(frozen=True)
class Read:
    """A stream as a caller reads it."""

    text: str
    reasons: list[str]
    usage: list[Any]
    ids: int
    roles: int
    dones: int


def read(events: bytes) -> Read:
    each = [json.loads(one) for one in payloads(events) if one != b"[DONE]"]
    picked = [choice for event in each for choice in event["choices"]]
    deltas = [choice.get("delta", {}) for choice in picked]
    return Read(
        text="".join(
            (choice.get("delta", choice).get("content") or choice.get("text") or "")
            for choice in picked
        ),
        reasons=[choice["finish_reason"] for choice in picked if choice["finish_reason"]],
        usage=[event["usage"] for event in each if event.get("usage")],
        ids=len({(event["id"], event.get("object")) for event in each}),
        roles=sum("role" in delta for delta in deltas),
        dones=sum(one == b"[DONE]" for one in payloads(events)),
    )
