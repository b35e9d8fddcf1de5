"""Flags of a command line: one spelling, said once, the fleet file's last word included."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

# A flag and its value: one word, several words, or None where the flag stands alone.
Flag = tuple[str, str | float | tuple[str, ...] | None]


def words(flags: Iterable[Flag], further: tuple[str, ...] = ()) -> Iterator[str]:
    """The words of a command line; `further` comes last, and what it says is not said by us.

    flags    ours, in the order in which a reader wants them
    further  the fleet file's own arguments, `--flag value` or `--flag=value`
    """
    said = {word.partition("=")[0] for word in further if word.startswith("-")}
    for flag, value in flags:
        if flag not in said:
            yield flag
            yield from _values(value)
    yield from further


def _values(value: str | float | tuple[str, ...] | None) -> Iterator[str]:
    if isinstance(value, tuple):
        yield from value
    elif value is not None:
        yield str(value)
