"""`python -m benchmarks.routing.made KIND [--requests N] [--seed N] > FILE`

Traces of Mooncake's shape that nobody's weights were tuned on. Kinds:

    chats      people talk: six system prompts, most of them use the same two; turns follow one
               another by a minute or so; now and then somebody pastes pages
    agents     programs work: one of three long tool prompts, a task that several agents share,
               then many short turns within seconds
    documents  a long document is asked several questions within minutes; some are asked by many
    alone      nothing repeats, and lengths have a heavy tail

Numbers are round guesses of ours, not measurements; the same seed makes the same bytes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush
from itertools import count, islice
from math import log
from random import Random

from benchmarks.routing.trace import BLOCK

_LONGEST = 120_000  # tokens of a prompt

Line = tuple[float, int, int, tuple[int, ...]]
"""Seconds, prompt tokens, answer tokens, blocks: one request."""


class _Text:
    """A prompt that grows; what has ended a block keeps that block's id."""

    def __init__(self, ids: Iterator[int], tokens: int = 0, whole: Sequence[int] = ()) -> None:
        self._ids = ids
        self.tokens = tokens
        self._whole = list(whole)

    def copy(self) -> _Text:
        return _Text(self._ids, self.tokens, self._whole)

    def grow(self, tokens: int) -> None:
        self.tokens += tokens
        self._whole.extend(islice(self._ids, self.tokens // BLOCK - len(self._whole)))

    def blocks(self) -> tuple[int, ...]:
        """The last id is that of a part of a block, which nobody shares."""
        return (*self._whole, next(self._ids)) if self.tokens % BLOCK else tuple(self._whole)


def _about(chance: Random, median: float, spread: float, least: int = 1) -> int:
    return max(least, int(chance.lognormvariate(log(median), spread)))


def _texts(chance: Random, ids: Iterator[int], sizes: Sequence[int]) -> list[_Text]:
    texts = []
    for size in sizes:
        text = _Text(ids)
        text.grow(size + chance.randrange(BLOCK))
        texts.append(text)
    return texts


def chats(chance: Random, ids: Iterator[int]) -> Iterator[Iterator[Line]]:
    """See the module."""
    systems = _texts(chance, ids, (1_500, 3_000, 600, 6_000, 2_000, 1_000))
    start = 0.0
    while True:
        start += chance.expovariate(1 / 0.6)
        yield _chat(chance, chance.choices(systems, (40, 30, 12, 8, 6, 4))[0], start)


def _chat(chance: Random, system: _Text, at: float) -> Iterator[Line]:
    text = system.copy()
    while True:
        pages = chance.random() < 0.12
        text.grow(_about(chance, 6_000 if pages else 120, 1.0))
        answer = min(2_000, _about(chance, 280, 0.8))
        if text.tokens > _LONGEST:
            return
        yield at, text.tokens, answer, text.blocks()
        if chance.random() < 0.16:
            return
        text.grow(answer)
        at += answer * 0.03 + _about(chance, 40, 0.9)


def agents(chance: Random, ids: Iterator[int]) -> Iterator[Iterator[Line]]:
    """See the module."""
    tools = _texts(chance, ids, (9_000, 14_000, 22_000))
    start = 0.0
    while True:
        start += chance.expovariate(1 / 9.0)
        task = chance.choices(tools, (6, 3, 1))[0].copy()
        task.grow(_about(chance, 3_000, 0.8))
        for number in range(chance.choice((1, 1, 1, 2, 4))):
            yield _agent(chance, task, start + 0.5 * number)


def _agent(chance: Random, task: _Text, at: float) -> Iterator[Line]:
    text = task.copy()
    for _ in range(chance.randrange(4, 36)):
        text.grow(_about(chance, 700, 1.2))
        answer = min(1_500, _about(chance, 90, 0.8))
        if text.tokens > _LONGEST:
            return
        yield at, text.tokens, answer, text.blocks()
        text.grow(answer)
        at += answer * 0.03 + _about(chance, 3, 0.9)


def documents(chance: Random, ids: Iterator[int]) -> Iterator[Iterator[Line]]:
    """See the module."""
    start = 0.0
    while True:
        start += chance.expovariate(1 / 4.0)
        text = _Text(ids)
        text.grow(min(_LONGEST - 4_000, _about(chance, 22_000, 0.8, 2_000)))
        many = chance.random() < 0.05
        yield _questions(chance, text, start, chance.randrange(20, 60) if many else 0)


def _questions(chance: Random, text: _Text, at: float, many: int) -> Iterator[Line]:
    for _ in range(many or chance.randrange(1, 8)):
        asked = text.copy()
        asked.grow(_about(chance, 60, 0.7))
        yield at, asked.tokens, min(1_500, _about(chance, 200, 0.8)), asked.blocks()
        at += chance.expovariate(1 / (5.0 if many else 45.0))


def alone(chance: Random, ids: Iterator[int]) -> Iterator[Iterator[Line]]:
    """See the module."""
    at = 0.0
    while True:
        at += chance.expovariate(8.0)
        text = _Text(ids)
        text.grow(min(_LONGEST, _about(chance, 2_500, 1.5, 16)))
        yield iter([(at, text.tokens, min(2_000, _about(chance, 200, 1.0)), text.blocks())])


KINDS: dict[str, Callable[[Random, Iterator[int]], Iterator[Iterator[Line]]]] = {
    "chats": chats,
    "agents": agents,
    "documents": documents,
    "alone": alone,
}


def made(kind: str, requests: int, seed: int) -> list[Line]:
    """So many requests of a kind, in the order of time. As many before them are left out, so that
    conversations of every age are there from the beginning.
    """
    chance = Random(f"{kind} {seed}")
    talks = KINDS[kind](chance, count(1))
    going: list[tuple[Line, int, Iterator[Line]]] = []
    numbers = count()
    found: list[Line] = []
    newest = 0.0
    while len(found) < 2 * requests:
        while not going or newest <= going[0][0][0]:
            talk = next(talks)
            for line in talk:
                newest = line[0]
                heappush(going, (line, next(numbers), talk))
                break
        line, number, talk = heappop(going)
        found.append(line)
        for following in talk:
            heappush(going, (following, number, talk))
            break
    start = found[requests][0]
    return [(at - start, prompt, answer, blocks) for at, prompt, answer, blocks in found[requests:]]


def main() -> int:
    """Write a trace to the standard output."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.routing.made",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.add_argument("--requests", type=int, default=3_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.requests < 1:
        parser.error("--requests must be at least 1")
    for at, prompt, answer, blocks in made(arguments.kind, arguments.requests, arguments.seed):
        fields = {
            "timestamp": int(at * 1000),
            "input_length": prompt,
            "output_length": answer,
            "hash_ids": blocks,
        }
        sys.stdout.write(json.dumps(fields) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
