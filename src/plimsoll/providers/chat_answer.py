"""What is read of chat completions, whole and streamed, in the shapes that engines write.

Shapes: OpenAI's API reference and, beyond it, vLLM 0.33 (`reasoning`, `stop_reason`), SGLang
0.5.23 (`reasoning_content`, `matched_stop`) and llama.cpp (`reasoning_content`), read in their
sources on 2026-11-21.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec

_NOT_OF_AN_ID = re.compile(r"[^A-Za-z0-9_-]")
DONE = b"[DONE]"


class Function(msgspec.Struct):
    """The function of a tool call: whole, or a piece of it."""

    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class ToolCall(msgspec.Struct):
    """One tool call: whole, or a piece of the one with that number."""

    index: int | None = None
    id: str | None = None
    function: Function = msgspec.field(default_factory=Function)


class Message(msgspec.Struct):
    """What the model said: all of it, or a piece."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None

    @property
    def thought(self) -> str:
        """What the model thought, under either name."""
        return self.reasoning_content or self.reasoning or ""


class TokenLogprobs(msgspec.Struct):
    """Log probabilities, one object per token."""

    content: list[dict[str, Any]] | None = None


class Choice(msgspec.Struct):
    """One answer of several, whole or a piece."""

    index: int = 0
    message: Message | None = None
    delta: Message | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    matched_stop: int | str | None = None
    logprobs: TokenLogprobs | None = None

    @property
    def stop_string(self) -> str | None:
        """The caller's own stop string that ended it, where the engine says so; a number is a
        token's, and none of the caller's.
        """
        for said in (self.stop_reason, self.matched_stop):
            if isinstance(said, str):
                return said
        return None


class PromptDetails(msgspec.Struct):
    """Of the prompt's tokens."""

    cached_tokens: int | None = None


class CompletionDetails(msgspec.Struct):
    """Of the answer's tokens."""

    reasoning_tokens: int | None = None


class Usage(msgspec.Struct):
    """Tokens of the prompt, cached ones included, and of the answer, thoughts included."""

    prompt_tokens: int = 0
    completion_tokens: int | None = 0
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None

    @property
    def cached(self) -> int | None:
        """Prompt tokens that the engine had already, as far as it says."""
        details = self.prompt_tokens_details
        return details.cached_tokens if details else None

    @property
    def reasoning(self) -> int | None:
        """Tokens of thoughts, as far as the engine says."""
        details = self.completion_tokens_details
        return details.reasoning_tokens if details else None


class Answer(msgspec.Struct):
    """A whole chat completion, or one event of a streamed one."""

    id: str = ""
    created: float = 0
    model: str = ""
    choices: list[Choice] = []
    usage: Usage | None = None
    error: Any = None

    @property
    def bare_id(self) -> str:
        """The id without what says whose it is, for ids of another API."""
        return _NOT_OF_AN_ID.sub("", self.id.removeprefix("chatcmpl-")) or "0"


Ended = Literal["stop", "length", "tool_calls", "refusal"]
_ENDS: dict[str | None, Ended] = {
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "refusal",
}


def ended(finish_reason: str | None, *, called: bool, refused: bool) -> Ended:
    """Why an answer ended. A forced tool call ends with `stop` at vLLM; it is a call all the same.

    called   whether it has tool calls
    refused  whether the model refused
    """
    end = _ENDS.get(finish_reason, "stop")
    if end == "stop":
        if refused:
            return "refusal"
        if called:
            return "tool_calls"
    return end


_decode = msgspec.json.Decoder(Answer).decode


def read(payload: bytes) -> Answer:
    """A whole answer, or an event's payload. Raises ValueError when it is of no known shape."""
    try:
        return _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"a chat completion of no known shape: {error}") from error
