"""Names near a word that is not known: what every `unknown ...` error says next."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_LONGEST_LIST = 8


def nearest(word: str, names: Iterable[str], *, count: int = 3) -> tuple[str, ...]:
    """At most `count` of `names` that look like `word`, nearest first; may be empty."""
    lower = {name.lower(): name for name in names}
    found = get_close_matches(word.lower()[:200], lower, n=count, cutoff=0.5)
    return tuple(lower[name] for name in found)


def nearest_hint(word: str, names: Iterable[str]) -> str:
    """A hint: the nearest of `names`, or all of them where they are few and none is near."""
    known = sorted(names)
    close = nearest(word, known)
    if close:
        return f"the nearest known: {_listed(close)}"
    if len(known) <= _LONGEST_LIST:
        return f"known: {_listed(known)}"
    return f"none of the {len(known)} known ones is near, such as {_listed(known[:3])}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
