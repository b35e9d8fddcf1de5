"""What is asked in the benchmark, and whether an answer is whole and right."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

TOPICS = (
    "MIG", "the KV cache", "vLLM", "prefill", "a token", "batching", "latency", "quantisation",
    "speculative decoding", "a GPU", "LoRA", "throughput",
)  # fmt: skip
ASKED = ("What is", "Explain", "Tell me about", "How does")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one answer told.

    usage  prompt and completion tokens
    """

    text: str
    reason: str
    usage: tuple[int, int]


def requests(tokens: int, fields: dict[str, Any]) -> list[dict[str, Any]]:
    """Streamed chats and completions of up to so many tokens, and every eighth not streamed."""
    asked = []
    for number, (start, topic) in enumerate((a, t) for t in TOPICS for a in ASKED):
        length = tokens - 10 * (number % 7)
        text = f"{start} {topic}?"
        both = {"model": "demo", "temperature": 0, "max_tokens": length, **fields}
        stream: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
        if number % 8 == 7:
            stream = {"stream": False}
        asked.append({**both, **stream, "messages": [{"role": "user", "content": text}]})
        asked.append({**both, **stream, "prompt": text})
    return asked


def path(body: dict[str, Any]) -> str:
    """Where a body is sent."""
    return "/v1/chat/completions" if "messages" in body else "/v1/completions"


def told(body: dict[str, Any], answer: bytes) -> Told:
    """Read an answer. Raises ValueError with what is wrong about its form."""
    return _streamed(answer) if body["stream"] else _whole(json.loads(answer))


def _whole(answer: dict[str, Any]) -> Told:
    if "error" in answer:
        raise ValueError(answer["error"]["message"])
    choice, usage = answer["choices"][0], answer["usage"]
    return Told(
        text=choice["message"]["content"] if "message" in choice else choice["text"],
        reason=choice["finish_reason"],
        usage=(usage["prompt_tokens"], usage["completion_tokens"]),
    )


def _streamed(answer: bytes) -> Told:
    rows = answer.decode().split("\n\n")
    if rows[-2:] != ["data: [DONE]", ""] or rows.count("data: [DONE]") != 1:
        raise ValueError(f"no one end: {rows[-2:]}")
    events = [json.loads(row.removeprefix("data: ")) for row in rows[:-2] if row]
    for event in events:
        if "error" in event:
            raise ValueError(event["error"]["message"])
    if len({(event["id"], event["model"]) for event in events}) != 1:
        raise ValueError("more than one id")
    choices = [choice for event in events for choice in event["choices"]]
    usages = [event["usage"] for event in events if event.get("usage")]
    reasons = [choice["finish_reason"] for choice in choices if choice["finish_reason"]]
    roles = Counter(choice["delta"].get("role") for choice in choices if "delta" in choice)
    if len(usages) != 1 or len(reasons) != 1 or roles.get("assistant", 1) != 1:
        raise ValueError(f"{len(usages)} usages, {len(reasons)} reasons, {roles} roles")
    return Told(
        text="".join(
            choice["delta"].get("content") or "" if "delta" in choice else choice["text"]
            for choice in choices
        ),
        reason=reasons[0],
        usage=(usages[0]["prompt_tokens"], usages[0]["completion_tokens"]),
    )
