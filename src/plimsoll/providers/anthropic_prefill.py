"""What an assistant's last words in a request, which an answer goes on from, mean for the answer.

Anthropic's API answers with what follows them alone; llama.cpp repeats them first (tried at the
server of xllamacpp 2026.10), vLLM does not. Pure.
"""

from __future__ import annotations

import msgspec


class _Block(msgspec.Struct):
    type: str
    text: str = ""


class _Turn(msgspec.Struct):
    role: str
    content: msgspec.Raw


class _Request(msgspec.Struct):
    messages: list[_Turn]


_decode = msgspec.json.Decoder(_Request).decode
_decode_content = msgspec.json.Decoder(str | list[_Block]).decode


def prefill_of(body: bytes) -> str:
    """The words that the answer to a request goes on from; empty where there are none."""
    try:
        last = _decode(body).messages[-1]
        if last.role != "assistant":
            return ""
        content = _decode_content(last.content)
    except (msgspec.DecodeError, IndexError, UnicodeDecodeError, RecursionError):
        return ""  # it was refused, or goes on from something else
    if isinstance(content, str):
        return content.rstrip()
    return "".join(block.text for block in content if block.type == "text").rstrip()


class Repeated:
    """Takes words off the beginning of a text that repeats them.

    A text that begins otherwise is left whole.
    """

    __slots__ = ("_held", "_rest")

    def __init__(self, words: str) -> None:
        self._rest = words
        self._held = ""

    def without(self, piece: str) -> str:
        """What of the next piece, and of what was held back, is no repetition."""
        rest = self._rest
        if not rest:
            return piece
        if len(piece) < len(rest) and rest.startswith(piece):
            self._rest = rest[len(piece) :]
            self._held += piece
            return ""
        self._rest = ""
        held, self._held = self._held, ""
        return piece[len(rest) :] if piece.startswith(rest) else held + piece

    def end(self) -> str:
        """What was held back of a text that ended before it had repeated all."""
        self._rest = ""
        held, self._held = self._held, ""
        return held
