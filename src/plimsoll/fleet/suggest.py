"""The nearest of some words: `did you mean ...?`."""

from __future__ import annotations

import re


def did_you_mean(word: str, words: tuple[str, ...] | list[str]) -> str | None:
    """A hint that names the nearest of some words, or None when none is near.

    Letter case, `_` and `-` do not count; else the edit distance may be a third of the length.
    """
    flat = _flat(word)
    for candidate in words:
        if _flat(candidate) == flat:
            return f"did you mean `{candidate}`?"
    allowed = max(1, len(flat) // 3)
    ranked = sorted((_distance(flat, _flat(candidate)), candidate) for candidate in words)
    if ranked and len(flat) <= 64 and ranked[0][0] <= allowed and len(flat) > 1:
        return f"did you mean `{ranked[0][1]}`?"
    return None


def _flat(word: str) -> str:
    return re.sub("[-_ ]", "", word[:65].lower())


def _distance(one: str, other: str) -> int:
    """Edit distance where swapping two neighbours counts as one edit."""
    before: list[int] = []
    above = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        row = [i]
        for j, against in enumerate(other, 1):
            best = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (letter != against))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == against:
                best = min(best, before[j - 2] + 1)
            row.append(best)
        before, above = above, row
    return above[-1]
