"""How many tokens a text took that came in pieces. Pure.

A piece is a token or a few: an engine that lags writes several at once. A text cut into tokens
anew may come in other ones than it was generated in. Where both have an end together, the tokens
between two ends are those of one piece, or else each piece is taken for one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import msgspec

_BYTE = 6  # characters of `<0x0A>`, a token of one byte


class _Token(msgspec.Struct):
    """A token as llama.cpp tells it: its text, or its bytes where they are no text."""

    piece: str | list[int]


class _Answer(msgspec.Struct):
    """`token_strs` is vLLM's word for the tokens as they stand in the vocabulary."""

    tokens: list[_Token | int]
    token_strs: list[str] | None = None


_decode = msgspec.json.Decoder(_Answer).decode
_encode = msgspec.json.Encoder().encode


def question(model: str, pieces: Sequence[str]) -> bytes:
    """What an engine is asked to cut into tokens: llama.cpp's fields and vLLM's at once."""
    text = "".join(pieces)
    return _encode(
        {
            "model": model,
            "content": text, "add_special": False, "with_pieces": True,
            "prompt": text, "add_special_tokens": False, "return_token_strs": True,
        }
    )  # fmt: skip


class Cut(NamedTuple):
    """How an engine cuts a text into tokens that came in pieces.

    alike   pieces from the beginning that it cuts into the tokens that were generated
    tokens  that each piece took, as far as that can be told
    """

    alike: int
    tokens: list[int]


def cut_of(pieces: Sequence[str], answer: bytes) -> Cut:
    """By an engine's answer to `question`, which may be empty: then each piece is a token."""
    plain = Cut(len(pieces), [1] * len(pieces))
    try:
        said = _decode(answer)
    except msgspec.DecodeError:
        return plain
    ends = list(accumulate(len(piece.encode()) for piece in pieces))
    for lengths in _lengths(said):
        cut = list(accumulate(lengths))
        if cut and ends and cut[-1] == ends[-1]:
            return _between(ends, cut)
    more = len(said.tokens) - len(pieces)
    if more > 0 and pieces:  # nobody knows which of them took more than one
        plain.tokens[-1] += more
    return plain


def _lengths(said: _Answer) -> list[list[int]]:
    """Bytes of each token, in every way that its text may be meant."""
    if said.token_strs is None:
        pieces = [each.piece for each in said.tokens if isinstance(each, _Token)]
        told = [len(each.encode()) if isinstance(each, str) else len(each) for each in pieces]
        return [told, [told[0] - 1, *told[1:]]] if told else []  # or one with a space before it
    marked = [each.replace("\u2581", " ") for each in said.token_strs]
    as_text = [1 if _is_byte(each) else len(each.encode()) for each in marked]
    # In byte-level vocabularies a character stands for a byte.
    return [[len(each) for each in said.token_strs], as_text]


def _is_byte(token: str) -> bool:
    return len(token) == _BYTE and token.startswith("<0x") and token.endswith(">")


def _between(ends: list[int], cut: list[int]) -> Cut:
    """By the ends of the pieces and of the tokens, in bytes."""
    common = {*ends} & {*cut}
    counts: list[int] = []
    alike = number = waiting = 0
    for end in ends:
        waiting += 1
        if end not in common:
            continue
        start = number
        while number < len(cut) and cut[number] <= end:
            number += 1
        if waiting == 1:
            counts.append(number - start)
            alike += alike == len(counts) - 1
        else:
            counts += [1] * waiting
        waiting = 0
    return Cut(alike, counts)
