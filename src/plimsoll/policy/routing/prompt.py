"""What names the beginning of a prompt: hashes of its bytes, the same in every process. Pure."""

from __future__ import annotations

from itertools import accumulate
from typing import Final
from zlib import crc32

BYTES_PER_TOKEN: Final = 4
"""Bytes of prompt text that one token stands for, where nobody counted them."""

BLOCK_BYTES: tuple[int, ...] = tuple(512 << group for group in range(8) for _ in range(8))
"""Size of each block. They grow, so that 64 of them cover 1 MB and yet none beyond the first
few is longer than an eighth of what comes before it: what two prompts share is known to that
precision, at a cost that stays small for the shortest and for the longest."""

_ENDS = tuple(accumulate(BLOCK_BYTES))

BLOCK_TOKENS: tuple[int, ...] = tuple(end // BYTES_PER_TOKEN for end in _ENDS)
"""Tokens from the beginning of a prompt to the end of each block."""


def blocks_of(raw: bytes) -> tuple[int, ...]:
    """Chained hashes of the whole blocks that a prompt begins with, the first one first.

    Two prompts share their first n hashes when they share the bytes of their first n blocks, and,
    but for one chance in four billions, only then. What follows the last whole block, and what
    follows the first MB, is left out. A routing hint: no secret, and no proof of equality.
    """
    length = len(raw)
    if length < BLOCK_BYTES[0]:
        return ()
    hashes: list[int] = []
    start = value = 0
    for end in _ENDS:
        if end > length:
            break
        value = crc32(raw[start:end], value)
        hashes.append(value)
        start = end
    return tuple(hashes)
